"""Rules of local training beside the optimiser's own step: what a client is asked to follow.

An instance holds one client's numbers and arrays; no framework is imported here. How an
engine takes such steps is its own: see ``fedgen.engine.tensorflow.steps``.
"""

from abc import ABC
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strategies.core.aggregation import Arrays


class Rule(ABC):  # noqa: B024  # a plain base: a rule may have no numbers and no arrays
    """What a client does with its gradients."""

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The rule's numbers; as many for every instance of a kind."""
        return np.zeros(0, np.float32)

    @property
    def arrays(self) -> Arrays:
        """The rule's arrays, one per weight in the model's order; or none."""
        return []


@dataclass(frozen=True)
class Proximal(Rule):
    """The optimiser on the loss plus ``mu / 2 ||w - w_start||^2`` (FedProx).

    After Li et al., 2020 (arXiv 1812.06127), whose local solver is left open. The
    reported training loss is without this term.

    Attributes:
        mu: Weight of the term, at least 0.
    """

    mu: float

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The weight of the term."""
        return np.array([self.mu], np.float32)


@dataclass(frozen=True)
class Corrected(Rule):
    """SGD on corrected gradients: ``w <- w - rate (g + offset)``, whatever the optimiser.

    With the difference of SCAFFOLD's control variates, ``c - c_i``, as the offset, it
    is that algorithm's local step (Karimireddy et al., 2020, arXiv 1910.06378, algorithm 1).

    Attributes:
        offset: One array per weight in the model's order.
    """

    offset: Arrays

    @property
    def arrays(self) -> Arrays:
        """The offset."""
        return self.offset


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

    @property
    def numbers(self) -> NDArray[np.float32]:
        """gamma, delta and theta_0."""
        return np.array([self.gamma, self.delta, self.theta], np.float32)
