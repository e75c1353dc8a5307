"""Successive halving before FedAvg: what is chosen, what it costs, and what it leaves alone."""

import numpy as np
import pytest
import toy
from flwr.app import ConfigRecord

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import mean_fitness
from strategies.fedavg import FedAvg, StrategyError
from strategies.tuned import FedAvgTuned, rungs

CLIENTS = 6
GRID = {"learning_rates": (1e-2, 1e-4, 1e-3), "batch_sizes": (16, 32)}
BEST = Genome(1e-4, 32)
"""What the toy clients validate best with."""

ROUNDS = 6 * 1 + 3 * 2 + 2 * 4
"""Six pairs one round each, three of them two more, two of those four more."""


def tuned(**settings: object) -> FedAvgTuned:
    return FedAvgTuned(**{"seed": 2, "clients": CLIENTS, "fraction": 1.0, **GRID, **settings})


@pytest.mark.parametrize(
    ("pairs", "first", "expected"),
    [(1, 1, []), (2, 1, [1]), (6, 1, [1, 2, 4]), (8, 3, [3, 6, 12]), (9, 1, [1, 2, 4, 8])],
)
def test_rungs_double_until_one_is_left(pairs: int, first: int, expected: list[int]) -> None:
    assert rungs(pairs, first) == expected


def test_the_best_pair_is_chosen_and_the_weights_are_left_alone() -> None:
    strategy, start = tuned(), toy.start()
    with toy.toy_grid(CLIENTS) as grid:
        assert strategy.initialise(grid, start) is start
        _, sent = toy.play_round(strategy, grid, 1, start)
    assert strategy.genome == BEST
    assert set(sent.values()) == {BEST}
    assert strategy.assign(7, [3]) == {3: Assignment(BEST, "fixed")}


def test_training_is_that_of_fedavg_with_the_pair() -> None:
    plain = FedAvg(seed=2, clients=CLIENTS, fraction=1.0, learning_rate=1e-4, batch_size=32)
    with toy.toy_grid(CLIENTS) as grid, toy.toy_grid(CLIENTS) as other:
        mine, _ = toy.play_round(tuned(), grid, 1, toy.start())
        theirs, _ = toy.play_round(plain, other, 1, toy.start())
    assert toy.as_bytes(mine) == toy.as_bytes(theirs)


@pytest.mark.parametrize("epochs", [1, 3])
def test_all_of_the_search_is_counted(epochs: int) -> None:
    strategy = tuned(search_epochs=epochs)
    with toy.toy_grid(CLIENTS) as grid:
        strategy.initialise(grid, toy.start())
    outcome = strategy.outcome
    assert [o.client for o in outcome.clients] == list(range(CLIENTS))
    assert outcome.client_epochs == ROUNDS * CLIENTS * epochs
    assert outcome.samples == ROUNDS * epochs * sum(map(toy.examples, range(CLIENTS)))
    assert (outcome.rejected, outcome.failed) == (0, 0)
    weights = sum(array.nbytes for array in toy.start().to_numpy_ndarrays())
    assert outcome.bytes_down > ROUNDS * CLIENTS * weights < outcome.bytes_up
    assert outcome.bytes_down % ROUNDS == outcome.bytes_up % ROUNDS == 0


def test_rounds_of_the_search_are_federated_averaging_of_each_pair() -> None:
    """What is sent, in order: every pair's model goes its own way from the initial weights."""
    strategy, log = tuned(), []

    class Spy(toy.ToyGrid):
        def push_messages(self, messages):  # type: ignore[no-untyped-def]
            messages = list(messages)
            if messages[0].metadata.message_type == "train":
                config = messages[0].content["config"]
                arrays = toy.as_bytes(messages[0].content["arrays"])
                log.append((toy.sent_genomes(messages)[0], config["server-round"], arrays))
                assert {m.content["config"]["fitness"] for m in messages} == {"validation"}
            return super().push_messages(messages)

    grid = Spy(toy.toy_app({}, {}, toy._behave), {}, clients=CLIENTS, workers=2)
    try:
        strategy.initialise(grid, toy.start())
    finally:
        grid.close()
    assert [genome for genome, *_ in log[:6]] == strategy.pairs
    assert len(log) == ROUNDS
    mine = [(number, arrays) for genome, number, arrays in log if genome == BEST]
    assert [number for number, _ in mine] == list(range(1, 8))
    plain = FedAvg(
        seed=2, clients=CLIENTS, fraction=1.0, learning_rate=1e-4, batch_size=32, local_epochs=1
    )
    arrays = toy.start()
    with toy.toy_grid(CLIENTS) as other:
        for number, sent in mine:
            assert sent == toy.as_bytes(arrays)
            arrays, _ = toy.play_round(plain, other, number, arrays)


def diverge_above_1e_3(weights: toy.Weights, metrics: toy.Metrics) -> None:
    if metrics["learning-rate"] > 5e-3:
        weights[0][:] = np.nan


def test_a_pair_that_diverges_is_out_and_the_others_are_not() -> None:
    strategy = tuned(learning_rates=(1e-2, 1e-6))
    faults = dict.fromkeys(range(CLIENTS), diverge_above_1e_3)
    with toy.toy_grid(CLIENTS, faults) as grid:
        strategy.initialise(grid, toy.start())
    assert strategy.genome == Genome(1e-6, 32)
    assert {o.status for o in strategy.outcome.clients} == {"ok"}
    # Only the pairs that trained are counted: one round and two more of each of two, then none.
    assert strategy.outcome.client_epochs == CLIENTS * 2 * (1 + 2)


def test_without_a_pair_that_trains_the_run_ends_with_the_reason() -> None:
    strategy = tuned(learning_rates=(1e-2, 2e-2))
    faults = dict.fromkeys(range(CLIENTS), diverge_above_1e_3)
    with toy.toy_grid(CLIENTS, faults) as grid:
        with pytest.raises(StrategyError, match="none of the 4 pairs .* weights are not finite"):
            strategy.initialise(grid, toy.start())


def test_one_pair_needs_no_search() -> None:
    strategy = tuned(learning_rates=(3e-4,), batch_sizes=(20,))
    with toy.toy_grid(CLIENTS) as grid:
        strategy.initialise(grid, toy.start())
    assert strategy.genome == Genome(3e-4, 20)
    assert strategy.outcome.clients == () and strategy.outcome.bytes_down == 0


def test_a_client_that_always_fails_is_named_and_costs_the_others_nothing() -> None:
    strategy = tuned()
    with toy.toy_grid(CLIENTS, {4: toy.crash, 1: toy.report_infinite_fitness}) as grid:
        strategy.initialise(grid, toy.start())
    assert strategy.genome == BEST
    assert strategy.outcome.failed == 1
    assert strategy.outcome.client_epochs == ROUNDS * (CLIENTS - 1)


def test_the_score_is_the_mean_by_samples() -> None:
    strategy = tuned(local_epochs=1)
    with toy.toy_grid(CLIENTS) as grid:
        messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), grid))
        strategy.aggregate_train(1, grid.send_and_receive(messages))
    updates = strategy.outcome.updates[:2]  # of 10 and 17 samples
    by_hand = (10 * toy.loss(0, BEST) + 17 * toy.loss(1, BEST)) / 27
    assert mean_fitness(updates) == pytest.approx(by_hand)
