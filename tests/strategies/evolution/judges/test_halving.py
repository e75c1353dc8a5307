import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.judges.halving import halve

HOLDERS = st.dictionaries(st.integers(0, 40), st.sampled_from("abcdefg"), max_size=20)
LOSSES = st.dictionaries(
    st.integers(0, 40),
    st.one_of(st.sampled_from([1.0, math.nan, math.inf]), st.floats(-9, 9)),
)


def test_the_worse_half_gives_way_by_hand() -> None:
    """Means: a 2, b 1, c 4, d 3; so b and a stay, and 5, 6, 7 take b, a, b in turn."""
    holders = {1: "a", 2: "b", 3: "a", 4: "b", 5: "c", 6: "d", 7: "c"}
    losses = {1: 1.0, 3: 3.0, 2: 1.0, 4: 1.0, 5: 4.0, 7: 4.0, 6: 3.0}
    assert halve(holders, losses) == {5: 2, 6: 1, 7: 2}
    assert halve(holders, losses, 4) == {1: 2, 3: 2, 5: 2, 6: 2, 7: 2}


def test_kept_genomes_are_dealt_to_the_fewest_holders_first() -> None:
    holders = {1: "a", 2: "a", 3: "a", 4: "b", 5: "c", 6: "d", 7: "d", 8: "d"}
    losses = {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 3.0, 6: 4.0, 7: 4.0, 8: 4.0}
    assert halve(holders, losses) == {5: 4, 6: 4, 7: 1, 8: 4}


def test_of_an_odd_number_the_smaller_half_is_kept() -> None:
    assert halve({1: "a", 2: "b", 3: "c"}, {1: 3.0, 2: 2.0, 3: 1.0}) == {1: 3, 2: 3}


def test_ties_go_to_the_genome_with_the_lowest_holder() -> None:
    assert halve({3: "a", 1: "b"}, {1: 1.0, 3: 1.0}) == {3: 1}
    assert halve({1: "a", 3: "b"}, {1: 1.0, 3: 1.0}) == {3: 1}


def test_members_without_a_loss_do_not_count() -> None:
    assert halve({1: "a", 2: "b", 3: "b"}, {1: 1.0, 2: 0.5}) == {1: 2}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ranks_its_genome_last(loss: float) -> None:
    assert halve({1: "a", 2: "a", 3: "b"}, {1: 0.0, 2: loss, 3: 9.0}) == {1: 3, 2: 3}


def test_a_genome_without_a_loss_ranks_last() -> None:
    assert halve({1: "a", 2: "b"}, {2: 9.0}) == {1: 2}


@pytest.mark.parametrize("losses", [{}, {1: math.nan}, {7: 1.0}])
def test_without_a_finite_loss_nothing_gives_way(losses: dict[int, float]) -> None:
    assert halve({1: "a", 2: "b"}, losses) == {}


def test_one_genome_is_kept() -> None:
    assert halve({1: "a", 2: "a"}, {1: 1.0, 2: 2.0}) == {}
    assert halve({1: "a"}, {1: 1.0}) == halve({}, {}) == {}


@given(HOLDERS, LOSSES, st.integers(2, 4))
def test_every_halving_is_lawful(
    holders: dict[int, str], losses: dict[int, float], reduction: int
) -> None:
    donors = halve(holders, losses, reduction)
    backwards = dict(reversed(holders.items()))
    assert halve(backwards, losses, reduction) == donors
    if not any(math.isfinite(losses.get(member, math.nan)) for member in holders):
        assert donors == {}
        return
    distinct = len(set(holders.values()))
    after = {member: holders[donors.get(member, member)] for member in holders}
    assert len(set(after.values())) == max(distinct // reduction, 1)
    assert {holders[member] for member in donors}.isdisjoint(after.values())
    # As even as can be: whoever received is not held by two more than another.
    counts = Counter(after.values())
    received = {holders[donor] for donor in donors.values()}
    assert all(counts[genome] <= min(counts.values()) + 1 for genome in received)


def test_a_reduction_is_at_least_2() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        halve({1: "a"}, {1: 1.0}, 1)
