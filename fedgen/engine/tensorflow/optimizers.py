"""Optimisers as fused update kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fedgen.engine.plan import Kind

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Keras' defaults of Adam."""


@dataclass(frozen=True)
class Optimizer:
    """Adam (Kingma and Ba, 2014, arXiv 1412.6980), or SGD with momentum, as Keras has them.

    A chain of small operations in their place costs up to a tenth of a step.
    """

    kind: Kind
    momentum: float = 0.0

    def apply(
        self,
        weights: list[tf.Variable],
        first: list[tf.Variable],
        second: list[tf.Variable],
        gradients: Sequence[Any],
        rate: Any,
        step: Any,
        momentum: Any,
    ) -> None:
        """Update weights and moments in place.

        Args:
            weights: Variables to update.
            first: Adam's first moments, or SGD's velocities.
            second: Adam's second moments; SGD leaves them alone.
            gradients: One gradient per variable.
            rate: Learning rate, a float32 scalar.
            step: Number of this step, from 1, a float32 scalar.
            momentum: Momentum of SGD, a float32 scalar; Adam leaves it alone.
        """
        power_1, power_2 = tf.pow(BETA_1, step), tf.pow(BETA_2, step)
        for weight, m, v, gradient in zip(weights, first, second, gradients, strict=True):
            if self.kind == "adam":
                tf.raw_ops.ResourceApplyAdam(
                    var=weight.handle,
                    m=m.handle,
                    v=v.handle,
                    beta1_power=power_1,
                    beta2_power=power_2,
                    lr=rate,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    epsilon=EPSILON,
                    grad=gradient,
                )
            else:
                tf.raw_ops.ResourceApplyKerasMomentum(
                    var=weight.handle,
                    accum=m.handle,
                    lr=rate,
                    grad=gradient,
                    momentum=momentum,
                )


def descend(weights: list[tf.Variable], gradients: Sequence[Any], rate: Any) -> None:
    """Update weights in place by ``w <- w - rate g``."""
    for weight, gradient in zip(weights, gradients, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)
