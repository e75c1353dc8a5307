"""What the name of a strategy stands for: a strategy, variants of it, a tuner over it.

``genetic-cfl+probe/scaffold`` is SCAFFOLD whose hyperparameters ``genetic-cfl`` evolves, started by
a probe. A plus sign lays settings over those of the strategy before it; several may follow one
another, of which at most one is a control. Before a slash stands a strategy that is made by a
tuner; that tuner chooses for the strategy behind it.

``fedavg@1e-3`` is FedAvg at that learning rate, ``fedavg@batch_size=64@1e-3`` at that batch size as
well: so one strategy takes part at several settings. They are those of what they stand behind, on
either side of a slash.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from strategies.evolution.variants import CONTROLS, EXTENSIONS

GENETIC = "genetic-cfl"
"""The strategy that has controls and extensions."""

TUNERS = (GENETIC, "random-search", "pbt", "fedex", "tournament")
"""Strategies that are federated averaging with a tuner, which goes over others as well."""

AT = "@"
"""Stands before a setting that a name gives."""

RATE = "learning_rate"
"""The setting that is meant where a name gives a value alone."""

_PLAIN = re.compile(r"[^/@\[\],]+|\[[^/@\[\]]*\]")
"""What can be told from the rest of a name, and from other names in a list."""

SELF_CHOOSING: Mapping[str, str] = {
    "fedavg-tuned": "it searches a rate of its own first",
    "optuna-tpe": "it searches a rate of its own first",
    "optuna-asha": "it searches a rate of its own first",
    "fedavg-decay": f"it sets every round's rate itself; expected fedavg, and {GENETIC}.schedule",
}
"""Strategies that no tuner goes over, and why: they choose hyperparameters themselves."""

CHANGES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"control": name} for name in CONTROLS},
    **{name: extension.settings for name, extension in EXTENSIONS.items()},
}
"""Settings that a name behind a plus sign stands for."""

VARIANTS = {f"{GENETIC}+{name}": changed for name, changed in CHANGES.items()}
"""Settings of every variant, one at a time, by its whole name."""

CONTROL_ARMS = tuple(f"{GENETIC}+{name}" for name in CONTROLS)
"""Names of the genetic strategy's controls."""


@dataclass(frozen=True)
class Named:
    """What a name stands for.

    Attributes:
        strategy: The strategy that trains, a registered one or a user's own.
        tuner: The registered strategy whose tuner chooses for it; ``""`` for its own, or none.
        changed: Settings that the name lays over those of ``section``: of its variants, and given.
        trained: Settings that it lays over those of the strategy behind a slash.
    """

    strategy: str
    tuner: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)

    @property
    def section(self) -> str:
        """Where the settings of what chooses are, or else of what trains."""
        return self.tuner or self.strategy


@lru_cache(maxsize=4096)
def parse(name: str) -> Named:
    """Return what a name stands for; names of strategies are taken as they are.

    Raises:
        KeyError: If there is no such variant; it holds what stands before the slash.
        ValueError: If two variants, or settings that are given, contradict each other.
    """
    chosen, slash, behind = name.partition("/")
    chosen, given = _given(chosen)
    strategy, *variants = chosen.split("+")
    if variants and strategy != GENETIC:
        raise KeyError(chosen)
    changed: dict[str, Any] = {}
    for variant in variants:
        if variant not in CHANGES:
            raise KeyError(chosen)
        if twice := [key for key in CHANGES[variant] if key in changed]:
            raise ValueError(f"{chosen}: two of its variants set {twice[0]}")
        changed |= CHANGES[variant]
    if twice := [key for key in given if key in changed]:
        raise ValueError(f"{name}: {chosen} sets {twice[0]}, expected another setting after the @")
    changed |= given
    if not slash:
        return Named(strategy, changed=changed)
    trained, laid = _given(behind)
    return Named(trained, strategy, changed, laid)


def with_settings(name: str, section: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a strategy at some settings, as ``fedavg@learning_rate=0.001``.

    Args:
        name: What it is called so far.
        section: Whose settings they are: those of what chooses, before a slash, or behind it.
        settings: Text, or values of TOML.

    Raises:
        TypeError: If a value has no form as text.
        ValueError: If one cannot be told from the rest of a name, or is there already.
    """
    chosen, slash, behind = name.partition("/")
    given = "".join(f"{AT}{key}={_written(value)}" for key, value in settings.items())
    chooses = parse(name).section == section
    return f"{chosen}{given}{slash}{behind}" if chooses else f"{name}{given}"


def without_settings(name: str) -> str:
    """Return the name of a strategy without what it is given, as ``fedavg`` of ``fedavg@1e-3``."""
    chosen, slash, behind = name.partition("/")
    return f"{chosen.partition(AT)[0]}{slash}{behind.partition(AT)[0]}"


def _given(name: str) -> tuple[str, dict[str, Any]]:
    """Split a name and the settings that it is given.

    Raises:
        ValueError: If one has another form, or is given twice.
    """
    bare, *texts = name.split(AT)
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            key, value = RATE, text
        if not key or not value:
            raise ValueError(
                f"{name}: expected a learning rate or SETTING=VALUE after the {AT}, as in "
                f"fedavg{AT}1e-3, received {text!r}"
            )
        if key in given:
            raise ValueError(f"{name}: {key} is given twice")
        given[key] = _read(value)
    return bare, given


def _read(text: str) -> Any:
    """Read a TOML value; what is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if not _PLAIN.fullmatch(text):
        raise ValueError(
            f"{value!r} cannot be written in a name: expected a number, a word or a list"
        )
    return text


def why_not(pair: Named) -> str | None:
    """Return why a tuner does not go over a strategy, if that can be told from their names."""
    if pair.tuner not in TUNERS:
        return (
            f"{pair.tuner} chooses no hyperparameters, expected {', '.join(TUNERS)} before a slash"
        )
    if pair.strategy in TUNERS or pair.strategy in SELF_CHOOSING:
        why = SELF_CHOOSING.get(pair.strategy, "it has a tuner itself")
        return f"{pair.tuner} cannot choose for {pair.strategy}: {why}"
    return None
