"""Partitions of other kinds than contiguous slices: disjoint parts that cover the training set.

Pure NumPy over named streams, as contiguous slices are. What ``partition.hold_out`` draws is cut
out of every part: a client trains on the rest of it and validates on what was cut out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedgen.data.partitions.partition import ClientIndices, Indices
from fedgen.errors import InputError
from strategies.streams import rng

Labels = NDArray[np.integer]


Mask = NDArray[np.bool_]


DRAWS = 1_000
"""How often shares are drawn until every client has enough samples."""


def iid(held_out: Mask, clients: int, seed: int) -> list[Indices]:
    """Deal the samples out at random, one each in turn: sizes differ by one at most.

    Args:
        held_out: Array of shape (samples,), true where a sample trains nobody; both sides are
            dealt out evenly.
        clients: Number of clients.
        seed: Seed of the run.

    Returns:
        One ascending array of indices per client, as from all functions here.
    """
    order = _shuffled(np.arange(len(held_out)), held_out, rng(seed, "partition-iid"))
    return [_ascending(order[client::clients]) for client in range(clients)]


def quantity(held_out: Mask, clients: int, seed: int, sigma: float) -> list[Indices]:
    """Give clients random samples, as many as in log-normal proportions.

    Sizes are proportional to exp(sigma N(0, 1)), as in the unbalanced settings of Acar et al., 2021
    (arXiv 2111.04263), rounded to whole samples by largest remainders; the held-out
    samples are divided in the same proportions.

    Args:
        held_out: Array of shape (samples,), true where a sample trains nobody.
        clients: Number of clients.
        seed: Seed of the run.
        sigma: Standard deviation of the sizes' logarithm, at least 0.
    """
    draw = rng(seed, "partition-quantity")
    weights = np.exp(sigma * draw.standard_normal(clients))
    halves = []
    for side in (np.flatnonzero(~held_out), np.flatnonzero(held_out)):
        ends = np.cumsum(apportion(len(side), weights))
        halves.append(np.split(draw.permutation(side), ends[:-1]))
    return [_ascending(np.concatenate(both)) for both in zip(*halves, strict=True)]


def dirichlet(labels: Labels, clients: int, seed: int, alpha: float) -> list[Indices]:
    """Give clients equally many samples, with label shares drawn from a Dirichlet distribution.

    After Hsu et al., 2019 (arXiv 1909.06335): every client has shares q ~ Dir(alpha p), p being
    the labels' shares of the whole set, and draws its samples by them without replacement. Where
    a label has run out, its share goes to the client's other labels, and if those have run out as
    well, shares of what is left are drawn anew. So every sample is used; clients are served in
    random order.

    Who draws every label over the clients, with a parameter a, as ``dirichlet_labels`` and
    flwr-datasets do, means about alpha = a times the number of labels.

    Args:
        labels: Array of shape (samples,).
        clients: Number of clients.
        seed: Seed of the run.
        alpha: Concentration, greater than 0: near 0 a client has one label, at infinity all have
            the whole set's shares.
    """
    known, counts = np.unique(labels, return_counts=True)
    pools = [
        rng(seed, "partition-dirichlet-pool", 0, place).permutation(np.flatnonzero(labels == label))
        for place, label in enumerate(known)
    ]
    prior, used = counts / len(labels), np.zeros(len(known), np.int64)
    sizes = apportion(len(labels), np.ones(clients))
    parts: list[Indices] = [np.zeros(0, np.int32)] * clients
    for client in rng(seed, "partition-dirichlet").permutation(clients).tolist():
        draw = rng(seed, "partition-dirichlet-client", 0, client)
        taken = _take(int(sizes[client]), alpha * prior, counts - used, draw)
        parts[client] = _ascending(
            np.concatenate(
                [
                    pool[start : start + size]
                    for pool, start, size in zip(pools, used, taken, strict=True)
                ]
            )
        )
        used += taken
    return parts


def dirichlet_labels(
    labels: Labels, held_out: Mask, clients: int, seed: int, alpha: float, fewest: int = 10
) -> list[Indices]:
    """Deal every label out over the clients by one draw from a Dirichlet distribution.

    After Yurochkin et al., 2019 (arXiv 1905.12022), as the ``DirichletPartitioner`` of
    flwr-datasets without ``self_balancing``, its default: of each label, clients have shares
    q ~ Dir(alpha, ..., alpha), cut at the whole sample below. Sizes follow: with C equally
    frequent labels about as a gamma distribution of shape C alpha. Where a client has too few,
    all shares are drawn anew. Unlike there, the rows of a label are shuffled first.

    Args:
        labels: Array of shape (samples,).
        held_out: Array of shape (samples,), true where a sample trains nobody.
        clients: Number of clients.
        seed: Seed of the run.
        alpha: Concentration, greater than 0.
        fewest: Samples that every client must have, held-out ones included; one must train.

    Raises:
        InputError: If there are fewer samples, or none of ``DRAWS`` draws gives everybody enough.
    """
    if fewest * clients > len(labels):
        raise InputError(
            f"partition.clients x partition.min_partition_size = {clients:,} x {fewest:,}: "
            f"expected at most {len(labels):,}, the number of samples"
        )
    pools = [
        rng(seed, "partition-dirichlet-labels-pool", 0, place).permutation(
            np.flatnonzero(labels == label)
        )
        for place, label in enumerate(np.unique(labels))
    ]
    counts = np.array([len(pool) for pool in pools])
    trains = [np.concatenate([[0], np.cumsum(~held_out[pool])]) for pool in pools]
    alphas, most = np.full(clients, alpha), 0
    for number in range(DRAWS):
        draw = rng(seed, "partition-dirichlet-labels", number)
        ends = [
            (np.cumsum(_shares(alphas, draw))[:-1] * count).astype(np.int64) for count in counts
        ]
        cuts = [
            np.concatenate([[0], np.minimum(end, count), [count]])
            for end, count in zip(ends, counts, strict=True)
        ]
        sizes = np.sum([np.diff(cut) for cut in cuts], axis=0)
        training = np.sum([np.diff(t[cut]) for t, cut in zip(trains, cuts, strict=True)], axis=0)
        if sizes.min() >= fewest and training.min() >= 1:
            dealt = [np.split(pool, cut[1:-1]) for pool, cut in zip(pools, cuts, strict=True)]
            return [_ascending(np.concatenate(part)) for part in zip(*dealt, strict=True)]
        most = max(most, int(sizes.min()))
    raise InputError(
        f"partition.kind 'dirichlet-labels' with alpha {alpha:g} leaves some of {clients:,} "
        f"clients with fewer than {fewest:,} samples, or none to train on (seed {seed}, "
        f"{DRAWS:,} draws, {len(labels):,} samples; the best draw's smallest client has {most:,}): "
        "raise partition.alpha, or lower partition.clients or partition.min_partition_size"
    )


def shards(
    labels: Labels, held_out: Mask, clients: int, seed: int, labels_per_client: int
) -> list[Indices]:
    """Give every client shards of so many different labels.

    After McMahan et al., 2017 (arXiv 1602.05629), who cut samples sorted by label into two shards
    a client. Theirs may lie across two labels; here every shard is of one label, and nobody has
    two of the same, so that every client trains on exactly as many labels as promised. A label is
    cut into about as many shards as its samples ask for, at least one, as equal as can be.

    Args:
        labels: Array of shape (samples,).
        held_out: Array of shape (samples,), true where a sample trains nobody; every shard has its
            share of those.
        clients: Number of clients.
        seed: Seed of the run.
        labels_per_client: Labels of every client, at least 1.

    Raises:
        InputError: If there are fewer labels, fewer shards than labels, or too few samples.
    """
    known, counts = np.unique(labels[~held_out], return_counts=True)
    wanted = clients * labels_per_client
    if labels_per_client > len(known):
        raise InputError(
            f"partition.labels_per_client = {labels_per_client}: expected at most {len(known)}, "
            "as many labels as the training set has"
        )
    if wanted < len(known):
        raise InputError(
            f"partition.clients x partition.labels_per_client = {clients} x {labels_per_client}: "
            f"expected at least {len(known)}, the number of labels: some would have no holder"
        )
    most = np.minimum(counts, clients)
    if wanted > most.sum():
        raise InputError(
            f"partition.kind 'shards' leaves clients with no training sample of a label: {clients} "
            f"x {labels_per_client} shards, the samples allow {most.sum():,}; lower "
            "partition.clients or partition.labels_per_client"
        )
    draw = rng(seed, "partition-shards")
    numbers = _numbers_of_shards(counts, wanted, most)
    holders = _holders(numbers, clients, labels_per_client, draw)
    parts: list[list[NDArray[np.integer]]] = [[] for _ in range(clients)]
    for label, mine in zip(known, holders, strict=True):
        order = _shuffled(np.flatnonzero(labels == label), held_out, draw)
        for place, client in enumerate(mine):
            parts[client].append(order[place :: len(mine)])
    return [_ascending(np.concatenate(part)) for part in parts]


def apportion(total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide a whole number in proportions, by largest remainders, the first ones on a tie.

    Args:
        total: What is divided, at least 0.
        weights: Array of shape (n,), positive.

    Returns:
        Array of shape (n,) that sums up to ``total``; each within 1 of its exact quota.
    """
    quotas = total * (weights / weights.sum())
    whole: NDArray[np.int64] = np.floor(quotas).astype(np.int64)
    order = np.argsort(whole - quotas, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def _numbers_of_shards(
    counts: NDArray[np.integer], wanted: int, most: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return how many shards each label is cut into: the largest shards are cut up first."""
    numbers = np.ones(len(counts), np.int64)
    for _ in range(wanted - len(counts)):
        sizes = np.where(numbers < most, counts / numbers, -1.0)
        numbers[int(np.argmax(sizes))] += 1
    return numbers


def _holders(
    numbers: NDArray[np.int64], clients: int, each: int, draw: np.random.Generator
) -> list[list[int]]:
    """Draw who holds the shards of each label, ``each`` different labels for everybody.

    Clients draw one after another. A label with as many shards left as there are clients left must
    be drawn by all of them; the others are drawn in proportion to the shards left. As no
    label ever has more shards left than there are clients, every client finds enough labels.
    """
    left = numbers.copy()
    holders: list[list[int]] = [[] for _ in numbers]
    order = draw.permutation(clients).tolist()
    for place, client in enumerate(order):
        due = np.flatnonzero(left == clients - place)
        free = np.where(left < clients - place, left, 0)
        more = each - len(due)
        chosen = (
            draw.choice(len(left), more, replace=False, p=free / free.sum()).tolist()
            if more
            else []
        )
        for label in (*due.tolist(), *chosen):
            holders[label].append(client)
            left[label] -= 1
    return holders


def _take(
    size: int, alphas: NDArray[np.float64], left: NDArray[np.int64], draw: np.random.Generator
) -> NDArray[np.int64]:
    """Draw how many samples of each label make up ``size``, no more than are left."""
    taken = np.zeros(len(left), np.int64)
    shares = _shares(alphas, draw)
    while missing := size - int(taken.sum()):
        there = left > taken
        if not shares[there].sum() > 0:
            shares = _shares(np.where(there, alphas, 0.0), draw)
        weights = np.where(there, shares, 0.0)
        taken = np.minimum(taken + draw.multinomial(missing, weights / weights.sum()), left)
    return taken


def _shares(alphas: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Draw from a Dirichlet distribution; where an alpha is 0, so is the share."""
    shares = np.zeros(len(alphas))
    some = np.flatnonzero(alphas)
    drawn = draw.dirichlet(alphas[some])
    if not np.isfinite(drawn).all():  # so small that nothing but the limit is left: one label
        drawn = np.eye(len(some))[draw.choice(len(some), p=alphas[some] / alphas[some].sum())]
    shares[some] = drawn
    return shares


def divide(
    parts: Sequence[Indices], labels: Labels, held_out: Mask, seed: int
) -> tuple[ClientIndices, ...]:
    """Cut every part into what trains and what validates.

    A client that holds no held-out sample validates on one that another client holds, of a label
    that it trains on, where there is one: it trains nobody all the same.
    """
    everybody = np.flatnonzero(held_out)
    by_label = {k: everybody[labels[everybody] == k] for k in np.unique(labels[everybody]).tolist()}
    found = []
    for client, part in enumerate(parts):
        kept = held_out[part]
        train, validation = part[~kept], part[kept]
        if not validation.size:
            alike = [by_label[k] for k in np.unique(labels[train]).tolist() if k in by_label]
            draw = rng(seed, "borrowed-validation", 0, client)
            validation = _one_of(alike or [everybody], draw).astype(np.int32)
        found.append(ClientIndices(train, validation))
    return tuple(found)


def _one_of(pools: Sequence[NDArray[np.integer]], draw: np.random.Generator) -> NDArray[np.integer]:
    """Draw one of all samples of some pools, without joining the pools."""
    ends = np.cumsum([len(pool) for pool in pools])
    at = int(draw.integers(ends[-1]))
    which = int(np.searchsorted(ends, at, "right"))
    place = at - int(ends[which]) + len(pools[which])
    return pools[which][place : place + 1]


def _shuffled(
    samples: NDArray[np.integer], held_out: Mask, draw: np.random.Generator
) -> NDArray[np.integer]:
    """Shuffle samples, the held-out ones behind the others: dealt in turn, both go round."""
    kept = held_out[samples]
    return np.concatenate([draw.permutation(samples[~kept]), draw.permutation(samples[kept])])


def _ascending(samples: NDArray[np.integer]) -> Indices:
    return np.sort(samples).astype(np.int32)
