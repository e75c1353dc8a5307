"""Which settings can be genes, in which range each lies, and how a value becomes a place in it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from strategies.core.hyperparameters import Genome

Scale = Literal["log", "linear"]


@dataclass(frozen=True)
class Gene:
    """The range of one hyperparameter that is evolved or searched.

    Attributes:
        low: Lowest value.
        high: Highest value, above ``low``.
        scale: ``"log"`` where factors matter, which needs ``low`` over 0; ``"linear"`` where
            differences do.
        whole: Whether values are whole numbers.
    """

    low: float
    high: float
    scale: Scale = "linear"
    whole: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies: 0 at ``low``, 1 at ``high``; beyond them for others."""
        low, high, here = (self._scaled(x) for x in (self.low, self.high, value))
        return (here - low) / (high - low)

    def at(self, place: float) -> float:
        """Return the value at a place, which is cut to [0, 1]; whole numbers are rounded."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        here = low + min(max(place, 0.0), 1.0) * (high - low)
        value = 10.0**here if self.scale == "log" else here
        value = min(max(value, self.low), self.high)  # powers are not exact
        return round(value) if self.whole else value

    def shift(self, factor: float) -> float:
        """Return by how much of the range a factor moves a value.

        That is its logarithm where factors matter; where differences do, 1.1 is a tenth up.
        """
        if self.scale == "log":
            return math.log10(factor) / math.log10(self.high / self.low)
        return factor - 1

    def share(self, decades: float) -> float:
        """Return which share of the range so many decades are; of a linear one, just as much."""
        return decades / math.log10(self.high / self.low) if self.scale == "log" else decades

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.scale == "log" else value


Genes = Mapping[str, Gene]
"""The genes that are declared, by name, in the order of ``OF_CLIENTS`` and ``OF_THE_SERVER``."""


@dataclass(frozen=True)
class Kind:
    """What a setting that can be a gene is.

    Attributes:
        low: Least value that it can have.
        high: Largest one.
        whole: Whether values are whole numbers.
        open_low: Whether ``low`` itself is none of them.
        open_high: Whether ``high`` itself is none of them.
        scale: Whether factors matter or differences do, where nothing else is said.
    """

    low: float
    high: float = math.inf
    whole: bool = False
    open_low: bool = False
    open_high: bool = False
    scale: Scale = "linear"


OF_CLIENTS: Mapping[str, Kind] = {
    "learning_rate": Kind(0, open_low=True, scale="log"),
    "batch_size": Kind(1, 2**31 - 1, whole=True, scale="log"),
    "local_epochs": Kind(1, 10_000, whole=True),
    "momentum": Kind(0, 1, open_high=True),
    "weight_decay": Kind(0, scale="log"),
    "clip_norm": Kind(0, open_low=True, scale="log"),
    "label_smoothing": Kind(0, 1, open_high=True),
    "dropout": Kind(0, 1, open_high=True),
    "mu": Kind(0, scale="log"),
}
"""Settings of a client's local training, each client having a value of its own. ``mu`` is FedProx's
weight of its term; the others are named as in fedgen's sections ``training`` and ``model``."""

OF_THE_SERVER: Mapping[str, Kind] = {
    "server_rate": Kind(0, open_low=True, scale="log"),
    "server_momentum": Kind(0, 1, open_high=True),
    "beta_1": Kind(0, 1, open_high=True),
    "beta_2": Kind(0, 1, open_high=True),
    "global_rate": Kind(0, open_low=True, scale="log"),
}
"""Settings of a strategy's server, of which the whole population has one value: the rates,
momentum and betas of server optimisers, and SCAFFOLD's global step."""

DECLARED_ONLY = ("weight_decay", "clip_norm", "label_smoothing", "dropout", "mu")
"""Genes of clients that are none unless they are declared."""

PLAIN_STEPS = frozenset(
    {"learning_rate", "batch_size", "local_epochs", "clip_norm", "label_smoothing", "dropout"}
)
"""Genes of clients that take plain gradient steps, whatever the run's optimiser."""

KINDS: Mapping[str, Kind] = {**OF_CLIENTS, **OF_THE_SERVER}
"""All settings that can be genes."""


def place_of(genes: Genes, genome: Genome) -> tuple[float, ...]:
    """Return where a genome lies in the unit cube of some genes of clients; cut to the cube."""
    here = (gene.place(float(getattr(genome, name))) for name, gene in genes.items())
    return tuple(min(max(place, 0.0), 1.0) for place in here)


def values_at(genes: Genes, place: Sequence[float]) -> dict[str, float]:
    """Return the values of genes at a place."""
    pairs = zip(genes.items(), place, strict=True)
    return {name: gene.at(here) for (name, gene), here in pairs}


def genome_at(genes: Genes, place: Sequence[float], usual: Genome) -> Genome:
    """Return the genome at a place; what is no gene is as usual."""
    values: dict[str, Any] = values_at(genes, place)
    return replace(usual, **values)
