"""What the name of a strategy stands for: a strategy, variants of it, a tuner over it.

``genetic-cfl+probe/scaffold`` is SCAFFOLD whose hyperparameters ``genetic-cfl`` evolves, started by
a probe. A plus sign lays settings over those of the strategy before it; several may follow one
another, of which at most one is a control. Before a slash stands a strategy that is made by a
tuner; that tuner chooses for the strategy behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from strategies.evolution.variants import CONTROLS, EXTENSIONS

GENETIC = "genetic-cfl"
"""The strategy that has controls and extensions."""

TUNERS = (GENETIC, "random-search", "pbt", "fedex", "tournament")
"""Strategies that are federated averaging with a tuner, which goes over others as well."""

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
        changed: Settings that its variants lay over those of ``section``.
    """

    strategy: str
    tuner: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def section(self) -> str:
        """Where the settings of what chooses are, or else of what trains."""
        return self.tuner or self.strategy


@lru_cache(maxsize=4096)
def parse(name: str) -> Named:
    """Return what a name stands for; names of strategies are taken as they are.

    Raises:
        KeyError: If there is no such variant; it holds what stands before the slash.
        ValueError: If two variants contradict each other.
    """
    chosen, slash, trained = name.partition("/")
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
    if not slash:
        return Named(strategy, changed=changed)
    return Named(trained, strategy, changed)


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
