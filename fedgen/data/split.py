"""A partition of any kind, as its section of settings says."""

from collections.abc import Callable

import numpy as np

from fedgen.config.sections import Partition as Settings
from fedgen.data import contiguous, partition
from fedgen.data.disjoint import Labels, dirichlet, dirichlet_labels, divide, iid, quantity, shards
from fedgen.data.partition import Indices, Partition
from fedgen.errors import InputError


def split(
    labels: Labels, settings: Settings, seed: int, *, validation_fraction: float = 0.1
) -> Partition:
    """Partition a training set as the settings say.

    Args:
        labels: Array of shape (samples,): the label of every training sample.
        settings: Kind of the partition, number of clients, and what the kind needs.
        seed: Seed of the run.
        validation_fraction: Share of the samples that train nobody, in (0, 1).

    Raises:
        InputError: If the kind is impossible with these samples, or leaves a client without a
            training sample.
    """
    samples, clients = len(labels), settings.clients
    if settings.kind == "contiguous":
        return contiguous.partition(
            samples,
            clients,
            seed,
            validation_fraction=validation_fraction,
            min_samples=settings.min_samples,
            max_samples=settings.max_samples,
        )
    validation = partition.hold_out(samples, validation_fraction, seed)
    held_out = np.zeros(samples, bool)
    held_out[validation] = True
    kinds: dict[str, Callable[[], list[Indices]]] = {
        "iid": lambda: iid(held_out, clients, seed),
        "dirichlet": lambda: dirichlet(labels, clients, seed, settings.alpha),
        "dirichlet-labels": lambda: dirichlet_labels(
            labels, held_out, clients, seed, settings.alpha, settings.min_partition_size
        ),
        "shards": lambda: shards(labels, held_out, clients, seed, settings.labels_per_client),
        "quantity": lambda: quantity(held_out, clients, seed, settings.sigma),
    }
    parts = kinds[settings.kind]()
    idle = [client for client, part in enumerate(parts) if held_out[part].all()]
    if idle:
        raise InputError(
            f"partition.kind {settings.kind!r} leaves {len(idle):,} of {clients:,} clients with no "
            f"training sample (client {idle[0]} first, seed {seed}), of {samples:,} samples: "
            f"expected at least one each; lower partition.clients{_ALSO.get(settings.kind, '')}"
        )
    return Partition(
        slices=(),
        clients=divide(parts, labels, held_out, seed),
        validation=validation,
        training=np.flatnonzero(~held_out).astype(np.int32),
    )


_ALSO = {"quantity": " or partition.sigma"}
