"""How far an arm is."""

from dataclasses import replace

import pytest
from shards import round_row

from fedgen.config.tree import Arm, build
from fedgen.live.standing import Standing, figure, rounds_left


def arm(seed: int = 0, **run: object) -> Arm:
    return Arm(build({"run": {"rounds": 5, **run}}), "fedavg", seed)


def test_the_best_so_far_stays_and_what_was_not_used_adds_up() -> None:
    rows = [
        replace(round_row(number), test_accuracy=accuracy, rejected=1, failed=2)
        for number, accuracy in enumerate((0.2, 0.6, 0.4, None))
    ]
    mine = Standing(arm()).take_all(rows)
    assert (mine.round, mine.value, mine.best, mine.unused) == (3, 0.4, 0.6, 12)
    assert not mine.over and mine.rounds_left == 2
    assert mine.take_all([round_row(4), round_row(5)]).over


def test_the_pace_leaves_out_the_round_that_warms_up() -> None:
    rows = [replace(round_row(n), seconds=s) for n, s in enumerate((70.0, 9.0, 1.0, 3.0))]
    assert [Standing(arm()).take_all(rows[:n]).pace for n in (0, 1, 2, 4)] == [None, None, 9.0, 2.0]


def test_the_rounds_left_end_with_the_budget() -> None:
    """A round costs 4 client-epochs: of 25 are 13 left after three of them, which are 3 rounds."""
    limited = arm(rounds=500, budget="client-epochs=25")
    mine = Standing(limited).take_all(map(round_row, (0, 1, 2)))
    assert mine.spent == 12 and mine.rounds_left == 3
    assert mine.take(round_row(3)).rounds_left == 2
    assert replace(mine, ended=True).rounds_left == 0


def test_an_arm_that_waits_ends_where_its_like_does() -> None:
    ended = replace(Standing(arm(0)).take_all(map(round_row, (0, 1))), ended=True)
    half = Standing(arm(1)).take_all(map(round_row, (0, 1)))
    waits = Standing(arm(2))
    assert rounds_left([ended, half, waits]) == [0, 4, 3]
    assert rounds_left([Standing(arm(1)), waits]) == [5, 5]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.91234, "0.9123"),
        (99.5, "99.5000"),
        (-123.456, "-123"),
        (1.2e30, "1.2e+30"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_figures(value: float | None, text: str) -> None:
    assert figure(value) == text
