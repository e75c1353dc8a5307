"""Contiguous slices: every client holds a random stretch of the training set."""

import numpy as np
from numpy.typing import NDArray

from fedgen.data.partitions.partition import ClientIndices, Indices, Partition, Slice, hold_out
from strategies.streams import rng

SMALL = 10_000
"""Training sets smaller than this are cut into slices five times as long."""


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


def divide(part: Slice, held_out: NDArray[np.bool_]) -> ClientIndices:
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
    return ClientIndices(train, validation)


def partition(
    samples: int,
    clients: int,
    seed: int,
    *,
    validation_fraction: float = 0.1,
    min_samples: int = 0,
    max_samples: int = 0,
    validation: Indices | None = None,
) -> Partition:
    """Partition a training set of ``samples`` (at least 2) among ``clients``.

    The held-out share is drawn over the whole set by index, so slices that
    overlap agree on it: nobody trains on what another client validates on. Where it is the data's
    own, the last of the samples, slices are of the others, and everybody validates on a slice of it
    that lies as theirs does.
    """
    if validation is not None:
        own = samples - len(validation)
        slices = contiguous(own, clients, seed, min_samples, max_samples)
        return Partition(
            slices=slices,
            clients=tuple(_beside(part, own, validation) for part in slices),
            validation=validation,
            training=np.arange(own, dtype=np.int32),
        )
    validation = hold_out(samples, validation_fraction, seed)
    held_out = np.zeros(samples, bool)
    held_out[validation] = True
    slices = contiguous(samples, clients, seed, min_samples, max_samples)
    return Partition(
        slices=slices,
        clients=tuple(divide(part, held_out) for part in slices),
        validation=validation,
        training=np.flatnonzero(~held_out).astype(np.int32),
    )


def _beside(part: Slice, own: int, validation: Indices) -> ClientIndices:
    """Return a slice of training samples, with the same stretch of the validation samples."""
    first = min(part.start * len(validation) // own, len(validation) - 1)
    end = max(part.stop * len(validation) // own, first + 1)
    train = np.arange(part.start, part.stop, dtype=np.int32)
    return ClientIndices(train, validation[first:end])


def _nearest(candidates: NDArray[np.int64], middle: float) -> Indices:
    index = int(np.argmin(np.abs(candidates - middle)))
    return candidates[index : index + 1].astype(np.int32)
