"""Hyperparameters that one client trains with, and where they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Origin = Literal[
    "random", "probe", "elite", "mutant", "average", "migrant", "fixed", "drawn", "kept"
]


@dataclass(frozen=True)
class Genome:
    """Hyperparameters that one client trains with.

    Attributes:
        learning_rate: Step size of the optimiser, greater than 0.
        batch_size: Samples in a full batch, at least 1.
        local_epochs: Epochs of a round, at least 1; ``None`` where that is no gene.
        momentum: Momentum of SGD, in [0, 1); ``None`` where that is no gene.
        weight_decay: Weight decay of AdamW, at least 0; ``None`` where that is no gene.
        clip_norm: Norm that a batch's gradients are cut to, greater than 0; ``None`` likewise.
        label_smoothing: Share of the targets that is spread evenly, in [0, 1); likewise.
        dropout: Rate of the model's dropout layers, in [0, 1); likewise.
        mu: Weight of FedProx's term, at least 0; likewise.
    """

    learning_rate: float
    batch_size: int
    local_epochs: int | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None
    label_smoothing: float | None = None
    dropout: float | None = None
    mu: float | None = None

    def having(self, names: Iterable[str]) -> dict[str, float]:
        """Return those of some genes that it has."""
        genes = {name: getattr(self, name) for name in names}
        return {name: value for name, value in genes.items() if value is not None}


@dataclass(frozen=True)
class Assignment:
    """A genome together with where it came from.

    Attributes:
        genome: What the client is told to use.
        origin: How the genome came about.
        parent: Client whose learning rate was inherited, if any; of an average, the one parent.
        batch_parent: Client whose batch size was inherited, if any; of an average, the other.
        mutation: Factor on the inherited learning rate, if any.
        cluster: Label of the client's cluster, ``None`` where there is none.
    """

    genome: Genome
    origin: Origin
    parent: int | None = None
    batch_parent: int | None = None
    mutation: float | None = None
    cluster: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, genes that are none left out."""
        # Not by dataclasses.asdict, which copies deeply: every known client's is kept each round.
        genes = vars(self.genome).items()
        return {**vars(self), "genome": {key: gene for key, gene in genes if gene is not None}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Assignment":
        """Take up what ``as_json`` returned."""
        return cls(**{**values, "genome": Genome(**values["genome"])})
