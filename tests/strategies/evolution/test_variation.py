import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.variation import RATES, WIDTHS, Variation, adapt, count_successes
from strategies.streams import rng


def draw(number: int) -> np.random.Generator:
    return rng(5, "test", number)


def test_factors_are_steps_or_log_normal() -> None:
    steps = [Variation(0.3).factor(draw(n)) for n in range(40)]
    assert set(steps) == {0.7, 1.0, 1.3}
    logs = [Variation(0.3, width=0.2).factor(draw(n)) for n in range(3)]
    assert logs == [10.0 ** (0.2 * draw(n).standard_normal()) for n in range(3)]


def test_log_factors_have_the_width_and_no_drift() -> None:
    decades = np.log10([Variation(width=0.2).factor(draw(n)) for n in range(3000)])
    assert np.std(decades) == pytest.approx(0.2, rel=0.05)
    assert np.mean(decades) == pytest.approx(0.0, abs=0.015)


def test_width_by_hand() -> None:
    assert adapt(0.1, 2, 5) == pytest.approx(0.1 * math.exp((0.4 - 0.2) / math.sqrt(2)))
    assert adapt(0.1, 2, 5) == pytest.approx(0.11519, abs=1e-5)
    assert adapt(0.1, 0, 5) == pytest.approx(0.08681, abs=1e-5)
    assert adapt(0.1, 1, 5) == pytest.approx(0.1)


def test_width_stays_without_mutants_and_within_its_bounds() -> None:
    assert adapt(0.3, 0, 0) == 0.3
    assert adapt(0.9, 5, 5) == WIDTHS[1] == 1.0
    assert adapt(0.0105, 0, 5) == WIDTHS[0] == 0.01


def test_mutants_are_held_against_the_median_elite() -> None:
    assert count_successes([1.0, 3.0], [1.5, 2.0, 5.0]) == (1, 3)
    assert count_successes([], [1.5, 2.0]) == (0, 0)
    assert count_successes([1.0], []) == (0, 0)


def test_epochs_move_by_one_and_stay_within_bounds() -> None:
    moved = {Variation(most_epochs=4).epochs(3, draw(n)) for n in range(40)}
    assert moved == {2, 3, 4}
    assert {Variation(most_epochs=4).epochs(4, draw(n)) for n in range(40)} == {3, 4}
    assert {Variation(most_epochs=4).epochs(1, draw(n)) for n in range(40)} == {1, 2}


def test_what_momentum_lacks_to_one_is_scaled() -> None:
    found = {Variation(0.1).momentum(0.8, draw(n)) for n in range(40)}
    assert sorted(found) == pytest.approx([0.78, 0.8, 0.82])


@pytest.mark.parametrize("still", [Variation(0.0), Variation(0.5, width=0.0)], ids=str)
def test_without_mutation_no_gene_changes(still: Variation) -> None:
    for n in range(20):
        assert still.factor(draw(n)) == 1.0
        assert still.epochs(3, draw(n)) == 3
        assert still.momentum(0.123, draw(n)) == 0.123


@given(st.floats(0, 0.99), st.floats(0.01, 1), st.integers(0, 10_000))
def test_momentum_and_rates_stay_within_bounds(momentum: float, width: float, n: int) -> None:
    varies = Variation(width=width)
    assert 0 <= varies.momentum(momentum, draw(n)) <= 0.99
    assert RATES[0] <= varies.bound(1e-8 * varies.factor(draw(n))) <= RATES[1]


def test_steps_have_no_bound() -> None:
    assert Variation(0.1).bound(1e-20) == 1e-20
