"""Batches cut into tiles, and tiles put into rows: by hand, and for any batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgen.engine.jax.coupling import Coupling
from fedgen.engine.jax.schedule import Chunk, Tiles, Waiting, cut, fill


def order(epochs: int, samples: int) -> np.ndarray:
    return np.arange(epochs * samples, dtype=np.int32).reshape(epochs, samples)


def test_a_training_is_cut_into_tiles_by_hand() -> None:
    (tiles,) = cut(order(2, 7), 5, lambda _: 4)
    assert tiles.indices.tolist() == [
        [0, 1, 2, 3],
        [4, 0, 0, 0],  # filled up with the batch's first
        [5, 6, 5, 5],
        [7, 8, 9, 10],
        [11, 7, 7, 7],
        [12, 13, 12, 12],
    ]
    assert tiles.valid.tolist() == [4, 1, 2, 4, 1, 2]
    assert tiles.batch.tolist() == [5, 5, 2, 5, 5, 2]
    assert tiles.number.tolist() == [0, 1, 0, 0, 1, 0]
    assert tiles.tiles.tolist() == [2, 2, 1, 2, 2, 1]
    assert tiles.epoch.tolist() == [0, 0, 0, 1, 1, 1]


def test_batches_that_must_stay_whole_make_a_part_for_every_size() -> None:
    parts = cut(order(2, 7), 3, lambda batch: batch)
    assert [(part.size, len(part)) for part in parts] == [(3, 2), (1, 1), (3, 2), (1, 1)]
    assert parts[1].indices.tolist() == [[6]]
    whole = cut(order(1, 7), 100, lambda batch: batch)
    assert [(part.size, len(part)) for part in whole] == [(7, 1)]


@pytest.mark.parametrize(
    ("coupling", "side_by_side", "batch", "size"),
    [
        (Coupling.NONE, True, 100, 16),
        (Coupling.NONE, False, 10, 8),
        (Coupling.NONE, False, 16, 8),
        (Coupling.NONE, False, 26, 32),
        (Coupling.NONE, False, 128, 32),
        (Coupling.MASKED, True, 1, 8),
        (Coupling.MASKED, False, 17, 32),
        (Coupling.WHOLE, False, 17, 17),
    ],
)
def test_tiles_are_as_large_as_suits(
    coupling: Coupling, side_by_side: bool, batch: int, size: int
) -> None:
    assert coupling.size(batch, 1000, side_by_side)(batch) == size
    assert coupling.size(10**9, batch, side_by_side)(batch) == size  # of few samples


def test_rows_are_filled_by_hand_the_longest_chain_first() -> None:
    (long,), (short,) = cut(order(1, 6), 2, lambda _: 2), cut(order(1, 6), 6, lambda _: 2)
    waiting = {0: Waiting(short, 0, 1), 1: Waiting(long, 0, 3)}
    chunk = fill(waiting, 3, (4, 3), 100)
    # Lane 1 has three steps to go, one a row; lane 0's batch takes what is left of two rows.
    assert chunk.rows == 3 and chunk.used.tolist() == [3, 2, 1, 0]
    assert chunk.owner.tolist() == [[1, 0, 0], [1, 0, 3], [1, 3, 3], [3, 3, 3]]
    assert chunk.number[:2].tolist() == [[0, 0, 1], [0, 2, 0]]
    assert chunk.steps.tolist() == [
        [False, True, False],
        [True, True, False],
        [False, True, False],
        [False, False, False],
    ]
    assert chunk.first[:2].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert chunk.count[:2].tolist() == [[2, 1, 0], [1, 1, 0]]
    assert chunk.position == {0: 3, 1: 3}
    assert fill(waiting, 3, (4, 3), 1).rows == 1  # no row is begun beyond the limit


clients = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=6
)


@given(clients, st.integers(1, 9), st.integers(1, 7), st.integers(1, 4), st.integers(1, 30))
def test_every_sample_is_computed_once_and_in_order(
    plans: list[tuple[int, int, int]], size: int, tiles: int, rows: int, at_most: int
) -> None:
    parts: dict[int, Tiles] = {}
    for lane, (epochs, samples, batch) in enumerate(plans):
        (parts[lane],) = cut(order(epochs, samples), batch, lambda _: size)
    position = dict.fromkeys(parts, 0)
    steps = {lane: int((part.number == 0).sum()) for lane, part in parts.items()}
    seen: dict[int, list[int]] = {lane: [] for lane in parts}
    stepped: dict[int, list[int]] = {lane: [] for lane in parts}
    while left := {n: p for n, p in parts.items() if position[n] < len(p)}:
        waiting = {n: Waiting(part, position[n], steps[n]) for n, part in left.items()}
        chunk = fill(waiting, len(plans), (rows, tiles), at_most)
        assert chunk.rows >= 1 and chunk.used.sum() >= 1
        _look(chunk, seen, stepped)
        for lane in left:
            steps[lane] -= int(chunk.steps[:, lane].sum())
        position |= chunk.position
    for lane, (epochs, samples, batch) in enumerate(plans):
        assert seen[lane] == order(epochs, samples).ravel().tolist()
        # A step comes when all of its batch is in, and before anything of the next.
        ends = [
            min(b + batch, samples) + e * samples
            for e in range(epochs)
            for b in range(0, samples, batch)
        ]
        assert stepped[lane] == ends and steps[lane] == 0


def _look(chunk: Chunk, seen: dict[int, list[int]], stepped: dict[int, list[int]]) -> None:
    """Play a chunk as a program would."""
    for row in range(chunk.rows):
        owners = chunk.owner[row, : chunk.used[row]]
        assert (chunk.owner[row, chunk.used[row] :] == len(seen)).all()
        for tile, lane in enumerate(owners.tolist()):
            first, count = chunk.first[row, lane], chunk.count[row, lane]
            assert first <= tile < first + count == first + (owners == lane).sum()
            valid = chunk.valid[row, tile]
            seen[lane] += chunk.indices[row, tile, :valid].tolist()
            assert 1 <= valid <= chunk.batch[row, tile]
        for lane in np.flatnonzero(chunk.steps[row]).tolist():
            stepped[lane].append(len(seen[lane]))
