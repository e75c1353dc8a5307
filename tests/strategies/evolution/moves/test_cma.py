import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.moves.cma import SIGMAS, State, ask, start, tell
from strategies.evolution.moves.cma_parameters import parameters
from strategies.streams import rng

SPHERE = start(np.array([0.5, 0.4]), 0.1)


def evolved(generations: int, points: int = 6, genes: int = 2, seed: int = 0) -> State:
    """A state after some generations on a tilted quadratic."""
    state = start(np.full(genes, 0.6), 0.2)
    for number in range(generations):
        places = ask(state, rng(seed, "test", number), points)
        losses = ((places - 0.3) ** 2 * np.arange(1, genes + 1)).sum(axis=1)
        state = tell(state, places, losses.tolist())
    return state


def test_parameters_by_hand() -> None:
    """Four points: raw weights ln 2.5, ln 1.25, ln 5/6 and ln 5/8."""
    own = parameters(4, 2)
    one, two, three, four = (math.log(2.5 / n) for n in (1, 2, 3, 4))
    assert own.selected == 2
    assert own.weights[:2] == pytest.approx((one / (one + two), two / (one + two)))
    effective = (one + two) ** 2 / (one**2 + two**2)
    worse = (three + four) ** 2 / (three**2 + four**2)
    assert own.effective == pytest.approx(effective)
    assert own.c_1 == pytest.approx(2 / (3.3**2 + effective))
    assert own.c_mu == pytest.approx(2 * (effective - 2 + 1 / effective) / (16 + effective))
    bound = min(
        1 + own.c_1 / own.c_mu,
        1 + 2 * worse / (effective + 2),
        (1 - own.c_1 - own.c_mu) / (2 * own.c_mu),
    )
    assert sum(own.weights[2:]) == pytest.approx(-bound)
    assert own.weights[2] / own.weights[3] == pytest.approx(three / four)
    assert own.c_sigma == pytest.approx((effective + 2) / (effective + 7))
    assert own.d_sigma == pytest.approx(1 + own.c_sigma)
    assert own.c_c == pytest.approx((4 + effective / 2) / (6 + effective))
    assert own.expected == pytest.approx(math.sqrt(math.pi / 2), rel=2e-3)


@given(st.integers(2, 300), st.integers(1, 12))
def test_parameters_are_lawful(points: int, genes: int) -> None:
    own = parameters(points, genes)
    assert len(own.weights) == points and own.selected == points // 2
    assert sum(own.weights[: own.selected]) == pytest.approx(1)
    assert all(weight <= 0 for weight in own.weights[own.selected :])
    assert list(own.weights) == sorted(own.weights, reverse=True)
    assert 1 <= own.effective <= own.selected + 1e-9
    assert all(0 < rate < 1 for rate in (own.c_sigma, own.c_c, own.c_1))
    assert 0 <= own.c_mu < 1 - own.c_1
    assert own.d_sigma >= 1
    # What is left of the old covariance is not negative.
    assert 1 - own.c_1 - own.c_mu * sum(own.weights) >= 0


def test_the_first_step_of_one_gene_by_hand() -> None:
    """Two points: the better one is the mean; c_mu is 0, so the worse does nothing."""
    state = tell(start(np.array([0.5]), 0.1), np.array([[0.3], [0.6]]), [2.0, 1.0])
    assert state.mean == pytest.approx((0.6,))
    path = math.sqrt(3 / 7 * 11 / 7)  # c_sigma = 3 / 7
    assert state.path_sigma == pytest.approx((path,))
    growth = 3 / 7 / (10 / 7) * (path / (1 - 1 / 4 + 1 / 21) - 1)
    assert state.sigma == pytest.approx(0.1 * math.exp(growth))
    assert state.path_c == pytest.approx((math.sqrt(45) / 7,))  # c_c = 5 / 7
    c_1 = 2 / (2.3**2 + 1)
    assert state.covariance[0] == pytest.approx((1 - c_1 + c_1 * 45 / 49,))
    assert state.generation == 1


def test_a_long_step_leaves_the_covariance_s_path_alone() -> None:
    """Far points: h_sigma is 0, and the step size grows e-fold at most."""
    state = tell(start(np.array([0.1]), 0.01), np.array([[1.0], [0.9]]), [1.0, 2.0])
    assert state.path_c == (0.0,)
    assert state.sigma == pytest.approx(0.01 * math.e)
    c_1 = 2 / (2.3**2 + 1)
    assert state.covariance[0] == pytest.approx((1 - c_1 + c_1 * 5 / 7 * 9 / 7,))


def test_only_the_order_of_losses_matters() -> None:
    places = ask(SPHERE, rng(0, "test"), 5)
    state = tell(SPHERE, places, [3.0, 1.0, 2.0, 5.0, 4.0])
    assert tell(SPHERE, places, [0.3, -7.0, 0.2, 1e300, 4.0]) == state
    assert tell(SPHERE, places, [3.0, 1.0, 2.0, math.nan, 4.0]) == state
    assert tell(SPHERE, places, [3.0, 1.0, 2.0, -math.inf, 4.0]) == state
    order = [4, 2, 0, 1, 3]
    assert tell(SPHERE, places[order], [4.0, 2.0, 3.0, 1.0, 5.0]).mean == pytest.approx(state.mean)


def test_ties_go_by_the_order_of_telling() -> None:
    for points in (4, 90):
        places = ask(SPHERE, rng(0, "test"), points)
        ties = [float(n % 3) for n in range(points)]
        broken = [tie + 1e-6 * n for n, tie in enumerate(ties)]
        assert tell(SPHERE, places, ties) == tell(SPHERE, places, broken)


def test_without_a_finite_loss_the_state_stays() -> None:
    places = ask(SPHERE, rng(0, "test"), 3)
    assert tell(SPHERE, places, [math.nan, math.inf, -math.inf]) is SPHERE


def test_draws_have_the_distribution() -> None:
    covariance = ((1.0, 0.8), (0.8, 4.0))
    state = State((0.5, 0.5), 0.05, covariance, (0.0, 0.0), (0.0, 0.0))
    places = ask(state, rng(0, "test"), 20_000)
    assert places.mean(axis=0) == pytest.approx([0.5, 0.5], abs=2e-3)
    assert np.cov(places.T) / 0.05**2 == pytest.approx(np.array(covariance), abs=0.1)


def test_a_covariance_that_is_not_quite_positive_does_no_harm() -> None:
    state = State((0.5, 0.5), 0.1, ((1.0, 1.0), (1.0, 1.0 - 1e-12)), (0.0,) * 2, (0.0,) * 2)
    places = ask(state, rng(0, "test"), 5)
    after = tell(state, places, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert np.isfinite(places).all() and np.isfinite(np.array(after.covariance)).all()


def test_points_outside_are_drawn_again_and_seldom_reflected() -> None:
    """From a face's middle half of the points are outside; what is drawn again is not mirrored."""
    state = start(np.array([0.0, 0.5]), 0.1)
    places = ask(state, rng(0, "test"), 400)
    first = rng(0, "test").standard_normal((400, 2)) * 0.1 + [0.0, 0.5]
    inside = ((first >= 0) & (first <= 1)).all(axis=1)
    assert places[inside] == pytest.approx(first[inside])
    assert 150 < inside.sum() < 250
    mirrored = np.abs(places[~inside, 0] + first[~inside, 0]) < 1e-9
    assert not mirrored.any()
    assert len(np.unique(places, axis=0)) == 400  # nothing is piled up on the face


def test_from_a_corner_what_is_outside_to_the_end_is_reflected() -> None:
    """One point in 32 is inside, so that ten more tries leave most outside."""
    places = ask(start(np.zeros(5), 0.3), rng(0, "test"), 200)
    assert ((places >= 0) & (places <= 1)).all()
    assert len(np.unique(places)) == places.size


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 99), st.integers(1, 4))
def test_states_are_lawful_and_come_back_from_their_json(
    points: int, genes: int, seed: int, generations: int
) -> None:
    state = evolved(generations, points, genes, seed)
    assert state.generation == generations and len(state.mean) == genes
    assert all(-1e-12 <= place <= 1 + 1e-12 for place in state.mean)
    assert SIGMAS[0] <= state.sigma <= SIGMAS[1]
    covariance = np.array(state.covariance)
    assert (covariance == covariance.T).all() and (np.linalg.eigvalsh(covariance) > 0).all()
    again = State.from_json(json.loads(json.dumps(state.as_json())))
    assert again == state
    places = ask(state, rng(1, "test"), 7)
    assert places.shape == (7, genes) and ((places >= 0) & (places <= 1)).all()
    assert ask(again, rng(1, "test"), 7).tobytes() == places.tobytes()


def test_the_number_of_points_may_change_from_one_generation_to_the_next() -> None:
    state = SPHERE
    for number, points in enumerate((2, 9, 3, 30, 5)):
        places = ask(state, rng(0, "test", number), points)
        state = tell(state, places, ((places - 0.2) ** 2).sum(axis=1).tolist())
    assert state.generation == 5 and ask(state, rng(0, "test"), 0).shape == (0, 2)


def test_the_step_size_stops_at_its_bounds() -> None:
    state = start(np.array([0.5]), SIGMAS[1])
    assert tell(state, np.array([[1.0], [0.0]]), [1.0, 2.0]).sigma <= SIGMAS[1]
    state = start(np.array([0.5]), SIGMAS[0])
    assert tell(state, np.array([[0.5], [0.5]]), [1.0, 2.0]).sigma == SIGMAS[0]


def test_what_does_not_fit_is_refused() -> None:
    for shape in ((3, 1), (2, 2), (3,)):
        with pytest.raises(ValueError, match="3 places of 2 genes"):
            tell(SPHERE, np.zeros(shape), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least 2 points"):
        tell(SPHERE, np.zeros((1, 2)), [1.0])
    with pytest.raises(ValueError, match="1 gene"):
        parameters(2, 0)
    for sigma in (0.0, 0.7, math.nan):
        with pytest.raises(ValueError, match="expected a width"):
            start(np.array([0.5]), sigma)
