"""Statistics against hand-computed numbers and SciPy's own."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import coverage
from fedgen.analysis.statistics import (
    SHARE,
    SHARES_APART,
    Comparison,
    compare,
    counted,
    holm,
    interval,
    signed_rank,
    smallest_p,
    told,
)


def test_interval_of_three_by_hand() -> None:
    """Mean 2, standard deviation 1, t of 2 degrees of freedom 4.302653."""
    low, high = interval([1.0, 2.0, 3.0]) or (math.nan, math.nan)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)


def hall(values: list[float], t: float) -> float:
    """Solve Hall's cubic for the mean by bisection: what the closed form must come to."""
    n, mean, deviation = len(values), np.mean(values), np.std(values, ddof=1)
    skewness = np.mean(((values - mean) / np.std(values)) ** 3)
    most = 0.8 * n**0.5 / abs(t)
    g = min(max(skewness, -most), most)
    low, high = -10.0, 10.0
    for _ in range(200):
        u = (low + high) / 2
        cubic = u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * n)  # rises with u
        low, high = (u, high) if cubic * n**0.5 < t else (low, u)
    return float(mean - low * deviation)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=12))
def test_the_interval_solves_the_cubic_and_holds_the_mean(counts: list[int]) -> None:
    values = [count / 100 for count in counts]
    low, high = interval(values) or (math.nan, math.nan)
    assert low <= np.mean(values) + 1e-12 and high >= np.mean(values) - 1e-12
    if np.ptp(counts) > 0:
        t = stats.t.ppf(0.975, len(values) - 1)
        assert (low, high) == pytest.approx((hall(values, t), hall(values, -t)))
        mirrored = interval([-value for value in values])
        assert mirrored == pytest.approx((-high, -low))


def test_values_without_skewness_have_the_interval_of_student() -> None:
    values = [float(i % 2) for i in range(10)]
    expected = stats.t.interval(0.95, 9, 0.5, stats.sem(values))
    assert interval(values) == pytest.approx(expected)
    assert interval([0.25] * 12) == (0.25, 0.25)


@pytest.mark.parametrize("seeds", [5, 10, 30])
def test_the_interval_holds_the_mean_of_normal_data_as_often_as_it_says(seeds: int) -> None:
    """The percentile bootstrap held it in 90 % of samples of ten."""
    ours = next(cell for cell in coverage.cells("normal", seeds) if cell.method == "fedgen")
    assert abs(ours.coverage - 0.95) < 3 * ours.error


def test_the_interval_is_a_point_or_three_short_on_skewed_data() -> None:
    by_method = {cell.method: cell.coverage for cell in coverage.cells("exponential", 10)}
    assert by_method["fedgen"] > 0.92 > 0.91 > by_method["Student's t"]


@given(st.lists(st.integers(0, 20), min_size=2, max_size=12))
def test_no_interval_leaves_what_is_possible(counts: list[int]) -> None:
    values = [count / 20 for count in counts]
    low, high = interval(values, SHARE) or (math.nan, math.nan)
    assert 0 <= low <= high <= 1
    apart = interval([2 * value - 1 for value in values], SHARES_APART) or (math.nan, math.nan)
    assert -1 <= apart[0] <= apart[1] <= 1


def test_an_interval_is_cut_to_its_bounds_and_nothing_else() -> None:
    free = interval([0.1, 0.9]) or (math.nan, math.nan)
    assert free[0] < 0 and free[1] > 1 and interval([0.1, 0.9], SHARE) == (0.0, 1.0)
    assert interval([0.4, 0.5, 0.6], SHARE) == interval([0.4, 0.5, 0.6])


def test_few_values_are_told_and_many_are_not() -> None:
    assert told([0.1, 0.25], (0.0, 1.0), "{:.2f}".format) == "0.10, 0.25"
    assert told([0.1] * 4, (0.1, 0.2), "{:.1f}".format) == "0.1, 0.1, 0.1, 0.1"
    assert told([0.1] * 5, (0.1, 0.2), "{:.1f}".format) == "0.1 to 0.2"
    assert told([0.1], None, "{:.1f}".format) == ""


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan], [0.5, math.inf]])
def test_without_two_finite_values_there_is_no_interval(values: list[float]) -> None:
    assert interval(values) is None


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04 times 3, 2, 1, never less than the one before."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@pytest.mark.parametrize("pairs", range(1, 12))
def test_the_smallest_p_is_that_of_equal_signs(pairs: int) -> None:
    differences = [0.1 * (i + 1) for i in range(pairs)]
    assert signed_rank(differences) == pytest.approx(smallest_p(pairs))


def of_360(first: str, second: str) -> list[float]:
    pairs = zip(map(int, first.split()), map(int, second.split()), strict=True)
    return [theirs / 360 - mine / 360 for mine, theirs in pairs]


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (
            "298 301 298 318 322 290 304 310 318 296",
            "297 305 299 321 323 291 305 315 319 295",
            0.05859375,  # ranked by rounding errors: 0.0449
        ),
        (
            "306 321 318 306 296 290 289 299 307 318",
            "311 319 319 311 300 293 293 298 310 316",
            0.048828125,  # 0.0625
        ),
    ],
)
def test_counts_that_tie_tie_as_accuracies(first: str, second: str, p: float) -> None:
    differences = of_360(first, second)
    assert signed_rank(differences) == p
    assert signed_rank([round(360 * difference) for difference in differences]) == p
    assert signed_rank([100 * difference for difference in differences]) == p


def enumerated(counts: list[int]) -> float:
    """Go through all signs of the mid-ranks."""
    left = [count for count in counts if count]
    ranks = stats.rankdata(np.abs(left))
    seen = sum(rank for rank, count in zip(ranks, left, strict=True) if count > 0)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((False, True), repeat=len(left))
    ]
    tails = sum(s <= seen for s in sums), sum(s >= seen for s in sums)
    return min(1.0, 2 * min(tails) / len(sums))


@given(st.lists(st.integers(-4, 4), max_size=9), st.integers(2, 10_000))
def test_p_is_that_of_all_signs_ties_and_zeros_too(counts: list[int], samples: int) -> None:
    differences = [(count + samples) / samples - 1 for count in counts]  # with rounding errors
    assert signed_rank(differences) == pytest.approx(enumerated(counts), abs=1e-12)
    assert signed_rank(differences) >= smallest_p(counted(differences)) - 1e-12
    assert counted(differences) == sum(count != 0 for count in counts)


@pytest.mark.parametrize("pairs", [14, 25, 50])
def test_p_is_scipys_exact_one_without_ties(pairs: int) -> None:
    differences = np.random.default_rng(pairs).normal(0.3, 1.0, pairs).tolist()
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank(differences) == pytest.approx(expected)


def test_p_is_exact_with_ties_where_scipy_no_longer_is() -> None:
    """SciPy goes through all signs up to 13 pairs, and from 14 on takes the normal's tail."""
    thirteen = [1, -1, 2, 2, 3, -3, 4, 5, 5, 6, 7, -7, 8]
    assert signed_rank(thirteen) == pytest.approx(stats.wilcoxon(thirteen).pvalue)
    fourteen = [*thirteen, 8]
    assert signed_rank(fourteen) == pytest.approx(enumerated(fourteen))
    assert abs(stats.wilcoxon(fourteen).pvalue - enumerated(fourteen)) > 1e-4


def test_no_difference_is_no_evidence() -> None:
    assert signed_rank([0.0, 0.0, 0.0]) == 1.0
    assert signed_rank([]) == 1.0
    assert signed_rank([0.0, 1.0, 2.0]) == pytest.approx(smallest_p(2))


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_differences_are_paired_by_seed() -> None:
    first = {3: 0.5, 1: 0.25, 2: 0.75}
    (found,) = compare([("a", first), ("b", {1: 0.5, 3: 0.25, 9: 1.0})])
    assert found.differences == (0.25, -0.25)  # seeds 1 and 3
    assert (found.strategy, found.baseline, found.mean) == ("b", "a", 0.0)


def test_five_pairs_cannot_be_significant_and_six_can() -> None:
    """2 / 2^5 is 0.0625: the interval stands alone. 2 / 2^6 is 0.03125."""
    better = [0.01 * (i + 1) for i in range(6)]
    (five,) = compare([("a", by_seed(*[0.0] * 5)), ("b", by_seed(*better[:5]))])
    assert five.p is None and five.significant is None and five.interval is not None
    (six,) = compare([("a", by_seed(*[0.0] * 6)), ("b", by_seed(*better))])
    assert six.p == pytest.approx(2 / 2**6) and six.significant is True


def test_two_comparisons_need_one_pair_more() -> None:
    better = by_seed(*[0.01 * (i + 1) for i in range(6)])
    first = by_seed(*[0.0] * 6)
    both = compare([("a", first), ("b", better), ("c", better)])
    assert [c.p for c in both] == [None, None]  # 2 x 0.03125 does not pass


def test_an_arm_of_six_seeds_is_tested_beside_one_of_twelve() -> None:
    """Holm multiplies the twelve pairs' p by 2, and the six pairs' 0.03125 by 1."""
    better = by_seed(*[0.01 * (i + 1) for i in range(12)])
    first = by_seed(*[0.0] * 12)
    six = {seed: better[seed] for seed in range(6)}
    many, few = compare([("a", first), ("b", better), ("c", six)])
    assert many.p == pytest.approx(2 * 2 / 2**12) and few.p == pytest.approx(2 / 2**6)
    assert few.significant is True
    level = {seed: value * (-1) ** seed for seed, value in better.items()}
    many, few = compare([("a", first), ("b", level), ("c", six)])
    assert many.p is not None and few.p == pytest.approx(2 * 2 / 2**6)
    assert few.significant is False, "it could have passed"


def test_pairs_without_a_difference_allow_no_claim() -> None:
    first = by_seed(*[0.5] * 10)
    (found,) = compare([("a", first), ("b", by_seed(*[0.5] * 5, *[0.6] * 5))])
    assert found.counted == 5 and found.p is None
    (found,) = compare([("a", first), ("b", by_seed(*[0.5] * 4, *[0.6] * 6))])
    assert found.counted == 6 and found.p == pytest.approx(2 / 2**6)


def test_a_picked_comparison_counts_as_one_of_all() -> None:
    better = by_seed(*[0.01 * (i + 1) for i in range(10)])
    values = [("a", by_seed(*[0.0] * 10)), ("b", better)]
    (found,) = compare(values, picked=10)
    assert found.p == pytest.approx(10 * 2 / 2**10)
    (found,) = compare(values, picked=105)
    assert found.p is None


def test_an_arm_without_values_has_no_difference() -> None:
    (found,) = compare([("a", by_seed(0.5)), ("b", {})])
    assert found.differences == () and math.isnan(found.mean)
    assert found.interval is None and found.p is None
    assert compare([("a", by_seed(0.5))]) == []


def test_a_value_that_is_not_finite_ends_in_no_claim() -> None:
    (found,) = compare([("a", by_seed(0.5, 0.5)), ("b", by_seed(0.5, math.nan))])
    assert found == Comparison("b", "a", (), found.mean, None, 0, None)


def test_a_comparison_without_data_takes_no_chance_from_the_others() -> None:
    first = {seed: 0.1 * seed for seed in range(6)}
    better = {seed: value + 0.01 * (seed + 1) for seed, value in first.items()}
    alone, none = compare([("a", first), ("b", better), ("c", {})])
    assert (alone.p, none.p) == (2 / 2**6, None)
