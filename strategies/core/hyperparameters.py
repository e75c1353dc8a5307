"""Hyperparameters that one client trains with, and where they come from."""

from collections.abc import Mapping
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
    """

    learning_rate: float
    batch_size: int
    local_epochs: int | None = None
    momentum: float | None = None


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
