"""Nodes that are late, gone, back again, or not what the run needs."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord, ConfigRecord
from runs import PATIENCE

from fedgen.comparison import trainers
from fedgen.config.tree import Arm, build
from fedgen.data import datasets
from fedgen.errors import RunError
from fedgen.federation import client_app
from fedgen.federation.grid import InProcessGrid
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import to_run_config
from strategies.core.outcomes import OK
from strategies.fedavg import FedAvg, StrategyError

CLIENTS = 4


def everybody(**settings: object) -> FedAvg:
    return FedAvg(seed=1, clients=CLIENTS, fraction=1.0, **{"query_timeout": 0.3, **settings})


def statuses(strategy: FedAvg) -> list[str]:
    return [outcome.status for outcome in strategy.outcome.clients]


def test_a_client_that_left_costs_its_round_one_failure_and_no_waiting() -> None:
    strategy = everybody(query_timeout=30.0)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        grid.leave(2)
        begun = time.monotonic()
        toy.play_round(strategy, grid, 2, arrays)
    assert time.monotonic() - begun < PATIENCE
    assert statuses(strategy) == [OK, OK, "failed: not online", OK]
    assert strategy.outcome.failed == 1


def test_the_average_is_of_those_that_are_left() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy = everybody(weighting="uniform")
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        grid.leave(0)
        averaged, _ = toy.play_round(strategy, grid, 2, arrays)
    left = [outcome.update.arrays for outcome in strategy.outcome.clients if outcome.update]
    by_hand = [
        sum(layer.astype(np.float64) for layer in layers) / 3 for layers in zip(*left, strict=True)
    ]
    for got, wanted in zip(averaged.to_numpy_ndarrays(), by_hand, strict=True):
        np.testing.assert_array_equal(got, wanted.astype(np.float32))


def test_a_client_that_comes_back_on_another_node_is_used_again() -> None:
    strategy = everybody()
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        grid.leave(2)
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
        grid.join(2)
        toy.play_round(strategy, grid, 3, arrays)
    assert statuses(strategy) == [OK] * CLIENTS


def test_a_successor_that_was_there_before_the_old_node_left_is_used() -> None:
    strategy = everybody()
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        successor = grid.join(2)
        arrays, _ = toy.play_round(strategy, grid, 2, arrays)
        grid.leave_node(toy.FIRST_NODE + 2)
        toy.play_round(strategy, grid, 3, arrays)
    assert statuses(strategy) == [OK] * CLIENTS
    assert strategy.peers[2].node_id == successor


def test_a_failed_client_is_asked_who_it_is_before_it_is_used_again() -> None:
    asked: list[int] = []

    def note(weights: toy.Weights, metrics: toy.Metrics) -> None:
        asked.append(metrics["partition-id"])

    strategy = everybody()
    with toy.toy_grid(CLIENTS, {2: toy.crash}, query_fault=note) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        assert statuses(strategy)[2] == "failed: RuntimeError: out of memory"
        assert sorted(asked) == [0, 1, 2, 3]
        toy.play_round(strategy, grid, 2, arrays)
    assert sorted(asked) == [0, 1, 2, 2, 3]


@pytest.mark.parametrize(("least", "gone", "goes_on"), [(3, 1, True), (3, 2, False), (0, 2, True)])
def test_min_available(least: int, gone: int, goes_on: bool) -> None:
    strategy = everybody(min_available=least)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        for partition in range(gone):
            grid.leave(partition)
        if goes_on:
            toy.play_round(strategy, grid, 2, arrays)
            assert strategy.outcome.failed == gone
        else:
            with pytest.raises(StrategyError, match="2 of the cohort's 4 clients.* 3 are needed"):
                toy.play_round(strategy, grid, 2, arrays)


def test_in_the_first_round_everybody_is_waited_for() -> None:
    with toy.toy_grid(CLIENTS - 1) as grid:
        with pytest.raises(StrategyError, match="3 of the cohort's 4 clients are online"):
            toy.play_round(everybody(min_available=1), grid, 1, toy.start())


def test_late_node_is_waited_for_until_the_deadline() -> None:
    class Late(toy.ToyGrid):
        """A grid on which the last node comes online when it is asked for the third time."""

        asked = 0

        def get_node_ids(self) -> list[int]:
            self.asked += 1
            return list(super().get_node_ids())[: CLIENTS if self.asked > 2 else CLIENTS - 1]

    grid = Late(toy.toy_app({}, {}, toy._behave), {}, clients=CLIENTS, workers=2)
    messages = everybody(query_timeout=30.0).configure_train(1, toy.start(), ConfigRecord(), grid)
    grid.close()
    assert len(list(messages)) == CLIENTS


def test_answers_that_keep_coming_are_waited_for() -> None:
    def slowly(weights: toy.Weights, metrics: toy.Metrics) -> None:
        time.sleep(0.5)

    strategy = everybody(query_timeout=1.6)
    with toy.toy_grid(8, query_fault=slowly) as grid:  # two at a time: 2 s for all
        strategy.clients = strategy.peers.clients = 8
        begun = time.monotonic()
        messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), grid))
    assert len(messages) == 8
    assert time.monotonic() - begun > 1.9


class Asked(InProcessGrid):
    """As on Flower's runtimes, which partition a node holds is known only by asking it."""

    nodes_of = None  # type: ignore[assignment]


def real_grid(config: dict, clients: int) -> InProcessGrid:
    run_config = to_run_config(build(config))
    return Asked(client_app.app, run_config, clients=clients, workers=1)


DIGITS = {
    "data": {"dataset": "digits"},
    "partition": {"clients": CLIENTS},
    "cohort": {"fraction": 1.0},
}


def refused(grid: InProcessGrid) -> str:
    strategy = trainers.build_strategy(Arm(build(DIGITS), "fedavg", 0), Resources(build(DIGITS)))
    begun = time.monotonic()
    with pytest.raises(RunError) as error:
        trainers.Federated(strategy, grid).step(1, [np.zeros(3, np.float32)])
    grid.close()
    assert time.monotonic() - begun < PATIENCE, "waited for the deadline"
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_federation_of_another_size_names_the_flag_that_is_missing() -> None:
    said = refused(real_grid(DIGITS, clients=2))
    assert '--federation-config "num-supernodes=4"' in said
    assert "a node said: the federation has 2 nodes, the run has 4 clients" in said


def test_other_data_than_the_server_s_is_refused(tmp_path: Path) -> None:
    digits = datasets.load(build(DIGITS).data)
    arrays = {k: getattr(digits, k).copy() for k in ("x_train", "y_train", "x_test", "y_test")}
    arrays["x_train"][0, 0, 0] += 1
    np.savez(tmp_path / "other.npz", **arrays)
    said = refused(real_grid({**DIGITS, "data": {"dataset": f"{tmp_path}/other.npz"}}, CLIENTS))
    assert f"expected fingerprint {digits.fingerprint[:12]}, received" in said
    assert "has other data than the server" in said


def test_other_code_of_a_model_than_the_server_s_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = (
        "from keras import layers\ndef net(s, c):\n    return [layers.Flatten(), layers.Dense(c)]\n"
    )
    (tmp_path / "served.py").write_text(net)
    monkeypatch.syspath_prepend(tmp_path)
    own = {**DIGITS, "model": {"name": "served:net"}}
    strategy = trainers.build_strategy(Arm(build(own), "fedavg", 0), Resources(build(own)))
    (tmp_path / "served.py").write_text(net.replace("Flatten()", "Flatten(), layers.ReLU()"))
    grid = real_grid(own, CLIENTS)
    with pytest.raises(RunError, match="has other code of the model than the server"):
        trainers.Federated(strategy, grid).step(1, [np.zeros(3, np.float32)])
    grid.close()


def test_data_that_a_worker_cannot_see_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.npz")
    said = refused(real_grid({**DIGITS, "data": {"dataset": gone}}, CLIENTS))
    assert f"a node said: data file {gone}" in said


def test_strategies_under_stock_start_need_no_fingerprint() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        result = everybody().start(grid=grid, initial_arrays=toy.start(), num_rounds=1)
    assert isinstance(result.arrays, ArrayRecord)


def test_in_this_process_nobody_is_asked_what_the_server_knows() -> None:
    strategy = trainers.build_strategy(Arm(build(DIGITS), "fedavg", 0), Resources(build(DIGITS)))
    knows = InProcessGrid(client_app.app, {}, clients=CLIENTS, workers=0)  # nobody could answer
    messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), knows))
    assert sorted(m.metadata.dst_node_id for m in messages) == list(knows.get_node_ids())
    assert {m.metadata.message_type for m in messages} == {"train"}


QUERIED = """
import sys
from flwr.app import ConfigRecord, Message, RecordDict
from fedgen.federation import client_app
from fedgen.config.tree import build
from fedgen.federation.grid import InProcessGrid
from fedgen.federation.run_config import to_run_config

config = build({"data": {"dataset": "digits"}, "partition": {"clients": 4}})
grid = InProcessGrid(client_app.app, to_run_config(config), clients=4, workers=1)
content = RecordDict({"config": ConfigRecord({"seed": 0})})
node = list(grid.get_node_ids())[0]
(reply,) = grid.send_and_receive([Message(content, node, "query")])
assert not reply.has_error(), reply.error
print(reply.content["metrics"]["partition-id"], *{"tensorflow", "keras"} & set(sys.modules))
grid.close()
"""


def test_a_node_says_who_it_is_without_a_framework() -> None:
    """Flower starts a process per message of a SuperNode; many at once on few cores took long."""
    done = subprocess.run([sys.executable, "-c", QUERIED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
