"""Conversion between the config tree and Flower's flat run config.

Flower refuses lists and None in a run config, so the common settings are short
flat keys and everything else is one string in the ``--set`` grammar. The
in-process grid hands clients the same run config that ``flwr run`` does.
"""

import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fedgen.config.toml import SHORT, Tree, merge, parse_setting
from fedgen.config.tree import Config, build, dump
from fedgen.errors import InputError, unknown

FLAT = {
    "strategy" if name == "strategies" else name.replace("_", "-"): setting
    for name, setting in SHORT.items()
    if name not in ("seeds", "workers")  # of which a run of Flower's has no use
}
"""Flat keys of the run config, and the settings that they stand for."""

OUT, SET, RESUME = "out", "set", "resume"
"""The other keys: the run directory, all settings that have no key of their own, and the run
directory of a run to go on with."""

RunConfig = dict[str, str | int | float]


def to_run_config(config: Config) -> RunConfig:
    """Write a config as a flat run config."""
    tree, defaults = dump(config), dump(build({}))
    flat = {key: tree[section][name] for key, (section, name) in FLAT.items()}
    others = [
        f"{section}.{key}={_inline(value)}"
        for section, part in tree.items()
        for key, value in part.items()
        if (section, key) not in FLAT.values() and value != defaults.get(section, {}).get(key)
    ]
    strategies = ",".join(flat["strategy"])
    return {**flat, "strategy": strategies, SET: shlex.join(others), OUT: "", RESUME: ""}


def _inline(value: Any) -> str:
    """Return a value as TOML has it on one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return f"{{{', '.join(f'{key} = {_inline(part)}' for key, part in value.items())}}}"


def from_run_config(run_config: Mapping[str, Any]) -> Config:
    """Read the config of a flat run config; equal run configs give the same object.

    Raises:
        InputError: If a key is unknown or a value is wrong.
    """
    return _parse(tuple(sorted(run_config.items())))


@lru_cache(maxsize=16)
def _parse(items: tuple[tuple[str, Any], ...]) -> Config:
    values = dict(items)
    for key in values:
        if key not in (*FLAT, OUT, SET, RESUME):
            raise InputError(f"run config: {unknown('key', key, (*FLAT, OUT, SET, RESUME))}")
    tree: Tree = {}
    for key, (section, name) in FLAT.items():
        if key in values:
            tree.setdefault(section, {})[name] = values[key]
    try:
        words = shlex.split(str(values.get(SET, "")))
    except ValueError as error:
        raise InputError(f"run config: set={values[SET]!r}: {error}".lower()) from error
    return build(merge(tree, map(parse_setting, words)), "run config")
