"""Optimisers as functions of one lane: weights and moments in, weights and moments out."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from fedgen.engine.learning.descent import ACCUMULATED, BETA_1, BETA_2, EPSILON, RHO, Descent

Lists = tuple[list[Any], list[Any], list[Any]]


def step(
    descent: Descent,
    weights: Sequence[Any],
    first: Sequence[Any],
    second: Sequence[Any],
    gradients: Sequence[Any],
    rate: Any,
    number: Any,
    further: Mapping[str, Any],
) -> Lists:
    """Step as Keras' optimisers do.

    Args:
        descent: Which optimiser.
        weights: Trainable weights.
        first: First moments, or SGD's velocities; RMSprop and Adagrad leave them alone.
        second: Second moments; SGD leaves them alone.
        gradients: One gradient per weight.
        rate: Learning rate, a float32 scalar.
        number: Number of this step, from 1, a float32 scalar.
        further: The momentum of SGD, which the others leave alone, and where AdamW's weight decay
            is not the descent's own, that, too; float32 scalars.

    Returns:
        Weights, first and second moments.
    """
    kind = descent.optimizer
    if kind == "sgd":
        momentum = further["momentum"]
        velocities = [momentum * v - rate * g for v, g in zip(first, gradients, strict=True)]
        ahead = velocities
        if descent.nesterov:
            ahead = [momentum * v - rate * g for v, g in zip(velocities, gradients, strict=True)]
        return [w + v for w, v in zip(weights, ahead, strict=True)], velocities, list(second)
    if kind in ("rmsprop", "adagrad"):
        before = RHO if kind == "rmsprop" else 1.0
        share = 1 - RHO if kind == "rmsprop" else 1.0
        begun = 0.0 if kind == "rmsprop" else ACCUMULATED
        second = [before * v + share * g * g for v, g in zip(second, gradients, strict=True)]
        squares = zip(weights, gradients, second, strict=True)
        moved = [w - rate * g / jnp.sqrt(v + (begun + EPSILON)) for w, g, v in squares]
        return moved, list(first), second
    if kind == "adamw":
        decay = further.get("weight_decay", descent.weight_decay)
        weights = descend(weights, weights, rate * decay)
    size = rate * jnp.sqrt(1 - BETA_2**number) / (1 - BETA_1**number)
    first = [m + (1 - BETA_1) * (g - m) for m, g in zip(first, gradients, strict=True)]
    second = [v + (1 - BETA_2) * (g * g - v) for v, g in zip(second, gradients, strict=True)]
    moments = zip(weights, first, second, strict=True)
    return [w - size * m / (jnp.sqrt(v) + EPSILON) for w, m, v in moments], first, second


def clip(gradients: Sequence[Any], longest: Any) -> list[Any]:
    """Cut all gradients together to a norm, as Keras' ``global_clipnorm`` does.

    A norm that is not finite makes all of them NaN.
    """
    norm = jnp.sqrt(sum((jnp.sum(jnp.square(g)) for g in gradients), jnp.float32(0)))
    scale = longest * jnp.minimum(1 / norm, 1 / longest) + (norm - norm)
    return [scale * gradient for gradient in gradients]


def descend(weights: Sequence[Any], gradients: Sequence[Any], rate: Any) -> list[Any]:
    """Step by ``w <- w - rate g``."""
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)]
