from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedgen.data.partitions.contiguous import contiguous, divide, partition, slice_lengths
from fedgen.data.partitions.partition import Partition, Slice, hold_out
from strategies.streams import rng

SEEDS = st.integers(0, 2**32)
few = settings(max_examples=50, deadline=None)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[int, Partition]:
    samples = draw(st.one_of(st.integers(2, 40), st.integers(2, 30_000)))
    fraction = draw(st.floats(0.01, 0.99))
    divided = partition(
        samples, draw(st.integers(1, 25)), draw(SEEDS), validation_fraction=fraction
    )
    return samples, divided


def uncut_lengths(samples: int, clients: int, seed: int, shortest: int, longest: int) -> list[int]:
    """Draw the lengths alone, so that slices cut at the end can be checked as well."""
    return [
        int(rng(seed, "partition", 0, client).integers(shortest, longest))
        for client in range(clients)
    ]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (50_000, (1000, 4000)),
        (60_000, (1200, 4800)),
        (10_000, (200, 800)),
        (9_999, (999, 3999)),
        (1_437, (143, 574)),
        (100, (10, 40)),
    ],
)
def test_default_lengths_by_hand(samples: int, expected: tuple[int, int]) -> None:
    assert slice_lengths(samples, 0, 0) == expected


def test_given_lengths_are_kept() -> None:
    assert slice_lengths(50_000, 7, 9) == (7, 9)
    assert {s.stop - s.start for s in contiguous(50_000, 50, 0, 7, 9)} <= {1, 2, 3, 4, 5, 6, 7, 8}
    assert {s.stop - s.start for s in contiguous(50_000, 50, 0, 7, 9)} >= {7, 8}


def test_cifar_slices_are_those_of_the_reference() -> None:
    slices = contiguous(50_000, 2_000, seed=0)
    starts = np.array([s.start for s in slices])
    lengths = np.array([s.stop - s.start for s in slices])
    whole = lengths[[s.stop < 50_000 for s in slices]]
    assert whole.min() >= 1000 and whole.max() < 4000
    assert starts.min() >= 0 and starts.max() < 45_000
    # Uniform: the extremes are reached and the means are the middles (5 standard errors).
    assert whole.min() < 1020 and whole.max() > 3980
    assert starts.min() < 150 and starts.max() > 44_850
    assert abs(lengths.mean() - 2500) < 5 * 866 / 2000**0.5
    assert abs(starts.mean() - 22_500) < 5 * 12_990 / 2000**0.5


@few
@given(SEEDS)
def test_cifar_lengths_and_origins(seed: int) -> None:
    for part in contiguous(50_000, 30, seed):
        assert 0 <= part.start < 45_000
        assert part.start < part.stop <= 50_000
        assert part.stop - part.start < 4000
        assert part.stop - part.start >= 1000 or part.stop == 50_000


@few
@given(st.integers(100, 80_000), SEEDS)
@example(9_999, 0)
@example(10_000, 0)
def test_slices_are_drawn_in_bounds_and_cut_at_the_end(samples: int, seed: int) -> None:
    low, high = (0.02, 0.08) if samples >= 10_000 else (0.10, 0.40)
    lengths = uncut_lengths(samples, 20, seed, int(low * samples), int(high * samples))
    for part, length in zip(contiguous(samples, 20, seed), lengths, strict=True):
        assert low * samples - 1 < length < high * samples
        assert 0 <= part.start < 0.9 * samples
        assert part.stop == min(part.start + length, samples)


@few
@given(partitions())
def test_nobody_trains_on_what_anybody_validates_on(case: tuple[int, Partition]) -> None:
    _, divided = case
    trained = set(np.concatenate([shard.train for shard in divided.clients]).tolist())
    validated = set(np.concatenate([shard.validation for shard in divided.clients]).tolist())
    assert not trained & validated
    assert validated <= set(divided.validation.tolist())
    assert trained <= set(divided.training.tolist())


@few
@given(partitions())
def test_shards_are_never_empty_ascending_and_inside_the_set(case: tuple[int, Partition]) -> None:
    samples, divided = case
    for shard in divided.clients:
        for indices in (shard.train, shard.validation):
            assert indices.size >= 1
            assert indices.dtype == np.int32
            assert 0 <= indices.min() and indices.max() < samples
            assert all(a < b for a, b in pairwise(indices.tolist()))


@few
@given(partitions())
def test_a_shard_is_its_slice_unless_it_borrowed(case: tuple[int, Partition]) -> None:
    _, divided = case
    held_out = set(divided.validation.tolist())
    for part, shard in zip(divided.slices, divided.clients, strict=True):
        inside = set(range(part.start, part.stop))
        kept, free = inside & held_out, inside - held_out
        assert set(shard.validation.tolist()) == kept or (not kept and shard.validation.size == 1)
        assert set(shard.train.tolist()) == free or (not free and shard.train.size == 1)


@few
@given(partitions())
def test_held_out_share_and_the_rest_are_the_whole_set(case: tuple[int, Partition]) -> None:
    samples, divided = case
    both = np.concatenate([divided.validation, divided.training])
    assert sorted(both.tolist()) == list(range(samples))
    assert divided.validation.size >= 1 and divided.training.size >= 1


@few
@given(SEEDS, st.integers(10, 60_000))
def test_held_out_share_is_a_tenth(seed: int, samples: int) -> None:
    assert abs(len(hold_out(samples, 0.1, seed)) - samples / 10) <= 0.5


def test_held_out_share_is_drawn_over_the_whole_set() -> None:
    chosen = hold_out(50_000, 0.1, seed=0)
    assert len(chosen) == len(set(chosen.tolist())) == 5_000
    in_each_tenth = np.histogram(chosen, bins=10, range=(0, 50_000))[0]
    assert in_each_tenth.min() > 400 and in_each_tenth.max() < 600


@pytest.mark.parametrize(("samples", "fraction", "size"), [(2, 0.01, 1), (2, 0.99, 1), (5, 0.9, 4)])
def test_held_out_share_leaves_something_on_both_sides(
    samples: int, fraction: float, size: int
) -> None:
    assert len(hold_out(samples, fraction, seed=3)) == size


def test_held_out_share_does_not_depend_on_the_clients() -> None:
    one, many = partition(1_000, 1, 5), partition(1_000, 50, 5)
    np.testing.assert_array_equal(one.validation, many.validation)
    assert one.slices[0] == many.slices[0]


def test_divide_by_hand() -> None:
    held_out = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 1], bool)
    shard = divide(Slice(1, 6), held_out)
    assert shard.train.tolist() == [2, 3, 5]
    assert shard.validation.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("part", "train", "validation"),
    [
        (Slice(5, 9), [5, 6, 7, 8], [9]),  # nothing held out: the nearest, 9 rather than 4
        (Slice(5, 7), [5, 6], [4]),
        (Slice(4, 5), [5], [4]),  # nothing else: trains on the nearest other sample
        (Slice(9, 10), [8], [9]),
    ],
)
def test_divide_borrows_the_nearest_sample(
    part: Slice, train: list[int], validation: list[int]
) -> None:
    held_out = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 1], bool)
    shard = divide(part, held_out)
    assert (shard.train.tolist(), shard.validation.tolist()) == (train, validation)


@few
@given(SEEDS, st.integers(2, 20_000))
def test_equal_seeds_give_equal_partitions(seed: int, samples: int) -> None:
    first, second = partition(samples, 10, seed), partition(samples, 10, seed)
    assert first.slices == second.slices
    np.testing.assert_array_equal(first.validation, second.validation)
    for one, other in zip(first.clients, second.clients, strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.validation, other.validation)


@few
@given(SEEDS, SEEDS)
def test_different_seeds_and_clients_differ(first: int, second: int) -> None:
    one = partition(5_000, 10, first)
    assert len(set(one.slices)) > 1
    if first != second:
        other = partition(5_000, 10, second)
        assert one.slices != other.slices
        assert one.validation.tolist() != other.validation.tolist()


@pytest.mark.parametrize("longest", [5, 500])
def test_slices_are_shorter_than_a_given_maximum(longest: int) -> None:
    lengths = [s.stop - s.start for s in contiguous(50_000, 20, 0, longest=longest)]
    assert max(lengths) < longest
