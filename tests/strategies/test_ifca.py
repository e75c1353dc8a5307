"""IFCA by hand: two goals, two models, and everybody finds its own."""

import json

import numpy as np
import pytest
import quadratic
import toy
from flwr.app import ArrayRecord

from strategies.core.aggregation import Arrays
from strategies.core.privacy import Privacy
from strategies.fedavg import StrategyError
from strategies.ifca import IFCA

GOALS = [-1.0, -1.0, 9.0, 9.0, 9.0]


def ifca(**settings: object) -> IFCA:
    defaults = {"clients": len(GOALS), "fraction": 1.0, "local_epochs": 1, "query_timeout": 0.3}
    return IFCA(**{**defaults, "learning_rate": 0.5, **settings})


def apart(strategy: IFCA, *values: float) -> IFCA:
    """Start from these models."""
    strategy.restore({"initialised": True})
    strategy.restore_arrays([np.array([value], np.float32) for value in values])
    return strategy


def models(strategy: IFCA) -> list[float]:
    return [float(model[0][0]) for model in strategy.models]


def test_every_client_trains_the_model_that_fits_it() -> None:
    """-1 is nearer to 1, 9 to 7: 1 -> 0 and 7 -> 8. Three of five have the second model."""
    strategy = apart(ifca(), 1.0, 7.0)
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
        assert models(strategy) == [0.0, 8.0] and quadratic.value(arrays) == 8.0
        clusters = [o.assignment.cluster for o in strategy.outcome.clients if o.assignment]
        assert clusters == [0, 0, 1, 1, 1]
        down = sum(r.count_bytes() for m in grid.sent for r in m.content.values())
        assert strategy.outcome.bytes_down == down
        assert all("model-1" in message.content for message in grid.sent)
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
    assert models(strategy) == [-0.5, 8.5]


def test_a_model_that_nobody_picks_stays_and_ties_go_to_the_lower() -> None:
    strategy = apart(ifca(clients=2), 0.0, 50.0)
    with quadratic.grid([-1.0, 9.0]) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
        assert models(strategy) == [(-0.5 + 4.5) / 2, 50.0]
        even = apart(ifca(clients=2), 0.0, 9.0)
        arrays, _ = toy.play_round(even, grid, 1, quadratic.start())
    assert models(even) == [-0.5, 9.0] and quadratic.value(arrays) == -0.5


def unknown_model(answer: quadratic.Content) -> None:
    answer["metrics"]["model"] = 2


def half_a_model(answer: quadratic.Content) -> None:
    answer["metrics"]["model"] = 0.5


def no_model(answer: quadratic.Content) -> None:
    del answer["metrics"]["model"]


@pytest.mark.parametrize("fault", [unknown_model, half_a_model, no_model])
def test_a_client_that_names_no_model_is_rejected(fault: quadratic.Fault) -> None:
    strategy = apart(ifca(), 1.0, 7.0)
    with quadratic.grid([*GOALS[:4], 1e6], {4: fault}) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
    assert strategy.outcome.clients[4].status.startswith("rejected: metric model: expected")
    assert models(strategy) == [0.0, 8.0]


def test_half_of_the_cohort_is_needed_not_half_of_a_group() -> None:
    def crash(answer: quadratic.Content) -> None:
        raise RuntimeError

    strategy = apart(ifca(), 1.0, 7.0)
    with quadratic.grid(GOALS, {2: crash, 3: crash}) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
        assert models(strategy) == [0.0, 8.0]
    with quadratic.grid(GOALS, {2: crash, 3: crash, 4: crash}) as grid:
        with pytest.raises(StrategyError, match="2 of 5 replies"):
            toy.play_round(strategy, grid, 2, quadratic.start())


def start() -> Arrays:
    draw = np.random.default_rng(0)
    return [draw.normal(size=(5, 4)).astype(np.float32), np.zeros(4, np.float32)]


def test_models_start_apart_with_entries_of_the_first() -> None:
    strategy = ifca(models=3, seed=4)
    with quadratic.grid(GOALS) as grid:
        given = ArrayRecord(start())
        assert strategy.initialise(grid, given) is given
    first, *others = strategy.models
    assert first[0].tobytes() == start()[0].tobytes()
    for model in others:
        assert not np.array_equal(model[0], first[0])
        assert np.array_equal(np.sort(model[0], None), np.sort(first[0], None))
        assert np.array_equal(model[1], first[1])
    assert not np.array_equal(others[0][0], others[1][0])


def test_one_model_is_fedavg() -> None:
    from strategies.fedavg import FedAvg

    common = {"clients": len(GOALS), "fraction": 1.0, "learning_rate": 0.5, "query_timeout": 0.3}
    with quadratic.grid(GOALS) as grid:
        one, _ = toy.play_round(IFCA(models=1, **common), grid, 1, quadratic.start())
        other, _ = toy.play_round(FedAvg(**common), grid, 1, quadratic.start())
    assert toy.as_bytes(one) == toy.as_bytes(other)


def test_restored_run_continues_identically() -> None:
    with quadratic.grid(GOALS) as grid, quadratic.grid(GOALS) as other:
        strategy, arrays = apart(ifca(), 1.0, 7.0), quadratic.start()
        arrays, _ = toy.play_round(strategy, grid, 1, arrays)
        resumed, again = ifca(), ArrayRecord(arrays.to_numpy_ndarrays())
        resumed.restore(json.loads(json.dumps(strategy.state())))
        resumed.restore_arrays([np.array(array) for array in strategy.state_arrays()])
        for number in (2, 3):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            again, _ = toy.play_round(resumed, other, number, again)
            assert toy.as_bytes(again) == toy.as_bytes(arrays)
    assert models(resumed) == models(strategy)


def test_central_privacy_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"privacy.kind none or local, received central"):
        ifca(privacy=Privacy("central"))
