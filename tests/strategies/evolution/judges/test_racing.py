import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.judges.racing import beaten, leader, standard_error
from strategies.evolution.judges.ranks import Record, ranks, remember

PASTS = st.dictionaries(
    st.integers(0, 9), st.lists(st.floats(0, 1), min_size=1, max_size=9), min_size=1
)


def record(*past: float) -> Record:
    """What is known after these ranks, all weighed alike."""
    records: dict[int, Record] = {}
    for rank in past:
        records = remember(records, {0: rank}, math.inf)
    return records[0]


def test_one_rank_has_the_error_of_a_uniform_one() -> None:
    assert standard_error(record(0.3)) == pytest.approx(math.sqrt(1 / 12))
    assert standard_error(Record()) == math.inf


def test_standard_error_by_hand() -> None:
    """Four ranks of variance 1/4: sqrt((1/4 + 1/48) / 4)."""
    assert standard_error(record(0.0, 1.0, 0.0, 1.0)) == pytest.approx(math.sqrt(13 / 192))
    # Twice the same: half of the prior's variance is left, and half of that is the mean's.
    assert standard_error(record(0.4, 0.4)) == pytest.approx(math.sqrt(1 / 48))


def test_who_is_beaten_by_hand() -> None:
    """After 10 equal ranks each, an error is sqrt(1/1200), that of a difference sqrt(1/600)."""
    records = {c: record(*[rank] * 10) for c, rank in {1: 0.1, 2: 0.18, 3: 0.2, 4: 0.9}.items()}
    assert math.sqrt(1 / 600) == pytest.approx(0.0408, abs=1e-4)
    assert beaten(records, 1, 2) == {3, 4}
    assert beaten(records, 1, 1.9) == {2, 3, 4}
    assert beaten(records, 1, 20) == set()
    assert beaten(records, 3, 2) == {4}


def test_one_round_beats_only_those_far_behind() -> None:
    records = remember({}, ranks({c: float(c) for c in range(11)}), 5)
    assert beaten(records, 0, 2) == {9, 10}
    assert beaten(records, 0, 2.5) == set()


def test_the_leader_has_the_lowest_mean_and_ties_go_to_the_lower_id() -> None:
    assert leader({4: record(0.5), 2: record(0.2), 1: record(0.9)}) == 2
    assert leader({4: record(0.5), 2: record(0.5)}) == 2
    assert leader({}) is None


def test_without_a_record_of_the_best_nobody_is_beaten() -> None:
    assert beaten({1: record(0.0), 2: record(1.0)}, 9, 0) == set()
    assert beaten({}, 9, 1) == set()
    assert beaten({1: record(0.0)}, 1, 0) == set()


def test_an_empty_record_neither_beats_nor_is_beaten() -> None:
    records = {1: record(*[0.1] * 50), 2: Record(), 3: record(*[0.9] * 50)}
    assert beaten(records, 1, 1) == {3}
    assert beaten(records, 2, 1) == set()


@given(PASTS, st.floats(0, 4))
def test_the_leader_is_never_beaten_and_a_wider_bound_beats_fewer(
    pasts: dict[int, list[float]], z: float
) -> None:
    records = {member: record(*past) for member, past in pasts.items()}
    best = leader(records)
    assert best is not None
    found = beaten(records, best, z)
    assert best not in found
    assert beaten(records, best, z + 1) <= found <= beaten(records, best, 0)


def test_equal_members_are_seldom_beaten_and_a_worse_one_is_in_the_end() -> None:
    """Losses are noise; the last member's are one standard deviation higher."""
    false, true = 0, 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        records: dict[int, Record] = {}
        for _ in range(30):
            losses = draw.standard_normal(8) + [0, 0, 0, 0, 0, 0, 0, 1]
            records = remember(records, ranks(dict(enumerate(losses.tolist()))), math.inf)
        lost = beaten(records, 0, 3)
        false, true = false + len(lost - {7}), true + (7 in lost)
    assert false <= 7  # of 600 comparisons, both sides of a normal beyond 3 would be 1
    assert true > 60


def test_z_is_at_least_0() -> None:
    for z in (-1, math.nan):
        with pytest.raises(ValueError, match="at least 0"):
            beaten({}, 1, z)
