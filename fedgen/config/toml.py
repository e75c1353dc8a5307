"""Settings as TOML and as ``SECTION.KEY=VALUE``: read, laid over one another, written."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from fedgen.errors import InputError

Tree = dict[str, Any]

SHORT = {
    "rounds": ("run", "rounds"),
    "strategies": ("run", "strategies"),
    "seeds": ("run", "seeds"),
    "seed": ("run", "seed"),
    "workers": ("run", "workers"),
    "dataset": ("data", "dataset"),
    "data_dir": ("data", "data_dir"),
    "model": ("model", "name"),
    "clients": ("partition", "clients"),
    "fraction": ("cohort", "fraction"),
    "engine": ("training", "engine"),
}
"""Settings with a flag, a parameter and mostly a key in Flower's run config of their own."""

Setting = tuple[str, str, Any]
"""Section, key and value."""


def read_toml(path: Path) -> Tree:
    """Read a config file.

    Raises:
        InputError: If it is missing, unreadable, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError as error:
        found = [path / name for name in ("config.toml", "study.toml") if (path / name).exists()]
        hint = f", as {found[0]} is" if found else ""
        raise InputError(f"config {path}: is a directory, expected a .toml file{hint}") from error
    except OSError as error:
        raise InputError(f"config {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # TOML's, Unicode's, or a number of too many digits
        raise InputError(f"config {path}: not valid TOML ({error})") from error
    except RecursionError as error:
        raise InputError(f"config {path}: not valid TOML (nested too deeply)") from error


def named(**given: Any) -> list[Setting]:
    """Return the settings that short names stand for, but for those that are ``None``."""
    return [(*SHORT[name], value) for name, value in given.items() if value is not None]


def parse_name(name: str) -> tuple[str, str]:
    """Split a setting's dotted name.

    Raises:
        InputError: If it has another form.
    """
    section, key = _split(name)
    if not (section and key):
        raise InputError(f"setting {name!r}: expected SECTION.KEY, as in fedavg.batch_size")
    return section, key


def _split(name: str) -> tuple[str, str]:
    """Split at the first dot that is none of a module's, as in ``package.mine:Strategy.key``."""
    module, colon, rest = name.rpartition(":")
    section, _, key = rest.partition(".")
    return module + colon + section, key


def parse_setting(text: str) -> Setting:
    """Split ``SECTION.KEY=VALUE``; a value that is no TOML value is a string.

    Raises:
        InputError: If the text has another form.
    """
    name, equals, value = text.partition("=")
    section, key = _split(name.strip())
    if not (equals and section and key):
        raise InputError(f"--set {text!r}: expected SECTION.KEY=VALUE, as in fedavg.batch_size=64")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except ValueError:
        parsed = value.strip()
    except RecursionError as error:
        raise InputError(f"--set {name.strip()}: the value is nested too deeply") from error
    return section, key, parsed


def merge(tree: Tree, settings: Iterable[Setting]) -> Tree:
    """Return a tree with single settings laid over it; the tree stays as it is."""
    merged = {name: dict(part) if isinstance(part, dict) else part for name, part in tree.items()}
    for section, key, value in settings:
        part = merged.setdefault(section, {})
        if isinstance(part, dict):
            part[key] = value
    return merged


def to_toml(tree: Mapping[str, Any]) -> str:
    """Write a tree as TOML."""
    return tomli_w.dumps(tree)
