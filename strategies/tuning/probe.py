"""A probe: every client of the first cohort tries a small grid before round 1, at a cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from flwr.app import ArrayRecord, MessageType
from flwr.serverapp import Grid

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome, Update
from strategies.evolution.start import grid_rates, probe_grid
from strategies.messages import protocol
from strategies.messages.replies import check_probe, check_work
from strategies.streams import rng

if TYPE_CHECKING:
    from strategies.fedavg import FedAvg

Kept = Mapping[int, Genome]
"""The pair that every client whose reply could be used has kept."""


def probe(
    strategy: "FedAvg", grid: Grid, arrays: ArrayRecord, cohort: list[int]
) -> tuple[RoundOutcome, Kept]:
    """Let every client try a grid of rates and batch sizes of its own, an epoch each.

    Args:
        strategy: Whose clients train as they do in its rounds.
        grid: Where they are.
        arrays: The weights that everybody starts from.
        cohort: Who probes.

    Returns:
        What became of it, the updates being of the pairs that were kept; and those pairs.
    """
    grids = {c: probe_grid(rng(strategy.seed, "probe-grid", 0, c)) for c in cohort}
    settings = {
        client: {
            protocol.LEARNING_RATES: rates,
            protocol.BATCH_SIZES: batches,
            **strategy.asked(client),
        }
        for client, (rates, batches) in grids.items()
    }
    messages = strategy.messages(grid, 0, arrays, settings, f"{MessageType.TRAIN}.probe")

    def check(client: int, update: Update) -> None:
        rates, batches = grids[client]
        check_probe(rates, batches, strategy.applied(update))
        check_work(update, len(rates) * len(batches))

    replies = grid.send_and_receive(messages, timeout=strategy.reply_timeout)
    judged = strategy.judge(replies, dict.fromkeys(cohort), check)
    # A client reports its rate in float32; what it kept is the grid's own number.
    kept: dict[int, Genome] = {}
    for outcome in judged.clients:
        if outcome.update is not None:
            said = strategy.applied(outcome.update)
            rates, _ = grids[outcome.client]
            nominal = min(rates, key=lambda offered: abs(offered - said.learning_rate))
            kept[outcome.client] = Genome(nominal, said.batch_size)
    rows = [
        replace(o, assignment=Assignment(kept[o.client], "probe")) if o.client in kept else o
        for o in judged.clients
    ]
    return replace(judged, clients=tuple(rows)), kept


def probed_rate(
    strategy: "FedAvg",
    grid: Grid,
    arrays: ArrayRecord,
    genomes: Mapping[int, Genome],
    rates: tuple[float, float],
) -> float:
    """Return the rate of a log grid that is best for single clients after an epoch.

    The models are thrown away; what it cost is the strategy's outcome.

    Args:
        strategy: Whose clients train as they do in its rounds.
        grid: Where they are.
        arrays: The weights that everybody starts from.
        genomes: What they train with beside the rate.
        rates: Lowest and highest one.
    """
    strategy.outcome, tried = try_rates(strategy, grid, arrays, genomes, grid_rates(*rates))
    return best_rate(tried, strategy.outcome)


def try_rates(
    strategy: "FedAvg",
    grid: Grid,
    arrays: ArrayRecord,
    genomes: Mapping[int, Genome],
    rates: Sequence[float],
) -> tuple[RoundOutcome, Mapping[int, float]]:
    """Let every client train one epoch at one of the rates, each rate tried about as often.

    Args:
        strategy: Whose clients train as they do in its rounds.
        grid: Where they are.
        arrays: The weights that everybody starts from.
        genomes: What they train with beside the rate.
        rates: What is tried.

    Returns:
        What became of it, and the rate that every client tried.
    """
    dealt = rng(strategy.seed, "rate-grid").permutation(sorted(genomes)).tolist()
    tried = {client: rates[place % len(rates)] for place, client in enumerate(dealt)}
    told = {c: replace(genomes[c], learning_rate=tried[c], local_epochs=1) for c in sorted(genomes)}
    strategy.assigned = {client: Assignment(genome, "probe") for client, genome in told.items()}
    messages = strategy.messages(
        grid, 0, arrays, {client: strategy.told(client) for client in told}
    )
    replies = grid.send_and_receive(messages, timeout=strategy.reply_timeout)
    return strategy.judge_round(replies), tried


def best_rate(tried: Mapping[int, float], outcome: RoundOutcome) -> float:
    """Return the rate with the lowest median fitness, ties to the lower rate.

    A client without a finite one counts as infinite: a rate at which training breaks is no good.

    Args:
        tried: The rate that every client was told.
        outcome: What became of it.
    """
    found: dict[float, list[float]] = {}
    for client in outcome.clients:
        update = client.update
        known = update is not None and math.isfinite(update.fitness)
        value = update.fitness if update is not None and known else math.inf
        found.setdefault(tried[client.client], []).append(value)
    return min(sorted(found), key=lambda rate: median(found[rate]))
