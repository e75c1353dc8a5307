"""Settings of strategies: kinds of values, and what several strategies share.

A strategy owns a frozen dataclass, its ``Settings``, whose fields have a kind, a default and a
line of what they are. Ranges are those of ``annotated_types``: whoever reads settings from a
file can check them, and nothing here imports a framework.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from strategies.core.hyperparameters import Genome

Positive = Annotated[int, Ge(1), Lt(2**31)]
Count = Annotated[int, Ge(0), Lt(2**63)]
Rate = Annotated[float, Gt(0)]
Share = Annotated[float, Gt(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
ZeroToOne = Annotated[float, Ge(0), Le(1)]
NotNegative = Annotated[float, Ge(0)]

RATES = (1e-7, 1e-3)
"""Lowest and highest learning rate that random genes start with, as in the published code."""


@dataclass(frozen=True)
class FixedRate:
    """Settings of a strategy in which everybody trains alike."""

    learning_rate: Rate = 1e-4
    """Learning rate of everybody."""
    batch_size: Positive = 32
    """Batch size of everybody."""


@dataclass(frozen=True)
class RandomRates:
    """Settings of a strategy whose clients' rates are drawn.

    Raises:
        ValueError: If the higher rate comes first.
    """

    rates: tuple[Rate, Rate] = RATES
    """Lowest and highest learning rate that is drawn, log-uniformly."""

    def __post_init__(self) -> None:
        if self.rates[0] > self.rates[1]:
            raise ValueError(f"rates: expected the lower rate first, received {[*self.rates]}")


def fixed_genome(settings: Any) -> Genome:
    """Return what everybody trains with, as far as settings say it, else as ``FixedRate`` does.

    That is their ``genome``, if they have one, or their learning rate and batch size.
    """
    usual = FixedRate()
    rate = getattr(settings, "learning_rate", usual.learning_rate)
    genome: Genome = getattr(
        settings, "genome", Genome(rate, getattr(settings, "batch_size", usual.batch_size))
    )
    return genome
