"""What ``init`` writes runs as it stands, and nothing that is there is lost."""

import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from commands import imported
from commands import run as fedgen
from failpoints import Crash, failing
from jsonschema import Draft202012Validator
from runs import finish, rows, start

from fedgen.command import init
from fedgen.command.schema import schema
from fedgen.errors import RunError

WRITTEN = ["fedgen.schema.json", "fedgen.toml", "model.py", "strategy.py"]


def names(folder: Path) -> list[str]:
    """What there is in a directory."""
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_runs_with_the_command_that_is_told(tmp_path: Path) -> None:
    made = fedgen(tmp_path, tmp_path, "init", "a start")
    assert (made.returncode, made.stderr) == (0, "")
    written, following = made.stdout.splitlines()
    assert sorted(written.removeprefix("written: ").split(", ")) == WRITTEN
    folder = tmp_path / "a start"
    assert names(folder) == WRITTEN
    words = shlex.split(following)
    assert words[:6] == ["next:", "cd", str(folder.resolve()), "&&", sys.executable, "-m"]
    code, out, err = finish(start([*words[7:], "--out=run"], folder))
    assert (code, err) == (0, "")
    assert "model:small" in out and "is best" in out
    told = rows(folder / "run" / "rounds.csv")
    assert {row["strategy"] for row in told} == {
        *("strategy:Cooling", "fedavg@0.1", "fedprox@0.1@mu=0.5")
    }
    rates = {
        (int(row["round"]), float(row["learning_rate"]))
        for row in rows(folder / "run" / "clients.csv")
        if row["strategy"] == "strategy:Cooling"
    }
    assert sorted(rates) == [(n, pytest.approx(0.1 * 0.9 ** (n - 1))) for n in range(1, 9)]


def test_the_config_is_valid_and_says_what_every_line_is(tmp_path: Path) -> None:
    init.write(tmp_path)
    text = (tmp_path / "fedgen.toml").read_text()
    assert text.startswith("#:schema ./fedgen.schema.json\n")
    assert Draft202012Validator(schema()).is_valid(tomllib.loads(text))
    for line in text.splitlines():
        if line and line[0] not in "[#]" and line != "]":
            assert "#" in line, line


def test_in_the_working_directory_the_command_follows_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    result = fedgen(tmp_path, tmp_path, "init", options=("-X", "importtime"))
    assert result.stdout.splitlines()[1] == "next: python -m fedgen compare fedgen.toml"
    assert names(tmp_path) == sorted([*WRITTEN, "mine.txt"])
    assert not imported(result.stderr) & {"tensorflow", "keras", "jax"}


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("nowhere")
    result = fedgen(tmp_path, tmp_path, "init")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: init .: expected a directory without fedgen.toml")
    assert f"received one with {name}; name another" in line
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none"])
def test_a_directory_that_cannot_be_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("kept")
    result = fedgen(tmp_path, tmp_path, "init", folder)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    why = "expected a directory, received a file" if folder == "file" else "cannot be made ("
    assert line.startswith(f"fedgen: init {folder}: {why}")
    assert names(tmp_path) == ["file"]


def steps() -> int:
    """How many calls of the system writing the files takes."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder, failing(-1) as system:
        init.write(Path(folder))
    return len(system.calls)


@pytest.mark.parametrize("how", ["ENOSPC", "before"])
@pytest.mark.parametrize("step", range(steps()))
def test_files_are_written_all_or_none(tmp_path: Path, step: int, how: str) -> None:
    with failing(step, how), pytest.raises((RunError, Crash)) as caught:
        init.write(tmp_path)
    assert names(tmp_path) == []
    if how == "ENOSPC":
        assert "cannot be written (No space left on device)" in str(caught.value)
