import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from strategies.evolution.moves.cube import reflect


def slow_reflect(place: float) -> float:
    """One mirror after another."""
    while not 0 <= place <= 1:
        place = -place if place < 0 else 2 - place
    return place


def test_reflection_by_hand() -> None:
    places = np.array([[-0.25, 0.25, 1.25], [2.25, -1.25, 3.25]])
    assert reflect(places).tolist() == [[0.25, 0.25, 0.75], [0.25, 0.75, 0.75]]
    assert reflect(np.array([0.0, 1.0, 2.0, -1.0, -2.0])).tolist() == [0, 1, 0, 1, 0]


@given(arrays(np.float64, 4, elements=st.floats(-50, 50)))
def test_reflection_is_that_of_the_slow_twin(places: np.ndarray) -> None:
    found = reflect(places)
    assert ((found >= 0) & (found <= 1)).all()
    assert found == pytest.approx([slow_reflect(place) for place in places.tolist()], abs=1e-13)
    assert reflect(found).tolist() == found.tolist()


@given(arrays(np.float64, 3, elements=st.floats(0, 1)))
def test_places_in_the_cube_stay_to_the_bit(places: np.ndarray) -> None:
    assert reflect(places).tobytes() == (places + 0.0).tobytes()
