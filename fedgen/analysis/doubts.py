"""What would mislead a reader: arms at chance, rates at an edge, tiny judges, rounded updates."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from fedgen.config.metrics import ACCURACY
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Config
from fedgen.runs.rows import ClientRow, PartitionRow
from strategies import TUNERS, parse
from strategies.messages.compression import LOSSY

SEARCHES = ("fedavg-tuned", "optuna-tpe", "optuna-asha")
"""What searches a rate before round 1."""

NEAR_CHANCE, POINTS = 1.2, 0.02
"""An accuracy of at most so many times that of guessing, and so little above, is at chance."""

JUDGES = (*(name for name in TUNERS if name != "random-search"), *SEARCHES)
"""What judges hyperparameters by what clients say of their validation samples."""

EDGE = 0.05
"""A rate that is nearer to an end of its range, as a share of its decades, is at its edge."""

FEWEST = 100
"""Of so many samples one is a point."""


def doubts(
    config: Config,
    summary: Mapping[str, Any],
    clients: Sequence[ClientRow],
    partition: Sequence[PartitionRow],
) -> list[str]:
    """Say, a sentence each, where the figures of a run say less than they seem to.

    Args:
        config: The run's settings.
        summary: What it came to.
        clients: Its clients' rows.
        partition: What clients hold, where that is known.
    """
    classes = max((len(row.counts) for row in partition), default=0)
    told = [_at_chance(name, figures, classes) for name, figures in summary["strategies"].items()]
    told += [_at_the_edge(name, config, clients) for name in config.run.strategies]
    return [text for text in (*told, _judged_by_few(config, partition), _rounded(config)) if text]


def _at_chance(name: str, figures: Mapping[str, Any], classes: int) -> str:
    final = figures.get(f"final_{ACCURACY.name}", {"mean": None})["mean"]
    if classes < 2 or final is None:
        return ""
    if final > min(NEAR_CHANCE / classes, 1 / classes + POINTS):
        return ""
    return (
        f"{name} ends at {100 * final:.1f} %, where guessing one of {classes} classes gets "
        f"{100 / classes:.1f} %: its learning rate may be far too low or too high, or its rounds "
        "too few."
    )


def _at_the_edge(name: str, config: Config, clients: Sequence[ClientRow]) -> str:
    bounds = _range(name, config)
    mine = [row for row in clients if row.strategy == name and row.applied_learning_rate]
    if bounds is None or not mine:
        return ""
    last: dict[int, int] = {}
    for row in mine:
        last[row.seed] = max(row.round, last.get(row.seed, 0))
    rates = [
        math.log10(row.applied_learning_rate)
        for row in mine
        if row.round == last[row.seed] and row.applied_learning_rate and row.round
    ]
    if not rates:
        return ""
    low, high = map(math.log10, bounds)
    place = (median(rates) - low) / (high - low)
    if EDGE < place < 1 - EDGE:
        return ""
    where = "lower" if place <= EDGE else "upper"
    # As designed, genes only start in their range.
    beyond = " or beyond it" if not 0 <= place <= 1 else ""
    return (
        f"{name} ends at learning rates of {10 ** median(rates):.2g}, at the {where} edge{beyond} "
        f"of the range of {bounds[0]:g} to {bounds[1]:g} that they are from: a wider one may do "
        "better."
    )


def _range(name: str, config: Config) -> tuple[float, float] | None:
    """Return the range that an arm's rates are searched in, if there is one."""
    section = parse(name).section
    if section not in (*TUNERS, *SEARCHES):
        return None
    if gene := config.genes.declared.get("learning_rate") if section in TUNERS else None:
        return gene.low, gene.high
    settings = config.section_of(name)
    given = settings.get("rates") or settings.get("rate_range") or settings.get("learning_rates")
    return (min(given), max(given)) if given and min(given) < max(given) else None


def _judged_by_few(config: Config, partition: Sequence[PartitionRow]) -> str:
    judging = [
        name
        for name in config.run.strategies
        if parse(name).section in JUDGES
        and config.section_of(name).get("fitness") not in ("test", "common")
    ]
    sizes = [row.validation for row in partition if row.validation]
    if not judging or not sizes or median(sizes) >= FEWEST:
        return ""
    return (
        f"A client validates on {median(sizes):g} samples, the median: one of them is "
        f"{100 / median(sizes):.1f} points of what {', '.join(judging)} "
        f"judge{'s' if len(judging) == 1 else ''} by."
    )


def _rounded(config: Config) -> str:
    compression, names = config.messages.compression, config.run.strategies
    sending = [name for name in names if not is_pooled(name)]
    if compression not in LOSSY or not sending:
        return ""
    whom = "Clients" if len(sending) == len(names) else f"Clients of {', '.join(sending)}"
    return (
        f"{whom} sent their updates rounded to {compression} (messages.compression): figures "
        "and weights are not those of a run that loses nothing."
    )
