"""The list of runs: read from their files alone, whatever state they are in."""

import os
import shutil
from pathlib import Path

import pytest
from runs import FLAGS, finish, play, start

from fedgen.command.runs import runs_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, one that has more to play, one passed on, and one that is broken."""
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "a-done", run={"rounds": 1, "strategies": ["fedavg@1e-2", "fedavg@1e-6"]})
    for name in ("b-begun", "c-passed-on", "d-broken"):
        shutil.copytree(folder / "a-done", folder / name)
    config = folder / "b-begun" / "config.toml"
    config.write_text(config.read_text().replace("rounds = 1\n", "rounds = 4\n"))
    for path in (folder / "b-begun" / "shards").rglob("*"):
        os.utime(path, (1_000_000, 1_000_000))
    shutil.rmtree(folder / "c-passed-on" / "shards")
    (folder / "d-broken" / "config.toml").write_text("[run]\nstrategies = 3\n")
    (folder / "no-run").mkdir()
    return folder


def test_every_run_is_listed_with_its_state_and_who_is_ahead(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = runs_in(folder, now=1_000_065.0)
    assert [run.name for run in found] == ["a-done", "b-begun", "c-passed-on", "d-broken"]
    states = [run.status for run in found]
    assert states[:3] == ["finished", "2 of 8 rounds, 1:05 ago", "rows alone"]
    assert states[3].startswith("cannot be read: ") and "strategies" in states[3]
    assert {run.best.partition(":")[0] for run in found[:3]} == {"fedavg@1e-2"}
    assert all(run.best.endswith(" %") and "on CPU" in run.engine for run in found[:3])
    assert {run.data for run in found[:3]} == {"digits"} and found[3].best == ""
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}, "read only"
    assert [run.name for run in runs_in(folder / "a-done")] == ["a-done"], "a run by itself"


def test_the_command_lists_runs_and_says_where_there_are_none(folder: Path, tmp_path: Path) -> None:
    code, out, err = finish(start(["runs", str(folder)], tmp_path))
    assert (code, err) == (0, "")
    assert all(text in out for text in ("a-done", "finished", "d-broken"))
    for arguments in (["runs"], ["runs", str(folder / "no-run")]):
        code, out, err = finish(start(arguments, tmp_path))
        assert (code, out, len(err.splitlines())) == (2, "", 1) and "expected " in err


def test_a_run_that_has_just_begun_has_nobody_ahead(tmp_path: Path) -> None:
    process = start(["compare", *FLAGS, "--rounds=1", "--strategies=fedavg", "--out=run"], tmp_path)
    finish(process)
    for name in ("rounds.csv", "clients.csv"):
        (tmp_path / "run" / name).unlink()
    shutil.rmtree(tmp_path / "run" / "shards")
    (tmp_path / "run" / "shards").mkdir()
    (run,) = runs_in(tmp_path)
    assert (run.status, run.best) == ("0 of 1 rounds", "")
