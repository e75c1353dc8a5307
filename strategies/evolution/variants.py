"""Variants of the genetic strategy by name: each changes one thing, and leaves all else as it is.

A control takes one thing out of the evolution: one that does as well as the whole says that what
it lacks does not matter. An extension adds one: settings of ``strategies.genetic.GeneticCFL``,
with the values that were screened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from strategies.streams import rng

Control = Literal[
    "none", "shuffled-fitness", "one-cluster", "no-mutation", "no-selection", "elites-only"
]

CONTROLS: dict[Control, str] = {
    "shuffled-fitness": "the losses of a cluster's members change hands before they are ranked",
    "one-cluster": "everybody is in one cluster",
    "no-mutation": "children inherit genes as they are",
    "no-selection": "nobody is an elite: everybody inherits from members drawn at random, mutated",
    "elites-only": "everybody keeps the genes of the start for ever",
}
"""What is taken out, by the name of the control."""

Known = TypeVar("Known")
"""What is known of a member: its loss, or its ranks over rounds."""


def shuffle(
    members: list[int], losses: Mapping[int, Known], seed: int, server_round: int
) -> dict[int, Known]:
    """Deal the losses of a cluster's members, or what is known by them, out among them anew.

    Everything that a loss decides is then decided by lot, with the same losses; having none
    changes hands, too.

    Args:
        members: Clients of one cluster, at least one.
        losses: Loss of the members that have one.
        seed: Seed of the run; the draw is from its stream ``"shuffled-fitness"``.
        server_round: Round the losses are used for; all of a round change hands alike.

    Returns:
        Losses of as many members as before.
    """
    members = sorted(members)
    # Clusters share no member, so the lowest id names one.
    draw = rng(seed, "shuffled-fitness", server_round, members[0])
    givers = draw.permutation(members).tolist()
    return {
        member: losses[giver]
        for member, giver in zip(members, givers, strict=True)
        if giver in losses
    }


@dataclass(frozen=True)
class Extension:
    """A change to the genetic strategy.

    Attributes:
        what: One line for people.
        settings: Arguments of the strategy that differ from the designed ones.
    """

    what: str
    settings: Mapping[str, Any]


EXTENSIONS = {
    "probe": Extension(
        "genes start from a probe, whose cost is counted",
        {"init": "probe"},
    ),
    "reference-start": Extension(
        "weights start from a probe and genes at random, as in the published code",
        {"init": "reference"},
    ),
    "higher-rates": Extension(
        "random rates start between 1e-5 and 1e-2, instead of 1e-7 and 1e-3",
        {"rates": (1e-5, 1e-2)},
    ),
    "improvement": Extension(
        "fitness is the validation loss minus the global model's on the same samples",
        {"fitness": "improvement"},
    ),
    "log-mutation": Extension(
        "rates mutate by log-normal steps, whose width adapts",
        {"mutation_scale": "log"},
    ),
    "crossover": Extension(
        "children are the mean of two parents",
        {"crossover": "average"},
    ),
    "migration": Extension(
        "a cluster's best genes move to the next cluster every 5 rounds",
        {"migrate_every": 5},
    ),
    "window": Extension(
        "genes are ranked by the mean of their latest 3 rounds",
        {"fitness_window": 3},
    ),
    "rank-halflife": Extension(
        "genes are ranked by the mean of their ranks, a round counting half 3 rounds later",
        {"rank_halflife": 3.0},
    ),
    "racing": Extension(
        "genes are replaced only where their mean rank is worse by more than its error",
        {"racing": 1.0},
    ),
    "common-ground": Extension(
        "fitness is the improvement per sample on validation samples that a cluster has in common",
        {"fitness": "common"},
    ),
    "age-limit": Extension(
        "genes that have not changed for 3 rounds are no elites",
        {"age_limit": 3},
    ),
    "whole-genomes": Extension(
        "children inherit all genes of one parent",
        {"crossover": "whole"},
    ),
    "self-adaptive": Extension(
        "genes mutate by log-normal steps, whose width every genome carries",
        {"mutation_scale": "self"},
    ),
    "halving": Extension(
        "every 3 rounds the worse half of a cluster's genomes gives way to the others",
        {"move": "halving", "move_every": 3},
    ),
    "differential": Extension(
        "genes move by differential evolution",
        {"move": "differential"},
    ),
    "cma-es": Extension(
        "genes move by CMA-ES",
        {"move": "cma-es"},
    ),
    "rate-grid": Extension(
        "rates start near the best of a log grid, whose cost is counted",
        {"init": "grid"},
    ),
    "cosine": Extension(
        "the whole population's rates fall along a cosine while they evolve",
        {"schedule": "cosine"},
    ),
    "reclustering": Extension(
        "clusters are formed anew every 5 rounds",
        {"recluster_every": 5},
    ),
    "fitness-weights": Extension(
        "the average weighs samples times the rank of the fitness",
        {"weighting": "fitness"},
    ),
    "cluster-models": Extension(
        "every cluster trains a model of its own; their mean is evaluated",
        {"models": "per-cluster"},
    ),
    "epochs": Extension(
        "local epochs are a gene, too",
        {"evolve_epochs": True},
    ),
    "momentum": Extension(
        "momentum is a gene, too; needs SGD",
        {"evolve_momentum": True},
    ),
}
"""What is added, by the name of the extension."""
