"""How rules' steps are taken inside the compiled loop.

Each kind is traced into a loop of its own when it is first asked for (see ``engine``): plain
training knows nothing of them. A rule's numbers and arrays are arguments of the loop.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from fedgen.engine.rules import AutoTuned, Corrected, Proximal, Rule
from fedgen.engine.tensorflow.optimizers import Optimizer

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


class LocalStep(ABC):
    """How a rule's steps are taken; the static methods are what is traced."""

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


class ProximalStep(LocalStep):
    """See ``Proximal``."""

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


class CorrectedStep(LocalStep):
    """See ``Corrected``."""

    @staticmethod
    def take(step: Step, optimizer: Optimizer, carried: Carry) -> Carry:
        """Step against the corrected gradients."""
        _descend(step, step.rate, [g + c for g, c in zip(step.gradients, step.arrays, strict=True)])
        return carried


class AutoTunedStep(LocalStep):
    """See ``AutoTuned``."""

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


STEPS: dict[type[Rule], type[LocalStep]] = {
    Proximal: ProximalStep,
    Corrected: CorrectedStep,
    AutoTuned: AutoTunedStep,
}
"""How the steps of every kind of rule are taken."""


def _descend(step: Step, rate: Any, gradients: Sequence[Any]) -> None:
    for variable, gradient in zip(step.variables, gradients, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)


def _distance(one: Sequence[Any], other: Sequence[Any]) -> Any:
    pairs = zip(one, other, strict=True)
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in pairs]))
