import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
import toy
from flwr.app import Array, ArrayRecord, ConfigRecord, Message
from runs import PATIENCE

from fedgen.federation.grid import InProcessGrid
from strategies.core.aggregation import weighted_mean
from strategies.core.hyperparameters import Assignment, Genome
from strategies.fedavg import FedAvg, StrategyError, cohort_size
from strategies.streams import rng

CLIENTS = 8


class Ladder(FedAvg):
    """Gives every client a rate and a batch size of its own."""

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        return {client: Assignment(rung(client), "fixed") for client in cohort}


def rung(client: int) -> Genome:
    return Genome(1e-3 * 0.7**client, 16 + client)


def everybody(kind: type[FedAvg] = Ladder, **settings: object) -> FedAvg:
    return kind(seed=1, clients=CLIENTS, fraction=1.0, query_timeout=0.3, **settings)


@pytest.fixture
def grid() -> Iterator[InProcessGrid]:
    with toy.toy_grid(CLIENTS) as grid:
        yield grid


def ask(strategy: FedAvg, grid: InProcessGrid) -> tuple[list[Message], list[Message]]:
    """Messages and replies of round 1."""
    messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), grid))
    return messages, list(grid.send_and_receive(messages))


def mean_of(clients: list[int], uniform: bool = False) -> list[bytes]:
    """The average that honest clients of the ladder give, worked out without Flower."""
    start = toy.start().to_numpy_ndarrays()
    updates = [toy.trained(start, client, rung(client)) for client in clients]
    weights = [1.0 if uniform else float(toy.examples(client)) for client in clients]
    return toy.as_bytes(ArrayRecord(weighted_mean(updates, weights)))


@pytest.mark.parametrize(
    ("clients", "fraction", "size"), [(100, 0.3, 30), (10, 0.29, 2), (100, 0.29, 29), (3, 0.3, 0)]
)
def test_cohort_size(clients: int, fraction: float, size: int) -> None:
    assert cohort_size(clients, fraction) == size


def test_empty_cohort_is_an_error() -> None:
    with pytest.raises(StrategyError, match="0.3 x 3 clients is empty"):
        FedAvg(clients=3, fraction=0.3)


def test_fixed_cohort_is_drawn_once_from_its_stream() -> None:
    strategy = FedAvg(seed=5, clients=100, fraction=0.3)
    expected = rng(5, "cohort", 0).choice(100, size=30, replace=False)
    assert strategy.cohort(1) == sorted(expected.tolist()) == strategy.cohort(9)
    assert FedAvg(seed=6, clients=100, fraction=0.3).cohort(1) != strategy.cohort(1)


def test_resampled_cohort_is_drawn_from_the_stream_of_its_round() -> None:
    strategy = FedAvg(seed=5, clients=100, fraction=0.3, resample=True)
    for number in (1, 2, 9):
        expected = rng(5, "cohort", number).choice(100, size=30, replace=False)
        assert strategy.cohort(number) == sorted(expected.tolist())
    assert strategy.cohort(1) != strategy.cohort(2)


def test_cohort_ignores_the_global_generators() -> None:
    cohorts = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        cohorts.append(FedAvg(seed=0, clients=50).cohort(1))
    assert cohorts[0] == cohorts[1]


def test_messages_go_to_the_cohort_only(grid: InProcessGrid) -> None:
    strategy = FedAvg(seed=3, clients=CLIENTS, fraction=0.5, query_timeout=0.3)
    messages, _ = ask(strategy, grid)
    assert sorted(map(toy.partition_of, messages)) == strategy.cohort(1)
    assert len(messages) == 4


def test_plain_fedavg_sends_its_own_setting(grid: InProcessGrid) -> None:
    messages, _ = ask(everybody(FedAvg, learning_rate=3e-4, batch_size=20), grid)
    assert set(toy.sent_genomes(messages).values()) == {Genome(3e-4, 20)}


def test_every_client_gets_and_uses_its_own_hyperparameters(grid: InProcessGrid) -> None:
    strategy = everybody()
    messages, replies = ask(strategy, grid)
    assert toy.sent_genomes(messages) == {client: rung(client) for client in range(CLIENTS)}
    strategy.aggregate_train(1, replies)
    for outcome in strategy.outcome.clients:
        assert outcome.update.applied.batch_size == rung(outcome.client).batch_size
        assert outcome.update.applied.learning_rate == np.float32(
            rung(outcome.client).learning_rate
        )


def test_config_of_the_caller_reaches_clients_and_is_left_alone(grid: InProcessGrid) -> None:
    config = ConfigRecord({"mode": "quick"})
    strategy = everybody(local_epochs=3, fitness="improvement")
    for message in strategy.configure_train(4, toy.start(), config, grid):
        sent = message.content["config"]
        assert sent is not config
        assert (sent["mode"], sent["seed"], sent["server-round"]) == ("quick", 1, 4)
        assert (sent["local-epochs"], sent["fitness"]) == (3, "improvement")
    assert dict(config) == {"mode": "quick"}


def test_largest_client_is_sent_first(grid: InProcessGrid) -> None:
    messages, _ = ask(everybody(), grid)
    # Client c has 10 + 7 * (5c mod 4) samples: 3 and 7 have the most.
    assert [toy.partition_of(message) for message in messages] == [3, 7, 2, 6, 1, 5, 0, 4]


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_average_is_that_of_the_clients_by_weight(grid: InProcessGrid, weighting: str) -> None:
    strategy = everybody(weighting=weighting)
    averaged, metrics = strategy.aggregate_train(1, ask(strategy, grid)[1])
    assert toy.as_bytes(averaged) == mean_of(list(range(CLIENTS)), weighting == "uniform")
    assert metrics["num-examples"] == sum(map(toy.examples, range(CLIENTS)))
    assert (metrics["rejected"], metrics["failed"]) == (0, 0)


def test_average_by_fitness_is_samples_times_rank(grid: InProcessGrid) -> None:
    """Everybody trains alike, so the toy's losses rank the clients by id, 0 the best."""
    strategy = everybody(FedAvg, weighting="fitness")
    averaged, _ = strategy.aggregate_train(1, ask(strategy, grid)[1])
    start = toy.start().to_numpy_ndarrays()
    updates = [toy.trained(start, client, strategy.genome) for client in range(CLIENTS)]
    weights = [float(toy.examples(client)) * (CLIENTS - client) for client in range(CLIENTS)]
    assert toy.as_bytes(averaged) == toy.as_bytes(ArrayRecord(weighted_mean(updates, weights)))


def test_order_of_replies_does_not_change_a_bit(grid: InProcessGrid) -> None:
    strategy = everybody()
    _, replies = ask(strategy, grid)
    results = set()
    for seed in range(6):
        random.Random(seed).shuffle(replies)
        averaged, _ = strategy.aggregate_train(1, replies)
        results.add(tuple(toy.as_bytes(averaged)))
        assert [outcome.client for outcome in strategy.outcome.clients] == list(range(CLIENTS))
    assert results == {tuple(mean_of(list(range(CLIENTS))))}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (toy.send_nan, "rejected: array 0: weights are not finite"),
        (toy.crash, "failed: RuntimeError: out of memory"),
        (toy.lie_about_rate, "rejected: applied rate"),
        (toy.lie_about_batch, "rejected: applied rate"),
        (toy.claim_more_examples, "rejected: metric num-examples"),
        (toy.send_one_weight, "rejected: array 0: expected float32[3], received float32[1]"),
    ],
)
def test_bad_clients_are_left_out_and_named(fault: toy.Fault, status: str) -> None:
    bad = (2, 3, 7)
    strategy = everybody()
    with toy.toy_grid(CLIENTS, dict.fromkeys(bad, fault)) as grid:
        averaged, metrics = strategy.aggregate_train(1, ask(strategy, grid)[1])
    good = [client for client in range(CLIENTS) if client not in bad]
    assert toy.as_bytes(averaged) == mean_of(good)
    counted = "failed" if status.startswith("failed") else "rejected"
    assert metrics[counted] == 3
    assert metrics["failed"] + metrics["rejected"] == 3
    for outcome in strategy.outcome.clients:
        expected = status if outcome.client in bad else "ok"
        assert outcome.status.startswith(expected)
        assert (outcome.update is None) == (outcome.client in bad)


def test_a_negative_moving_variance_is_rejected() -> None:
    """Its root would be NaN in every client's next forward pass."""

    def turn_negative(weights: toy.Weights, metrics: toy.Metrics) -> None:
        weights[1][0, 0] = -1.0

    for statistics, rejected in (({1: "variance"}, 1), ({1: "mean"}, 0), ({}, 0)):
        strategy = everybody(statistics=statistics)
        with toy.toy_grid(CLIENTS, {2: turn_negative}) as grid:
            toy.play_round(strategy, grid, 1, toy.start())
        assert strategy.outcome.rejected == rejected
        if rejected:
            (status,) = (o.status for o in strategy.outcome.clients if o.client == 2)
            assert status == "rejected: array 1: a moving variance is negative"


def test_infinite_fitness_is_used() -> None:
    strategy = everybody()
    with toy.toy_grid(CLIENTS, {2: toy.report_infinite_fitness}) as grid:
        averaged, metrics = strategy.aggregate_train(1, ask(strategy, grid)[1])
    assert toy.as_bytes(averaged) == mean_of(list(range(CLIENTS)))
    assert metrics["rejected"] == 0


def test_cost_of_a_round_counts_usable_clients(grid: InProcessGrid) -> None:
    strategy = everybody()
    messages, replies = ask(strategy, grid)
    strategy.aggregate_train(1, replies[1:])
    answered = [o.client for o in strategy.outcome.clients if o.status == "ok"]
    assert len(answered) == CLIENTS - 1
    assert strategy.outcome.client_epochs == 2 * len(answered)
    assert strategy.outcome.samples == 2 * sum(map(toy.examples, answered))
    down = sum(r.count_bytes() for m in messages for r in m.content.values())
    up = sum(r.count_bytes() for m in replies[1:] for r in m.content.values())
    assert (strategy.outcome.bytes_down, strategy.outcome.bytes_up) == (down, up)


def test_mean_train_loss_is_weighted_by_samples(grid: InProcessGrid) -> None:
    strategy = everybody()
    _, metrics = strategy.aggregate_train(1, ask(strategy, grid)[1])
    sizes = [toy.examples(client) for client in range(CLIENTS)]
    losses = [toy.loss(client, rung(client)) + 1 for client in range(CLIENTS)]
    assert metrics["train-loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-12)


def test_late_reply_is_failed_and_left_out() -> None:
    def dawdle(weights: toy.Weights, metrics: toy.Metrics) -> None:
        time.sleep(1.0)

    strategy = everybody()
    with toy.toy_grid(CLIENTS, {4: dawdle}) as grid:
        messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), grid))
        averaged, metrics = strategy.aggregate_train(
            1, grid.send_and_receive(messages, timeout=0.5)
        )
    assert toy.as_bytes(averaged) == mean_of([0, 1, 2, 3, 5, 6, 7])
    assert metrics["failed"] == 1
    assert strategy.outcome.clients[4].status == "failed: no reply in time"


def test_doubled_reply_is_rejected(grid: InProcessGrid) -> None:
    strategy = everybody()
    _, replies = ask(strategy, grid)
    double = next(r for r in replies if r.metadata.src_node_id == 1_005)
    averaged, metrics = strategy.aggregate_train(1, [*replies, double])
    assert metrics["rejected"] == 1
    assert strategy.outcome.clients[5].status == "rejected: 2 replies, expected one"
    assert toy.as_bytes(averaged) == mean_of([0, 1, 2, 3, 4, 6, 7])


def test_reply_of_a_stranger_is_ignored(grid: InProcessGrid) -> None:
    stranger = FedAvg(seed=0, clients=CLIENTS, fraction=1.0)
    _, foreign = ask(stranger, grid)
    strategy = FedAvg(seed=3, clients=CLIENTS, fraction=0.5)
    cohort = strategy.cohort(1)
    _, replies = ask(strategy, grid)
    expected = toy.as_bytes(strategy.aggregate_train(1, replies)[0])
    others = [r for r in foreign if r.metadata.src_node_id - 1_000 not in cohort]
    assert toy.as_bytes(strategy.aggregate_train(1, [*others, *replies])[0]) == expected
    assert [outcome.client for outcome in strategy.outcome.clients] == cohort


def test_half_of_the_cohort_is_enough() -> None:
    strategy = everybody()
    with toy.toy_grid(CLIENTS, dict.fromkeys((0, 1, 2, 3), toy.crash)) as grid:
        averaged, _ = strategy.aggregate_train(1, ask(strategy, grid)[1])
    assert toy.as_bytes(averaged) == mean_of([4, 5, 6, 7])


def test_less_than_half_of_the_cohort_ends_the_run_with_reasons() -> None:
    strategy = everybody()
    faults = dict.fromkeys((0, 1, 2), toy.crash) | dict.fromkeys((5, 6), toy.send_nan)
    with toy.toy_grid(CLIENTS, faults) as grid:
        _, replies = ask(strategy, grid)
        with pytest.raises(StrategyError, match="round 1: 3 of 8 replies are usable") as error:
            strategy.aggregate_train(1, replies)
    assert "out of memory" in str(error.value) and "not finite" in str(error.value)


def test_nobody_at_all_is_an_error(grid: InProcessGrid) -> None:
    strategy = everybody()
    ask(strategy, grid)
    with pytest.raises(StrategyError, match="0 of 8 replies .* no reply in time"):
        strategy.aggregate_train(1, [])


def test_missing_nodes_are_an_error_in_time() -> None:
    strategy = everybody()
    begun = time.monotonic()
    with toy.toy_grid(CLIENTS - 2) as grid:
        with pytest.raises(StrategyError, match=r"6 of the cohort's 8 .* 6 nodes; missing.* 6, 7"):
            ask(strategy, grid)
    assert time.monotonic() - begun < PATIENCE


def test_node_that_claims_a_taken_partition_leaves_its_own_missing() -> None:
    def claim(weights: toy.Weights, metrics: toy.Metrics) -> None:
        metrics["partition-id"] = min(metrics["partition-id"], CLIENTS - 2)

    with toy.toy_grid(CLIENTS, query_fault=claim) as grid:
        with pytest.raises(StrategyError, match="missing partition ids: 7"):
            ask(everybody(), grid)


@pytest.mark.parametrize(("key", "value"), [("partition-id", 99), ("num-examples", 0)])
def test_node_with_an_impossible_answer_is_not_used(key: str, value: int) -> None:
    def lie(weights: toy.Weights, metrics: toy.Metrics) -> None:
        if metrics["partition-id"] == 3:
            metrics[key] = value

    with toy.toy_grid(CLIENTS, query_fault=lie) as grid:
        with pytest.raises(StrategyError, match="ids: 3; a node said: I am partition"):
            ask(everybody(), grid)


def test_query_that_fails_once_is_asked_again() -> None:
    failures = [3]

    def fail_once(weights: toy.Weights, metrics: toy.Metrics) -> None:
        if metrics["partition-id"] in failures:
            failures.remove(metrics["partition-id"])
            raise RuntimeError("still starting")

    with toy.toy_grid(CLIENTS, query_fault=fail_once) as grid:
        messages, _ = ask(everybody(), grid)
    assert len(messages) == CLIENTS


def test_names_of_arrays_are_kept(grid: InProcessGrid) -> None:
    named = ArrayRecord({"kernel": Array(np.ones((2, 2), np.float32))})
    averaged, _ = toy.play_round(everybody(), grid, 1, named)
    assert list(averaged) == ["kernel"]


def test_stock_start_gives_the_weights_of_rounds_by_hand(grid: InProcessGrid) -> None:
    strategy, arrays = everybody(), toy.start()
    for number in (1, 2):
        arrays, _ = toy.play_round(strategy, grid, number, arrays)
    result = everybody().start(grid=grid, initial_arrays=toy.start(), num_rounds=2)
    assert toy.as_bytes(result.arrays) == toy.as_bytes(arrays)
    assert toy.as_bytes(arrays) != mean_of(list(range(CLIENTS)))


def test_second_round_starts_from_the_first_ones_average(grid: InProcessGrid) -> None:
    strategy = everybody()
    averaged, _ = toy.play_round(strategy, grid, 1, toy.start())
    messages = strategy.configure_train(2, averaged, ConfigRecord(), grid)
    assert {tuple(toy.as_bytes(m.content["arrays"])) for m in messages} == {
        tuple(toy.as_bytes(averaged))
    }


def test_clients_do_not_evaluate(grid: InProcessGrid) -> None:
    strategy = everybody()
    assert list(strategy.configure_evaluate(1, toy.start(), ConfigRecord(), grid)) == []
    assert strategy.aggregate_evaluate(1, []) is None
