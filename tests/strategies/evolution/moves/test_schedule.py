import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.decay import cosine as rate_of_decay
from strategies.evolution.moves.schedule import cosine, share

ROUNDS, HORIZONS, FLOORS = st.integers(1, 300), st.integers(1, 200), st.floats(1e-4, 1)


def test_shares_by_hand() -> None:
    shares = [share(number, 4, 0.2) for number in (1, 2, 3, 4, 5, 6, 99)]
    half = 0.4 * math.sqrt(0.5)
    assert shares == pytest.approx([1.0, 0.6 + half, 0.6, 0.6 - half, 0.2, 0.2, 0.2])


@given(ROUNDS, HORIZONS, FLOORS)
def test_shares_fall_from_1_to_the_floor(number: int, horizon: int, floor: float) -> None:
    assert floor <= share(number, horizon, floor) * (1 + 1e-12)
    assert share(number + 1, horizon, floor) <= share(number, horizon, floor) <= 1
    if number > horizon:
        assert share(number, horizon, floor) == pytest.approx(floor)


@given(st.floats(1e-8, 1), ROUNDS, HORIZONS, FLOORS)
def test_a_gene_falls_as_decaying_averaging_does(
    gene: float, number: int, horizon: int, floor: float
) -> None:
    assert rate_of_decay is cosine
    expected = rate_of_decay(gene, number, horizon, floor)
    assert gene * share(number, horizon, floor) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("wrong", [(0, 5, 0.5), (1, 0, 0.5), (1, 5, 0.0), (1, 5, 1.1)])
def test_what_cannot_be_is_refused(wrong: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="expected a round"):
        share(*wrong)
