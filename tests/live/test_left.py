"""The time that a comparison still takes, reckoned by hand."""

from dataclasses import replace

import pytest
from shards import round_row

from fedgen.live.left import Course, Pace, later, seconds_left, settled

KNOWN = {"fedavg": [9.0, 1.0, 1.0, 1.0, 1.0], "pbt": [9.0, 3.0, 3.0, 3.0, 3.0]}
STARTS = {"fedavg": [0.5], "pbt": [2.0]}


def test_early_rounds_do_not_tell_the_pace() -> None:
    assert later([9, 1]) == [1] and later([9, 1, 3]) == [1, 3] and later([]) == []
    assert not settled([9.0, 1.0]) and settled([9.0, 11.0]) and settled([0.1] * 5)
    assert not settled([99.0])


def test_arms_in_turn_take_the_sum_of_what_is_left_of_each() -> None:
    """fedavg: 4 rounds of 1 s; pbt: 4 of 3 s; a second seed of fedavg: 0.5 s and 10 of 1 s."""
    courses = [
        Course("fedavg", 4, begun=True, running=True),
        Course("pbt", 4, begun=True, running=True),
        Course("fedavg", 10, begun=False, running=False),
    ]
    assert seconds_left(courses, STARTS, KNOWN) == pytest.approx(4 + 12 + 10.5)
    assert seconds_left([], STARTS, KNOWN) == 0
    assert seconds_left([], {}, {}) == 0


def test_arms_at_once_are_played_by_whoever_is_free_first() -> None:
    """Two at once: 4 s and 12 s are running; of 10.5 s, 10.5 s and 2 + 30 s the first two begin
    after 4 s and 12 s, and the last one after 14.5 s."""
    courses = [
        Course("fedavg", 10, begun=False, running=False),
        Course("fedavg", 4, begun=True, running=True),
        Course("fedavg", 10, begun=False, running=False),
        Course("pbt", 4, begun=True, running=True),
        Course("pbt", 10, begun=False, running=False),
    ]
    assert seconds_left(courses, STARTS, KNOWN, 2) == pytest.approx(4 + 10.5 + 32)
    assert seconds_left(courses, STARTS, KNOWN, 99) == pytest.approx(32)


def test_an_unknown_strategy_is_a_typical_one() -> None:
    """Rounds of 1 s and 3 s, starts of 0.5 s and 2 s."""
    courses = [Course("mine:Own", 10, begun=False, running=False)]
    assert seconds_left(courses, STARTS, KNOWN) == pytest.approx(1.25 + 20)
    fresh = [Course("mine:Own", 10, begun=True, running=True)]
    assert seconds_left(fresh, STARTS, KNOWN) is None  # it takes turns: soon it is known
    assert seconds_left(fresh, STARTS, KNOWN, 2) == pytest.approx(20)
    assert seconds_left(courses, STARTS, {"fedavg": [1.0]}) is None


def test_rounds_in_turn_are_measured_by_the_clock() -> None:
    pace = Pace([])
    pace.start(10.0)
    for number, now in enumerate((12.0, 15.0, 16.0, 17.0, 18.0, 19.0)):
        pace.take(round_row(number), now)
    pace.start(30.0)  # the next seed: what happened since the last round belongs to it
    pace.take(round_row(0, "pbt", 1), 31.0)
    assert pace.starts == {"fedavg": [2.0], "pbt": [12.0]}
    assert pace.rounds == {"fedavg": [3.0, 1.0, 1.0, 1.0, 1.0]}


def test_rounds_beside_one_another_take_what_they_say_times_what_they_took() -> None:
    """Rows of two arms, of 1 s each. The first look has no time before it; at the second one 8 s
    have gone by for 3 of a second: with the second that went as told, 9 s for 4."""
    pace = Pace([])
    for name, numbers in (("fedavg", (0, 1)), ("pbt", (0, 1, 2))):
        for number in numbers:
            pace.take_beside(replace(round_row(number, name), seconds=1.0), 50.0)
    assert pace.starts == {"fedavg": [1.0], "pbt": [1.0]}
    for number in (2, 3):
        pace.take_beside(replace(round_row(number, "fedavg"), seconds=1.0), 54.0)
    pace.take_beside(replace(round_row(3, "pbt"), seconds=1.0), 54.0)
    assert pace.starts["fedavg"] == [pytest.approx(9 / 4)]


def test_rows_of_another_process_stand_in_until_there_are_enough() -> None:
    earlier = [replace(round_row(number), seconds=7.0) for number in range(6)]
    pace = Pace(earlier)
    assert pace.rounds == {"fedavg": [7.0] * 5}
    pace.start(0.0)
    for number in range(6, 11):
        assert pace.rounds == {"fedavg": [7.0] * 5}
        pace.take(round_row(number), number - 5.0)
    assert pace.rounds == {"fedavg": [1.0] * 5}
