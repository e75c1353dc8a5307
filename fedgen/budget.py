"""What rounds cost, by unit, and how much of it a run may spend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fedgen.errors import unknown
from fedgen.records import RoundRow

CLIENT_EPOCHS = "client-epochs"
SIMULATED_SECONDS = "simulated-seconds"

COSTS: dict[str, Callable[[RoundRow], float]] = {
    CLIENT_EPOCHS: lambda row: row.client_epochs,
    "samples": lambda row: row.samples,
    "bytes": lambda row: row.bytes_down + row.bytes_up,
    SIMULATED_SECONDS: lambda row: row.simulated_seconds or 0.0,
}
"""Units of cost, the fair one first: what a round costs in each."""


@dataclass(frozen=True)
class Budget:
    """An amount of one unit that an arm may spend, its search or probe included.

    Attributes:
        unit: One of ``COSTS``.
        amount: Greater than 0.
    """

    unit: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:,.10g} {self.unit}"

    def spent(self, rows: Sequence[RoundRow]) -> list[float]:
        """Return what is spent up to and with each round."""
        return spent(rows, self.unit)

    def left(self, rows: Sequence[RoundRow]) -> float:
        """Return what is left after some rounds; negative where they went beyond it."""
        return self.amount - math.fsum(map(COSTS[self.unit], rows))


def spent(rows: Sequence[RoundRow], unit: str = CLIENT_EPOCHS) -> list[float]:
    """Return the cost up to and with each round; a search's or probe's is round 0's."""
    return list(accumulate(map(COSTS[unit], rows)))


def parse(text: str) -> Budget | None:
    """Read ``UNIT=AMOUNT``, as in ``client-epochs=600``; ``""`` is no budget.

    Raises:
        ValueError: If the text has another form, the unit is unknown, or the amount is not
            positive.
    """
    if not text:
        return None
    unit, equals, number = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"expected UNIT=AMOUNT, as in {CLIENT_EPOCHS}=600, received {text!r}")
    if unit not in COSTS:
        raise ValueError(str(unknown("unit of a budget", unit, COSTS)))
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise ValueError(f"expected an amount greater than 0, received {text!r}")
    return Budget(unit, amount)
