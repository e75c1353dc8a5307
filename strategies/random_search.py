"""Hyperparameters drawn anew all the time: what an evolution is without inheritance."""

from strategies.evolution import Assignment, random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng


class RandomSearch(FedAvg):
    """Random search without selection: every client draws new genes every round.

    After Bergstra and Bengio, 2012 (JMLR 13:281-305), who keep the best draw; here nothing
    is kept, so that what a selection adds can be told. The ranges are those of ``genetic-cfl``:
    ``rate = 10^U(-7, -3)`` and ``batch = round(2^U(4, 7))``.

    Args:
        **common: What ``FedAvg`` takes; its own learning rate and batch size have no
            effect here.
    """

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Draw genes for everybody, from the stream of the round and the client."""
        return {
            client: Assignment(
                random_genome(rng(self.seed, "random-search", server_round, client)), "drawn"
            )
            for client in cohort
        }
