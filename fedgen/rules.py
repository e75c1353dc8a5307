"""Rules of local training beside the optimiser's own step.

Each is traced into a compiled loop of its own when it is first asked for
(``fedgen.training``): plain training knows nothing of them. An instance holds one
client's numbers and arrays, which are arguments of the loop; the static methods are
what is traced.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedgen.optimizers import Optimizer, Weights

Carry = tuple[Any, ...]
"""Float32 scalars that a rule hands from step to step."""


@dataclass(frozen=True)
class Step:
    """One step of the compiled loop; lists have an entry per trainable weight.

    Attributes:
        variables: Weights, to be updated in place.
        first: Room for the optimiser's or the rule's state.
        second: Likewise.
        start: Weights that training began from.
        weights: Weights before this step.
        gradients: Gradients of the batch's mean loss there.
        differentiate: Returns the gradients of the same batch at other weights.
        rate: Learning rate, a float32 scalar.
        number: Number of this step, from 1, a float32 scalar.
        momentum: Momentum of SGD, a float32 scalar.
        numbers: The rule's numbers.
        arrays: The rule's arrays, if it has any.
    """

    variables: list[tf.Variable]
    first: list[tf.Variable]
    second: list[tf.Variable]
    start: Sequence[Any]
    weights: Sequence[Any]
    gradients: Sequence[Any]
    differentiate: Callable[[Sequence[Any]], Sequence[Any]]
    rate: Any
    number: Any
    momentum: Any
    numbers: Any
    arrays: Sequence[Any]


class Rule(ABC):
    """What a client does with its gradients."""

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The rule's numbers; as many for every instance of a kind."""
        return np.zeros(0, np.float32)

    @property
    def arrays(self) -> Weights:
        """The rule's arrays, one per weight in the model's order; or none."""
        return []

    @staticmethod
    def carry(rate: Any, numbers: Any) -> Carry:
        """Return what is carried into the first step."""
        return ()

    @staticmethod
    @abstractmethod
    def take(step: Step, optimizer: Optimizer, carried: Carry) -> Carry:
        """Update the weights in place, and return what is carried on."""

    @staticmethod
    def mean_rate(rate: Any, carried: Carry, steps: Any) -> Any:
        """Return the mean of the rates that the update operations received."""
        return rate


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

    @staticmethod
    def take(step: Step, optimizer: Optimizer, carried: Carry) -> Carry:
        """Add the term's gradient, ``mu (w - w_start)``, and let the optimiser step."""
        gradients = [
            gradient + step.numbers[0] * (weight - start)
            for gradient, weight, start in zip(
                step.gradients, step.weights, step.start, strict=True
            )
        ]
        optimizer.apply(
            step.variables,
            step.first,
            step.second,
            gradients,
            step.rate,
            step.number,
            step.momentum,
        )
        return carried


@dataclass(frozen=True)
class Corrected(Rule):
    """SGD on corrected gradients: ``w <- w - rate (g + offset)``, whatever the optimiser.

    With the difference of SCAFFOLD's control variates, ``c - c_i``, as the offset, it
    is that algorithm's local step (Karimireddy et al., 2020, arXiv 1910.06378, algorithm 1).

    Attributes:
        offset: One array per weight in the model's order.
    """

    offset: Weights

    @property
    def arrays(self) -> Weights:
        """The offset."""
        return self.offset

    @staticmethod
    def take(step: Step, optimizer: Optimizer, carried: Carry) -> Carry:
        """Step against the corrected gradients."""
        _descend(step, step.rate, [g + c for g, c in zip(step.gradients, step.arrays, strict=True)])
        return carried


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

    @staticmethod
    def carry(rate: Any, numbers: Any) -> Carry:
        """Return the step size, theta, and the sum of all step sizes."""
        return rate, numbers[2], tf.constant(0.0)

    @staticmethod
    def take(step: Step, optimizer: Optimizer, carried: Carry) -> Carry:
        """Tune the step size, step, and remember the weights."""
        eta, theta, total = carried
        gamma, delta = step.numbers[0], step.numbers[1]
        begun = step.number > 1
        previous = [
            tf.where(begun, last.read_value(), weight)
            for last, weight in zip(step.second, step.weights, strict=True)
        ]
        moved = _distance(step.weights, previous)
        turned = _distance(step.gradients, step.differentiate(previous))
        known = tf.logical_and(moved > 0, turned > 0)
        smooth = tf.where(known, gamma * moved / (2 * turned), np.float32(np.inf))
        tuned = tf.minimum(smooth, tf.sqrt(1 + delta * theta) * eta)
        size = tf.where(begun, tuned, eta)
        _descend(step, size, step.gradients)
        for last, weight in zip(step.second, step.weights, strict=True):
            last.assign(weight)
        return size, tf.where(begun, size / eta, theta), total + size

    @staticmethod
    def mean_rate(rate: Any, carried: Carry, steps: Any) -> Any:
        """Return the mean step size."""
        return carried[2] / steps


def _descend(step: Step, rate: Any, gradients: Sequence[Any]) -> None:
    for variable, gradient in zip(step.variables, gradients, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)


def _distance(one: Sequence[Any], other: Sequence[Any]) -> Any:
    pairs = zip(one, other, strict=True)
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in pairs]))
