"""Who computes what at once: batches cut into tiles, and rows of tiles of many clients.

As inference servers batch requests, so an engine batches clients. A *tile* is a part of a client's
batch, of a fixed number of places; a *row* is what the device computes at once, tiles of any lanes.
A lane steps in the row that its batch ends in, at most once, as the next batch needs the weights
after this one. Pure functions of NumPy arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Tiles:
    """A client's consecutive batches, in tiles of one size.

    Attributes:
        indices: Of shape (n, size): samples; where a tile is not full, its batch's first again.
        valid: Of shape (n,): places with a sample of their own, from the first on.
        batch: Of shape (n,): samples in the tile's whole batch.
        number: Of shape (n,): the tile's place in its batch, from 0.
        tiles: Of shape (n,): tiles of its batch.
        epoch: Of shape (n,): the epoch, from 0.
    """

    indices: Ints
    valid: Ints
    batch: Ints
    number: Ints
    tiles: Ints
    epoch: Ints

    @property
    def size(self) -> int:
        """Places of a tile."""
        return int(self.indices.shape[1])

    def __len__(self) -> int:
        return len(self.indices)


def cut(order: Ints, batch_size: int, size_of: Callable[[int], int]) -> list[Tiles]:
    """Cut a local training into tiles.

    Args:
        order: Of shape (epochs, n): which samples, in which order.
        batch_size: Samples in a full batch; the last one of an epoch may be short.
        size_of: Returns the size of the tiles that a batch of so many samples is cut into.

    Returns:
        Parts in the order in which they are computed; neighbours differ in their size.
    """
    parts: list[Tiles] = []
    whole = order.shape[1] // batch_size * batch_size
    for epoch, samples in enumerate(order):
        for batches in (samples[:whole].reshape(-1, batch_size), samples[None, whole:]):
            if batches.size:
                parts.append(_tiles(batches, size_of(batches.shape[1]), epoch))
    joined: list[list[Tiles]] = []
    for part in parts:
        if joined and joined[-1][0].size == part.size:
            joined[-1].append(part)
        else:
            joined.append([part])
    return [_join(same) for same in joined]


def _tiles(batches: Ints, size: int, epoch: int) -> Tiles:
    """Cut equal batches of shape (batches, samples)."""
    count, samples = batches.shape
    tiles = -(-samples // size)
    filled = np.repeat(batches[:, :1], tiles * size, axis=1)
    filled[:, :samples] = batches
    number = np.tile(np.arange(tiles, dtype=np.int32), count)
    return Tiles(
        indices=filled.reshape(count * tiles, size),
        valid=np.minimum(samples - number * size, size).astype(np.int32),
        batch=np.full(count * tiles, samples, np.int32),
        number=number,
        tiles=np.full(count * tiles, tiles, np.int32),
        epoch=np.full(count * tiles, epoch, np.int32),
    )


def _join(parts: Sequence[Tiles]) -> Tiles:
    return Tiles(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Tiles.__dataclass_fields__
        }
    )


@dataclass(frozen=True)
class Waiting:
    """A lane's next tile.

    Attributes:
        tiles: The part that it is in.
        position: Its place in that part.
        steps: Steps that the lane has left.
    """

    tiles: Tiles
    position: int
    steps: int


@dataclass(frozen=True)
class Chunk:
    """Rows that the device computes one after another; K rows of T tiles of S places, L lanes.

    Attributes:
        rows: Rows in use, at most K.
        indices: Of shape (K, T, S).
        owner: Of shape (K, T): the lane of a tile; L where there is none.
        valid: Of shape (K, T).
        batch: Of shape (K, T).
        number: Of shape (K, T).
        tiles: Of shape (K, T).
        epoch: Of shape (K, T).
        used: Of shape (K,): tiles of a row in use, from the first on.
        first: Of shape (K, L): a lane's first tile in a row.
        count: Of shape (K, L): how many it has there, one after another.
        steps: Bool of shape (K, L): whether the lane's batch ends in the row.
        position: Where each lane's next tile is then.
    """

    rows: int
    indices: Ints
    owner: Ints
    valid: Ints
    batch: Ints
    number: Ints
    tiles: Ints
    epoch: Ints
    used: Ints
    first: Ints
    count: Ints
    steps: NDArray[np.bool_]
    position: Mapping[int, int]


def fill(
    waiting: Mapping[int, Waiting], lanes: int, shape: tuple[int, int], tiles_at_most: int
) -> Chunk:
    """Fill rows with the tiles of lanes, those with the most steps left first.

    The longest chain of steps decides when all is done, so it is never kept waiting.

    Args:
        waiting: By lane; their parts have tiles of one size.
        lanes: How many lanes there are.
        shape: Rows of the chunk, and tiles of a row.
        tiles_at_most: When to end: a further row is not begun beyond that many tiles.

    Returns:
        A chunk with at least one tile.
    """
    size = next(iter(waiting.values())).tiles.size
    taken = {name: np.zeros(shape, np.int32) for name in ("valid", "batch", "number", "epoch")}
    taken["tiles"] = np.ones(shape, np.int32)
    indices, owner = np.zeros((*shape, size), np.int32), np.full(shape, lanes, np.int32)
    used = np.zeros(shape[0], np.int32)
    first, count = (np.zeros((shape[0], lanes), np.int32) for _ in range(2))
    steps = np.zeros((shape[0], lanes), np.bool_)
    position = {lane: place.position for lane, place in waiting.items()}
    left = {lane: place.steps for lane, place in waiting.items()}
    row = total = 0
    while row < shape[0] and (not row or total < tiles_at_most):
        unfinished = [lane for lane in left if position[lane] < len(waiting[lane].tiles)]
        begin = 0
        for lane in sorted(unfinished, key=lambda lane: (-left[lane], lane)):
            part, at = waiting[lane].tiles, position[lane]
            take = min(int(part.tiles[at] - part.number[at]), shape[1] - begin)
            if not take:
                break
            here, end = slice(at, at + take), begin + take
            indices[row, begin:end] = part.indices[here]
            for name, array in taken.items():
                array[row, begin:end] = getattr(part, name)[here]
            owner[row, begin:end] = lane
            first[row, lane], count[row, lane] = begin, take
            if part.number[at + take - 1] == part.tiles[at] - 1:
                steps[row, lane] = True
                left[lane] -= 1
            position[lane], begin = at + take, end
        if not begin:
            break
        used[row] = begin
        total += begin
        row += 1
    return Chunk(
        rows=row,
        indices=indices,
        owner=owner,
        used=used,
        first=first,
        count=count,
        steps=steps,
        position=position,
        **taken,
    )
