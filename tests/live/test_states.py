"""Runs as their files have them, whatever state they are in."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from runs import play

from fedgen.live.states import RUN, SILENT, State, read, runs_in
from fedgen.runs.watch import NOW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, and others made of it."""
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "a-done", run={"rounds": 1, "strategies": ["fedavg@1e-2", "fedavg@1e-6"]})
    for name in ("b-stopped", "c-passed-on", "d-broken", "e-going"):
        shutil.copytree(folder / "a-done", folder / name)
    for name in ("b-stopped", "e-going"):
        config = folder / name / "config.toml"
        config.write_text(config.read_text().replace("rounds = 1\n", "rounds = 4\n"))
        for path in (folder / name / "shards").rglob("*"):
            os.utime(path, (1_000_000, 1_000_000))
    for shard in (folder / "e-going" / "shards").iterdir():
        told = {"began": 999_990.0, "since": 0, "done": 2, "asked": 6, "at": 1_000_000.0}
        (shard / NOW).write_text(json.dumps(told))
    shutil.rmtree(folder / "c-passed-on" / "shards")
    (folder / "d-broken" / "config.toml").write_text("[run]\nstrategies = 3\n")
    (folder / "no-run").mkdir()
    return folder


def test_every_run_has_a_state_and_says_who_is_ahead(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    states = [read(path) for path in runs_in(folder)]
    names = ["a-done", "b-stopped", "c-passed-on", "d-broken", "e-going"]
    assert [state.name for state in states] == names
    told = [state.told(1_000_065.0) for state in states]
    assert told[:3] == ["finished", "2 of 8 rounds, stopped 1:05 ago", "rows alone"]
    assert told[3].startswith("cannot be read: ") and "strategies" in told[3]
    assert told[4] == "2 of 8 rounds, no sign of life for 1:05"
    assert states[4].told(1_000_000.0 + SILENT - 1) == "2 of 8 rounds"
    whole = [state for state in states if not state.broken]
    assert {state.rows.best.partition(":")[0] for state in whole if state.rows} == {"fedavg@1e-2"}
    lines = [state.line(1_000_010.0) for state in whole]
    assert all(len(line) == len(RUN) for line in lines)
    assert {line[1] for line in lines} == {"digits"} and all("on CPU" in line[-1] for line in lines)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}, "read only"
    assert runs_in(folder / "a-done") == [folder / "a-done"], "a run by itself"


def going_with(state: State, seconds: list[float], began: float | None = None) -> State:
    """A state whose arms have played such rounds, the last one by a process of its own if asked."""
    arms = []
    for arm in state.arms:
        row = arm.rows[0]
        rows = [replace(row, round=at, seconds=took) for at, took in enumerate(seconds)]
        arms.append(replace(arm, rows=rows))
    if began is not None and arms[-1].sign:
        arms[-1] = replace(arms[-1], sign=replace(arms[-1].sign, began=began))
    return replace(state, arms=arms)


def test_time_left_is_told_of_what_is_played_alone(folder: Path) -> None:
    going = read(folder / "e-going")
    assert [(arm.standing.round, arm.standing.rounds, arm.left) for arm in going.arms] == [
        (1, 4, 3)
    ] * 2
    assert going.left(1_000_000.0) is None, "one round of each tells no pace"
    slow = going_with(going, seconds=[1.0, *[8.0] * 5])
    # Two arms have played five rounds of 8 s within ten seconds, and have three more each.
    assert slow.left(1_000_000.0) == pytest.approx(6 * 8 * 11 / 81)
    assert slow.left(1_000_005.0) == pytest.approx(6 * 8 * 11 / 81 - 5)
    assert slow.left(1_000_050.0) == 0.0, "longer than was thought, never below zero"
    assert slow.left(1_000_000.0 + SILENT + 1) is None
    beside = going_with(slow, seconds=[1.0, *[8.0] * 5], began=999_990.5)
    # Taken up by two processes, they have played for 19.5 s, and each has its three.
    assert beside.left(1_000_000.0) == pytest.approx(3 * 8 * 20.5 / 81)
    for name in ("a-done", "b-stopped", "c-passed-on"):
        assert read(folder / name).left(1_000_000.0) is None


def test_a_run_whose_first_round_is_not_finished_has_nobody_ahead(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "run" / "shards").mkdir(parents=True)
    shutil.copy(folder / "e-going" / "config.toml", tmp_path / "run")
    state = read(tmp_path / "run")
    assert (state.told(0.0), state.rows, state.left(0.0)) == ("0 of 8 rounds", None, None)


def test_an_arm_that_has_ended_early_has_no_round_left(tmp_path: Path) -> None:
    cost = {"rounds": 9, "strategies": ["fedavg"], "budget": "client-epochs=13"}
    run = play(tmp_path / "run", run=cost)
    state = read(run.path)
    (arm,) = state.arms
    assert arm.standing.over and (arm.left, arm.standing.round) == (0, 2)
    assert state.finished and state.done == state.asked == 9
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("client-epochs=13", "client-epochs=33"))
    (more,) = read(run.path).arms
    assert not more.standing.over and more.left == 3, "21 are left, a round costs 6"


def test_a_directory_that_is_gone_reads_as_that(tmp_path: Path) -> None:
    state = read(tmp_path / "gone")
    assert state.told(0.0).startswith("cannot be read: ") and "gone" in state.broken
