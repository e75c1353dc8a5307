"""How the samples of a batch depend on one another in a model: what a batch may be cut into.

Most layers treat every sample for itself: a batch may be cut into tiles whose gradients add up.
Batch normalisation looks at the whole batch, but can be told which places count: a batch is one
tile, filled up. Whatever else looks at a batch, as a regulariser of activities does, needs batches
of the very size. Which it is, is found by asking the model, not by a list of layers.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedgen.data.dataset import Dataset
from fedgen.engine.jax.forward import Forward
from fedgen.engine.own_model import random_like

TILE = 16
"""Places of a tile on a device that computes many at once."""

SMALL, LARGE = 8, 32
"""Places of a tile where tiles are computed one after another."""


class Coupling(Enum):
    """What the samples of a batch have to do with one another."""

    NONE = "each is treated for itself"
    MASKED = "places of a batch can be left out"
    WHOLE = "a batch is what it is"

    def size(self, batch_size: int, samples: int, side_by_side: bool) -> Callable[[int], int]:
        """Return what tells the size of the tiles of a batch from its own size.

        It depends on the client's own settings alone, so that its results do.

        Args:
            batch_size: Samples in a full batch.
            samples: Samples of an epoch.
            side_by_side: Whether many tiles are computed at once.
        """
        full = min(batch_size, samples)
        if self is Coupling.WHOLE:
            return lambda batch: batch
        if self is Coupling.MASKED:
            size = max(SMALL, 1 << (full - 1).bit_length())
        elif side_by_side:
            size = TILE
        else:
            places = -(-full // LARGE) * LARGE
            size = LARGE if places <= 1.25 * full else SMALL
        return lambda _: size


def of(forward: Forward, dataset: Dataset) -> Coupling:
    """Return how the samples of a batch are coupled in a model.

    It is called on different batches that begin with the same sample, with random weights, as those
    at the start may hide a coupling.
    """
    draw = np.random.default_rng(0)
    model = forward.model
    weights = [random_like(draw, np.asarray(v.value)) for v in model.trainable_variables]
    state = [np.asarray(v.value) for v in model.non_trainable_variables]
    one, other = dataset.x_train[draw.integers(len(dataset.x_train), size=(2, 5))]
    other[0] = one[0]

    def call(images: Any, inside: Any) -> Any:
        pixels = images.astype(jnp.float32) * forward.scale
        return forward.first(weights, state, pixels, inside)

    alone = jax.jit(call)
    everybody = jnp.ones(5, bool)
    if _same(alone(one, everybody), alone(other, everybody)) and _close(
        alone(one, everybody), alone(one[:3], everybody[:3])
    ):
        return Coupling.NONE
    first = jnp.arange(5) < 1
    if _same(alone(one, first), alone(other, first)) and _close(
        alone(one, first), alone(one[:1], first[:1])
    ):
        return Coupling.MASKED
    return Coupling.WHOLE


def _same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _close(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in pairs)
