import numpy as np
import pytest

from strategies.core.aggregation import Arrays
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import OK, ClientOutcome, RoundOutcome, Update
from strategies.evolution.heads import ClusterModels

GENES = Genome(1e-3, 16)


def model(value: float) -> Arrays:
    return [np.full(2, value, np.float32), np.array([[value]], np.float32)]


def outcome(*clients: tuple[int, int, float | None]) -> RoundOutcome:
    """A round of clients: id, cluster, and the value of its weights, or none."""
    found = []
    for client, label, value in clients:
        update = None
        if value is not None:
            update = Update(model(value), GENES, 0.0, 0.0, 8, 8, 1, 0.0)
        assignment = Assignment(GENES, "elite", cluster=label)
        found.append(ClientOutcome(client, assignment, OK if update else "failed: x", update))
    return RoundOutcome(tuple(found))


def values(heads: ClusterModels) -> dict[int, float]:
    for weights in heads.models.values():
        assert len({float(entry) for array in weights for entry in array.flat}) == 1
    return {label: float(weights[0][0]) for label, weights in heads.models.items()}


def test_every_cluster_averages_its_own_members_by_weight() -> None:
    heads = ClusterModels()
    heads.average(outcome((0, 1, 2.0), (1, -1, 10.0), (2, 1, None), (3, 1, 6.0)), [3.0, 5.0, 1.0])
    assert values(heads) == {1: 3.0, -1: 10.0}
    heads.average(outcome((1, -1, None), (3, 1, 8.0)), [1.0])
    assert values(heads) == {1: 8.0, -1: 10.0}


def test_new_clusters_go_on_from_the_mean_of_what_their_members_had() -> None:
    heads = ClusterModels()
    heads.models = {0: model(1.0), 1: model(4.0)}
    before = {10: 0, 11: 0, 12: 1, 13: 7, 14: None}
    heads.regroup(before, {10: 1, 11: 1, 12: 1, 13: 0, 14: 2})
    assert values(heads) == {1: 2.0}


def test_models_are_restored_from_their_arrays() -> None:
    heads, again = ClusterModels(), ClusterModels()
    heads.models = {3: model(1.0), -1: model(4.0)}
    again.restore([-1, 3], heads.arrays())
    assert values(again) == values(heads)
    assert [a.tobytes() for a in again.arrays()] == [a.tobytes() for a in heads.arrays()]
    again.restore([], [])
    assert again.models == {}


@pytest.mark.parametrize(("labels", "arrays"), [([0, 1], 3), ([0], 0), ([], 2)])
def test_arrays_that_are_no_models_of_the_clusters_are_refused(
    labels: list[int], arrays: int
) -> None:
    with pytest.raises(ValueError, match=f"{len(labels)} clusters, received {arrays} arrays"):
        ClusterModels().restore(labels, [np.zeros(2)] * arrays)
