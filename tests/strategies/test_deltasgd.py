"""Delta-SGD: what clients are told, and what is made of what they report."""

import math

import numpy as np
import pytest
import quadratic
import toy

from strategies.deltasgd import DeltaSGD

SETTINGS = {"clients": 2, "fraction": 1.0, "query_timeout": 0.3}


def test_clients_tune_their_own_steps_and_report_the_mean() -> None:
    """Smoothness 1 allows 1, so the second step grows: sqrt(1 + 0.1) 0.2."""
    strategy = DeltaSGD(**SETTINGS)
    second = math.sqrt(1.1) * 0.2
    with quadratic.grid([3.0, 3.0]) as grid:
        arrays, sent = toy.play_round(strategy, grid, 1, quadratic.start())
        assert grid.sent[0].content["config"]["auto-tune"] == [2.0, 0.1, 1.0]
    assert {genome.learning_rate for genome in sent.values()} == {0.2}
    assert quadratic.value(arrays) == pytest.approx(3 - 2 * 0.8 * (1 - second))
    for outcome in strategy.outcome.clients:
        assert outcome.update is not None
        assert outcome.update.applied.learning_rate == np.float32((0.2 + second) / 2)


def no_start(answer: quadratic.Content) -> None:
    del answer["metrics"]["initial-rate"]


def other_start(answer: quadratic.Content) -> None:
    answer["metrics"]["initial-rate"] = 0.1


def not_a_number(answer: quadratic.Content) -> None:
    answer["metrics"]["learning-rate"] = math.nan


def no_step(answer: quadratic.Content) -> None:
    answer["metrics"]["learning-rate"] = 0.0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (no_start, "rejected: metric initial-rate: expected a number"),
        (other_start, "rejected: applied rate 0.1 and batch 32, assigned 0.2 and 32"),
        (not_a_number, "rejected: metric learning-rate: expected a number up to 1e+30"),
        (no_step, "rejected: mean step size: expected a number over 0, received 0"),
    ],
)
def test_a_client_that_did_something_else_is_rejected(fault: quadratic.Fault, reason: str) -> None:
    strategy = DeltaSGD(**SETTINGS)
    with quadratic.grid([3.0, 3.0], {1: fault}) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
    assert strategy.outcome.clients[1].status.startswith(reason)
    assert strategy.outcome.clients[0].status == "ok"
