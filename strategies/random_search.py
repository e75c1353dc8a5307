"""Hyperparameters drawn anew all the time: what an evolution is without inheritance."""

from strategies.core.hyperparameters import Assignment
from strategies.core.settings import RandomRates
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng


class RandomSearch(FedAvg):
    """Random search without selection: every client draws new genes every round.

    After Bergstra and Bengio, 2012 (JMLR 13:281-305), who keep the best draw; here nothing
    is kept, so that what a selection adds can be told. Genes are drawn as those of
    ``genetic-cfl`` are.
    """

    Settings = RandomRates
    settings: RandomRates

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Draw genes for everybody, from the stream of the round and the client."""
        draws = {c: rng(self.seed, "random-search", server_round, c) for c in cohort}
        rates = self.settings.rates
        return {c: Assignment(random_genome(draw, rates), "drawn") for c, draw in draws.items()}
