"""Statistics over seeds: intervals, paired differences, and what they allow to claim.

NumPy and SciPy only. A seed is one observation: strategies share everything else under it, so
their differences are taken seed by seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from strategies.streams import rng

CONFIDENCE = 0.95
DRAWS = 10_000
"""Draws of the bootstrap."""

MANY = 10
"""Observations from which the bootstrap takes the place of Student's t."""

Interval = tuple[float, float]


def interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % confidence interval of the mean.

    Student's t for fewer than ``MANY`` values; the percentile bootstrap (Efron, 1979) from
    there on, with ``DRAWS`` draws of a fixed stream, so that equal values have equal intervals.

    Args:
        values: One per seed.

    Returns:
        Lower and upper bound; ``None`` for fewer than two values, or one that is not finite.
    """
    observed = np.asarray(values, np.float64)
    if observed.size < 2 or not np.isfinite(observed).all():
        return None
    if observed.size < MANY:
        error = observed.std(ddof=1) / math.sqrt(observed.size)
        half = float(special.stdtrit(observed.size - 1, (1 + CONFIDENCE) / 2) * error)
        mean = float(observed.mean())
        return mean - half, mean + half
    draws = rng(0, "bootstrap").integers(observed.size, size=(DRAWS, observed.size))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(observed[draws].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def signed_rank(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the Wilcoxon signed-rank test (Wilcoxon, 1945).

    Exact for up to 50 differences without ties; differences of 0 are dropped, and where
    nothing is left, p is 1.
    """
    left = [difference for difference in differences if difference != 0]
    if len(left) < 2:
        return 1.0
    from scipy import stats  # takes most of a second, which a run of few seeds need not wait

    return float(stats.wilcoxon(left).pvalue)


def smallest_p(pairs: int) -> float:
    """Return the least p-value that ``signed_rank`` can give: all of the same sign, 2 / 2^n."""
    return float(min(1.0, 2.0 ** (1 - pairs)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


@dataclass(frozen=True)
class Comparison:
    """One strategy against the first one named.

    Attributes:
        strategy: The strategy.
        baseline: The first one named.
        differences: Strategy minus baseline, per seed that both have finished.
        mean: Their mean; NaN without one.
        interval: The mean's 95 % confidence interval, if there is one.
        p: Of the signed-rank test, corrected over all comparisons; ``None`` where even
            the smallest p that so many pairs allow could not pass.
    """

    strategy: str
    baseline: str
    differences: tuple[float, ...]
    mean: float
    interval: Interval | None
    p: float | None

    @property
    def significant(self) -> bool | None:
        """Whether the difference is significant at 5 %; ``None`` where it cannot be told."""
        return None if self.p is None else self.p < 1 - CONFIDENCE


def compare(values: Sequence[tuple[str, dict[int, float]]]) -> list[Comparison]:
    """Compare every strategy to the first one.

    Args:
        values: Name and, per seed, value of every strategy, the baseline first.

    Returns:
        One comparison per other strategy, in their order.
    """
    (baseline, first), *others = values
    paired = [
        tuple(mine[seed] - first[seed] for seed in sorted(first.keys() & mine.keys()))
        for _, mine in others
    ]
    usable = [d if d and all(map(math.isfinite, d)) else () for d in paired]
    testable = [_can_pass(len(differences), len(others)) for differences in usable]
    # Where none can pass, none is tested: SciPy's tests take most of a second to import.
    corrected = holm([signed_rank(d) if any(testable) else 1.0 for d in usable])
    return [
        Comparison(
            strategy=name,
            baseline=baseline,
            differences=differences,
            mean=math.fsum(differences) / len(differences) if differences else math.nan,
            interval=interval(differences),
            p=p if can_pass else None,
        )
        for (name, _), differences, p, can_pass in zip(
            others, usable, corrected, testable, strict=True
        )
    ]


def _can_pass(pairs: int, comparisons: int) -> bool:
    """Whether the smallest p of so many pairs passes as the least of so many comparisons."""
    return comparisons * smallest_p(pairs) < 1 - CONFIDENCE
