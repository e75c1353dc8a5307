"""The corrected gradients of SCAFFOLD."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from fedgen.engine.rules.rule import Carry, Records, Rule, Step
from strategies.core.aggregation import Arrays
from strategies.messages import protocol

if TYPE_CHECKING:
    from fedgen.engine.plan import Trained


@dataclass(frozen=True)
class Corrected(Rule):
    """SGD on corrected gradients: ``w <- w - rate (g + offset)``, whatever the optimiser.

    With the difference of SCAFFOLD's control variates, ``c - c_i``, as the offset, it
    is that algorithm's local step (Karimireddy et al., 2020, arXiv 1910.06378, algorithm 1).

    Attributes:
        offset: One array per weight in the model's order.
    """

    offset: Arrays

    name = protocol.GRADIENT_OFFSET
    descends = True

    @classmethod
    def read(cls, config: Mapping[str, Any], records: Records) -> Self:
        """Take the offset."""
        return cls(list(records[protocol.GRADIENT_OFFSET]))

    def acknowledge(self, trained: "Trained") -> dict[str, float]:
        """Return how many corrected steps were taken."""
        return {protocol.LOCAL_STEPS: trained.steps}

    @property
    def arrays(self) -> Arrays:
        """The offset."""
        return self.offset

    @staticmethod
    def direct(step: Step, carried: Carry) -> tuple[Sequence[Any], Any, Carry]:
        """Correct the gradients."""
        pairs = zip(step.gradients, step.arrays, strict=True)
        return [gradient + offset for gradient, offset in pairs], step.rate, carried
