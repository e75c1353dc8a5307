import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.weighting import rank_weights


@pytest.mark.parametrize(
    ("losses", "weights"),
    [
        ([0.3, 0.1, 0.2], [1, 3, 2]),
        ([0.1, 0.1, 0.5], [2.5, 2.5, 1]),
        ([math.nan, 0.5, -math.inf], [1.5, 3, 1.5]),
        ([math.inf], [1]),
        ([1e30, -1e30], [1, 2]),
    ],
)
def test_weights_by_hand(losses: list[float], weights: list[float]) -> None:
    assert rank_weights(losses).tolist() == weights


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_weights_are_positive_bounded_and_sum_up(losses: list[float]) -> None:
    weights = rank_weights(losses)
    n = len(losses)
    assert weights.min() >= 1 and weights.max() <= n
    assert weights.sum() == n * (n + 1) / 2
