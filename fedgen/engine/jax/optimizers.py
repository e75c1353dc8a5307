"""Optimisers as functions of one lane: weights and moments in, weights and moments out."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from fedgen.engine.plan import Kind

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Keras' defaults of Adam."""

Lists = tuple[list[Any], list[Any], list[Any]]


def step(
    kind: Kind,
    weights: Sequence[Any],
    first: Sequence[Any],
    second: Sequence[Any],
    gradients: Sequence[Any],
    rate: Any,
    number: Any,
    momentum: Any,
) -> Lists:
    """Step by Adam (Kingma and Ba, 2014, arXiv 1412.6980), or SGD with momentum, as Keras has them.

    Args:
        kind: Which of the two.
        weights: Trainable weights.
        first: Adam's first moments, or SGD's velocities.
        second: Adam's second moments; SGD leaves them alone.
        gradients: One gradient per weight.
        rate: Learning rate, a float32 scalar.
        number: Number of this step, from 1, a float32 scalar.
        momentum: Momentum of SGD, a float32 scalar; Adam leaves it alone.

    Returns:
        Weights, first and second moments.
    """
    if kind == "sgd":
        velocities = [momentum * v - rate * g for v, g in zip(first, gradients, strict=True)]
        moved = [w + v for w, v in zip(weights, velocities, strict=True)]
        return moved, velocities, list(second)
    size = rate * jnp.sqrt(1 - BETA_2**number) / (1 - BETA_1**number)
    first = [m + (1 - BETA_1) * (g - m) for m, g in zip(first, gradients, strict=True)]
    second = [v + (1 - BETA_2) * (g * g - v) for v, g in zip(second, gradients, strict=True)]
    moments = zip(weights, first, second, strict=True)
    return [w - size * m / (jnp.sqrt(v) + EPSILON) for w, m, v in moments], first, second


def descend(weights: Sequence[Any], gradients: Sequence[Any], rate: Any) -> list[Any]:
    """Step by ``w <- w - rate g``."""
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)]
