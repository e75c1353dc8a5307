import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.moves.cube import reflect
from strategies.evolution.moves.server import LOST, SIGMAS, State, learn, progress, propose
from strategies.streams import rng

LOSSES = st.lists(
    st.one_of(st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-9, 9)), max_size=12
)
START = State((0.5, 0.9), 0.2)


def known(made: float = 0.1) -> State:
    """The incumbent's turn is over, with this progress from a loss of 2."""
    return State((0.5, 0.9), 0.2, None, made, 2.0)


def test_progress_by_hand() -> None:
    assert progress(2.0, 1.5) == pytest.approx(0.25)
    assert progress(1.5, 2.0) == pytest.approx(-0.25)
    assert progress(-1.0, -2.0) == pytest.approx(0.5)
    assert progress(1.0, -1.0) == 2.0 and progress(-1.0, 1.0) == -2.0
    assert progress(0.0, 0.0) == 0.0
    assert progress(-1.5e308, 1.5e308) == -2.0  # their difference is no number
    for odd in (math.nan, math.inf, -math.inf):
        assert progress(1.0, odd) == LOST


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats())
def test_progress_is_bounded_and_the_same_either_way(before: float, after: float) -> None:
    assert -2 <= progress(before, after) <= 2
    if math.isfinite(after):
        assert progress(after, before) == -progress(before, after)


def test_rounds_alternate_once_there_is_a_loss_to_compare_with() -> None:
    state, tried = START, []
    for number, loss in enumerate((4.0, 3.0, 2.5, 2.0, 1.9, 1.8, 1.7)):
        state = propose(state, rng(0, "test", number))
        tried.append(state.trial is not None)
        state = learn(state, loss)
    assert tried == [False, False, True, False, True, False, True]


def test_a_trial_is_a_step_from_the_incumbent() -> None:
    state = propose(known(), rng(3, "test"))
    step = 0.2 * rng(3, "test").standard_normal(2)
    assert state.trial == tuple(reflect(np.array([0.5, 0.9]) + step))
    assert state.place.tolist() == list(state.trial)
    assert state.incumbent == (0.5, 0.9) and known().place.tolist() == [0.5, 0.9]


def test_a_trial_that_does_better_takes_over_and_the_steps_widen() -> None:
    """From 2 to 1.7 is 0.15, more than 0.1."""
    tried = propose(known(), rng(0, "test"))
    state = learn(tried, 1.7)
    assert state == State(tried.trial, 0.2 * math.exp(0.8 / math.sqrt(3)), None, None, 1.7)


@pytest.mark.parametrize("loss", [1.9, 1.8, 2.5])
def test_a_trial_that_does_not_is_dropped_and_the_steps_narrow(loss: float) -> None:
    """From 2 to 1.8 is 0.1, no more than the incumbent's."""
    state = learn(propose(known(progress(2.0, 1.8)), rng(0, "test")), loss)
    assert state == State((0.5, 0.9), 0.2 * math.exp(-0.2 / math.sqrt(3)), None, None, loss)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_loses(odd: float) -> None:
    state = learn(propose(known(-1.9), rng(0, "test")), odd)
    assert state.incumbent == (0.5, 0.9) and state.loss == 2.0 and state.progress is None
    turn = learn(state, odd)
    assert turn.progress == LOST and turn.loss == 2.0
    tried = propose(turn, rng(1, "test"))
    assert learn(tried, 3.0).incumbent == tried.trial
    assert learn(tried, odd).incumbent == (0.5, 0.9)
    assert learn(START, odd) == START


def test_a_trial_that_was_not_learnt_from_has_its_turn_again() -> None:
    tried = propose(known(), rng(0, "test"))
    assert propose(tried, rng(1, "test")) is tried
    assert propose(START, rng(1, "test")) is START


def test_the_width_stops_at_its_bounds() -> None:
    for sigma, loss in ((SIGMAS[0], 9.0), (SIGMAS[1], 0.1)):
        tried = propose(State((0.5,), sigma, None, 0.0, 2.0), rng(0, "test"))
        assert learn(tried, loss).sigma == sigma


@given(LOSSES, st.integers(0, 99))
def test_states_are_lawful_and_come_back_from_their_json(losses: list[float], seed: int) -> None:
    state = START
    for number, loss in enumerate(losses):
        state = propose(state, rng(seed, "test", number))
        assert ((state.place >= 0) & (state.place <= 1)).all()
        again = State.from_json(json.loads(json.dumps(state.as_json(), allow_nan=False)))
        assert again == state
        state = learn(state, loss)
        assert learn(again, loss) == state
        assert SIGMAS[0] <= state.sigma <= SIGMAS[1] and state.trial is None
        assert State.from_json(json.loads(json.dumps(state.as_json(), allow_nan=False))) == state


def test_the_incumbent_finds_the_better_half_of_the_cube() -> None:
    """A server's rate decides how fast losses fall; the incumbent starts at the slow end."""
    ends = []
    for seed in range(20):
        state, loss = State((0.1,), 0.2), 10.0
        for number in range(60):
            state = propose(state, rng(seed, "test", number))
            noise = 0.005 * rng(seed, "noise", number).standard_normal()
            loss *= 0.98 - 0.05 * float(state.place[0]) + noise
            state = learn(state, loss)
        ends.append(state.incumbent[0])
    assert np.mean(ends) > 0.7
