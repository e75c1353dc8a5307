"""Hyperparameters drawn anew all the time: what an evolution is without inheritance."""

from collections.abc import Mapping

import numpy as np

from strategies.core.genes import genome_at, values_at
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.settings import RandomRates
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng
from strategies.tuning.tuner import Tuner


class Draws(Tuner):
    """Every client draws new genes every round, and nothing is kept."""

    Settings = RandomRates
    settings: RandomRates
    selects_on_losses = False

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Draw genes for everybody, from the stream of the round and the client."""
        draws = {c: rng(self.ground.seed, "random-search", server_round, c) for c in cohort}
        return {c: Assignment(self._genome(c, draw), "drawn") for c, draw in draws.items()}

    def serve(self, server_round: int) -> Mapping[str, float]:
        """Draw the server's genes as well."""
        draw = rng(self.ground.seed, "random-server", server_round)
        place = draw.random(len(self.of_the_server)).tolist()
        return values_at(self.of_the_server, place)

    def _genome(self, client: int, draw: np.random.Generator) -> Genome:
        if not self.declared:
            return random_genome(draw, self.settings.rates)
        place = draw.random(len(self.of_clients)).tolist()
        return genome_at(self.of_clients, place, self.ground.usual(client))


class RandomSearch(FedAvg):
    """Random search without selection: every client draws new genes every round.

    After Bergstra and Bengio, 2012 (JMLR 13:281-305), who keep the best draw; here nothing
    is kept, so that what a selection adds can be told. Genes are drawn as those of
    ``genetic-cfl`` are.
    """

    own_tuner = Draws
    Settings = RandomRates
    settings: RandomRates
