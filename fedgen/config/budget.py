"""How much an arm may spend, of one unit of cost."""

import math
from dataclasses import dataclass

from fedgen.errors import unknown

CLIENT_EPOCHS = "client-epochs"
SIMULATED_SECONDS = "simulated-seconds"

UNITS = (CLIENT_EPOCHS, "samples", "bytes", SIMULATED_SECONDS)
"""Units of cost, the fair one first."""


@dataclass(frozen=True)
class Budget:
    """An amount of one unit that an arm may spend, its search or probe included.

    Attributes:
        unit: One of ``UNITS``.
        amount: Greater than 0.
    """

    unit: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:,.10g} {self.unit}"


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
    if unit not in UNITS:
        raise ValueError(str(unknown("unit of a budget", unit, UNITS)))
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise ValueError(f"expected an amount greater than 0, received {text!r}")
    return Budget(unit, amount)
