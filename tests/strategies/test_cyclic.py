"""Cyclic training by hand: the model and its optimiser's state go from client to client.

A toy client's optimiser is a heavy ball, v <- v / 2 + (w - goal), w <- w - rate v, and its
second moment counts steps. One step per client here: one epoch, one batch.
"""

import json
import math

import numpy as np
import pytest
import quadratic
import toy
from flwr.app import ArrayRecord

from fedgen.config.sections import Faults
from fedgen.federation.faults import FaultyGrid
from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.cyclic import Cyclic
from strategies.evolution.start import random_genome
from strategies.fedavg import StrategyError
from strategies.streams import rng

GOALS = [2.0, 3.0, 4.0]


def cyclic(**settings: object) -> Cyclic:
    defaults = {
        **{"clients": len(GOALS), "fraction": 1.0, "local_epochs": 1, "query_timeout": 0.3},
        **{"learning_rate": 0.5, "batch_size": 10},
    }
    return Cyclic(**{**defaults, **settings})


def ball(arrays: float, velocity: float, goals: list[float]) -> tuple[list[float], float]:
    """Models before each client and after the last, and the final velocity."""
    models = [arrays]
    for goal in goals:
        velocity = velocity / 2 + (models[-1] - goal)
        models.append(models[-1] - velocity / 2)
    return models, velocity


def state(strategy: Cyclic) -> tuple[float, float, int]:
    assert strategy.moments is not None
    first, second = strategy.moments
    return float(first[0][0]), float(second[0][0]), strategy.steps


def test_a_round_ends_at_the_mean_of_what_clients_received() -> None:
    """1 -> 1.5 (v = -1) -> 2.5 (v = -2) -> 3.75 (v = -2.5), by hand."""
    assert ball(1.0, 0.0, GOALS) == ([1.0, 1.5, 2.5, 3.75], -2.5)
    strategy = cyclic()
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
        assert quadratic.value(arrays) == np.float32((1.0 + 1.5 + 2.5) / 3)
        assert state(strategy) == (-2.5, 3.0, 3)
        start = quadratic.value(arrays)
        models, velocity = ball(start, -2.5, GOALS)  # moments live on, the weights are the mean
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
        assert quadratic.value(arrays) == pytest.approx(sum(models[:3]) / 3)
        assert state(strategy) == (pytest.approx(velocity), 6.0, 6)


def test_the_last_model_is_cyclic_weight_transfer() -> None:
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(cyclic(average="last"), grid, 1, quadratic.start())
    assert quadratic.value(arrays) == 3.75


def test_batches_are_drawn_as_genes_are_and_kept() -> None:
    strategy = cyclic(clients=40, batch_size=0, seed=5)
    drawn = {c: random_genome(rng(5, "genome", 0, c)).batch_size for c in range(40)}
    for number in (1, 2):
        assigned = strategy.assign(number, strategy.cohort(number))
        assert {c: a.genome.batch_size for c, a in assigned.items()} == drawn
    assert 16 <= min(drawn.values()) < 30 and 100 < max(drawn.values()) <= 128


def test_costs_and_clients_of_all_turns_are_counted() -> None:
    strategy = cyclic()
    with quadratic.grid(GOALS) as grid:
        toy.play_round(strategy, grid, 1, quadratic.start())
        (last,) = grid.sent
    outcome = strategy.outcome
    assert [o.client for o in outcome.clients] == [0, 1, 2]
    assert (outcome.client_epochs, outcome.samples) == (3, 30)
    assert outcome.bytes_down == pytest.approx(
        3 * sum(r.count_bytes() for r in last.content.values()), rel=0.01
    )
    assert outcome.bytes_up > 3 * 3 * quadratic.start().count_bytes()


def crash(answer: quadratic.Content) -> None:
    raise RuntimeError("out of memory")


def not_finite(answer: quadratic.Content) -> None:
    answer["first-moments"] = [np.array([np.nan], np.float32)]


def negative(answer: quadratic.Content) -> None:
    answer["second-moments"] = [np.array([-1], np.float32)]


def no_moments(answer: quadratic.Content) -> None:
    del answer["first-moments"]


def of_another_shape(answer: quadratic.Content) -> None:
    answer["first-moments"] = [np.zeros(2, np.float32)]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (crash, "failed: RuntimeError: out of memory"),
        (not_finite, "rejected: record first-moments: array 0: weights are not finite"),
        (negative, "rejected: record second-moments: one is negative"),
        (no_moments, "rejected: expected a record first-moments of arrays, received none"),
        (of_another_shape, "rejected: record first-moments: array 0: expected float32[1]"),
    ],
)
def test_a_bad_client_is_skipped(fault: quadratic.Fault, status: str, bad: int) -> None:
    strategy = cyclic()
    with quadratic.grid(GOALS, {bad: fault}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
    assert strategy.outcome.clients[bad].status.startswith(status)
    models, velocity = ball(1.0, 0.0, [goal for i, goal in enumerate(GOALS) if i != bad])
    assert quadratic.value(arrays) == sum(models[:2]) / 2
    assert state(strategy) == (velocity, 2.0, 2)


def test_a_client_that_left_is_skipped_without_waiting() -> None:
    strategy = cyclic(query_timeout=60.0)
    with quadratic.grid(GOALS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
        grid.leave(1)
        start, (velocity, _, _) = quadratic.value(arrays), state(strategy)
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
    models, _ = ball(start, velocity, [2.0, 4.0])
    assert quadratic.value(arrays) == pytest.approx(sum(models[:2]) / 2)
    assert strategy.outcome.clients[1].status == "failed: not online"


def test_half_of_the_cohort_is_needed() -> None:
    with quadratic.grid(GOALS, {0: crash, 2: crash}) as grid:
        with pytest.raises(StrategyError, match="round 1: 1 of 3 replies are usable"):
            toy.play_round(cyclic(), grid, 1, quadratic.start())


def test_faults_hit_the_clients_that_they_hit_elsewhere() -> None:
    """Messages go one after another, and each says whose turn of how many it is."""
    goals, strategy = [float(i) for i in range(8)], cyclic(clients=8)
    with quadratic.grid(goals) as grid:
        toy.play_round(strategy, FaultyGrid(grid, Faults(crash=2), seed=0), 1, quadratic.start())
    failed = [o.client for o in strategy.outcome.clients if o.status.startswith("failed: Runtime")]
    assert failed == sorted(rng(0, "faults", 1).permutation(8)[:2].tolist())
    assert len(strategy.outcome.updates) == 6


def test_progress_counts_turns() -> None:
    told: list[tuple[int, int]] = []
    with quadratic.grid(GOALS, on_reply=lambda done, asked: told.append((done, asked))) as grid:
        toy.play_round(cyclic(), grid, 1, quadratic.start())
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_restored_run_continues_identically() -> None:
    with quadratic.grid(GOALS) as grid, quadratic.grid(GOALS) as other:
        strategy, arrays = cyclic(), quadratic.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        resumed, again = cyclic(), ArrayRecord(arrays.to_numpy_ndarrays())
        resumed.restore(json.loads(json.dumps(strategy.state())))
        resumed.restore_arrays([np.array(array) for array in strategy.state_arrays()])
        for number in (3, 4):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            again, _ = toy.play_round(resumed, other, number, again)
            assert toy.as_bytes(again) == toy.as_bytes(arrays)
    assert resumed.state() == strategy.state() and state(resumed) == state(strategy)


def test_stock_start_gives_the_weights_of_rounds_by_hand() -> None:
    with quadratic.grid(GOALS) as grid:
        strategy, arrays = cyclic(), quadratic.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        result = cyclic().start(grid=grid, initial_arrays=quadratic.start(), num_rounds=2)
    assert toy.as_bytes(result.arrays) == toy.as_bytes(arrays)
    assert math.isfinite(quadratic.value(arrays))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"privacy": Privacy("local")}, "expected privacy.kind none, received local"),
        ({"aggregation": Aggregation("median")}, "expected aggregation.kind mean, received median"),
    ],
)
def test_what_would_promise_too_much_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(StrategyError, match=reason):
        cyclic(**settings)
