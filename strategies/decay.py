"""Federated averaging at a learning rate that falls from round to round."""

import math
from typing import Any

from strategies.core.hyperparameters import Assignment, Genome
from strategies.fedavg import FedAvg


class FedAvgDecay(FedAvg):
    """Federated averaging whose rate falls along a cosine (after arXiv 1608.03983).

    The schedule is one cycle of Loshchilov and Hutter, 2017, counted in rounds. It has a
    length of its own, so that more rounds can be added to a run: those after it train at the floor.

    Args:
        horizon: Rounds until the rate is at its floor, at least 1.
        floor: Share of the learning rate that is left then, in (0, 1].
        **common: What ``FedAvg`` takes; its learning rate is that of round 1.
    """

    def __init__(self, *, horizon: int = 10, floor: float = 0.01, **common: Any) -> None:
        super().__init__(**common)
        self.horizon = horizon
        self.floor = floor

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Give everybody the round's rate."""
        rate = cosine(self.genome.learning_rate, server_round, self.horizon, self.floor)
        return {c: Assignment(Genome(rate, self.genome.batch_size), "fixed") for c in cohort}


def cosine(rate: float, server_round: int, horizon: int, floor: float) -> float:
    """Return ``low + (rate - low) (1 + cos(pi (round - 1) / horizon)) / 2``, ``low = floor rate``.

    Args:
        rate: Learning rate of round 1, greater than 0.
        server_round: Number of the round, from 1.
        horizon: Rounds until the rate is ``low``, where it stays.
        floor: Share of the rate, in (0, 1].
    """
    low = floor * rate
    part = min((server_round - 1) / horizon, 1.0)
    return low + (rate - low) * (1 + math.cos(math.pi * part)) / 2
