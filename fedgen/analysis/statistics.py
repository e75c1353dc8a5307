"""Statistics over seeds: intervals, paired differences, and what they allow to claim.

NumPy and SciPy's special functions only. A seed is one observation: strategies share everything
else under it, so their differences are taken seed by seed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from fedgen.config.metrics import Metric

CONFIDENCE = 0.95

FEW = 5
"""Below so many values, they say more than the interval of their mean, which few make wide."""

STEEP = 0.8
"""Most that skewness x t / sqrt(n) may be: towards 1 the cube root is so steep that a single value
moves a bound anywhere. It costs at most a point or two of coverage, and nothing on normal data."""

RESOLUTION = 1e-9
"""What differs by less is equal: far above rounding, far below one sample of any test set."""

EXACT = "exact"
"""How every p comes about: over all signs of the ranks, ties and all; nothing is approximated."""

NO_BREAK = "\N{NO-BREAK SPACE}"

Interval = tuple[float, float]

ANY: Interval = (-math.inf, math.inf)
SHARE: Interval = (0.0, 1.0)
"""Where accuracies lie."""
AMOUNT: Interval = (0.0, math.inf)
"""Where losses, counts and seconds lie."""
AMOUNTS = ("loss", "rmse", "mae")
SHARES_APART: Interval = (-1.0, 1.0)
"""Where differences of accuracies lie."""


def bounds_of(metric: str) -> Interval:
    """Return where the scores of a fit lie, by name: shares in [0, 1], amounts from 0."""
    shares = ("precision", "recall", "zero_one_loss")
    return SHARE if "accuracy" in metric or metric in shares else AMOUNT


def bounds_by(metric: Metric) -> Interval:
    """Return where the values of a metric lie; of one of a user's own nothing is known."""
    if metric.share:
        return SHARE
    return AMOUNT if metric.name in AMOUNTS else ANY


def interval(values: Sequence[float], bounds: Interval = ANY) -> Interval | None:
    """Return the 95 % confidence interval of the mean.

    Student's t, its skewness removed by the cubic transformation of Hall (1992), "On the removal
    of skewness by transformation", Journal of the Royal Statistical Society B 54, with t's
    quantiles for the normal ones. Of values without skewness, as of any two, it is Student's own.
    ``python -m benchmarks.coverage`` measures how often it holds the mean.

    Args:
        values: One per seed.
        bounds: Where every value must lie, and so the mean: the interval is cut to them, which
            never costs coverage.

    Returns:
        Lower and upper bound; ``None`` for fewer than two values, or one that is not finite.
    """
    observed = np.asarray(values, np.float64)
    if observed.size < 2 or not np.isfinite(observed).all():
        return None
    low, high = unskewed(observed)
    return max(float(low), bounds[0]), min(float(high), bounds[1])


def told(
    values: Sequence[float | None], bounds: Interval | None, form: Callable[[float], str]
) -> str:
    """Return an interval as text; fewer than ``FEW`` values say more themselves.

    Args:
        values: What the interval is of the mean of.
        bounds: The interval, if there is one; without one there is nothing to tell.
        form: How a number is written.
    """
    if bounds is None:
        return ""
    if len(values) < FEW:
        return ", ".join(form(value) for value in values if value is not None)
    return f"{form(bounds[0])} to {form(bounds[1])}"


def beside(
    text: str, values: Sequence[float], bounds: Interval | None, form: Callable[[float], str]
) -> str:
    """Return a mean's text with what is told beside it: an interval in brackets, or few values.

    Values stand in parentheses: they must not look like an interval, which no line breaks.
    """
    if not (around := told(values, bounds, form)):
        return text
    if len(values) < FEW:
        return f"{text} ({around})"
    return f"{text} [{around.replace(' ', NO_BREAK)}]"


def unskewed(samples: np.ndarray) -> np.ndarray:
    """Return Hall's interval along the last axis, for ``interval`` and its benchmark.

    With deviation U = (mean - true mean) / s and skewness g, T = sqrt(n) ((1 + g U / 3)^3 - 1) / g
    + g / (6 sqrt(n)) is close to symmetric; solved for U at t's quantiles. So that a bound stays
    near what was seen, skewness counts up to ``STEEP`` only.

    Args:
        samples: Finite, shape (..., n), n at least 2.

    Returns:
        Lower and upper bounds, shape (2, ...).
    """
    n = samples.shape[-1]
    mean, spread = samples.mean(-1), samples.std(-1)
    apart = samples - mean[..., None]
    scaled = np.divide(
        apart, spread[..., None], out=np.zeros_like(apart), where=spread[..., None] > 0
    )
    quantile = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)
    most = STEEP * math.sqrt(n) / quantile
    skewness = np.clip((scaled**3).mean(-1), -most, most)

    def bound(t: float) -> np.ndarray:
        y = t / math.sqrt(n) - skewness / (6 * n)
        root = np.cbrt(1 + skewness * y)
        # (root - 1) / skewness, without the difference that cancels where it is small
        deviation = 3 * y / (root**2 + root + 1)
        limit: np.ndarray = mean - deviation * spread * math.sqrt(n / (n - 1))
        return limit

    return np.stack([bound(quantile), bound(-quantile)])


def signed_rank(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the Wilcoxon signed-rank test (Wilcoxon, 1945).

    Always exact, ties included: all 2^n signs of the ranks are equally likely, and their sums are
    counted one rank after the other. Differences within ``RESOLUTION`` of each other tie and share
    the mean of their ranks; those of 0 are dropped, and where nothing is left, p is 1.

    Args:
        differences: Finite, in any order.
    """
    signs, ranks = _ranked(differences)
    chances = np.ones(1)
    for rank in ranks:
        longer = np.zeros(chances.size + rank)
        longer[: chances.size] += chances / 2
        longer[rank:] += chances / 2
        chances = longer
    positive = int(ranks[signs > 0].sum())
    least = min(math.fsum(chances[: positive + 1]), math.fsum(chances[positive:]))
    return min(1.0, 2 * least)


def counted(differences: Sequence[float]) -> int:
    """Return how many differences the test counts: those that are not 0."""
    return sum(abs(difference) > RESOLUTION for difference in differences)


def _ranked(differences: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the signs of what is not 0, and twice its mid-ranks, which are whole numbers."""
    left = np.array([d for d in differences if abs(d) > RESOLUTION])
    left = left[np.argsort(np.abs(left))]
    # Where a sorted size is further from the one before, the next group of equal ones begins.
    begins = np.flatnonzero(np.diff(np.abs(left), prepend=-math.inf) > RESOLUTION)
    sizes = np.diff(begins, append=left.size)
    return np.sign(left), np.repeat(2 * begins + sizes + 1, sizes)


def smallest_p(pairs: int) -> float:
    """Return the least p-value of so many differences that are not 0: all of one sign, 2 / 2^n.

    Ties do not change it: only one choice of signs has the largest sum of ranks.
    """
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
        counted: How many of the differences are not 0: what the test rests on.
        p: Of the signed-rank test, corrected over all comparisons; ``None`` where it could not
            pass even if every comparison had the smallest p that its differences allow.
    """

    strategy: str
    baseline: str
    differences: tuple[float, ...]
    mean: float
    interval: Interval | None
    counted: int
    p: float | None

    @property
    def significant(self) -> bool | None:
        """Whether the difference is significant at 5 %; ``None`` where it cannot be told."""
        return None if self.p is None else self.p < 1 - CONFIDENCE


def compare(
    values: Sequence[tuple[str, Mapping[int, float]]], bounds: Interval = ANY, picked: int = 1
) -> list[Comparison]:
    """Compare every strategy to the first one.

    Args:
        values: Name and, per seed, value of every strategy, the baseline first.
        bounds: Where differences must lie.
        picked: Of how many comparisons each is one that was picked for its figures: p is
            corrected for their number, too (Bonferroni).

    Returns:
        One comparison per other strategy, in their order.
    """
    (baseline, first), *others = values
    paired = [
        tuple(mine[seed] - first[seed] for seed in sorted(first.keys() & mine.keys()))
        for _, mine in others
    ]
    usable = [d if d and all(map(math.isfinite, d)) else () for d in paired]
    # Corrected values rise with each p, so no other p's give a comparison a better chance.
    # One without data is no comparison, and takes no chance from the others.
    made = [place for place, differences in enumerate(usable) if differences]
    best_chance, corrected = (
        dict(zip(made, holm([p_of(usable[place]) for place in made]), strict=True))
        for p_of in (lambda differences: smallest_p(counted(differences)), signed_rank)
    )
    return [
        Comparison(
            strategy=name,
            baseline=baseline,
            differences=differences,
            mean=math.fsum(differences) / len(differences) if differences else math.nan,
            interval=interval(differences, bounds),
            counted=counted(differences),
            p=min(1.0, picked * corrected[place])
            if picked * best_chance.get(place, 1.0) < 1 - CONFIDENCE
            else None,
        )
        for place, ((name, _), differences) in enumerate(zip(others, usable, strict=True))
    ]
