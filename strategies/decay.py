"""Federated averaging at a learning rate that falls from round to round."""

from dataclasses import dataclass

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.settings import FixedRate, Positive, Share
from strategies.evolution.moves.schedule import cosine
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
