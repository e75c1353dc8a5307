"""Differential privacy of clients: clipped updates, and Gaussian noise from named streams.

The clip and the noise's scale are Flower's (after McMahan et al., 2018, arXiv 1710.06963). Moving
statistics of batch normalisation are neither clipped nor noised.

The streams are functions of the run's seed, the arm, the round and the client, so that a run can
be repeated. Whoever knows the seed can take the noise off again: this measures what a mechanism
costs; to protect people, noise must come from the system's entropy. Two runs of the same arm and
seed share their noise, whatever else they were told.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from strategies.core.aggregation import Arrays, Statistics, as_kind, clip, weighted_mean

Kind = Literal["none", "central", "local"]


@dataclass(frozen=True)
class Privacy:
    """Whose updates are hidden from whom.

    Attributes:
        kind: ``"central"``: the server clips every update and adds noise to their mean.
            ``"local"``: every client clips its update and adds noise before it sends it.
        clip_norm: L2 norm C that updates are cut to, greater than 0.
        noise_multiplier: Noise z; its standard deviation is z C on one client's update
            (local), or z C / n on the mean of n (central). At least 0.
    """

    kind: Kind = "none"
    clip_norm: float = 1.0
    noise_multiplier: float = 1.0


def add_noise(
    arrays: Arrays,
    privacy: Privacy,
    clients: int,
    statistics: Statistics,
    draw: np.random.Generator,
) -> Arrays:
    """Add Gaussian noise to all arrays but moving statistics, in their order.

    Args:
        arrays: Weights.
        privacy: Sets the noise.
        clients: Number of updates that the arrays are the mean of.
        statistics: Which arrays are moving statistics.
        draw: Where the noise comes from.

    Returns:
        Float64 arrays.
    """
    from strategies.core.flower import compute_stdv

    scale = compute_stdv(privacy.noise_multiplier, privacy.clip_norm, clients)
    return [
        array
        if i in statistics
        else array.astype(np.float64) + draw.normal(0.0, scale, array.shape)
        for i, array in enumerate(arrays)
    ]


def privatise(
    update: Arrays,
    reference: Arrays,
    privacy: Privacy,
    statistics: Statistics,
    draw: np.random.Generator,
) -> Arrays:
    """Clip one client's update and add noise to it: what a client does with local privacy.

    Returns:
        Arrays with the dtypes of ``update``.
    """
    clipped = clip(update, reference, privacy.clip_norm, statistics)
    noisy = add_noise(clipped, privacy, 1, statistics, draw)
    return [as_kind(array, mine.dtype) for array, mine in zip(noisy, update, strict=True)]


def noisy_mean(
    updates: list[Arrays],
    reference: Arrays,
    privacy: Privacy,
    statistics: Statistics,
    draw: np.random.Generator,
) -> Arrays:
    """Clip all updates and add noise to their plain mean: what the server does, centrally.

    Returns:
        Arrays with the dtypes of ``reference``.
    """
    clipped = [clip(update, reference, privacy.clip_norm, statistics) for update in updates]
    mean = weighted_mean(clipped, [1.0] * len(clipped))
    noisy = add_noise(mean, privacy, len(clipped), statistics, draw)
    return [as_kind(array, start.dtype) for array, start in zip(noisy, reference, strict=True)]
