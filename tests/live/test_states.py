"""Runs as their files have them, whatever state they are in."""

import json
import os
import shutil
from pathlib import Path

import pytest
from runs import play

from fedgen.live.states import RUN, SILENT, read, runs_in
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


def test_time_left_is_told_of_what_is_played_alone(folder: Path) -> None:
    going = read(folder / "e-going")
    assert [(arm.round, arm.rounds, arm.pace.left) for arm in going.arms] == [(1, 4, 3)] * 2
    # Each arm has played one round of its seconds within ten: three more each take thrice as long.
    at_the_sign = going.left(1_000_000.0)
    assert at_the_sign == pytest.approx(3 * 10.0)
    assert going.left(1_000_010.0) == pytest.approx(2 * 10.0)
    assert going.left(1_000_050.0) == 0.0, "longer than was thought, never below zero"
    assert going.left(1_000_000.0 + SILENT + 1) is None
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
    assert arm.ended and (arm.pace.left, arm.round) == (0, 2)
    assert state.finished and state.done == state.asked == 9
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("client-epochs=13", "client-epochs=33"))
    (more,) = read(run.path).arms
    assert not more.ended and more.pace.left == 3, "21 client-epochs are left, a round costs 6"


def test_a_directory_that_is_gone_reads_as_that(tmp_path: Path) -> None:
    state = read(tmp_path / "gone")
    assert state.told(0.0).startswith("cannot be read: ") and "gone" in state.broken
