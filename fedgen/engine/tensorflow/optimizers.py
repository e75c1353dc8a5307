"""Optimisers as fused update kernels, where TensorFlow has one that does what Keras does.

A chain of small operations in their place costs up to a tenth of a step. TensorFlow's kernel of
Adagrad adds epsilon to the root, and Keras to what is under it: that one is such a chain.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from fedgen.engine.learning.descent import ACCUMULATED, BETA_1, BETA_2, EPSILON, RHO, Descent


def apply(
    descent: Descent,
    weights: list[tf.Variable],
    first: list[tf.Variable],
    second: list[tf.Variable],
    gradients: Sequence[Any],
    rate: Any,
    step: Any,
    further: Mapping[str, Any],
) -> None:
    """Update weights and moments in place.

    Args:
        descent: Which optimiser.
        weights: Variables to update.
        first: First moments, or SGD's velocities; RMSprop overwrites them with what it subtracts.
        second: Second moments; SGD leaves them alone.
        gradients: One gradient per variable.
        rate: Learning rate, a float32 scalar.
        step: Number of this step, from 1, a float32 scalar.
        further: The momentum of SGD, which the others leave alone, and where AdamW's weight decay
            is not the descent's own, that, too; float32 scalars.
    """
    kind = descent.optimizer
    if kind == "adamw":
        # The weights themselves as gradients.
        decay = further.get("weight_decay", descent.weight_decay)
        descend(weights, [weight.read_value() for weight in weights], rate * decay)
    power_1, power_2 = tf.pow(BETA_1, step), tf.pow(BETA_2, step)
    for weight, m, v, gradient in zip(weights, first, second, gradients, strict=True):
        if kind in ("adam", "adamw"):
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
        elif kind == "sgd":
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weight.handle,
                accum=m.handle,
                lr=rate,
                grad=gradient,
                momentum=further["momentum"],
                use_nesterov=descent.nesterov,
            )
        elif kind == "rmsprop":
            tf.raw_ops.ResourceApplyRMSProp(
                var=weight.handle,
                ms=v.handle,
                mom=m.handle,
                lr=rate,
                rho=RHO,
                momentum=0.0,
                epsilon=EPSILON,
                grad=gradient,
            )
        else:
            v.assign_add(tf.square(gradient))
            weight.assign_sub(rate * gradient / tf.sqrt(v.read_value() + (ACCUMULATED + EPSILON)))


def descend(weights: list[tf.Variable], gradients: Sequence[Any], rate: Any) -> None:
    """Update weights in place by ``w <- w - rate g``."""
    for weight, gradient in zip(weights, gradients, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)
