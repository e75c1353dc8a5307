import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.judges.common import common_share, improvement_per_sample
from strategies.streams import rng


def test_improvement_by_hand() -> None:
    assert improvement_per_sample(2.0, 1.5, 100) == -0.005
    assert improvement_per_sample(1.0, 1.5, 2) == 0.25


def test_half_the_fall_on_half_the_samples_is_as_good() -> None:
    assert improvement_per_sample(2.0, 1.0, 100) == improvement_per_sample(2.0, 1.5, 50)


def test_improvement_on_or_of_what_is_not_finite_is_not() -> None:
    odd = (math.nan, math.inf, -math.inf)
    for one in odd:
        assert not math.isfinite(improvement_per_sample(1.0, one, 3))
        assert not math.isfinite(improvement_per_sample(one, 1.0, 3))
        assert not any(math.isfinite(improvement_per_sample(one, two, 3)) for two in odd)


@pytest.mark.parametrize("samples", [0, -5])
def test_progress_needs_samples(samples: int) -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        improvement_per_sample(1.0, 1.0, samples)


@given(
    st.lists(st.integers(0, 500), unique=True, max_size=40),
    st.integers(1, 50),
    st.integers(0, 99),
)
def test_a_share_is_sorted_distinct_and_of_the_held_out(
    held_out: list[int], size: int, seed: int
) -> None:
    share = common_share(held_out, size, rng(seed, "test"))
    assert share.dtype == np.int64 and share.shape == (min(size, len(held_out)),)
    assert sorted(set(share.tolist())) == share.tolist()
    assert set(share.tolist()) <= set(held_out)
    again = common_share(np.array(held_out[::-1], np.int64), size, rng(seed, "test"))
    assert again.tolist() == share.tolist()


def test_every_sample_is_as_likely() -> None:
    counts = np.zeros(8)
    for seed in range(800):
        counts[common_share(range(8), 3, rng(seed, "test"))] += 1
    assert ((counts - 300) ** 2 / 300).sum() < 24.3  # the 99.9 % point of chi-square with 7


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="size of at least 1"):
        common_share([1, 2], 0, rng(0, "test"))
    with pytest.raises(ValueError, match="distinct"):
        common_share([1, 2, 1], 1, rng(0, "test"))
