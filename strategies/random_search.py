"""Hyperparameters drawn anew all the time: what an evolution is without inheritance."""

from typing import Any

from strategies.core.hyperparameters import Assignment
from strategies.evolution.start import RATES, random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng


class RandomSearch(FedAvg):
    """Random search without selection: every client draws new genes every round.

    After Bergstra and Bengio, 2012 (JMLR 13:281-305), who keep the best draw; here nothing
    is kept, so that what a selection adds can be told. Genes are drawn as those of
    ``genetic-cfl`` are.

    Args:
        rates: Lowest and highest learning rate.
        **common: What ``FedAvg`` takes; its own learning rate and batch size have no
            effect here.
    """

    def __init__(self, *, rates: tuple[float, float] = RATES, **common: Any) -> None:
        super().__init__(**common)
        self.rates = rates

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Draw genes for everybody, from the stream of the round and the client."""
        return {
            client: Assignment(
                random_genome(rng(self.seed, "random-search", server_round, client), self.rates),
                "drawn",
            )
            for client in cohort
        }
