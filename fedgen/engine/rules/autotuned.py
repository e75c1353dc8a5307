"""The step sizes of Delta-SGD."""

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
class AutoTuned(Rule):
    """SGD whose step size follows the local smoothness, whatever the optimiser (Delta-SGD).

    After Kim et al., 2023 (arXiv 2306.11201): step k = 0 has the learning rate as its size;
    then

        eta_k = min(gamma ||w_k - w_k-1|| / (2 ||g(w_k) - g(w_k-1)||),
                    sqrt(1 + delta theta_k-1) eta_k-1),    theta_k = eta_k / eta_k-1

    with both gradients of the same batch, as in the authors' code: a step costs two. Where
    a norm is 0 it tells nothing of the smoothness, and only the second bound holds.

    Attributes:
        gamma: Factor on the inverse of the estimated smoothness, greater than 0.
        delta: How fast step sizes may grow, at least 0.
        theta: theta_0, greater than 0.
    """

    gamma: float
    delta: float
    theta: float

    name = protocol.AUTO_TUNE
    descends = True
    looks_back = True

    @classmethod
    def read(cls, config: Mapping[str, Any], records: Records) -> Self:
        """Take gamma, delta and theta_0."""
        return cls(*config[protocol.AUTO_TUNE])

    def acknowledge(self, trained: "Trained") -> dict[str, float]:
        """Return the size of the first step."""
        return {protocol.INITIAL_RATE: trained.initial_rate}

    @property
    def numbers(self) -> NDArray[np.float32]:
        """gamma, delta and theta_0."""
        return np.array([self.gamma, self.delta, self.theta], np.float32)

    @staticmethod
    def carry(rate: Any, numbers: Any) -> Carry:
        """Return the step size, theta, and the sum of all step sizes."""
        return rate, numbers[2], 0.0 * rate

    @staticmethod
    def direct(step: Step, carried: Carry) -> tuple[Sequence[Any], Any, Carry]:
        """Tune the step size."""
        ops, (eta, theta, total) = step.ops, carried
        gamma, delta = step.numbers[0], step.numbers[1]
        moved = step.distance(step.weights, step.previous)
        turned = step.distance(step.gradients, step.gradients_before)
        known = ops.logical_and(moved > 0, turned > 0)
        smooth = ops.where(known, gamma * moved / (2 * turned), np.float32(np.inf))
        tuned = ops.minimum(smooth, ops.sqrt(1 + delta * theta) * eta)
        begun = step.number > 1
        size = ops.where(begun, tuned, eta)
        carried = size, ops.where(begun, size / eta, theta), total + size
        return step.gradients, size, carried

    @staticmethod
    def mean_rate(rate: Any, carried: Carry, steps: Any) -> Any:
        """Return the mean step size."""
        return carried[2] / steps
