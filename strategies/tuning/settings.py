"""What an evolution of hyperparameters can be told."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from strategies.core.settings import (
    BelowOne,
    Count,
    NotNegative,
    Positive,
    RandomRates,
    Rate,
    Share,
)
from strategies.core.weighting import Weighting
from strategies.evolution.selection import Deal
from strategies.evolution.variants import Control
from strategies.evolution.variation import Crossover, Scale


@dataclass(frozen=True)
class Evolving(RandomRates):
    """Settings of the evolution; ``rates`` are those that random genes start with."""

    init: Literal["random", "probe", "reference", "grid"] = "random"
    """How genes start: drawn; from the best of a small grid that every client of the cohort
    probes; as in the published code, drawn, with the weights that such a probe ends at; or at
    rates near the best of a log grid, of which every client of the cohort tries one."""
    fitness: Literal["validation", "improvement", "common", "test"] = "validation"
    """What clients minimise: their validation loss, its improvement over the global model's, that
    improvement per trained sample on samples of the server's that their cluster has in common,
    or the loss on the test set, which leaks and only replays the reference."""
    common_samples: Positive = 256
    """Samples of the server's validation share that a cluster has in common, where fitness is."""
    eps: Rate = 0.15
    """Radius of DBSCAN."""
    min_samples: Positive = 2
    """Neighbourhood that makes a core point of DBSCAN."""
    elites: Count = 2
    """Members of a cluster that keep their genes."""
    mutation: BelowOne = 0.1
    """Step of the learning rate's mutation: times 1 - m, 1 or 1 + m."""
    recluster_every: Count = 0
    """Cluster again every so many rounds; 0 for once, after the start."""
    deal: Deal = "owner"
    """Elites keep genes on their own client, or genes are dealt in index order."""
    weighting: Weighting = "samples"
    """Weights of the average; "fitness" multiplies samples with the rank of the fitness."""
    mutation_scale: Scale = "step"
    """Steps of the setting above; steps of any size on the log scale, whose width adapts to how
    the mutants do (``strategies.evolution.variation``); or "self", steps in all genes whose width
    every genome carries (``strategies.evolution.moves.self_adaptive``)."""
    log_width: Annotated[float, Ge(0.01), Le(1)] = 0.1
    """Width of "log" to start from: a standard deviation, in decades."""
    crossover: Crossover = "none"
    """Children take genes from one parent each, the mean of two (the MNIST code), or "whole"
    genomes from one."""
    move: Literal["genetic", "halving", "differential", "cma-es"] = "genetic"
    """How genes move: by selection and mutation as above; by successive halving, the worse half of
    a cluster's genomes giving way to the others; or as differential evolution or CMA-ES do."""
    move_every: Positive = 1
    """Rounds from one move to the next; genes stay as they are in between."""
    age_limit: Count = 0
    """Rounds after which genes that never changed are no elites any more; 0 for never."""
    migrate_every: Count = 0
    """The best genes move to the next cluster every so many rounds; 0 for never."""
    fitness_window: Positive = 1
    """Rank by the mean of so many of a genome's latest rounds, each relative to its median,
    as losses fall from round to round."""
    rank_halflife: NotNegative = 0.0
    """Rank by the mean of a genome's ranks in all its rounds, in which a round counts half after
    so many others; 0 for the latest loss alone."""
    racing: NotNegative = 0.0
    """Genes are replaced only where their mean rank is worse than the best's by so many standard
    errors; 0 for all that are no elites."""
    schedule: Literal["none", "cosine"] = "none"
    """Let the whole population's rates fall along a cosine while they evolve: a rate is that of
    round 1, and every round trains with a share of it."""
    horizon: Positive = 10
    """Rounds until that share is at its floor."""
    floor: Share = 0.01
    """Share that is left then."""
    evolve_epochs: bool = False
    """Let local epochs be a gene, from 1 to twice training.local_epochs."""
    evolve_momentum: bool = False
    """Let momentum be a gene, from 0 to 0.99; needs training.optimizer "sgd"."""
    models: Literal["global", "per-cluster"] = "global"
    """Everybody trains from one model; or every cluster from, and into, its own (cluster-head
    aggregation). Their mean by weight, which nobody trains from, is evaluated."""
    control: Control = "none"
    """What is taken out of the evolution, to see whether it matters; weights of the average
    are left as they are (``strategies.evolution.variants``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank_halflife and self.fitness_window > 1:
            raise ValueError(
                f"rank_halflife: expected 0 with fitness_window = {self.fitness_window}, received "
                f"{self.rank_halflife:g}: both say how rounds are averaged"
            )
        if self.move != "genetic":
            usual: dict[str, Any] = {
                **{"racing": 0.0, "age_limit": 0, "crossover": "none", "mutation_scale": "step"}
            }
            for name, expected in usual.items():
                if (value := getattr(self, name)) != expected:
                    raise ValueError(
                        f"{name}: expected {expected!r} with move = {self.move!r}, received "
                        f"{value!r}: it says who of the genetic move is replaced, or by what"
                    )
            if self.control == "no-mutation":
                raise ValueError(
                    f"control: expected another one with move = {self.move!r}, received "
                    f"{self.control!r}: nothing mutates there"
                )
        if self.racing and self.control == "no-selection":
            raise ValueError(
                f"racing: expected 0 with control = {self.control!r}, received {self.racing:g}: "
                "who keeps genes for being unbeaten is selected"
            )

    @property
    def moves_places(self) -> bool:
        """Whether genes move in the unit cube of their ranges, declared or not."""
        return self.move in ("differential", "cma-es") or self.mutation_scale == "self"
