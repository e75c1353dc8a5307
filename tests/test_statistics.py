"""Statistics against hand-computed numbers and SciPy's own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedgen.statistics import Comparison, compare, holm, interval, signed_rank, smallest_p

FEW = st.lists(st.floats(0, 1), min_size=2, max_size=9)


def test_interval_of_three_by_hand() -> None:
    """Mean 2, standard deviation 1, t of 2 degrees of freedom 4.302653."""
    low, high = interval([1.0, 2.0, 3.0]) or (math.nan, math.nan)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)


@given(FEW)
def test_few_values_have_the_interval_of_student(values: list[float]) -> None:
    found = interval(values)
    error = stats.sem(values)
    if error > 0:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert found == pytest.approx(expected)


def test_many_values_are_bootstrapped_the_same_each_time() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 40).tolist()
    low, high = interval(values) or (math.nan, math.nan)
    assert interval(values) == (low, high)
    normal = 1.96 * np.std(values) / 40**0.5  # what the bootstrap comes to for so many
    assert low == pytest.approx(np.mean(values) - normal, abs=0.03)
    assert high == pytest.approx(np.mean(values) + normal, abs=0.03)


def test_the_bootstrap_begins_at_ten() -> None:
    nine, ten = [float(i % 2) for i in range(9)], [float(i % 2) for i in range(10)]
    low, _ = interval(nine) or (math.nan, math.nan)
    assert low == pytest.approx(np.mean(nine) - stats.t.ppf(0.975, 8) * stats.sem(nine))
    low, _ = interval(ten) or (math.nan, math.nan)
    assert round(low * 10) == pytest.approx(low * 10), "means of ten zeros and ones are tenths"


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


def test_an_arm_without_values_has_no_difference() -> None:
    (found,) = compare([("a", by_seed(0.5)), ("b", {})])
    assert found.differences == () and math.isnan(found.mean)
    assert found.interval is None and found.p is None
    assert compare([("a", by_seed(0.5))]) == []


def test_a_value_that_is_not_finite_ends_in_no_claim() -> None:
    (found,) = compare([("a", by_seed(0.5, 0.5)), ("b", by_seed(0.5, math.nan))])
    assert found == Comparison("b", "a", (), found.mean, None, None)
