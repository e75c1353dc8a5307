import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.moves.cube import reflect
from strategies.evolution.moves.differential import relative, select, trial
from strategies.streams import rng

PLACES = {
    3: np.array([0.1, 0.2]),
    5: np.array([0.4, 0.9]),
    8: np.array([0.7, 0.3]),
    9: np.array([0.95, 0.6]),
}
LOSSES = {3: 0.5, 5: -0.5, 8: 0.0, 9: 1.0}  # best first: 5 8 3 9

POPULATIONS = st.dictionaries(
    st.integers(0, 20),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(np.array),
    min_size=1,
    max_size=8,
)
ANY_LOSS = st.one_of(st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-9, 9))


def test_losses_are_relative_to_their_round_s_median() -> None:
    assert relative({1: 1.0, 2: 3.0, 3: 7.0, 4: math.nan, 5: math.inf}) == {
        1: -2.0,
        2: 0.0,
        3: 4.0,
    }
    assert relative({}) == relative({1: math.nan}) == {}


def test_a_trial_by_hand() -> None:
    """Written out draw by draw: who leads, whose difference, which genes, which one surely."""
    for seed in range(20):
        draw = rng(seed, "test")
        leader = PLACES[[5, 8][int(draw.integers(2))]]
        one, other = draw.choice([3, 5, 8], 2, replace=False)
        step = 0.5 * (leader - PLACES[9]) + 0.5 * (PLACES[one] - PLACES[other])
        there = reflect(PLACES[9] + step)
        taken = draw.random(2) < 0.9
        taken[int(draw.integers(2))] = True
        expected = [there[i] if taken[i] else PLACES[9][i] for i in range(2)]
        assert trial(9, PLACES, LOSSES, rng(seed, "test")) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("share", "leaders"), [(0.01, 2), (0.3, 4), (1.0, 12)])
def test_at_least_two_lead_and_a_share_of_more(share: float, leaders: int) -> None:
    places = {n: np.array([n / 20]) for n in range(12)}
    losses = {n: float(n) for n in range(12)}
    found = set()
    for seed in range(200):
        draw = rng(seed, "test")
        leader = int(draw.integers(leaders))
        one, other = draw.choice(11, 2, replace=False)
        step = 0.5 * (places[leader] - places[11]) + 0.5 * (places[one] - places[other])
        there = trial(11, places, losses, rng(seed, "test"), share=share)
        assert there == pytest.approx(reflect(places[11] + step))
        found.add(leader)
    assert len(found) == leaders


def test_members_without_a_finite_loss_lead_nobody() -> None:
    """All others are at one point: a trial leaves it if the outcast leads, or is a peer drawn."""
    places = {n: np.array([0.5, 0.5]) for n in range(5)} | {0: np.array([0.5, 0.9])}
    for losses in ({1: 0.0, 2: 0.0}, {0: math.nan, 1: 3.0, 2: 2.0}, {0: -math.inf, 3: 1.0, 4: 2.0}):
        for seed in range(40):
            draw = rng(seed, "test")
            draw.integers(2)
            pair = draw.choice([0, 2, 3, 4], 2, replace=False)
            there = trial(1, places, losses, rng(seed, "test"), crossover=1.0)
            if 0 not in pair:
                assert there.tolist() == [0.5, 0.5]


def test_one_gene_is_taken_surely_and_the_others_by_chance() -> None:
    places = {n: rng(n, "place").random(6) for n in range(6)}
    changed = [
        (trial(0, places, {}, rng(seed, "test"), crossover=0.0) != places[0]).sum()
        for seed in range(30)
    ]
    assert set(changed) <= {0, 1} and sum(changed) > 20
    every = trial(0, places, {}, rng(1, "test"), crossover=1.0)
    assert (every != places[0]).all()


@given(POPULATIONS, st.dictionaries(st.integers(0, 20), ANY_LOSS), st.integers(0, 999))
def test_every_trial_is_lawful(
    places: dict[int, np.ndarray], losses: dict[int, float], seed: int
) -> None:
    for member in places:
        before = places[member].tolist()
        found = trial(member, places, losses, rng(seed, "test"))
        assert found.shape == (3,) and ((found >= 0) & (found <= 1)).all()
        assert places[member].tolist() == before and found is not places[member]
        if len(places) < 3:
            assert found.tolist() == before
        backwards = dict(reversed(places.items()))
        assert trial(member, backwards, losses, rng(seed, "test")).tolist() == found.tolist()


def test_three_members_are_enough_and_equal_ones_stand_still() -> None:
    three = {member: PLACES[member] for member in (3, 5, 8)}
    assert trial(3, three, LOSSES, rng(0, "test")).tolist() != PLACES[3].tolist()
    same = dict.fromkeys(range(5), PLACES[3])
    assert trial(2, same, {}, rng(0, "test")).tolist() == PLACES[3].tolist()


@pytest.mark.parametrize(
    "wrong",
    [{"weight": 0.0}, {"weight": 1.5}, {"crossover": -0.1}, {"crossover": math.nan}, {"share": 0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a weight"):
        trial(3, PLACES, LOSSES, rng(0, "test"), **wrong)


def test_a_trial_takes_over_that_is_no_worse() -> None:
    trials = {member: np.array([0.0, 0.0]) for member in (3, 5, 8)}
    after = select(PLACES, trials, {3: 0.1, 5: 0.1, 8: 0.1, 9: 0.1}, {3: 0.2, 5: 0.1, 8: 0.0})
    assert {member for member in after if after[member] is not PLACES[member]} == {5, 8}
    assert after.keys() == PLACES.keys() and after[5] is trials[5]


@pytest.mark.parametrize("none", [{}, {3: math.nan}, {3: math.inf}, {3: -math.inf}])
def test_a_trial_without_a_finite_loss_never_takes_over(none: dict[int, float]) -> None:
    trials = {3: np.array([0.0, 0.0])}
    assert select(PLACES, trials, {3: 9.0}, none)[3] is PLACES[3]
    assert select(PLACES, trials, none, none)[3] is PLACES[3]
    assert select(PLACES, trials, none, {3: 9.0})[3] is trials[3]
