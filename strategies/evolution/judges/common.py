"""Fitness on common ground: the same validation samples for all, and progress per sample.

Clients that validate on their own data differ by their data more than by their genes, and a
ranking of them misleads (Kuo et al., 2023, arXiv 2212.08930): so everybody in a cluster may be
evaluated on one share of samples. And genes that train on more samples get further whatever their
worth: progress per unit of the resource is what compares them (as budgets are held equal in
Li et al., 2018, "Hyperband", JMLR 18).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def improvement_per_sample(before: float, after: float, samples: int) -> float:
    """Return ``(after - before) / samples``: lower is better, negative where a loss fell.

    Args:
        before: Loss of the model that a client received.
        after: Loss of the one that it trained, on the same samples.
        samples: Samples that it trained on, each counted once per epoch.

    Returns:
        A number that is not finite where a loss is not.

    Raises:
        ValueError: If there are no samples.
    """
    if samples < 1:
        raise ValueError(f"expected at least 1 sample, received {samples}")
    return (after - before) / samples


def common_share(
    held_out: Sequence[int] | NDArray[Any], size: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the validation samples that a cluster's members have in common.

    Args:
        held_out: Distinct indices of the samples that the server holds out; their order does
            not matter.
        size: Samples to draw, at least 1; all of them if there are no more.
        draw: What draws, without replacement.

    Returns:
        Array of shape (min(size, len(held_out)),), sorted.

    Raises:
        ValueError: If the size is less than 1, or indices repeat.
    """
    if size < 1:
        raise ValueError(f"expected a size of at least 1, received {size}")
    indices = np.sort(np.asarray(held_out, np.int64))
    if (indices[1:] == indices[:-1]).any():
        raise ValueError("expected distinct indices, some repeat")
    return np.sort(draw.choice(indices, min(size, len(indices)), replace=False))
