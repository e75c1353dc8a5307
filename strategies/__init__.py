"""Federated strategies on Flower's message API, usable in any Flower app.

``REGISTRY`` names them; a strategy is imported when it is asked for. A new one
is one file and one line here.
"""

from importlib import import_module
from typing import Any

from strategies.names import CONTROL_ARMS, GENETIC, TUNERS, VARIANTS, Named, parse

__all__ = [
    "CONTROL_ARMS",
    "GENETIC",
    "REGISTRY",
    "TUNERS",
    "VARIANTS",
    "Named",
    "load",
    "parse",
    "tuner",
]

REGISTRY = {
    "genetic-cfl": "strategies.genetic:GeneticCFL",
    "fedavg": "strategies.fedavg:FedAvg",
    "fedavg-tuned": "strategies.tuned:FedAvgTuned",
    "optuna-tpe": "strategies.searches:OptunaTPE",
    "optuna-asha": "strategies.searches:OptunaASHA",
    "fedavg-decay": "strategies.decay:FedAvgDecay",
    "fedavgm": "strategies.fedopt:FedAvgM",
    "fedadam": "strategies.fedopt:FedAdam",
    "fedyogi": "strategies.fedopt:FedYogi",
    "fednova": "strategies.fednova:FedNova",
    "random-search": "strategies.random_search:RandomSearch",
    "pbt": "strategies.pbt:PBT",
    "fedex": "strategies.fedex:FedEx",
    "tournament": "strategies.tournament:TournamentFedAvg",
    "fedprox": "strategies.fedprox:FedProx",
    "cyclic": "strategies.cyclic:Cyclic",
    "scaffold": "strategies.scaffold:Scaffold",
    "delta-sgd": "strategies.deltasgd:DeltaSGD",
    "ifca": "strategies.ifca:IFCA",
}
"""Strategy name to ``module:Class``."""


def load(name: str) -> type[Any]:
    """Return the class of a strategy that trains: of a name with a slash, what is behind it.

    Raises:
        KeyError: If no strategy has that name.
    """
    module, _, attribute = REGISTRY[parse(name).strategy].partition(":")
    loaded: type[Any] = getattr(import_module(module), attribute)
    return loaded


def tuner(name: str) -> type[Any] | None:
    """Return the class of the tuner before a slash, or of the one that a strategy is made with.

    Raises:
        KeyError: If no strategy has that name.
    """
    made: type[Any] | None = load(parse(name).section).own_tuner
    return made
