"""The flags: their help has the defaults that the config has, and each reaches its setting."""

import pytest
from typer.main import get_command

from fedgen.cli import app
from fedgen.config import defaults
from fedgen.config.tree import Config

SETTINGS = {
    "rounds": "run.rounds",
    "strategies": "run.strategies",
    "seeds": "run.seeds",
    "seed": "run.seed",
    "workers": "run.workers",
    "dataset": "data.dataset",
    "model": "model.name",
    "clients": "partition.clients",
    "fraction": "cohort.fraction",
}


@pytest.mark.parametrize("flag", SETTINGS)
def test_help_shows_the_default_that_the_config_has(flag: str) -> None:
    section, key = SETTINGS[flag].split(".")
    value = getattr(getattr(Config(), section), key)
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    command = get_command(app).commands["compare"]  # type: ignore[attr-defined]
    (option,) = [option for option in command.params if option.name == flag]
    assert option.help.endswith(f"; {text} by default.")


def test_every_default_is_of_a_flag() -> None:
    names = {name for name in vars(defaults) if name.isupper()}
    assert names == {flag.upper() for flag in SETTINGS}


@pytest.mark.parametrize("command", ["compare", "resume", "study", "report"])
def test_every_flag_that_takes_a_value_and_has_a_default_says_it(command: str) -> None:
    """Without one there is nothing to show: no server, no cluster, no settings, no sweep."""
    params = get_command(app).commands[command].params  # type: ignore[attr-defined]
    silent = {
        option.name
        for option in params
        if option.param_type_name == "option" and not option.is_flag
        if "default" not in (option.help or "")
    }
    assert silent <= {"settings", "sweep", "mlflow", "ray", "export"}
