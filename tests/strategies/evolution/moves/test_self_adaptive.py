import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from strategies.evolution.moves.cube import reflect
from strategies.evolution.moves.self_adaptive import SIGMAS, learning_parameter, mutate
from strategies.streams import rng

PLACES = st.integers(1, 5).flatmap(lambda d: arrays(np.float64, d, elements=st.floats(0, 1)))


def test_learning_parameter_by_hand() -> None:
    assert learning_parameter(2) == 0.5
    assert learning_parameter(8) == 0.25


def test_the_width_mutates_first_and_then_the_place() -> None:
    draw = rng(1, "test")
    width = 0.1 * math.exp(0.5 * draw.standard_normal())
    there = reflect(np.array([0.5, 0.95]) + width * draw.standard_normal(2))
    place, sigma = mutate(np.array([0.5, 0.95]), 0.1, rng(1, "test"))
    assert sigma == width and place.tolist() == there.tolist()


def test_widths_have_the_median_of_the_parents_and_the_learning_parameter_s_spread() -> None:
    logs = np.log([mutate(np.full(2, 0.5), 0.05, rng(n, "test"))[1] / 0.05 for n in range(2000)])
    assert np.mean(logs) == pytest.approx(0, abs=0.04)
    assert np.std(logs) == pytest.approx(0.5, rel=0.06)


def test_widths_stop_at_their_bounds() -> None:
    found = {mutate(np.full(1, 0.5), SIGMAS[0], rng(n, "test"))[1] for n in range(20)}
    assert min(found) == SIGMAS[0] < max(found)
    found = {mutate(np.full(1, 0.5), 0.2, rng(n, "test"), (0.1, 0.3))[1] for n in range(40)}
    assert (min(found), max(found)) == (0.1, 0.3)


@given(PLACES, st.floats(1e-3, 1e3), st.integers(0, 999))
def test_children_stay_in_the_cube_and_parents_where_they_are(
    place: np.ndarray, sigma: float, seed: int
) -> None:
    before = place.tolist()
    child, width = mutate(place, sigma, rng(seed, "test"))
    assert place.tolist() == before
    assert child.shape == place.shape and ((child >= 0) & (child <= 1)).all()
    assert SIGMAS[0] <= width <= SIGMAS[1]
    again, same = mutate(place, sigma, rng(seed, "test"))
    assert again.tolist() == child.tolist() and same == width


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_a_width_is_greater_than_0(sigma: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        mutate(np.array([0.5]), sigma, rng(0, "test"))
