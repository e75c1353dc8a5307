"""Genetic clustered federated learning.

After Agrawal et al., 2021 (arXiv 2107.07233): clients are clustered by their
hyperparameters, and each cluster evolves its own. Unlike the published CIFAR-10
code, the evolved learning rate is the one that trains (the client reports what
its optimiser used, and a reply that disagrees is rejected), clients train in
parallel from the global weights, and fitness does not look at the test set.
"""

from collections.abc import Mapping
from typing import Any

from flwr.app import ArrayRecord

from strategies.core.aggregation import Arrays
from strategies.core.hyperparameters import Assignment
from strategies.core.outcomes import RoundOutcome, StrategyError
from strategies.evolution.heads import ClusterModels
from strategies.fedavg import FedAvg
from strategies.messages.arrays import like
from strategies.tuning.genetic import Evolution
from strategies.tuning.settings import Evolving


class GeneticCFL(FedAvg):
    """Federated averaging in which every client's hyperparameters evolve.

    Raises:
        StrategyError: If clusters have models of their own, and the aggregation is not the mean
            or privacy is central.
    """

    own_tuner = Evolution
    Settings = Evolving
    settings: Evolving
    tuner: Evolution
    selects_on_losses = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.apart = self.settings.models == "per-cluster"
        if self.apart and (self.aggregation.kind != "mean" or self.privacy.kind == "central"):
            raise StrategyError(
                f"{self.arm}.models 'per-cluster' needs aggregation.kind 'mean' and privacy.kind "
                "'none' or 'local', as a cluster may be one client, "
                f"received {self.aggregation.kind!r} and {self.privacy.kind!r}"
            )
        self.heads = ClusterModels()

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Let the clusters evolve; where they are formed anew, their models are, too."""
        before = self._labels()
        assigned = super().assign(server_round, cohort)
        after = self._labels()
        if any(after[client] != label for client, label in before.items()):
            self.heads.regroup(before, {c: a for c, a in after.items() if a is not None})
        return assigned

    def model_for(self, client: int, arrays: ArrayRecord) -> ArrayRecord:
        """Return the model of a client's cluster, or the global one where it has none yet."""
        label = self._labels().get(client)
        if label is None or label not in self.heads.models:
            return arrays
        return like(self.heads.models[label], arrays)

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates, and those of every cluster on their own if asked to."""
        mean = super().average(server_round, outcome)
        if self.apart:
            self.heads.average(outcome, self.weights(outcome.updates))
        return mean

    def state(self) -> dict[str, Any]:
        """Return which clusters have models."""
        kept = {"models": sorted(self.heads.models)} if self.apart else {}
        return {**super().state(), **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up which clusters have models."""
        super().restore(state)
        self.heads.models = {int(label): [] for label in state.get("models", [])}

    def state_arrays(self) -> Arrays:
        """Return the models of the clusters."""
        return self.heads.arrays()

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the models of the clusters that ``restore`` named."""
        self.heads.restore(sorted(self.heads.models), arrays)

    def _labels(self) -> dict[int, int | None]:
        return {client: held.cluster for client, held in self.tuner.population.items()}
