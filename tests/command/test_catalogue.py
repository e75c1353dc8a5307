"""What there is to choose from, and the shell's help in choosing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import finish, start

from fedgen.command import catalogue
from fedgen.config.sections import CENTRALISED, DATASETS
from fedgen.config.sections.model import MODELS
from strategies import REGISTRY, VARIANTS

LISTS = {
    "strategies": (
        catalogue.strategies_there_are,
        (*REGISTRY, *VARIANTS, catalogue.PAIR, CENTRALISED),
    ),
    "models": (catalogue.models_there_are, MODELS),
    "datasets": (catalogue.datasets_there_are, (*DATASETS, "FILE or FOLDER", "hf:NAME")),
}


@pytest.mark.parametrize("command", LISTS)
def test_everything_is_listed_with_one_line(tmp_path: Path, command: str) -> None:
    listed, names = LISTS[command]
    assert tuple(listed()) == tuple(names)
    code, out, err = finish(start([command], tmp_path))
    assert (code, err) == (0, "")
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    assert {name.strip() for name in lines} == set(names)
    assert all(len(line.strip()) > 10 for line in lines.values())


def test_a_stack_is_described_by_its_name() -> None:
    lines = catalogue.models_there_are()
    assert lines["mlp-324-108"] == "hidden layers of 324, 108 units"
    assert lines["mlp-356-105-51-bn-dropout"] == (
        "hidden layers of 356, 105, 51 units, batch normalisation, dropout 0.5"
    )


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    """Installed for real into a home of its own, then asked as bash asks."""
    home = os.environ | {"HOME": str(tmp_path), "SHELL": "/bin/bash"}
    installed = subprocess.run(
        [sys.executable, "-m", "fedgen", "--install-completion", "bash"],
        env=home | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*.sh"))
    assert "_FEDGEN_COMPLETE=complete_bash" in written and "complete -o default" in written
    asked = subprocess.run(
        [Path(sys.executable).parent / "fedgen"],
        env=home
        | {"_FEDGEN_COMPLETE": "complete_bash", "COMP_WORDS": "fedgen c", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert asked.stdout.split() == ["compare"]
