"""One model per cluster: cluster heads that average their members (Agrawal et al., 2021)."""

from collections.abc import Mapping, Sequence

from strategies.core.aggregation import Arrays, weighted_mean
from strategies.core.outcomes import RoundOutcome


class ClusterModels:
    """The models of all clusters that ever took part, by label.

    Attributes:
        models: Weights of every cluster that has some of its own yet.
    """

    def __init__(self) -> None:
        self.models: dict[int, Arrays] = {}

    def average(self, outcome: RoundOutcome, weights: Sequence[float]) -> None:
        """Average the usable updates of every cluster; one without any keeps its model.

        Args:
            outcome: What became of a round; assignments tell the clusters.
            weights: One per usable update, in their order.
        """
        usable = [client for client in outcome.clients if client.update is not None]
        updates: dict[int, list[Arrays]] = {}
        shares: dict[int, list[float]] = {}
        for client, update, weight in zip(usable, outcome.updates, weights, strict=True):
            label = client.assignment.cluster if client.assignment else None
            if label is not None:
                updates.setdefault(label, []).append(update.arrays)
                shares.setdefault(label, []).append(weight)
        for label, mine in updates.items():
            self.models[label] = weighted_mean(mine, shares[label])

    def regroup(self, before: Mapping[int, int | None], after: Mapping[int, int]) -> None:
        """Give new clusters the plain mean of the models that their members had.

        Labels are given anew at each clustering. A cluster whose members had none has none.

        Args:
            before: Label of every client so far.
            after: Its new label.
        """
        had: dict[int, list[Arrays]] = {}
        for client, label in sorted(after.items()):
            old = before.get(client)
            if old is not None and old in self.models:
                had.setdefault(label, []).append(self.models[old])
        self.models = {
            label: weighted_mean(models, [1.0] * len(models)) for label, models in had.items()
        }

    def arrays(self) -> Arrays:
        """Return all models one after another, by label."""
        return [array for _, model in sorted(self.models.items()) for array in model]

    def restore(self, labels: Sequence[int], arrays: Arrays) -> None:
        """Take up what ``arrays`` returned.

        Raises:
            ValueError: If the arrays are no models of that many clusters.
        """
        size, left = divmod(len(arrays), len(labels) or 1)
        if left or bool(labels) != bool(size):
            raise ValueError(
                f"expected the models of {len(labels)} clusters, received {len(arrays)} arrays"
            )
        self.models = {
            label: list(arrays[place * size : (place + 1) * size])
            for place, label in enumerate(sorted(labels))
        }
