import math

import pytest

from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.migration import migrate

ISLANDS = {
    1: {5: Genome(5e-4, 50)},
    -1: {0: Genome(1e-4, 10), 1: Genome(2e-4, 20)},
    0: {2: Genome(3e-4, 30), 3: Genome(4e-4, 40), 4: Genome(6e-4, 60)},
}
LOSSES = {0: 2.0, 1: 1.0, 2: 0.3, 3: 0.2, 4: 0.1, 5: 9.0}


def migrant(genome: Genome, donor: int) -> Assignment:
    return Assignment(genome, "migrant", donor, donor, 1.0)


def test_the_best_of_the_cluster_before_displaces_the_worst() -> None:
    """The ring is -1, 0, 1: -1 takes from 1, and 1 has one member, which it keeps."""
    assert migrate(ISLANDS, LOSSES) == {
        0: migrant(Genome(5e-4, 50), 5),
        2: migrant(Genome(2e-4, 20), 1),
    }


def test_dealt_by_index_the_last_member_takes_it() -> None:
    assert migrate(ISLANDS, LOSSES, "index") == {
        1: migrant(Genome(5e-4, 50), 5),
        4: migrant(Genome(2e-4, 20), 1),
    }


def test_a_cluster_without_a_finite_loss_is_not_on_the_ring() -> None:
    losses = {c: loss for c, loss in LOSSES.items() if c not in (2, 3, 4)} | {2: math.nan}
    assert migrate(ISLANDS, losses) == {0: migrant(Genome(5e-4, 50), 5)}


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_a_cluster_alone_has_no_migrants(label: int) -> None:
    assert migrate({label: ISLANDS[label]}, LOSSES) == {}
    assert migrate({}, LOSSES) == {}
