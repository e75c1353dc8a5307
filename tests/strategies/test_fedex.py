"""Exponentiated gradient: steps by hand, and what the strategy makes of replies."""

import math

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.start import random_genome
from strategies.fedex import Belief, FedEx, Trial, step
from strategies.streams import rng

E = math.sqrt(2 * math.log(2))
FIRST = [Trial(0, 1.0, 10.0), Trial(1, 3.0, 10.0)]
EVEN = Belief((0.5, 0.5))


def softmax(*logits: float) -> tuple[float, ...]:
    total = sum(map(math.exp, logits))
    return tuple(math.exp(logit) / total for logit in logits)


@pytest.mark.parametrize("schedule", ["aggressive", "adaptive", "constant"])
def test_the_first_step_by_hand(schedule: str) -> None:
    # Mean 2 is the baseline; g = 0.5 (1 - 2) / 0.5 and 0.5 (3 - 2) / 0.5: -1 and 1.
    belief = step(EVEN, FIRST, schedule, 0.0)
    assert belief.theta == pytest.approx(softmax(E, -E), rel=1e-14)
    assert (belief.losses, belief.rounds, belief.squares) == (2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("schedule", "divisor"),
    [("aggressive", 2.5), ("adaptive", math.sqrt(1 + 2.5**2)), ("constant", 1.0)],
)
def test_the_second_step_by_hand(schedule: str, divisor: float) -> None:
    # Weights 1/4 and 3/4, baseline 2: g = 0.25 (4 - 2) / 0.2 = 2.5 and 0.75 (1 - 2) / 0.8.
    before = Belief((0.2, 0.8), losses=2.0, rounds=1.0, squares=1.0)
    trials = [Trial(0, 4.0, 10.0), Trial(1, 1.0, 30.0)]
    belief = step(before, trials, schedule, 0.0)
    gradient = (2.5, -0.9375)
    logits = [math.log(t) - E / divisor * g for t, g in zip((0.2, 0.8), gradient, strict=True)]
    assert belief.theta == pytest.approx(softmax(*logits), rel=1e-13)
    assert belief.losses == 1.75 and belief.squares == pytest.approx(7.25)


@pytest.mark.parametrize(("discount", "expected"), [(0.0, 4.0), (1.0, 8 / 3), (0.5, 5.5 / 1.75)])
def test_the_baseline_is_the_discounted_mean_of_earlier_rounds(
    discount: float, expected: float
) -> None:
    """Rounds with mean losses 2, 2 and 4: for one half (0.25 * 2 + 0.5 * 2 + 4) / 1.75."""
    belief = EVEN
    for loss in (2.0, 2.0, 4.0):
        belief = step(belief, [Trial(0, loss, 1.0), Trial(1, loss, 1.0)], "constant", discount)
    assert belief.losses / belief.rounds == pytest.approx(expected)
    # A round as good as its baseline moves nothing.
    theta = belief.theta
    same = step(belief, [Trial(0, expected, 1.0)], "constant", discount).theta
    assert same == pytest.approx(theta)


def test_a_loss_that_is_not_finite_counts_as_the_worst_and_none_at_all_as_nothing() -> None:
    spoiled = [FIRST[0], FIRST[1], Trial(1, math.nan, 5.0)]
    worst = [FIRST[0], FIRST[1], Trial(1, 3.0, 5.0)]
    assert step(EVEN, spoiled, "aggressive", 0.0) == step(EVEN, worst, "aggressive", 0.0)
    assert step(EVEN, [Trial(0, math.inf, 1.0)], "aggressive", 0.0) == EVEN
    assert step(EVEN, [], "aggressive", 0.0) == EVEN


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 4), st.floats(0, 1e6), st.integers(1, 1000)),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["aggressive", "adaptive", "constant"]),
)
def test_theta_stays_a_distribution(
    rounds: list[list[tuple[int, float, int]]], schedule: str
) -> None:
    belief = Belief((0.2,) * 5)
    for trials in rounds:
        belief = step(belief, [Trial(c, x, float(w)) for c, x, w in trials], schedule, 0.5)
        assert sum(belief.theta) == pytest.approx(1.0, abs=1e-12)
        assert all(0 < probability <= 1 for probability in belief.theta)
        np.random.default_rng(0).choice(5, p=belief.theta)


def test_losses_that_hardly_differ_at_all_tell_nothing() -> None:
    """Their gradient cannot be divided by: that was infinite times 0."""
    tiny = [Trial(0, 0.0, 1.0), Trial(0, 2.2250738585072014e-308, 208.0)]
    assert step(EVEN, tiny, "aggressive", 0.5).theta == EVEN.theta


def test_configurations_are_drawn_once_and_clients_sample_them() -> None:
    strategy = FedEx(seed=4, clients=8, fraction=1.0, configurations=3)
    wanted = [random_genome(rng(4, "fedex-configurations", 0, j)) for j in range(3)]
    with toy.toy_grid(8) as grid:
        _, sent = toy.play_round(strategy, grid, 1, toy.start())
    drawn = [int(rng(4, "fedex", 1, c).choice(3, p=[1 / 3] * 3)) for c in range(8)]
    assert sent == {c: wanted[j] for c, j in enumerate(drawn)}
    trials = [Trial(j, toy.loss(c, sent[c]), float(toy.examples(c))) for c, j in enumerate(drawn)]
    assert strategy.tuner.belief == step(Belief((1 / 3,) * 3), trials, "aggressive", 0.0)


def test_the_best_configuration_becomes_the_likeliest() -> None:
    strategy = FedEx(seed=4, clients=8, fraction=1.0, configurations=4)
    arrays = toy.start()
    with toy.toy_grid(8) as grid:
        for number in range(1, 16):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
    losses = [toy.loss(0, genome) for genome in strategy.tuner.configurations]
    assert int(np.argmax(strategy.tuner.belief.theta)) == int(np.argmin(losses))
    assert max(strategy.tuner.belief.theta) > 0.5


def test_rejected_and_failed_replies_teach_nothing() -> None:
    strategy = FedEx(seed=4, clients=8, fraction=1.0, configurations=3)
    with toy.toy_grid(8, {2: toy.crash, 5: toy.lie_about_batch}) as grid:
        _, sent = toy.play_round(strategy, grid, 1, toy.start())
    index = {genome: j for j, genome in enumerate(strategy.tuner.configurations)}
    trials = [
        Trial(index[g], toy.loss(c, g), float(toy.examples(c)))
        for c, g in sorted(sent.items())
        if c not in (2, 5)
    ]
    assert strategy.tuner.belief == step(Belief((1 / 3,) * 3), trials, "aggressive", 0.0)


def test_one_configuration_is_plain_averaging() -> None:
    strategy = FedEx(seed=4, clients=4, fraction=1.0, configurations=1)
    with toy.toy_grid(4) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
    assert strategy.tuner.belief.theta == (1.0,)
