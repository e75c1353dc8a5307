"""Examples of the pages: files, and lines of a shell that are played as they stand."""

import re
import shlex
from pathlib import Path

from runs import environment, finish
from warm import Command

BLOCK = re.compile(r"```(python|sh)\n(.*?)```\n", re.DOTALL)


def commands(text: str) -> list[str]:
    """The lines of a block for a shell, those that end in a backslash with what follows."""
    return text.replace("\\\n", " ").splitlines()


def call(words: list[str], folder: Path) -> tuple[int, str, str]:
    """Do what follows ``python`` in an example."""
    arguments = words[2:] if words[:2] == ["-m", "fedgen"] else words
    assert arguments is not words or words[0].endswith(".py")
    return finish(Command(arguments, folder, environment(folder / "cache") | {"COLUMNS": "100"}))


def play(line: str, folder: Path) -> str:
    """Do a line of an example, and return what it says."""
    words = shlex.split(line)
    assert words[0] == "python"
    code, out, err = call(words[1:], folder)
    assert code == 0 and all(said.startswith("note: ") for said in err.splitlines()), line
    if "compare" in words:
        assert "again, exactly:" in out
    return out
