"""Federated averaging at a learning rate that falls from round to round."""

import math
from dataclasses import dataclass

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.settings import FixedRate, Positive, Share
from strategies.fedavg import FedAvg


class FedAvgDecay(FedAvg):
    """Federated averaging whose rate falls along a cosine (after arXiv 1608.03983).

    The schedule is one cycle of Loshchilov and Hutter, 2017, counted in rounds. It has a
    length of its own, so that more rounds can be added to a run: those after it train at the floor.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of FedAvg with a cosine schedule; learning_rate is that of round 1."""

        horizon: Positive = 10
        """Rounds until the rate is at its floor, whatever run.rounds is: rounds can be added."""
        floor: Share = 0.01
        """Share of learning_rate that is left then."""

    settings: Settings

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Give everybody the round's rate."""
        own = self.settings
        rate = cosine(own.learning_rate, server_round, own.horizon, own.floor)
        return {c: Assignment(Genome(rate, own.batch_size), "fixed") for c in cohort}


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
