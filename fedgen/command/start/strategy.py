"""A strategy of your own: federated averaging, but for what you change."""

from dataclasses import dataclass

from strategies.core.settings import FixedRate, Share
from strategies.evolution import Assignment, Genome
from strategies.fedavg import FedAvg


class Cooling(FedAvg):
    """Federated averaging whose learning rate falls from round to round."""

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """What the config sets: ``learning_rate`` and ``batch_size``, and what is named here."""

        factor: Share = 0.9
        """What a round's rate is multiplied by in the next one."""

    settings: Settings

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Return what every client of the cohort trains with; rounds count from 1."""
        rate = self.settings.learning_rate * self.settings.factor ** (server_round - 1)
        genome = Genome(rate, self.settings.batch_size)
        return {client: Assignment(genome, "fixed") for client in cohort}
