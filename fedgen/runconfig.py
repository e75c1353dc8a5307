"""Conversion between the config tree and Flower's flat run config.

Flower refuses lists and None in a run config, so the common settings are short
flat keys and everything else is one string in the ``--set`` grammar. The
in-process grid hands clients the same run config that ``flwr run`` does.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fedgen.config import Config, Tree, build, dump, merge, parse_setting

FLAT = {
    "rounds": ("run", "rounds"),
    "dataset": ("data", "dataset"),
    "data-dir": ("data", "data_dir"),
    "model": ("model", "name"),
    "clients": ("partition", "clients"),
    "fraction": ("cohort", "fraction"),
    "seed": ("run", "seed"),
}
"""Flat keys of the run config, and the settings that they stand for."""


@dataclass(frozen=True)
class Arm:
    """One (strategy, seed) of a comparison."""

    config: Config
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.strategy}-seed{self.seed}"


def to_run_config(arm: Arm) -> dict[str, str | int | float]:
    """Write an arm as a flat run config."""
    tree, defaults = dump(arm.config), dump(Config())
    flat = {key: tree[section][name] for key, (section, name) in FLAT.items()}
    others = [
        f"{section}.{key}={json.dumps(value)}"
        for section, part in tree.items()
        for key, value in part.items()
        if (section, key) not in FLAT.values() and value != defaults[section][key]
    ]
    return {**flat, "strategy": arm.strategy, "seed": arm.seed, "set": shlex.join(others)}


def from_run_config(run_config: Mapping[str, Any]) -> Arm:
    """Read an arm from a flat run config; equal run configs give the same object.

    Raises:
        InputError: If a value is wrong.
    """
    return _parse(tuple(sorted(run_config.items())))


@lru_cache(maxsize=16)
def _parse(items: tuple[tuple[str, Any], ...]) -> Arm:
    values = dict(items)
    tree: Tree = {}
    for key, (section, name) in FLAT.items():
        if key in values:
            tree.setdefault(section, {})[name] = values[key]
    settings = [parse_setting(text) for text in shlex.split(str(values.get("set", "")))]
    config = build(merge(tree, settings), "run config")
    return Arm(config, str(values.get("strategy", config.run.strategies[0])), config.run.seed)
