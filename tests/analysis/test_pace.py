"""The time left, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgen.analysis.pace import LATEST, Pace, seconds_left


def test_an_arm_has_the_pace_of_its_latest_rounds_but_the_first() -> None:
    assert Pace("a", [], 5).each is None
    assert Pace("a", [9.0], 5).each == 9.0, "the first is all there is"
    assert Pace("a", [9.0, 1.0, 3.0], 5).each == 2.0
    assert Pace("a", [50.0] * 3 + [2.0] * LATEST, 5).each == 2.0


def test_two_arms_in_turn_take_what_both_have_left() -> None:
    # 4 rounds of 2 s and 4 of 3 s; 8 s of rounds took 10 s on the wall: 20 s at 0.8 take 25 s.
    arms = [Pace("a", [2.0, 2.0], 4, 4.0, 10.0), Pace("b", [3.0, 1.0, 3.0], 6, 4.0, 10.0)]
    assert seconds_left(arms) == pytest.approx((4 * 2.0 + 6 * 2.0) / 0.8)


def test_two_arms_side_by_side_take_half_of_that() -> None:
    arms = [Pace("a", [2.0, 2.0], 5, 10.0, 10.0), Pace("b", [2.0, 2.0], 5, 10.0, 10.0)]
    assert seconds_left(arms) == pytest.approx(10.0)


def test_an_arm_that_has_not_begun_takes_what_its_strategy_took_elsewhere() -> None:
    played = [Pace("a", [1.0, 1.0], 0), Pace("b", [4.0, 4.0], 0, 8.0, 8.0)]
    assert seconds_left([*played, Pace("a", [], 3)]) == pytest.approx(3.0)
    assert seconds_left([*played, Pace("new", [], 2)]) == pytest.approx(5.0), "the mean of all"


def test_nothing_is_said_where_nothing_tells() -> None:
    assert seconds_left([Pace("a", [1.0], 3)]) is None, "nobody plays it"
    assert seconds_left([Pace("a", [], 3, 0.0, 5.0)]) is None, "no round has trained"
    assert seconds_left([Pace("a", [1.0], 0)]) == 0.0
    assert seconds_left([]) == 0.0


arms = st.builds(
    Pace,
    st.sampled_from("abc"),
    st.lists(st.floats(0.01, 100), min_size=1, max_size=5),
    st.integers(0, 50),
    st.floats(0.1, 1_000),
    st.floats(0.1, 1_000),
)


@given(st.lists(arms, min_size=1, max_size=6), st.integers(0, 5))
def test_more_rounds_never_take_less(mine: list[Pace], at: int) -> None:
    at %= len(mine)
    arm = mine[at]
    longer = [*mine[:at], Pace(arm.strategy, arm.seconds, arm.left + 1, arm.played, arm.since)]
    now, then = seconds_left(mine), seconds_left([*longer, *mine[at + 1 :]])
    assert now is not None and then is not None and then > now >= 0
