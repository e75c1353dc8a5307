"""Ranks of a cluster's members, averaged over rounds.

One evaluation is noisy (Khodak et al., 2021, arXiv 2106.04502; Kuo et al., 2023, arXiv
2212.08930), and losses fall from round to round whatever the genes are. Ranks compare within a
round (Baker, 1985, "Adaptive selection methods for genetic algorithms"), so that neither a fall
of everybody's loss nor one absurd loss weighs; their mean over rounds, in which a round counts
half after a halflife, is exponential smoothing.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Record:
    """What is known of one member's ranks, each weighed 1 when it comes and less since.

    Attributes:
        weight: Sum of the weights.
        squares: Sum of their squares.
        mean: Weighted mean of the ranks.
        spread: Weighted sum of squared deviations from the mean.
    """

    weight: float = 0.0
    squares: float = 0.0
    mean: float = 0.0
    spread: float = 0.0

    @property
    def effective(self) -> float:
        """Number of equally weighed ranks that would say as much, ``(sum w)^2 / sum w^2``.

        Kish, 1965, "Survey Sampling". 0 of an empty record.
        """
        return self.weight**2 / self.squares if self.squares else 0.0

    @property
    def variance(self) -> float:
        """Weighted variance of the ranks, ``sum w (rank - mean)^2 / sum w``; 0 of an empty one."""
        return self.spread / self.weight if self.weight else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """Take up what ``as_json`` returned."""
        return cls(**values)


Records = Mapping[int, Record]
"""What is known of every member that was ranked since its genes changed."""


def ranks(losses: Mapping[int, float]) -> dict[int, float]:
    """Return every member's rank in [0, 1]: 0 for the lowest loss, 1 for the highest.

    Equal losses share the mean of their places. Losses that are not finite are equal, and higher
    than all others. A member alone has rank 0.5, which says nothing.

    Args:
        losses: Losses of one cluster in one round; a member that has none is not ranked.
    """
    if len(losses) < 2:
        return dict.fromkeys(losses, 0.5)
    values = np.array([loss if math.isfinite(loss) else math.inf for loss in losses.values()])
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    places = np.cumsum(sizes) - (sizes + 1) / 2  # the mean of each group's places, from 0
    return dict(zip(losses, (places[group] / (len(values) - 1)).tolist(), strict=True))


def remember(records: Records, ranked: Mapping[int, float], halflife: float) -> dict[int, Record]:
    """Return the records with one more round in them.

    A rank that a member had k of its rounds ago weighs ``0.5^(k / halflife)``. Members that are
    not in this round stay as they are: it says nothing of them, and what was known of them is no
    less true for it. Mean and spread are updated as by West, 1979 ("Updating mean and variance
    estimates", Communications of the ACM 22), which takes no difference of large sums.

    Args:
        records: Rounds before.
        ranked: Ranks of this round, in [0, 1].
        halflife: Greater than 0; infinite for a plain mean.

    Raises:
        ValueError: If the halflife is not greater than 0.
    """
    if not halflife > 0:
        raise ValueError(f"expected a halflife greater than 0, received {halflife}")
    keep = 0.5 ** (1 / halflife)
    latest = {}
    for member, rank in ranked.items():
        before = records.get(member, Record())
        weight = keep * before.weight + 1
        mean = before.mean + (rank - before.mean) / weight
        latest[member] = Record(
            weight,
            keep**2 * before.squares + 1,
            mean,
            keep * before.spread + (rank - before.mean) * (rank - mean),
        )
    return {**records, **latest}


def forget(records: Records, changed: Collection[int]) -> dict[int, Record]:
    """Return the records without the members whose genes changed: those ranks were of others."""
    return {member: record for member, record in records.items() if member not in changed}
