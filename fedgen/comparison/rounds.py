"""The one round loop: every launcher plays its arms through it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from fedgen.comparison.trainers import Player
from fedgen.config import budget
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Arm
from fedgen.errors import InputError
from fedgen.federation import devices
from fedgen.federation.resources import Measured, Resources
from fedgen.runs import costs
from fedgen.runs.checkpoints import Checkpoint
from fedgen.runs.rows import ClientRow, RoundRow
from fedgen.runs.shard import Shard
from strategies.core.aggregation import Arrays
from strategies.core.genes import DECLARED_ONLY
from strategies.core.outcomes import POOLED, RoundOutcome, Unusable


def play(
    arm: Arm,
    player: Player,
    held: Resources,
    shard: Shard,
    initial: Arrays,
    rounds: int,
    made_with: Mapping[str, Any],
) -> Iterator[RoundRow]:
    """Play an arm to its last round, from the checkpoint that its shard was opened at.

    Every round is committed before its row is yielded: whoever stops asking, or
    is killed, loses at most the round in progress.

    What a round costs is known once it is played. So the first round beyond ``run.budget`` is
    played and dropped; where nothing is left, none is. Round 0 always counts, whatever a search
    has cost. An arm also ends where ``run.patience`` is spent without a better validation metric.

    Args:
        arm: The strategy and seed.
        player: What plays the rounds.
        held: What evaluates the weights.
        shard: Where rows and checkpoints go; opened.
        initial: Weights before the first round.
        rounds: Number of the last round.
        made_with: What decides the results, for the checkpoints.

    Yields:
        The row of every round played now, from round 0 on.

    Raises:
        InputError: If the checkpoint is one of another model.
        Unusable: If too few replies of a round can be used; the shard notes it.
        RunError: If a round fails otherwise, or cannot be written.
    """
    checkpoint = shard.latest
    if checkpoint is not None:
        _check_fit(checkpoint.weights, initial, shard)
        try:
            player.restore(checkpoint.state, checkpoint.arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"shard {shard.folder}: its checkpoint holds no state of {arm.strategy} "
                f"({type(error).__name__}: {error})"
            ) from error
        weights, first = checkpoint.weights, checkpoint.round + 1
    else:
        weights, first = initial, 0
    setting = arm.config.run.budget
    limit = budget.parse(setting)
    looks_back = limit or arm.config.run.patience
    rows: list[RoundRow] = shard.rows("rounds.csv") if looks_back and first else []
    for number in range(first, rounds + 1):
        if shard.tired(rows):
            return
        if limit and number:
            if shard.stopped(setting) is not None:
                return
            if costs.left(limit, rows) <= 0:
                shard.stop(setting, costs.spent(rows, limit.unit)[-1], tried=False)
                return
        started = time.perf_counter()
        try:
            if number == 0:
                weights, outcome = player.start(weights)
            else:
                weights, outcome = player.step(number, weights)
        except Unusable as error:
            shard.fail(str(error), client_rows(arm, number, error.outcome))
            raise
        every = 1 if looks_back else arm.config.run.evaluate_every
        due = number in (0, rounds) or number % every == 0
        validation, test = held.evaluate(weights, arm.seed) if due else (None, None)
        seconds = time.perf_counter() - started
        row = round_row(arm, number, outcome, validation, test, seconds)
        rows.append(row)
        if limit and number and costs.left(limit, rows) < 0:
            shard.stop(setting, costs.spent(rows, limit.unit)[-1], tried=True)
            return
        state, arrays = player.state()
        shard.commit(
            Checkpoint(number, weights, state, arrays),
            [row],
            client_rows(arm, number, outcome),
            made_with,
            shard.spared(rows),
        )
        yield row


def _check_fit(weights: Arrays, initial: Arrays, shard: Shard) -> None:
    received = [(array.shape, array.dtype) for array in weights]
    if received != [(array.shape, array.dtype) for array in initial]:
        raise InputError(
            f"shard {shard.folder}: its checkpoint holds other weights than the model's "
            f"{len(initial)} arrays; remove the folder to start this arm anew"
        )


def round_row(
    arm: Arm,
    number: int,
    outcome: RoundOutcome,
    validation: Measured | None,
    test: Measured | None,
    seconds: float,
) -> RoundRow:
    """Make the row of a round; without a trained client there is no training loss.

    Without an evaluation, the columns of it are empty.
    """
    # Pooled training has no clients, so no devices.
    simulated = None if is_pooled(arm.strategy) else arm.config.devices
    return RoundRow(
        strategy=arm.strategy,
        seed=arm.seed,
        round=number,
        test_accuracy=test.evaluation.accuracy if test else None,
        test_loss=test.evaluation.loss if test else None,
        validation_accuracy=validation.evaluation.accuracy if validation else None,
        validation_loss=validation.evaluation.loss if validation else None,
        train_loss=outcome.train_loss if outcome.updates else None,
        clients=len(outcome.clients),
        rejected=outcome.rejected,
        failed=outcome.failed,
        client_epochs=outcome.client_epochs,
        samples=outcome.samples,
        bytes_down=outcome.bytes_down,
        bytes_up=outcome.bytes_up,
        seconds=round(seconds, 3),
        simulated_seconds=devices.round_seconds(simulated, arm.seed, outcome)
        if simulated and simulated.speed != "none"
        else None,
        measured={
            f"{split}_{name}": value
            for split, found in (("test", test), ("validation", validation))
            if found
            for name, value in found.metrics.items()
        }
        | dict(outcome.server),
    )


def client_rows(arm: Arm, number: int, outcome: RoundOutcome) -> list[ClientRow]:
    """Make the rows of a round's clients, by partition id; pooled training has none."""
    rows: list[ClientRow] = []
    name = arm.config.metric.name
    for result in outcome.clients:
        if result.client == POOLED:
            continue
        assignment, update = result.assignment, result.update
        genome = assignment.genome if assignment else None
        row = ClientRow(
            strategy=arm.strategy,
            seed=arm.seed,
            round=number,
            client=result.client,
            cluster=assignment.cluster if assignment else None,
            learning_rate=genome.learning_rate if genome else None,
            batch_size=genome.batch_size if genome else None,
            applied_learning_rate=update.applied.learning_rate if update else None,
            applied_batch_size=update.applied.batch_size if update else None,
            fitness=update.fitness if update else None,
            train_loss=update.train_loss if update else None,
            samples=update.samples if update else 0,
            origin=assignment.origin if assignment else None,
            parent=assignment.parent if assignment else None,
            batch_parent=assignment.batch_parent if assignment else None,
            mutation=assignment.mutation if assignment else None,
            status=result.status,
            seconds=round(update.seconds, 3) if update else None,
            local_epochs=genome.local_epochs if genome else None,
            momentum=genome.momentum if genome else None,
            measured=(genome.having(DECLARED_ONLY) if genome else {})
            | {f"{key}_{name}": x for key, x in (update.measured if update else {}).items()},
        )
        rows.append(row)
    return rows
