"""What rounds cost, by unit."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from fedgen.config.budget import CLIENT_EPOCHS, SIMULATED_SECONDS, Budget
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
