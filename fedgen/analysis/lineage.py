"""Where a genome comes from: the way back of its learning rate and of its batch size."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedgen.runs.rows import ClientRow

Gene = Literal["learning rate", "batch size"]

MOVED = ", after the probe's gene was moved a little"

AVERAGE = "average"
"""Origin of a genome that is the mean of two parents'."""

KEPT = ("elite", "kept", "random", "probe")
"""Origins under which a genome that a client already had is handed on as it is."""


@dataclass(frozen=True)
class Step:
    """A gene in one round, with the client that trained with it.

    Attributes:
        round: The round.
        client: The client.
        value: The gene then.
        origin: How the client came by it.
        parent: The client that it was inherited from, if it was.
        factor: What it was multiplied with on the way; 1 for a batch size.
        other: The second parent of an average.
    """

    round: int
    client: int
    value: float
    origin: str
    parent: int | None
    factor: float
    other: int | None = None


def best_of_last_round(rows: Sequence[ClientRow]) -> ClientRow | None:
    """Return the client of the last round with the lowest finite fitness, if there is one."""
    last = max((row.round for row in rows), default=0)
    known = [
        (row.fitness, row.client, row)
        for row in rows
        if row.round == last and row.fitness is not None and math.isfinite(row.fitness)
    ]
    return min(known, key=lambda item: item[:2])[2] if known else None


def ancestry(rows: Sequence[ClientRow], holder: ClientRow, gene: Gene) -> list[Step]:
    """Follow one gene of a client back to its origin.

    A parent is the client that handed the gene on: as it stood in the latest round before in which
    that client took part. Between a probe's row and the next one, the gene was also moved a little
    (see ``strategies.evolution.start.jitter``), which no row tells. Of the two parents of an
    average, the way follows one: of rates and of batch sizes the other one each.

    Args:
        rows: All rows of one arm.
        holder: One of them, where the way ends.
        gene: Which gene to follow; after a few rounds the two have other ancestors.

    Returns:
        The steps, oldest first. The way breaks off where a parent has no earlier row.
    """
    by_client: dict[int, list[ClientRow]] = {}
    for row in sorted(rows, key=lambda row: row.round):
        by_client.setdefault(row.client, []).append(row)
    steps: list[Step] = []
    current: ClientRow | None = holder
    while current is not None:
        step = _step(current, gene)
        steps.append(step)
        giver = step.parent
        if giver is None and step.origin in KEPT:  # its own, if it had it before
            giver = current.client
        mine = by_client.get(giver, []) if giver is not None else []
        before = bisect_left(mine, current.round, key=lambda row: row.round)
        current = mine[before - 1] if before else None
    return steps[::-1]


def _step(row: ClientRow, gene: Gene) -> Step:
    parents = row.parent, row.batch_parent
    if gene == "learning rate":
        value, factor = row.learning_rate, row.mutation or 1.0
    else:
        value, factor, parents = row.batch_size, 1.0, parents[::-1]
    parent, other = parents
    origin = row.origin or ""
    other = other if origin == AVERAGE else None
    return Step(row.round, row.client, value or math.nan, origin, parent, factor, other)


def tell(steps: Sequence[Step], form: str) -> list[str]:
    """Say a gene's way in sentences; rounds in which its holder just kept it are one.

    Args:
        steps: What ``ancestry`` returned.
        form: How its values are written, as ``format`` takes it.
    """
    told: list[str] = []
    begin = 0
    for end in range(1, len(steps) + 1):
        first = steps[begin]
        if end < len(steps) and _keeps(first) and _keeps(steps[end]):
            if (steps[end].client, steps[end].value) == (first.client, first.value):
                continue
        last = steps[end - 1]
        rounds = (
            f"Round {first.round}"
            if last.round == first.round
            else f"Rounds {first.round} to {last.round}"
        )
        moved = begin > 0 and _is_probe(steps[begin - 1])
        kept = begin == 0 or moved or steps[begin - 1].value == first.value
        told.append(f"{rounds}: {_how(first, form, kept)}{MOVED if moved else ''}.")
        begin = end
    return told


def _is_probe(step: Step) -> bool:
    return step.round == 0 and step.origin == "probe"


def _keeps(step: Step) -> bool:
    return step.origin in KEPT and step.parent in (None, step.client)


def _how(step: Step, form: str, kept: bool) -> str:
    value = format(step.value, form)
    if step.parent is None:
        if step.origin == "drawn":
            return f"client {step.client} draws {value}"
        return f"client {step.client} starts with {value} ({step.origin})"
    if _keeps(step):
        return f"client {step.client} keeps {value} ({step.origin})"
    same = ", unchanged" if kept or step.other is not None else ", perturbed"
    mutated = f" times {step.factor:g}" if step.factor != 1 else same
    if step.other is not None:
        whose = f"clients {step.parent} and {step.other}"
        return f"client {step.client} takes the mean of {whose}{mutated}: {value}"
    if step.parent == step.client:
        how = f"has its own{mutated}" if step.factor != 1 or not kept else "keeps its own"
        return f"client {step.client} {how}: {value}"
    return f"client {step.client} inherits from client {step.parent}{mutated}: {value}"
