"""Federated strategies on Flower's message API, usable in any Flower app.

``REGISTRY`` names them; a strategy is imported when it is asked for. A new one
is one file and one line here.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from strategies.evolution.variants import CONTROLS, EXTENSIONS

REGISTRY = {
    "genetic-cfl": "strategies.genetic:GeneticCFL",
    "fedavg": "strategies.fedavg:FedAvg",
    "fedavg-tuned": "strategies.tuned:FedAvgTuned",
    "fedavg-decay": "strategies.decay:FedAvgDecay",
    "fedavgm": "strategies.fedopt:FedAvgM",
    "fedadam": "strategies.fedopt:FedAdam",
    "fedyogi": "strategies.fedopt:FedYogi",
    "fednova": "strategies.fednova:FedNova",
    "random-search": "strategies.random_search:RandomSearch",
    "pbt": "strategies.pbt:PBT",
    "fedex": "strategies.fedex:FedEx",
    "fedprox": "strategies.fedprox:FedProx",
    "cyclic": "strategies.cyclic:Cyclic",
    "scaffold": "strategies.scaffold:Scaffold",
    "delta-sgd": "strategies.deltasgd:DeltaSGD",
    "ifca": "strategies.ifca:IFCA",
}
"""Strategy name to ``module:Class``."""


GENETIC = "genetic-cfl"
"""The strategy that has controls and extensions."""

CONTROL_ARMS = tuple(f"{GENETIC}+{name}" for name in CONTROLS)
"""Names of its controls."""

VARIANTS: dict[str, Mapping[str, Any]] = {
    **{f"{GENETIC}+{name}": {"control": name} for name in CONTROLS},
    **{f"{GENETIC}+{name}": extension.settings for name, extension in EXTENSIONS.items()},
}
"""Settings that a name stands for, beside those of the strategy before its plus sign."""


def registered(name: str) -> str:
    """Return the registered name of a strategy or of a variant of one."""
    return name.partition("+")[0] if name in VARIANTS else name


def load(name: str) -> type:
    """Return the strategy class of a registered name, or of a variant's.

    Raises:
        KeyError: If no strategy has that name.
    """
    module, _, attribute = REGISTRY[registered(name)].partition(":")
    loaded: type = getattr(import_module(module), attribute)
    return loaded
