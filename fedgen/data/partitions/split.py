"""A partition of any kind, as its section of settings says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedgen.config import defaults
from fedgen.config.sections import Partition as Settings
from fedgen.data.partitions import contiguous, known, partition
from fedgen.data.partitions.disjoint import (
    Labels,
    dirichlet,
    dirichlet_labels,
    divide,
    iid,
    quantity,
    shards,
)
from fedgen.data.partitions.partition import Indices, Partition
from fedgen.errors import InputError

BY_LABEL = ("dirichlet", "dirichlet-labels", "shards")
"""Kinds that need classes."""


def settled(
    settings: Settings, samples: int, owners: NDArray[np.int32] | None, seed: int
) -> Settings:
    """Return the settings with as many clients as the data, or a given file, know of.

    Args:
        settings: The section.
        samples: Training samples that there are.
        owners: Whose every sample is, where the data say so.
        seed: Seed of the run.

    Raises:
        InputError: If a partition that is known cannot be had, or somebody set another number.
    """
    if settings.kind not in known.KINDS:
        return settings
    parts = _known(settings, samples, owners, seed)
    if settings.clients not in (defaults.CLIENTS, len(parts)):
        raise InputError(
            f"partition.clients = {settings.clients:,}: expected {len(parts):,}, the clients that "
            f"partition.kind {settings.kind!r} knows of; leave it out"
        )
    found: Settings = settings.model_copy(update={"clients": len(parts)})
    return found


def _known(
    settings: Settings, samples: int, owners: NDArray[np.int32] | None, seed: int
) -> list[Indices]:
    if settings.kind == "natural":
        return known.natural(owners)
    return known.given(Path(settings.file), samples, seed)


def absolute(settings: Settings) -> Settings:
    """Make the path of a given partition absolute: a run may be resumed from another directory."""
    if not settings.file:
        return settings
    return settings.model_copy(update={"file": str(Path(settings.file).absolute())})


def split(
    labels: Labels | None,
    settings: Settings,
    seed: int,
    *,
    samples: int = 0,
    validation_fraction: float = 0.1,
    validation: Indices | None = None,
    owners: NDArray[np.int32] | None = None,
) -> Partition:
    """Partition a training set as the settings say.

    Args:
        labels: Array of shape (samples,): the class of every training sample; ``None`` where they
            have none.
        settings: Kind of the partition, number of clients, and what the kind needs.
        seed: Seed of the run.
        samples: How many training samples there are, where they have no classes.
        validation_fraction: Share of the samples that train nobody, in (0, 1).
        validation: Those samples, where the data have a split of their own.
        owners: Array of shape (samples,): whose they are, where the data say so.

    Raises:
        InputError: If the kind is impossible with these samples, or leaves a client without a
            training sample.
    """
    if labels is None and settings.kind in BY_LABEL:
        raise InputError(
            f"partition.kind {settings.kind!r}: expected data with one class a sample, received "
            "others; 'iid', 'quantity' and 'contiguous' need none"
        )
    if labels is None:
        labels = np.zeros(samples, np.int32)
    samples, clients = len(labels), settings.clients
    if settings.kind == "contiguous":
        return contiguous.partition(
            samples,
            clients,
            seed,
            validation_fraction=validation_fraction,
            min_samples=settings.min_samples,
            max_samples=settings.max_samples,
            validation=validation,
        )
    own_validation = validation is not None
    if validation is None:
        validation = partition.hold_out(samples, validation_fraction, seed)
    held_out = np.zeros(samples, bool)
    held_out[validation] = True
    mine = labels
    kinds: dict[str, Callable[[], list[Indices]]] = {
        "iid": lambda: iid(held_out, clients, seed),
        "dirichlet": lambda: dirichlet(mine, clients, seed, settings.alpha),
        "dirichlet-labels": lambda: dirichlet_labels(
            mine, held_out, clients, seed, settings.alpha, settings.min_partition_size
        ),
        "shards": lambda: shards(mine, held_out, clients, seed, settings.labels_per_client),
        "quantity": lambda: quantity(held_out, clients, seed, settings.sigma),
        "natural": lambda: _known(settings, samples, owners, seed),
        "given": lambda: _known(settings, samples, owners, seed),
    }
    parts = kinds[settings.kind]()
    if settings.kind in known.KINDS:
        if len(parts) != clients:
            raise InputError(
                f"partition.kind {settings.kind!r}: expected {clients:,} clients, as for the first "
                f"seed, received {len(parts):,} for seed {seed}"
            )
        if own_validation:
            parts = known.with_validation(parts, held_out, seed)
        held_out = known.spared(parts, held_out)
    idle = [client for client, part in enumerate(parts) if held_out[part].all()]
    if idle:
        raise InputError(
            f"partition.kind {settings.kind!r} leaves {len(idle):,} of {len(parts):,} clients with "
            f"no training sample (client {idle[0]} first, seed {seed}), of {samples:,} samples: "
            f"expected at least one each; lower {_LOWER.get(settings.kind, 'partition.clients')}"
        )
    return Partition(
        slices=(),
        clients=divide(parts, labels, held_out, seed),
        validation=np.flatnonzero(held_out).astype(np.int32),
        training=np.flatnonzero(~held_out).astype(np.int32),
    )


_LOWER = {
    "quantity": "partition.clients or partition.sigma",
    "natural": "data.validation_fraction",
    "given": "data.validation_fraction",
}
