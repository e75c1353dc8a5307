"""Extensions of the genetic strategy by name: each changes one thing, and leaves all else as it is.

They are settings of ``strategies.genetic.GeneticCFL``, with the values that were screened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
