"""Runs as their files have them, whatever state they are in."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from runs import play

from fedgen.errors import InputError
from fedgen.live.states import RUN, SILENT, State, read, runs_in
from fedgen.runs.run import finished_how, is_finished
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
        times = {"began": 999_990.0, "latest": 1_000_000.0, "told": 40.0, "at": 1_000_000.0}
        (shard / NOW).write_text(json.dumps({**times, "done": 2, "asked": 6}))
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
    assert slow.left(1_000_050.0) is None, "longer than was thought"
    assert slow.left(1_000_000.0 + SILENT + 1) is None
    beside = going_with(slow, seconds=[1.0, *[8.0] * 5], began=999_990.5)
    # Taken up by two processes, they have played for 19.5 s, and each has its three.
    assert beside.left(1_000_000.0) == pytest.approx(3 * 8 * 20.5 / 81)
    over = replace(beside.arms[0].standing, ended=True)
    ended = replace(beside, arms=[replace(beside.arms[0], standing=over, left=0), beside.arms[1]])
    # One that is over plays no round of the other's three.
    assert ended.left(1_000_000.0) == pytest.approx(3 * 8 * 20.5 / 81)
    more = replace(ended, arms=[*ended.arms, replace(ended.arms[1], sign=None)])
    assert more.left(1_000_000.0) == pytest.approx(6 * 8 * 20.5 / 81)
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
    assert state.finished and state.done == state.asked == 2
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("client-epochs=13", "client-epochs=33"))
    (more,) = read(run.path).arms
    assert not more.standing.over and more.left == 3, "21 are left, a round costs 6"


def test_rounds_that_will_be_spared_are_not_counted_as_done(tmp_path: Path) -> None:
    """Of two seeds one has ended after two rounds, and the other is expected to."""
    cost = {"rounds": 9, "strategies": ["fedavg"], "seeds": 2, "budget": "client-epochs=13"}
    run = play(tmp_path / "run", run=cost)
    shutil.rmtree(run.path / "shards" / "fedavg-seed1")
    state = read(run.path)
    assert (state.done, state.asked, state.finished) == (2, 4, False)


def test_a_run_whose_patience_is_at_its_end_is_finished(tmp_path: Path) -> None:
    rest = {"rounds": 40, "strategies": ["fedavg@1e-7"], "patience": "client-epochs=12"}
    run = play(tmp_path / "run", run=rest)
    state = read(run.path)
    assert is_finished(run) and state.told(0.0) == "finished" and state.done < 40
    assert finished_how(run) == "already finished; its patience of client-epochs=12 is at its end."


def test_what_cannot_be_looked_into_is_said(folder: Path, tmp_path: Path) -> None:
    def denied(path: Path) -> NoReturn:  # tests may be run by who may look into everything
        raise PermissionError(errno.EACCES, "Permission denied", str(path / "shards"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedgen.live.states.open_run", denied)
        told = read(folder / "a-done").told(0.0)
    assert told == f"cannot be read: {folder / 'a-done' / 'shards'}: Permission denied"
    shard = tmp_path / "run" / "shards" / "fedavg@1e-2-seed0"
    for name in ("stopped.json", "failed.json"):
        shutil.copytree(folder / "a-done", tmp_path / "run", dirs_exist_ok=True)
        note = {"round": float("inf"), "reason": "", "clients": "", "budget": "", "spent": 10**400}
        (shard / name).write_text(json.dumps(note))
        assert read(tmp_path / "run").told(0.0).startswith(("cannot be read: ", "finished"))


def test_directories_that_cannot_be_looked_into_are_listed_or_refused(
    folder: Path, tmp_path: Path
) -> None:
    exists = Path.exists

    def denied(path: Path) -> bool:
        if "closed" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    (tmp_path / "closed").mkdir()
    (tmp_path / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "exists", denied)
        assert runs_in(tmp_path) == [tmp_path / "closed"], "it may be a run"
        with pytest.raises(InputError, match=r"closed: cannot be looked into \(Permission denied"):
            runs_in(tmp_path / "closed")
    with pytest.raises(InputError, match="`python -m fedgen compare` makes its runs in"):
        runs_in(tmp_path / "none")


def test_a_directory_that_is_gone_reads_as_that(tmp_path: Path) -> None:
    state = read(tmp_path / "gone")
    assert state.told(0.0).startswith("cannot be read: ") and "gone" in state.broken
