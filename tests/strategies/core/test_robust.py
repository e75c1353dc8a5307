"""Aggregations that bear malicious updates, against hand-computed numbers and slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.aggregation import Aggregation, Arrays, clip, krum, update_norm

START: Arrays = [np.zeros(2), np.zeros((1, 1))]


def updates(*rows: tuple[float, float, float]) -> list[Arrays]:
    """Updates of two arrays from three numbers each."""
    return [[np.array(row[:2], float), np.array([[row[2]]], float)] for row in rows]


def combined(rule: Aggregation, given: list[Arrays], weights: list[float] | None = None) -> list:
    found = rule.combine(given, weights or [1.0] * len(given), START, {})
    return [array.tolist() for array in found]


FIVE = updates((1, 10, 5), (2, 20, 5), (3, 30, 5), (4, 40, 5), (1000, -1000, 5))


def test_median_by_hand() -> None:
    assert combined(Aggregation("median"), FIVE) == [[3.0, 20.0], [[5.0]]]
    assert combined(Aggregation("median"), FIVE[:4]) == [[2.5, 25.0], [[5.0]]]


def test_trimmed_mean_by_hand() -> None:
    assert combined(Aggregation("trimmed-mean", trim=0.2), FIVE) == [[3.0, 20.0], [[5.0]]]
    assert combined(Aggregation("trimmed-mean", trim=0.25), FIVE[:4]) == [[2.5, 25.0], [[5.0]]]
    assert combined(Aggregation("trimmed-mean", trim=0.4), FIVE) == [[3.0, 20.0], [[5.0]]]


def test_krum_by_hand() -> None:
    """n = 5, f = 1: scores are sums over the two nearest.

    On a line at 0, 1, 3, 4, 100: 0 scores 1 + 9, 1 scores 1 + 4, 3 scores 1 + 4, 4 scores
    1 + 9, and the first of the best two wins.
    """
    line = [[np.array([x])] for x in (0.0, 1.0, 3.0, 4.0, 100.0)]
    assert krum(line, [np.zeros(1)], 1, {}) == 1
    found = Aggregation("krum", f=1).combine(line, [1.0] * 5, [np.zeros(1)], {})
    assert [array.tolist() for array in found] == [[1.0]]


def test_clipped_mean_by_hand() -> None:
    """Steps of length 5 and 10 from (1, 1), cut to 5, averaged 3 to 1."""
    start: Arrays = [np.array([1.0, 1.0])]
    given = [[np.array([4.0, 5.0])], [np.array([7.0, -7.0])]]
    assert update_norm(given[0], start, {}) == 5.0
    (mean,) = Aggregation("clipped-mean", clip_norm=5.0).combine(given, [3.0, 1.0], start, {})
    np.testing.assert_allclose(mean, [1 + (3 * 3 + 3) / 4, 1 + (3 * 4 - 4) / 4], rtol=1e-15)
    # Norm 0: the median of 5 and 10.
    (mean,) = Aggregation("clipped-mean").combine(given, [1.0, 1.0], start, {})
    np.testing.assert_allclose(mean, [1 + (3 + 6 * 0.75) / 2, 1 + (4 - 8 * 0.75) / 2], rtol=1e-15)


def slow_krum(points: np.ndarray, f: int) -> int:
    """Krum as its paper has it: distances one by one, the n - f - 2 nearest others added up."""
    n = len(points)
    scores = []
    for i in range(n):
        distances = sorted(float(np.sum((points[i] - points[j]) ** 2)) for j in range(n) if j != i)
        scores.append(sum(distances[: n - f - 2]))
    return int(np.argmin(scores))


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 4))
def test_krum_is_that_of_its_paper(seed: int, f: int, more: int) -> None:
    draw = np.random.default_rng(seed)
    n = 2 * f + 3 + more
    points = draw.normal(size=(n, 6)) + 1000.0  # far from zero, where float32 would cancel out
    points[:f] += 50.0
    given = [[point[:4].reshape(2, 2), point[4:]] for point in points]
    reference: Arrays = [np.full((2, 2), 1000.0), np.full(2, 1000.0)]
    chosen = krum(given, reference, f, {})
    assert chosen == slow_krum(points, f)
    assert chosen >= f


@given(
    st.sampled_from(["median", "trimmed-mean"]),
    st.lists(st.lists(st.floats(-10, 10), min_size=2, max_size=2), min_size=7, max_size=12),
    st.lists(st.floats(-1e30, 1e30), min_size=4, max_size=4),
)
def test_attackers_cannot_move_a_coordinate_out_of_the_honest_ones(
    kind: str, honest: list[list[float]], hostile: list[float]
) -> None:
    attackers = [hostile[:2], hostile[2:]]
    given = [[np.array(row)] for row in attackers + honest]
    trim = (2 + 0.5) / len(given)  # cuts two at each end
    rule = Aggregation(kind, trim=trim)  # type: ignore[arg-type]
    (found,) = rule.combine(given, [1.0] * len(given), [np.zeros(2)], {})
    low, high = np.min(honest, axis=0), np.max(honest, axis=0)
    assert (found >= low - 1e-9).all() and (found <= high + 1e-9).all()


@given(st.floats(1e-3, 1e6), st.integers(0, 1000))
def test_one_update_moves_the_clipped_mean_by_no_more_than_its_share(
    size: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    start: Arrays = [draw.normal(size=(3, 2)), np.array(0.5)]
    honest = [[a + draw.normal(size=a.shape) * 0.01 for a in start] for _ in range(4)]
    hostile = [[a + size * draw.normal(size=a.shape) for a in start]]
    rule = Aggregation("clipped-mean", clip_norm=1.0)
    without = rule.combine([*honest, start], [1.0] * 5, start, {})
    attacked = rule.combine([*honest, *hostile], [1.0] * 5, start, {})
    assert update_norm(attacked, without, {}) <= 1.0 / 5 + 1e-9


def test_a_short_or_empty_step_is_left_as_it_is() -> None:
    start: Arrays = [np.array([1.0]), np.array(2.0)]
    for step in (0.0, 0.5):
        moved: Arrays = [np.array([1.0 + step]), np.array(2.0 + step)]
        assert [a.tolist() for a in clip(moved, start, 1.0, {})] == [a.tolist() for a in moved]


def test_an_array_of_no_dimension_is_clipped_too() -> None:
    (clipped,) = clip([np.array(9.0)], [np.array(1.0)], 2.0, {})
    assert clipped.tolist() == 3.0


BN = {1: "mean", 2: "variance"}


def test_moving_statistics_are_no_steps() -> None:
    """A huge moving variance neither hides a client from Krum nor is cut like a step."""
    start: Arrays = [np.zeros(1), np.zeros(1), np.ones(1)]
    steps = (0.0, 0.1, 0.2, 0.3, 9.0)
    given = [[np.array([x]), np.array([x]), np.array([1.0 + i])] for i, x in enumerate(steps)]
    given[1][2] = np.array([1e6])
    assert krum(given, start, 1, BN) == 1  # its weights are in the middle
    rule = Aggregation("krum", f=1)
    assert [a.tolist() for a in rule.combine(given, [1.0] * 5, start, BN)] == [[0.1], [0.1], [1e6]]
    clipped = Aggregation("clipped-mean", clip_norm=0.2).combine(given, [1.0] * 5, start, BN)
    np.testing.assert_allclose(clipped[0], [(0.0 + 0.1 + 0.2 + 0.2 + 0.2) / 5])
    assert clipped[1].tolist() == [0.2]  # the medians
    assert clipped[2].tolist() == [4.0]
    assert update_norm(given[1], start, BN) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["mean", "median", "trimmed-mean", "krum", "clipped-mean"])
def test_dtypes_and_shapes_are_kept_and_order_of_weights_is_respected(kind: str) -> None:
    start: Arrays = [np.zeros((2, 3), np.float32), np.zeros((), np.float16)]
    given = [[np.full((2, 3), i, np.float32), np.array(i, np.float16)] for i in range(5)]
    rule = Aggregation(kind, f=1)  # type: ignore[arg-type]
    found = rule.combine(given, [1.0] * 5, start, {})
    assert [(a.dtype, a.shape) for a in found] == [(a.dtype, a.shape) for a in start]
    assert all(np.isfinite(a).all() for a in found)


@pytest.mark.parametrize(
    ("rule", "n", "why"),
    [
        (Aggregation("krum", f=1), 4, r"f = 1 needs at least 5 clients \(2 f \+ 3\), received 4"),
        (Aggregation("krum", f=3), 8, "needs at least 9 clients"),
        (Aggregation("trimmed-mean", trim=0.2), 4, "trim = 0.2 cuts 0 of 4 .*: 5 clients or more"),
        (Aggregation("trimmed-mean", trim=0.49), 2, "cuts 0 of 2"),
    ],
)
def test_too_few_clients_are_refused(rule: Aggregation, n: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rule.check(n)


def test_with_fewer_than_reckoned_with_the_rule_shrinks() -> None:
    """Of ten, three are cut at each end, or reckoned with; of six, two, or one."""
    line = [[np.array([float(x)])] for x in (0, 1, 2, 3, 50, 90)]
    trimmed = Aggregation("trimmed-mean", trim=0.4).combine(line, [1.0] * 6, [np.zeros(1)], {})
    assert trimmed[0].tolist() == [2.5]
    one = Aggregation("trimmed-mean", trim=0.1).combine(line, [1.0] * 6, [np.zeros(1)], {})
    assert one[0].tolist() == [(1 + 2 + 3 + 50) / 4]  # at least one, as with ten
    chosen = Aggregation("krum", f=3).combine(line, [1.0] * 6, [np.zeros(1)], {})
    assert chosen[0].tolist() == [float(slow_krum(np.array([a[0] for a in line]), 1))]


@pytest.mark.parametrize(
    ("rule", "n"),
    [
        (Aggregation("krum", f=1), 5),
        (Aggregation("krum", f=3), 9),
        (Aggregation("trimmed-mean", trim=0.2), 5),
        (Aggregation("trimmed-mean", trim=0.3), 10),  # 0.3 x 10 is a little less than 3
        (Aggregation("median"), 1),
        (Aggregation("clipped-mean"), 1),
    ],
)
def test_enough_clients_are_enough(rule: Aggregation, n: int) -> None:
    rule.check(n)
    found = rule.combine([[np.ones(1)]] * n, [1.0] * n, [np.zeros(1)], {})
    assert found[0].tolist() == [1.0]


def test_trimming_counts_whole_clients() -> None:
    given = [[np.array([float(i)])] for i in (0, 1, 2, 3, 4, 5, 6, 7, 100, 200)]
    (found,) = Aggregation("trimmed-mean", trim=0.3).combine(given, [1.0] * 10, [np.zeros(1)], {})
    assert found.tolist() == [(3 + 4 + 5 + 6) / 4]
