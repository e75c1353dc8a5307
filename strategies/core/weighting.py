"""How much every update weighs in an average."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from strategies.core.outcomes import Update

Weighting = Literal["samples", "uniform", "fitness"]


def update_weights(updates: Sequence[Update], weighting: Weighting) -> list[float]:
    """Return a weight per update, finite and positive.

    Args:
        updates: Checked replies.
        weighting: By training samples, all alike, or by samples times ``rank_weights``.
    """
    if weighting == "uniform":
        return [1.0] * len(updates)
    weights = [float(update.num_examples) for update in updates]
    if weighting == "fitness":
        ranks = rank_weights([update.fitness for update in updates])
        weights = [weight * float(rank) for weight, rank in zip(weights, ranks, strict=True)]
    return weights


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
