import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.core.aggregation import weighted_mean


def test_mean_by_hand() -> None:
    updates = [
        [np.array([1.0, 2.0]), np.array([[10.0]])],
        [np.array([5.0, 6.0]), np.array([[2.0]])],
    ]
    means = weighted_mean(updates, [3, 1])
    assert means[0].tolist() == [2.0, 3.0]
    assert means[1].tolist() == [[8.0]]


def test_zero_weight_is_left_out() -> None:
    assert weighted_mean([[np.array([1.0])], [np.array([9.0])]], [2, 0])[0].tolist() == [1.0]


def test_single_update_comes_back() -> None:
    array = np.array([0.1, -3.7], np.float32)
    assert weighted_mean([[array]], [17])[0].tobytes() == array.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4000), min_size=1, max_size=9))
def test_equal_arrays_have_the_mean_that_they_are(seed: int, weights: list[int]) -> None:
    """Weights that nobody trains stay as they are, whatever clients weigh."""
    bits = np.random.default_rng(seed).integers(0, 2**32, 500, np.uint32).view(np.float32)
    array = np.append(bits[np.isfinite(bits)], [-0.0, 0.0, 1e-45]).astype(np.float32)
    updates = [[array.copy()] for _ in weights]
    assert weighted_mean(updates, weights)[0].tobytes() == array.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 4000), min_size=1, max_size=8))
def test_mean_is_that_of_float64_numpy(seed: int, weights: list[int]) -> None:
    weights[0] += 1
    stack = np.random.default_rng(seed).normal(size=(len(weights), 3, 2)).astype(np.float32)
    (mean,) = weighted_mean([[array] for array in stack], weights)
    share = np.array(weights, np.float64) / sum(weights)
    expected = np.tensordot(share, stack.astype(np.float64), 1)
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-6)


def test_products_and_sums_are_float64_to_the_last_bit() -> None:
    stack = np.random.default_rng(1).normal(size=(5, 50)).astype(np.float32)
    weights = [135, 633, 1, 17, 2048]
    expected = np.zeros(50)
    for array, weight in zip(stack, weights, strict=True):
        expected += array.astype(np.float64) * (weight / sum(weights))
    (mean,) = weighted_mean([[array] for array in stack], weights)
    assert mean.tobytes() == expected.astype(np.float32).tobytes()


def test_sums_run_in_float64() -> None:
    updates = [[np.array([value], np.float32)] for value in (1e8, 1.0, -1e8)]
    assert weighted_mean(updates, [1, 1, 1])[0][0] == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_dtype_and_shape_are_kept(dtype: type[np.generic]) -> None:
    (mean,) = weighted_mean([[np.full((2, 3), 2, dtype)]] * 2, [1, 1])
    assert mean.dtype == dtype
    assert mean.tolist() == [[2, 2, 2]] * 2


def test_scalar_array_is_averaged() -> None:
    (mean,) = weighted_mean([[np.array(1.0)], [np.array(3.0)]], [1, 1])
    assert mean.shape == () and mean == 2.0


def test_mean_of_equal_integers_is_that_integer() -> None:
    for seed in range(100):
        weights = np.random.default_rng(seed).integers(1, 4000, 5).tolist()
        assert weighted_mean([[np.array([7])]] * 5, weights)[0].tolist() == [7]


def test_updates_are_left_alone() -> None:
    first, second = np.array([1.0]), np.array([2.0])
    weighted_mean([[first], [second]], [1, 2])
    assert (first[0], second[0]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("count", "weights"),
    [
        (0, []),
        (2, [1.0]),
        (1, [1.0, 1.0]),
        (1, []),
        (2, [0.0, 0.0]),
        (2, [2.0, -1.0]),
        (2, [1.0, float("nan")]),
        (2, [1.0, float("inf")]),
    ],
)
def test_weights_that_do_not_fit_are_errors(count: int, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="Received"):
        weighted_mean([[np.array([1.0])]] * count, weights)


def test_updates_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError):
        weighted_mean([[np.array([1.0])], [np.array([1.0]), np.array([1.0])]], [1, 1])
