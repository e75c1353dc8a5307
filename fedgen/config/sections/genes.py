"""Which hyperparameters are genes, and in which range each lies."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import model_validator

from fedgen.config.base import Section
from strategies.core.genes import KINDS, Gene, Kind


class Range(Section):
    """The range of one gene."""

    low: float
    """Lowest value."""
    high: float
    """Highest value."""
    scale: Literal["auto", "log", "linear"] = "auto"
    """Whether factors matter or differences do; "auto" for what suits the gene."""

    @model_validator(mode="before")
    @classmethod
    def _table(cls, given: object) -> object:
        if not isinstance(given, Mapping | cls):
            raise ValueError(f"expected a table, as {{low = 1, high = 2}}, received {given!r}")
        return given

    def gene(self, kind: Kind) -> Gene:
        """Return it as the range of a gene of some kind.

        Raises:
            ValueError: If the gene cannot have such values.
        """
        low, high = self.low, self.high
        above, below = "over" if kind.open_low else "from", "below" if kind.open_high else "to"
        lowest = low > kind.low if kind.open_low else low >= kind.low
        highest = high < kind.high if kind.open_high else high <= kind.high
        if not (lowest and highest and low < high):
            ending = "" if kind.high == math.inf else f" {below} {kind.high:g}"
            raise ValueError(
                f"expected low below high, {above} {kind.low:g}{ending}, received low = {low:g} "
                f"and high = {high:g}"
            )
        with np.errstate(over="ignore", under="ignore"):
            ends = [float(np.float32(end)) for end in (low, high)]
        if (
            (kind.open_low and ends[0] <= kind.low)
            or math.inf in ends
            or (kind.open_high and ends[1] >= kind.high)
        ):
            raise ValueError(
                f"expected ends that float32 tells from {kind.low:g} and {kind.high:g}, as clients "
                f"compute in it, received low = {low!r} and high = {high!r}"
            )
        if kind.whole and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"expected whole numbers, received {low:g} and {high:g}")
        scale = kind.scale if self.scale == "auto" else self.scale
        if scale == "log" and not low:
            raise ValueError("expected low over 0 on the scale 'log', or scale = 'linear'")
        return Gene(low, high, scale, kind.whole)


class Genes(Section):
    """Genes that strategies with a tuner evolve or search, instead of those they were made with."""

    learning_rate: Range | None = None
    """Step size of the clients' optimiser."""
    batch_size: Range | None = None
    """Samples in a client's batch."""
    local_epochs: Range | None = None
    """Epochs that a client trains per round."""
    momentum: Range | None = None
    """Momentum of SGD."""
    weight_decay: Range | None = None
    """Weight decay of AdamW."""
    clip_norm: Range | None = None
    """Norm that the gradients of a batch are cut to."""
    label_smoothing: Range | None = None
    """Share of the targets that a cross-entropy spreads evenly."""
    dropout: Range | None = None
    """Rate of the model's dropout layers."""
    mu: Range | None = None
    """Weight of FedProx's term."""
    server_rate: Range | None = None
    """Learning rate of fedavgm, fedadam and fedyogi; one for all clients, as all that follow."""
    server_momentum: Range | None = None
    """Momentum of fedavgm's server."""
    beta_1: Range | None = None
    """Decay of the first moments of fedadam's and fedyogi's server."""
    beta_2: Range | None = None
    """Decay of their second moments."""
    global_rate: Range | None = None
    """Step size of SCAFFOLD's server."""

    @property
    def declared(self) -> dict[str, Gene]:
        """Return the genes that there are."""
        ranges = {name: getattr(self, name) for name in KINDS}
        return {n: found.gene(KINDS[n]) for n, found in ranges.items() if found is not None}

    @model_validator(mode="after")
    def _of_their_kinds(self) -> "Genes":
        for name in KINDS:
            if (found := getattr(self, name)) is not None:
                try:
                    found.gene(KINDS[name])
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        return self
