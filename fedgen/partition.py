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

SMALL = 10_000
"""Training sets smaller than this are cut into slices five times as long."""


@dataclass(frozen=True)
class Slice:
    """A contiguous stretch of the training set: samples ``start`` to ``stop - 1``."""

    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
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
        shards: What each client trains and validates on.
        validation: Indices that train nobody, ascending.
        training: All other indices, ascending.
    """

    slices: tuple[Slice, ...]
    shards: tuple[Shard, ...]
    validation: Indices
    training: Indices


def slice_lengths(samples: int, shortest: int, longest: int) -> tuple[int, int]:
    """Fill in the bounds of a slice's length: [2 %, 8 %), or [10 %, 40 %) of small sets."""
    low, high = (0.02, 0.08) if samples >= SMALL else (0.10, 0.40)
    if not shortest:
        shortest = max(1, min(int(low * samples), longest - 1 if longest else samples))
    return shortest, longest or max(shortest + 1, int(high * samples))


def contiguous(
    samples: int, clients: int, seed: int, shortest: int = 0, longest: int = 0
) -> tuple[Slice, ...]:
    """Give every client one random contiguous slice; slices may overlap.

    Args:
        samples: Size of the training set.
        clients: Number of clients.
        seed: Seed of the run.
        shortest: Smallest length, 0 for the default of ``slice_lengths``.
        longest: Lengths are smaller than this, 0 for the default.

    Returns:
        One slice per client: length uniform in [shortest, longest), origin
        uniform in the first 90 % of the set, cut at its end.
    """
    shortest, longest = slice_lengths(samples, shortest, longest)
    slices = []
    for client in range(clients):
        draw = rng(seed, "partition", 0, client)
        length = int(draw.integers(shortest, max(longest, shortest + 1)))
        start = int(draw.integers(0, max(1, samples * 9 // 10)))
        slices.append(Slice(start, min(start + length, samples)))
    return tuple(slices)


def hold_out(samples: int, fraction: float, seed: int) -> Indices:
    """Draw the samples that train nobody; at least one, and at least one is left."""
    size = min(max(1, round(fraction * samples)), samples - 1)
    chosen = rng(seed, "validation").choice(samples, size=size, replace=False)
    return np.sort(chosen).astype(np.int32)


def divide(part: Slice, held_out: NDArray[np.bool_]) -> Shard:
    """Split a slice into training and validation samples.

    A slice without a held-out sample validates on the held-out sample nearest
    to it, one with nothing else trains on the nearest other sample, so neither
    side is ever empty and neither leaks.

    Args:
        part: The client's slice.
        held_out: Array of shape (samples,), true where a sample trains nobody.
    """
    inside = np.arange(part.start, part.stop, dtype=np.int32)
    kept = held_out[part.start : part.stop]
    train, validation = inside[~kept], inside[kept]
    middle = (part.start + part.stop) / 2
    if not validation.size:
        validation = _nearest(np.flatnonzero(held_out), middle)
    if not train.size:
        train = _nearest(np.flatnonzero(~held_out), middle)
    return Shard(train, validation)


def partition(
    samples: int,
    clients: int,
    seed: int,
    *,
    validation_fraction: float = 0.1,
    min_samples: int = 0,
    max_samples: int = 0,
) -> Partition:
    """Partition a training set of ``samples`` (at least 2) among ``clients``.

    The held-out share is drawn over the whole set by index, so slices that
    overlap agree on it: nobody trains on what another client validates on.
    """
    validation = hold_out(samples, validation_fraction, seed)
    held_out = np.zeros(samples, bool)
    held_out[validation] = True
    slices = contiguous(samples, clients, seed, min_samples, max_samples)
    return Partition(
        slices=slices,
        shards=tuple(divide(part, held_out) for part in slices),
        validation=validation,
        training=np.flatnonzero(~held_out).astype(np.int32),
    )


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


def _nearest(candidates: NDArray[np.int64], middle: float) -> Indices:
    index = int(np.argmin(np.abs(candidates - middle)))
    return candidates[index : index + 1].astype(np.int32)
