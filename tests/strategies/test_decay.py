import math

import pytest
import toy
from flwr.app import ConfigRecord
from hypothesis import given
from hypothesis import strategies as st

from strategies.decay import FedAvgDecay, cosine


def test_by_hand() -> None:
    # From 1 to 0.2 in 4 rounds: 0.6 + 0.4 cos(0, 45, 90, 135 and 180 degrees), then flat.
    side = 0.4 * math.sqrt(0.5)
    expected = [1.0, 0.6 + side, 0.6, 0.6 - side, 0.2, 0.2, 0.2]
    found = [cosine(1.0, number, 4, 0.2) for number in range(1, 8)]
    assert found == pytest.approx(expected, rel=1e-14)


@given(st.floats(1e-7, 1.0), st.integers(1, 50), st.floats(1e-6, 1.0))
def test_it_falls_from_the_rate_to_the_floor(rate: float, horizon: int, floor: float) -> None:
    rates = [cosine(rate, number, horizon, floor) for number in range(1, horizon + 4)]
    assert rates[0] == pytest.approx(rate)
    assert rates[horizon:] == [pytest.approx(floor * rate)] * 3
    assert all(b <= a * (1 + 1e-12) for a, b in zip(rates, rates[1:], strict=False))
    assert min(rates) > 0


def test_everybody_gets_the_rate_of_the_round() -> None:
    strategy = FedAvgDecay(clients=4, fraction=1.0, learning_rate=1e-3, horizon=4, floor=0.2)
    with toy.toy_grid(4) as grid:
        for number in (1, 3, 9):
            messages = list(strategy.configure_train(number, toy.start(), ConfigRecord(), grid))
            genomes = set(toy.sent_genomes(messages).values())
            assert {g.learning_rate for g in genomes} == {cosine(1e-3, number, 4, 0.2)}
            assert {g.batch_size for g in genomes} == {32}
