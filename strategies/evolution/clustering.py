"""Grouping of clients by their hyperparameters.

DBSCAN (Ester et al., 1996) on two features that map the usual ranges of the
learning rate (1e-3 to 1e-7) and the batch size (16 to 128) onto [0, 1], as in
Genetic CFL (Agrawal et al., 2021, arXiv 2107.07233).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from strategies.core.hyperparameters import Genome

NOISE = -1
"""Label of the clients that DBSCAN puts nowhere; they form one cluster of their own."""


@lru_cache(maxsize=1 << 17)
def features(genome: Genome) -> tuple[float, float]:
    """Return ``((log10 rate + 3) / -4, (log2 batch - 4) / 3)`` of one genome."""
    return (
        (float(np.log10(genome.learning_rate)) + 3) / -4,
        (float(np.log2(genome.batch_size)) - 4) / 3,
    )


def dbscan(points: NDArray[np.float64], eps: float, min_samples: int) -> NDArray[np.int64]:
    """Label points by DBSCAN.

    Args:
        points: Array of shape (n, features).
        eps: Radius of a neighbourhood, greater than 0.
        min_samples: Points (itself included) that make a core point, at least 1.

    Returns:
        Array of shape (n,): cluster numbers from 0, or ``NOISE``.
    """
    from sklearn.cluster import DBSCAN  # takes a second, which reading settings does not need

    labels = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(points)
    return np.asarray(labels, np.int64)


Features = Callable[[Genome], Sequence[float]]
"""What a genome is clustered by."""


def cluster(
    genomes: Mapping[int, Genome], eps: float, min_samples: int, of: Features = features
) -> dict[int, int]:
    """Label clients by DBSCAN on the features of their genomes.

    Clients are taken in order of their id, so the labels do not depend on the
    order of the mapping.
    """
    clients = sorted(genomes)
    if not clients:
        return {}
    points = np.array([of(genomes[client]) for client in clients])
    labels = dbscan(points, eps, min_samples)
    return dict(zip(clients, labels.tolist(), strict=True))


def place_all(
    newcomers: Mapping[int, Genome],
    genomes: Mapping[int, Genome],
    labels: Mapping[int, int],
    eps: float,
    of: Features = features,
) -> dict[int, int]:
    """Label clients that arrived after the clustering, one after another, as ``place`` does.

    Each is a neighbour of those after it.

    Args:
        newcomers: Their genomes, in the order of their arrival.
        genomes: Genomes of the clients that are there.
        labels: Their labels.
        eps: Radius of a neighbourhood.
        of: What they are clustered by.
    """
    if not newcomers:
        return {}
    there = [c for c in sorted(labels) if labels[c] != NOISE and c in genomes]
    width = len(of(next(iter(newcomers.values()))))
    points = np.empty((len(there) + len(newcomers), width))
    ids = np.empty(len(points), np.int64)
    ids[: len(there)] = there
    points[: len(there)] = np.reshape([of(genomes[client]) for client in there], (-1, width))
    size, given = len(there), {client: labels[client] for client in there}
    placed = {}
    for client, genome in newcomers.items():
        here = np.array(of(genome))
        placed[client] = NOISE
        if size:
            squares = ((points[:size] - here) ** 2).sum(axis=1)
            nearest = ids[:size][squares == squares.min()].min()
            if math.sqrt(squares.min()) <= eps:
                placed[client] = given[int(nearest)]
        if placed[client] != NOISE:
            points[size], ids[size], given[client] = here, client, placed[client]
            size += 1
    return placed


def place(
    newcomer: Genome, genomes: Mapping[int, Genome], labels: Mapping[int, int], eps: float
) -> int:
    """Label a client that arrived after the clustering.

    It joins the cluster of its nearest labelled neighbour (ties: the lower id)
    when that lies within ``eps``, as DBSCAN's border points do, else the noise. This is
    ``place_all`` for one client, slow and readable.
    """
    here = np.array(features(newcomer))
    near = [
        (float(np.linalg.norm(here - features(genomes[client]))), client)
        for client, label in labels.items()
        if label != NOISE and client in genomes
    ]
    distance, client = min(near, default=(np.inf, NOISE))
    return labels[client] if distance <= eps else NOISE
