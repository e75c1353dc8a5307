"""Which arms are shown where there is room for so many lines."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgen.comparison.progress.folding import fit, over_lines, seed_lines
from fedgen.config.tree import Arm, build
from fedgen.live.standing import Standing

CONFIG = build({"run": {"rounds": 10}})


def standing(name: str, seed: int, state: str = "running", value: float | None = 0.5) -> Standing:
    number = {"running": 3, "over": 10, "waiting": -1}[state]
    mine = Standing(Arm(CONFIG, name, seed), round=number, value=value)
    return replace(mine, running=state == "running")


def run(finished: int, waiting: int) -> list[Standing]:
    """Two strategies at several seeds, strategy by strategy; one seed is running."""
    states = [*["over"] * finished, "running", *["waiting"] * waiting]
    return [standing(n, s, state) for n in ("a", "b") for s, state in enumerate(states)]


def test_finished_seeds_have_a_line_and_running_arms_a_row() -> None:
    shown = fit(run(2, 3), 10)
    assert shown.above == (
        "seed 0 finished: a 0.5000, b 0.5000",
        "seed 1 finished: a 0.5000, b 0.5000",
    )
    assert [(one.arm.strategy, one.arm.seed) for one in shown.rows] == [("a", 2), ("b", 2)]
    assert shown.below == ()


def test_the_oldest_seeds_share_a_line_where_there_are_too_many() -> None:
    shown = fit(run(5, 0), 5)
    assert shown.above[0] == "3 seeds finished, ahead: a in 3"
    assert [line[:7] for line in shown.above[1:]] == ["seed 3 ", "seed 4 "] and len(shown) == 5
    assert fit(run(5, 0), 3).above == ("5 seeds finished, ahead: a in 5",)
    assert fit(run(5, 0), 2).above == () and len(fit(run(5, 0), 2).rows) == 2


def test_the_latest_seed_keeps_its_rows_until_another_begins() -> None:
    shown = fit([standing(name, seed, "over") for name in "ab" for seed in (0, 1)], 10)
    assert len(shown.above) == 1 and [one.arm.seed for one in shown.rows] == [1, 1]


def test_arms_that_are_over_fold_before_running_ones_are_left_out() -> None:
    """As processes play them: a strategy is over at three seeds before the others begin."""
    arms = [standing("a", seed, "over", 0.1 * seed) for seed in range(3)]
    arms += [standing("b", seed, "running", 0.1 * seed) for seed in range(3)]
    assert len(fit(arms, 6).rows) == 6
    shown = fit(arms, 5)
    assert shown.above == ("3 arms finished: a 0.1000 in 3",)
    assert [one.arm.strategy for one in shown.rows] == ["b"] * 3
    least = fit(arms, 2)
    assert fit(arms, 1).below == ("3 running",) and fit(arms, 0) == fit([], 9)
    assert [one.arm.seed for one in least.rows] == [2] and least.below == ("and 2 more running",)


def test_the_best_come_first_and_those_without_a_value_last() -> None:
    arms = [standing("a", 0, "over", None), standing("b", 0, "over", float("nan"))]
    arms += [standing("c", 0, "over", 0.2), standing("d", 0, "over", 0.3)]
    assert seed_lines([arms], 1) == ["seed 0 finished: d 0.3000, c 0.2000, a -, b nan"]
    assert over_lines([arms[0]]) == ["1 arm finished"] and over_lines([]) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(0, 5), st.sampled_from(("running", "over", "waiting"))
        ),
        max_size=30,
        unique_by=lambda one: one[:2],
    ),
    st.integers(0, 12),
)
def test_no_room_is_exceeded_and_no_running_arm_left_out_for_another(
    arms: list[tuple[int, int, str]], room: int
) -> None:
    standings = [standing(f"s{name}", seed, state) for name, seed, state in arms]
    shown = fit(standings, room)
    running = {one.arm for one in standings if one.running}
    assert len(shown) <= room
    if len(running) <= room:
        assert running <= {one.arm for one in shown.rows}
    elif room:
        assert len(shown.rows) == room - 1 and {one.arm for one in shown.rows} <= running


@pytest.mark.parametrize("most", [-1, 0])
def test_no_line_where_there_is_no_room(most: int) -> None:
    assert seed_lines([[standing("a", 0, "over")]], most) == []
