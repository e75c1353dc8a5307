"""Initial weights drawn with NumPy, so that they are the same bytes on every back end of Keras.

Keras hands an initialiser's seed to the generators of its back end, which draw other numbers of
equal seeds. Inside ``drawn_by_numpy`` the three functions that Keras' own initialisers draw with
are NumPy's, and so is ``Orthogonal``, which computes further; initialisers of a user's own that
draw by ``keras.random`` are served by them as well.
"""

import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_one_at_a_time = threading.RLock()


@contextmanager
def drawn_by_numpy() -> Iterator[None]:
    """Let layers that are built in a ``with`` block draw their weights with NumPy.

    What Keras draws with is the process' own: only one thread at a time is in such a block.
    """
    with _one_at_a_time:
        yield from _replaced()


def _replaced() -> Iterator[None]:
    # The back end's module, by the name that Keras' initialisers know it by.
    draws: Any = sys.modules[keras.initializers.RandomNormal.__module__].random
    orthogonal = keras.initializers.Orthogonal
    ours = [
        (draws, "uniform", _uniform),
        (draws, "normal", _normal),
        (draws, "truncated_normal", _truncated_normal),
        (orthogonal, "__call__", _orthogonal),
    ]
    theirs = [(place, name, getattr(place, name)) for place, name, _ in ours]
    for place, name, function in ours:
        setattr(place, name, function)
    try:
        yield
    finally:
        for place, name, function in theirs:
            setattr(place, name, function)


def _uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    span = np.float32(maxval) - np.float32(minval)
    return _tensor(_generator(seed).random(shape, np.float32) * span + np.float32(minval), dtype)


def _normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    draws = _generator(seed).standard_normal(shape, np.float32)
    return _tensor(draws * np.float32(stddev) + np.float32(mean), dtype)


def _truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Draw what lies within two standard deviations, and the rest again."""
    draw = _generator(seed)
    draws = draw.standard_normal(shape, np.float32)
    while (far := np.abs(draws) > 2).any():
        draws = np.where(far, draw.standard_normal(shape, np.float32), draws)
    return _tensor(draws * np.float32(stddev) + np.float32(mean), dtype)


def _orthogonal(initialiser: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Return a matrix with orthogonal rows or columns, uniform among them (Mezzadri, 2007).

    Back ends factorise with rounding of their own; here it is in float64, and rounded once.
    """
    if len(shape) < 2:
        raise ValueError(f"Orthogonal: expected two axes or more, received shape {tuple(shape)}")
    rows, columns = math.prod(shape[:-1]), shape[-1]
    draws = _generator(initialiser.seed).standard_normal((max(rows, columns), min(rows, columns)))
    found, triangle = np.linalg.qr(draws)
    found *= np.sign(np.diag(triangle))
    whole = found.T if rows < columns else found
    return _tensor((initialiser.gain * whole.reshape(shape)).astype(np.float32), dtype)


def _generator(seed: Any) -> np.random.Generator:
    """Return the generator of a seed as Keras' functions take it: a number, or a generator's."""
    if isinstance(seed, keras.random.SeedGenerator):
        seed = np.asarray(keras.ops.convert_to_numpy(seed.next())).tolist()
    if seed is None:
        seed = np.asarray(keras.random.SeedGenerator().state).tolist()
    return np.random.default_rng(seed)


def _tensor(draws: NDArray[np.float32], dtype: Any) -> Any:
    return keras.ops.convert_to_tensor(draws, dtype or keras.config.floatx())
