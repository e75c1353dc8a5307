import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.core.hyperparameters import Genome
from strategies.evolution.clustering import NOISE, cluster, dbscan, features, place, place_all

# Printed by the published run of Genetic CFL, with the labels that it got.
PUBLISHED_POINTS = """
0.98883637 0.23347991  0.0189467 0.37642767  0.21495123 0.99242664  0.84265063 0.48647721
0.27098489 0.84118732  0.96895932 0.28599367  0.70951702 0.62754768  0.61594883 0.90930682
0.28016123 0.13077247  0.73097491 0.36248761  0.22417724 0.71658237  0.63307321 0.21461873
0.30861701 0.6741226  0.3953695 0.25162917  0.69214762 0.51819628  0.50684767 0.65909331
0.0041162 0.86663761  0.61758731 0.10730936  0.6216634 0.6356302  0.485266 0.93578497
0.26062501 0.80313031  0.32792484 0.17452065  0.26043364 0.17452065  0.31979818 0.6886964
0.90893003 0  0.7402679 0.37642767  0.67981977 0.389975  0.60523189 0.02915428
0.30664982 0.98083817  0.86176129 0.36248761
"""
PUBLISHED_LABELS = "0 -1 1 0 1 0 0 2 3 0 1 4 1 3 0 0 -1 4 0 2 1 3 3 1 -1 0 0 4 1 0"

# On a grid of whole numbers no distance equals these radii, so rounding decides nothing.
EPS = (2.5**0.5, 4.5**0.5)
POINTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=25)


def neighbours(points: np.ndarray, eps: float) -> list[set[int]]:
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return [set(np.flatnonzero(row <= eps).tolist()) for row in distances]


def reference_dbscan(
    points: np.ndarray, eps: float, min_samples: int
) -> tuple[set[frozenset[int]], set[int]]:
    """Core points grouped by reachability, and noise; border points may join any neighbour."""
    near = neighbours(points, eps)
    core = {i for i, around in enumerate(near) if len(around) >= min_samples}
    groups, left = set(), set(core)
    while left:
        group: set[int] = set()
        frontier = {min(left)}
        while frontier:
            group |= frontier
            frontier = set().union(*(near[i] & core for i in frontier)) - group
        groups.add(frozenset(group))
        left -= group
    return groups, {i for i, around in enumerate(near) if not around & core}


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels) - {NOISE}}


def test_published_clustering_is_reproduced() -> None:
    points = np.array(PUBLISHED_POINTS.split(), np.float64).reshape(30, 2)
    assert " ".join(map(str, dbscan(points, 0.15, 2).tolist())) == PUBLISHED_LABELS


@pytest.mark.parametrize(
    ("genome", "expected"),
    [
        (Genome(1e-3, 16), (0.0, 0.0)),
        (Genome(1e-7, 128), (1.0, 1.0)),
        (Genome(1e-5, 32), (0.5, 1 / 3)),
        (Genome(1e-1, 64), (-0.5, 2 / 3)),
    ],
)
def test_features_by_hand(genome: Genome, expected: tuple[float, float]) -> None:
    assert features(genome) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(POINTS, st.sampled_from(EPS), st.integers(1, 4))
def test_core_points_and_noise_are_those_of_the_reference(
    rows: list[tuple[int, int]], eps: float, min_samples: int
) -> None:
    points = np.array(rows, np.float64)
    labels = dbscan(points, eps, min_samples)
    groups, noise = reference_dbscan(points, eps, min_samples)
    core = set().union(*groups)
    assert {group & core for group in partition(labels)} == groups
    assert set(np.flatnonzero(labels == NOISE).tolist()) == noise


@settings(max_examples=50, deadline=None)
@given(POINTS, st.sampled_from(EPS), st.integers(1, 4))
def test_border_points_lie_near_a_core_point_of_their_cluster(
    rows: list[tuple[int, int]], eps: float, min_samples: int
) -> None:
    points = np.array(rows, np.float64)
    near, labels = neighbours(points, eps), dbscan(points, eps, min_samples)
    for i in np.flatnonzero(labels != NOISE):
        assert any(labels[j] == labels[i] and len(near[j]) >= min_samples for j in near[i])


@settings(max_examples=50, deadline=None)
@given(POINTS, st.sampled_from(EPS), st.randoms(use_true_random=False))
def test_order_of_points_only_renames_clusters(
    rows: list[tuple[int, int]], eps: float, shuffle: random.Random
) -> None:
    points = np.array(rows, np.float64)
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    moved = {
        frozenset(order[i] for i in group) for group in partition(dbscan(points[order], eps, 2))
    }
    assert moved == partition(dbscan(points, eps, 2))


@settings(max_examples=50, deadline=None)
@given(POINTS, st.sampled_from(EPS), st.integers(1, 4))
def test_clusters_are_large_enough_and_noise_is_sparse(
    rows: list[tuple[int, int]], eps: float, min_samples: int
) -> None:
    points = np.array(rows, np.float64)
    labels = dbscan(points, eps, min_samples)
    # With more than two, a border point that two clusters share may leave one short.
    if min_samples <= 2:
        assert all(len(group) >= min_samples for group in partition(labels))
    for i in np.flatnonzero(labels == NOISE):
        assert len(neighbours(points, eps)[i]) < min_samples


GENOMES = {
    11: Genome(1e-3, 16),
    2: Genome(1.1e-3, 17),
    5: Genome(1e-7, 128),
    7: Genome(1.1e-7, 120),
    9: Genome(1e-5, 30),
}


def test_cluster_labels_by_hand() -> None:
    assert cluster(GENOMES, 0.15, 2) == {2: 0, 11: 0, 5: 1, 7: 1, 9: NOISE}


def test_cluster_ignores_the_order_of_the_mapping() -> None:
    backwards = dict(reversed(GENOMES.items()))
    assert cluster(backwards, 0.15, 2) == cluster(GENOMES, 0.15, 2)


def test_cluster_of_nobody_is_empty() -> None:
    assert cluster({}, 0.15, 2) == {}


def test_newcomer_joins_its_nearest_neighbour() -> None:
    labels = cluster(GENOMES, 0.15, 2)
    assert place(Genome(1.2e-7, 118), GENOMES, labels, 0.15) == 1
    assert place(Genome(9e-4, 16), GENOMES, labels, 0.15) == 0


def test_newcomer_beyond_eps_is_noise() -> None:
    labels = cluster(GENOMES, 0.15, 2)
    assert place(Genome(1e-5, 100), GENOMES, labels, 0.15) == NOISE
    assert place(Genome(1e-5, 100), GENOMES, labels, 10.0) != NOISE


def test_newcomer_does_not_join_a_noise_point() -> None:
    labels = cluster(GENOMES, 0.15, 2)
    assert place(GENOMES[9], GENOMES, labels, 0.15) == NOISE


def test_nearer_noise_point_does_not_hide_a_cluster() -> None:
    genomes = {1: Genome(1e-4, 32), 2: Genome(1e-4, 36)}
    assert place(Genome(1e-4, 32), genomes, {1: NOISE, 2: 4}, 0.15) == 4


def test_newcomer_exactly_at_eps_joins() -> None:
    genomes = {4: Genome(1e-3, 16)}
    assert place(Genome(1e-3, 128), genomes, {4: 3}, 1.0) == 3
    assert place(Genome(1e-3, 128), genomes, {4: 3}, 0.999) == NOISE


def test_newcomer_between_two_joins_the_lower_id() -> None:
    genomes = {8: Genome(1e-4, 32), 3: Genome(1e-4, 32)}
    assert place(Genome(1e-4, 33), genomes, {8: 0, 3: 1}, 0.15) == 1


def test_newcomer_without_clusters_is_noise() -> None:
    assert place(Genome(1e-4, 32), {}, {}, 0.15) == NOISE


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(16, 128), st.integers(-1, 3)), max_size=12),
    st.lists(st.tuples(st.integers(0, 40), st.integers(16, 128)), max_size=8),
    st.sampled_from([0.02, 0.1501, 0.4]),
)
def test_a_crowd_is_placed_as_its_members_are_one_after_another(
    there: list[tuple[int, int, int]], coming: list[tuple[int, int]], eps: float
) -> None:
    def genome(power: int, batch: int) -> Genome:
        return Genome(10.0 ** (-3 - power / 10), batch)

    genomes = {10 * i: genome(power, batch) for i, (power, batch, _) in enumerate(there)}
    labels = {10 * i: label for i, (_, _, label) in enumerate(there)}
    newcomers = {10 * i + 5: genome(*genes) for i, genes in enumerate(coming)}
    received = place_all(newcomers, genomes, labels, eps)
    for client, newcomer in newcomers.items():
        assert received[client] == place(newcomer, genomes, labels, eps)
        genomes[client], labels[client] = newcomer, received[client]
