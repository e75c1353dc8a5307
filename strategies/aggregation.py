"""Averaging of client weights."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[np.generic]]


def weighted_mean(updates: Sequence[Arrays], weights: Sequence[float]) -> Arrays:
    """Average arrays over clients (FedAvg, McMahan et al., 2017, arXiv 1602.05629).

    Products and sums are float64 in the order given, so a caller who fixes the
    order fixes the bytes; the result is cast back to the dtype of the first
    update, integers to the nearest one.

    Args:
        updates: One list of equally shaped arrays per client, at least one.
        weights: One weight per client, not negative, with a positive sum.

    Raises:
        ValueError: If there are no updates, or the weights do not fit them.
    """
    total = float(sum(weights))
    if not updates or len(updates) != len(weights) or min(weights) < 0 or not 0 < total < np.inf:
        raise ValueError(
            f"need one weight >= 0 per update and a positive sum. "
            f"Received: {len(updates)} updates, weights {list(weights)}"
        )
    means: Arrays = []
    for layer in zip(*updates, strict=True):
        mean = np.zeros(layer[0].shape, np.float64)
        term = np.empty_like(mean)
        for array, weight in zip(layer, weights, strict=True):
            # A Python float would leave the product in float32.
            np.multiply(array, np.float64(weight / total), out=term)
            mean += term
        kind = layer[0].dtype
        means.append((np.rint(mean) if kind.kind in "iu" else mean).astype(kind))
    return means
