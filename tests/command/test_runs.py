"""The list of runs, as the command prints it."""

from pathlib import Path

import pytest
from runs import finish, play, start

from fedgen.command.runs import lines
from fedgen.errors import InputError


def test_the_command_lists_runs_and_says_where_there_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    play(folder / "a", run={"rounds": 1, "strategies": ["fedavg"]})
    (folder / "d-broken").mkdir()
    (folder / "d-broken" / "config.toml").write_text("[run]\nstrategies = 3\n")
    code, out, err = finish(start(["runs"], tmp_path))
    assert (code, err) == (0, "")
    assert all(text in out for text in ("time left", "finished", "fedavg", "d-broken", "cannot"))
    (tmp_path / "none").mkdir()
    for arguments in (["runs", "nowhere"], ["runs", "none"]):
        code, out, err = finish(start(arguments, tmp_path))
        assert (code, out, len(err.splitlines())) == (2, "", 1) and "expected " in err


def test_a_name_is_text_never_markup(tmp_path: Path) -> None:
    play(tmp_path / "[red]one", run={"rounds": 1, "strategies": ["fedavg"]})
    (tmp_path / "[red]one").rename(tmp_path / "[red]o\033[31mne")
    assert [line[0] for line in lines(tmp_path, 0.0)] == ["[red]o\033[31mne"]
    code, out, _ = finish(start(["runs", "."], tmp_path))
    assert code == 0 and "\033" not in out and "[red]o" in out.replace("\n", "")
    (tmp_path / "[red]o\033[31mne").rename(tmp_path / "[red]one")
    with pytest.raises(InputError, match="expected directories of runs"):
        lines(tmp_path / "[red]one" / "shards", 0.0)
