"""Weights by rank."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank_weights(losses: Sequence[float]) -> NDArray[np.float64]:
    """Return linear ranking weights: n for the lowest of n losses down to 1 for the highest.

    Linear ranking (Baker, 1985, "Adaptive selection methods for genetic algorithms", ICGA),
    which no scale of the losses and no absurd one of them can spoil: all
    weights are in [1, n], and their sum is n (n + 1) / 2.

    Args:
        losses: Lower is better; non-finite ones count as equal, and highest.

    Returns:
        Array of shape (n,); equal losses share the mean of their weights.
    """
    known = np.array(losses, np.float64)
    known = np.where(np.isfinite(known), known, np.inf)
    worse = (known[None, :] > known[:, None]).sum(axis=1)
    equal = (known[None, :] == known[:, None]).sum(axis=1)
    return np.asarray(worse + (equal + 1) / 2, np.float64)
