"""SCAFFOLD by hand: two clients, two weights' worth of arithmetic, exact in float32."""

import json

import numpy as np
import pytest
import quadratic
import toy

from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.fedavg import StrategyError
from strategies.scaffold import Scaffold

GOALS = [0.0, 4.0]


def scaffold(**settings: object) -> Scaffold:
    defaults = {"clients": 2, "fraction": 1.0, "learning_rate": 0.5, "query_timeout": 0.3}
    return Scaffold(**{**defaults, **settings})


def variates(strategy: Scaffold) -> list[float]:
    """c, c_0 and c_1."""
    found = [strategy.variate, *(strategy.variates[i] for i in sorted(strategy.variates))]
    return [float(arrays[0][0]) for arrays in found]


def test_two_rounds_by_hand() -> None:
    """K = 2 steps of 0.5, so K rate = 1.

    Round 1, no variates yet: 1 -> 0.5 -> 0.25 and 1 -> 2.5 -> 3.25. c_0 = 1 - 0.25,
    c_1 = 1 - 3.25, c = 0 + (0.75 - 2.25) / 2.
    Round 2 from 1.75, offsets -0.75 - 0.75 and -0.75 + 2.25: 1.75 -> 1.625 -> 1.5625 and
    1.75 -> 2.125 -> 2.3125. c_0 = 0.75 + 0.75 + (1.75 - 1.5625),
    c_1 = -2.25 + 0.75 + (1.75 - 2.3125), c = -0.75 + (0.9375 + 0.1875) / 2.
    """
    strategy = scaffold()
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
        assert quadratic.value(arrays) == (0.25 + 3.25) / 2
        assert variates(strategy) == [-0.75, 0.75, -2.25]
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
        assert quadratic.value(arrays) == (1.5625 + 2.3125) / 2
        assert variates(strategy) == [-0.1875, 1.6875, -2.0625]
        for number in range(3, 30):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
    assert quadratic.value(arrays) == pytest.approx(2.0)  # where FedAvg ends, too: equal curvature
    assert variates(strategy) == pytest.approx([0.0, 2.0, -2.0])  # the gradients at the optimum


@pytest.mark.parametrize(("resample", "population"), [(False, 2), (True, 4)])
def test_clients_that_never_train_do_not_thin_the_variate(resample: bool, population: int) -> None:
    """Where one cohort is kept, c is the mean of its variates: corrections add up to nothing."""
    strategy = scaffold(clients=4, fraction=0.5, resample=resample)
    with quadratic.grid([0.0, 1.0, 3.0, 7.0]) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start(2.5))
    c, *theirs = variates(strategy)
    assert len(theirs) == 2 and c == sum(theirs) / population != 0


def test_every_client_weighs_the_same_and_the_server_may_overstep() -> None:
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(scaffold(global_rate=2.0), grid, 1, quadratic.start())
    assert quadratic.value(arrays) == 1 + 2 * (1.75 - 1)


def test_moving_statistics_have_no_variate_and_are_only_averaged() -> None:
    strategy = scaffold(global_rate=2.0, statistics={0: "mean"})
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
    assert quadratic.value(arrays) == 1.75
    assert variates(strategy) == [0.0, 0.0, 0.0]


def test_variates_go_down_and_are_counted() -> None:
    strategy = scaffold()
    with quadratic.grid(GOALS) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
        first = strategy.outcome
        sent = [message.content for message in grid.sent]
    assert first.bytes_down == sum(r.count_bytes() for content in sent for r in content.values())
    assert all("gradient-offset" in content for content in sent)


def other_steps(answer: quadratic.Content) -> None:
    answer["metrics"]["local-steps"] = 3


def no_steps(answer: quadratic.Content) -> None:
    del answer["metrics"]["local-steps"]


@pytest.mark.parametrize("fault", [other_steps, no_steps])
def test_a_client_that_is_not_used_keeps_its_variate(fault: quadratic.Fault) -> None:
    strategy = scaffold()
    with quadratic.grid(GOALS, {1: fault}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
    assert quadratic.value(arrays) == 0.25
    assert strategy.outcome.clients[1].status.startswith("rejected: metric local-steps: expected")
    assert variates(strategy) == [0.375, 0.75]  # c moves by one client's change over both


def absurd(answer: quadratic.Content) -> None:
    answer["arrays"] = [np.array([3e38], np.float32)]


def test_a_variate_that_float32_cannot_hold_is_not_kept() -> None:
    """x - y is -3e38, over K rate = 0.5; a robust average would bear such weights."""
    strategy = scaffold(learning_rate=0.25, aggregation=Aggregation("median"), clients=3)
    with quadratic.grid([0.0, 4.0, 4.0], {1: absurd}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
        assert sorted(strategy.variates) == [0, 2]
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
    assert len(strategy.outcome.updates) == 3 and np.isfinite(quadratic.value(arrays))


def test_restored_run_continues_identically() -> None:
    goals, settings = [0.3, 4.0, -1.7, 2.2], {"clients": 4, "fraction": 0.5, "resample": True}
    with quadratic.grid(goals) as grid, quadratic.grid(goals) as other:
        strategy, arrays = scaffold(**settings), quadratic.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        resumed, again = scaffold(**settings), arrays
        resumed.restore(json.loads(json.dumps(strategy.state())))
        resumed.restore_arrays([np.array(array) for array in strategy.state_arrays()])
        for number in (3, 4, 5):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            again, _ = toy.play_round(resumed, other, number, again)
            assert toy.as_bytes(again) == toy.as_bytes(arrays)
    assert resumed.state() == strategy.state() and len(strategy.variates) > 2
    pairs = zip(resumed.state_arrays(), strategy.state_arrays(), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_a_fresh_strategy_has_no_arrays() -> None:
    strategy = scaffold()
    strategy.restore(scaffold().state())
    strategy.restore_arrays(scaffold().state_arrays())
    assert strategy.state_arrays() == [] and strategy.variates == {}


def test_central_privacy_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"privacy.kind none or local, received central"):
        scaffold(privacy=Privacy("central"))
