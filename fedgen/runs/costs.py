"""What rounds cost, by unit."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from fedgen.config.budget import CLIENT_EPOCHS, SIMULATED_SECONDS, Budget
from fedgen.config.metrics import ACCURACY, Metric
from fedgen.runs.rows import RoundRow

COSTS: dict[str, Callable[[RoundRow], float]] = {
    CLIENT_EPOCHS: lambda row: row.client_epochs,
    "samples": lambda row: row.samples,
    "bytes": lambda row: row.bytes_down + row.bytes_up,
    SIMULATED_SECONDS: lambda row: row.simulated_seconds or 0.0,
}
"""What a round costs, by unit."""


def spent(rows: Sequence[RoundRow], unit: str = CLIENT_EPOCHS) -> list[float]:
    """Return the cost up to and with each round; a search's or probe's is round 0's."""
    return list(accumulate(map(COSTS[unit], rows)))


def left(limit: Budget, rows: Sequence[RoundRow]) -> float:
    """Return what of a budget is left after some rounds; negative where they went beyond it."""
    return limit.amount - math.fsum(map(COSTS[limit.unit], rows))


def best(rows: Sequence[RoundRow], metric: Metric = ACCURACY) -> RoundRow:
    """Return the row of the best validation metric, the earliest one on a tie.

    The test set has no say in it. Where no round has the metric, it is the first one.
    """
    evaluated = sorted((row for row in rows if row.evaluated), key=lambda row: row.round)
    found = evaluated[0]
    for row in evaluated[1:]:
        value, before = row.value("validation", metric.name), found.value("validation", metric.name)
        if value is not None and (before is None or metric.better(value, before)):
            found = row
    return found


def unimproved(rows: Sequence[RoundRow], unit: str, metric: Metric) -> float:
    """Return what has been spent since the round of the best validation metric.

    Args:
        rows: The rounds of one arm in their order, the first one evaluated.
        unit: Of the cost.
        metric: What decides.
    """
    since = best(rows, metric).round
    return math.fsum(COSTS[unit](row) for row in rows if row.round > since)
