"""The proximal term of FedProx."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fedgen.engine.rules.rule import Carry, Records, Rule, Step
from strategies.messages import protocol

if TYPE_CHECKING:
    from fedgen.engine.plan import Trained


@dataclass(frozen=True)
class Proximal(Rule):
    """The optimiser on the loss plus ``mu / 2 ||w - w_start||^2`` (FedProx).

    After Li et al., 2020 (arXiv 1812.06127), whose local solver is left open. The
    reported training loss is without this term.

    Attributes:
        mu: Weight of the term, at least 0.
    """

    mu: float

    name = protocol.PROXIMAL_MU

    @classmethod
    def read(cls, config: Mapping[str, Any], records: Records) -> Self:
        """Take the weight of the term."""
        return cls(config[protocol.PROXIMAL_MU])

    def acknowledge(self, trained: "Trained") -> dict[str, float]:
        """Return the weight that was applied, a float32."""
        return {protocol.PROXIMAL_MU: float(self.numbers[0])}

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The weight of the term."""
        return np.array([self.mu], np.float32)

    @staticmethod
    def direct(step: Step, carried: Carry) -> tuple[Sequence[Any], Any, Carry]:
        """Add the term's gradient, ``mu (w - w_start)``."""
        weights = zip(step.gradients, step.weights, step.start, strict=True)
        pulled = [gradient + step.numbers[0] * (w - start) for gradient, w, start in weights]
        return pulled, step.rate, carried
