"""Federated strategies on Flower's message API, usable in any Flower app.

``REGISTRY`` names them; a strategy is imported when it is asked for. A new one
is one file and one line here.
"""

from importlib import import_module

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


def load(name: str) -> type:
    """Return the strategy class of a registered name.

    Raises:
        KeyError: If no strategy has that name.
    """
    module, _, attribute = REGISTRY[name].partition(":")
    loaded: type = getattr(import_module(module), attribute)
    return loaded
