"""Who holds which samples, and which samples train nobody.

Pure NumPy over named streams: a partition is a function of the data set's size
and the seed, whatever the strategy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strategies.streams import rng

Indices = NDArray[np.int32]


@dataclass(frozen=True)
class Slice:
    """A contiguous stretch of the training set: samples ``start`` to ``stop - 1``."""

    start: int
    stop: int


@dataclass(frozen=True)
class ClientIndices:
    """The samples of one client, as ascending indices into the training set.

    ``train`` and ``validation`` each hold at least one; no index is in anybody's
    ``train`` and anybody's ``validation``.
    """

    train: Indices
    validation: Indices


@dataclass(frozen=True)
class Partition:
    """All clients' samples, and the held-out share that the server validates on.

    Attributes:
        slices: The stretch of the training set that each client was given; empty where
            clients hold no stretches.
        clients: What each client trains and validates on.
        validation: Indices that train nobody, ascending.
        training: All other indices, ascending.
    """

    slices: tuple[Slice, ...]
    clients: tuple[ClientIndices, ...]
    validation: Indices
    training: Indices


def hold_out(samples: int, fraction: float, seed: int) -> Indices:
    """Draw the samples that train nobody; at least one, and at least one is left."""
    size = min(max(1, round(fraction * samples)), samples - 1)
    chosen = rng(seed, "validation").choice(samples, size=size, replace=False)
    return np.sort(chosen).astype(np.int32)


def effective_labels(counts: Sequence[Sequence[int]]) -> float:
    """Return how many equally frequent labels would be as mixed as a client's: 1 to the classes.

    The mean over clients of exp(H), H being the Shannon entropy of a client's label shares: the
    diversity of order 1 (Jost, 2006, Entropy and diversity, Oikos 113, 363-375).

    Args:
        counts: Training samples per class of every client, at least one client with any.
    """
    held = [np.array([count for count in row if count], np.float64) for row in counts]
    shares = [row / row.sum() for row in held if row.size]
    return float(np.mean([np.exp(-(share * np.log(share)).sum()) for share in shares]))
