"""Clients that misbehave on purpose: each is noticed, and the round is as if it were not there."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import comparable, finish, play, rows, start

from fedgen.config.sections import Faults
from fedgen.config.tree import build
from fedgen.errors import InputError
from fedgen.federation import faults
from fedgen.federation.faults import FaultyGrid
from strategies.core.outcomes import OK
from strategies.fedavg import FedAvg, StrategyError
from strategies.genetic import GeneticCFL

CLIENTS = 12

REASONS = {
    "crash": "failed: RuntimeError: crashed, as asked by faults.crash",
    "nan": "rejected: array 0: weights are not finite",
    "inf": "rejected: array 0: weights are not finite",
    "wrong_shape": "rejected: array 0: expected float32[3], received float32[1]",
    "wrong_dtype": "rejected: array 0: expected float32[3], received float64[3]",
    "missing_key": "rejected: expected 2 arrays with the model's keys",
    "extra_key": "rejected: expected 2 arrays with the model's keys",
    "negative_examples": "rejected: metric num-examples: expected an integer in [1, 31], received",
    "nan_examples": "rejected: metric num-examples: expected an integer in [1, 31], received nan",
    "zero_examples": "rejected: metric num-examples: expected an integer in [1, 31], received 0",
    "absurd_examples": "rejected: metric num-examples: expected an integer in [1, 31], received 1e",
    "wrong_rate": "rejected: applied rate ",
    "wrong_batch": "rejected: applied rate ",
    "duplicate": "rejected: 2 replies, expected one",
    "late": "failed: no reply in time",
}
"""What becomes of a client that does it; of the others, `hang` takes time (see below)."""

WELL_FORMED = ("sign_flip", "scale")


class Absent(toy.ToyGrid):
    """A grid on which chosen clients never get their training messages."""

    absent: frozenset[int] = frozenset()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        here = [
            message
            for message in messages
            if message.metadata.message_type == "query"
            or toy.partition_of(message) not in self.absent
        ]
        return super().send_and_receive(here, timeout=timeout)


def strategy_of(kind: type[FedAvg], **settings: object) -> FedAvg:
    return kind(seed=4, clients=CLIENTS, fraction=1.0, **settings)


def culprits(strategy: FedAvg) -> frozenset[int]:
    return frozenset(o.client for o in strategy.outcome.clients if o.status != OK)


def test_every_kind_has_a_test() -> None:
    kinds = set(Faults.model_fields) - {"factor"}
    assert kinds == {*REASONS, *WELL_FORMED, "hang"}
    assert {*faults.SPOILERS} == kinds - {"crash", "hang", "duplicate", "late"}


CODES = ("none", "zstd", "float16", "int8")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", REASONS)
def test_a_malformed_reply_is_left_out_with_its_reason(kind: str, code: str) -> None:
    """The same one, however replies are coded."""
    strategy = strategy_of(FedAvg, compression=code)
    with toy.toy_grid(CLIENTS) as grid:
        faulty = FaultyGrid(grid, Faults(**{kind: 2}), seed=4)
        toy.play_round(strategy, faulty, 1, toy.start())
    statuses = [o.status for o in strategy.outcome.clients if o.status != OK]
    assert len(statuses) == 2
    # All of a client's samples are known: 31 at most.
    limit = "[1, 31]"
    for status in statuses:
        wanted = REASONS[kind]
        if limit in wanted:
            head, tail = wanted.split(limit)
            assert status.startswith(head + "[1, ") and tail in status
        else:
            assert status.startswith(wanted)
    rejected = REASONS[kind].startswith("rejected")
    assert (strategy.outcome.rejected, strategy.outcome.failed) == ((2, 0) if rejected else (0, 2))


def mixtures() -> st.SearchStrategy[dict[str, int]]:
    """Up to five misbehaving clients of any malformed kind."""
    kinds = st.lists(st.sampled_from(sorted(REASONS)), max_size=5)
    return kinds.map(lambda chosen: {kind: chosen.count(kind) for kind in chosen})


@settings(deadline=None)
@given(
    mixture=mixtures(),
    seed=st.integers(0, 1000),
    kind=st.sampled_from([FedAvg, GeneticCFL]),
    rule=st.sampled_from(["mean", "median", "trimmed-mean", "krum", "clipped-mean"]),
    code=st.sampled_from(CODES),
)
def test_a_round_equals_the_one_without_its_malformed_replies(
    mixture: dict[str, int], seed: int, kind: type[FedAvg], rule: str, code: str
) -> None:
    """Weights to the byte, and all that the strategy knows, over two rounds."""
    from strategies.core.aggregation import Aggregation

    common = {"aggregation": Aggregation(rule, f=1), "compression": code}  # type: ignore[arg-type]
    attacked, spared = strategy_of(kind, **common), strategy_of(kind, **common)
    app = toy.toy_app({}, {}, toy._behave)
    with toy.toy_grid(CLIENTS) as grid:
        other = Absent(app, {}, clients=CLIENTS, workers=2)
        faulty = FaultyGrid(grid, Faults(**mixture), seed)
        arrays = same = toy.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(attacked, faulty, number, arrays)
            other.absent = culprits(attacked)
            assert len(other.absent) == sum(mixture.values())
            same, _ = toy.play_round(spared, other, number, same)
            assert toy.as_bytes(arrays) == toy.as_bytes(same)
            assert attacked.state() == spared.state()
        other.close()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("kind", "factor"), [("sign_flip", -1.0), ("scale", 7.0)])
def test_a_well_formed_attack_is_used_and_is_what_it_says(
    kind: str, factor: float, code: str
) -> None:
    strategy = strategy_of(FedAvg, weighting="uniform", compression=code)
    with toy.toy_grid(CLIENTS) as grid:
        faulty = FaultyGrid(grid, Faults(**{kind: 1}, factor=7.0), seed=4)
        toy.play_round(strategy, faulty, 1, toy.start())
        marked = [m for m in grid.sent if faults.FAULT in m.content["config"]]
    assert strategy.outcome.rejected == strategy.outcome.failed == 0
    (attacker,) = map(toy.partition_of, marked)
    begun = toy.start().to_numpy_ndarrays()
    honest = toy.trained(begun, attacker, strategy.genome)
    (update,) = (o.update for o in strategy.outcome.clients if o.client == attacker)
    for sent, fair, first in zip(update.arrays, honest, begun, strict=True):
        step = factor * (fair - first)
        off = {"int8": abs(step).max() / 127, "float16": abs(step).max() / 2048}.get(code, 0)
        np.testing.assert_allclose(sent, first + step, rtol=1e-5, atol=off)


def chosen(seed: int, server_round: int, shuffle: int) -> list[int]:
    """Which clients a faulty grid marks when messages come in some order."""
    strategy = strategy_of(FedAvg)
    with toy.toy_grid(CLIENTS) as grid:
        faulty = FaultyGrid(grid, Faults(nan=3), seed)
        from flwr.app import ConfigRecord

        messages = list(strategy.configure_train(server_round, toy.start(), ConfigRecord(), faulty))
        order = np.random.default_rng(shuffle).permutation(len(messages))
        faulty.push_messages([messages[i] for i in order])
    return sorted(
        toy.partition_of(m) for m in messages if m.content["config"].get(faults.FAULT) == "nan"
    )


def test_the_chosen_clients_depend_on_seed_and_round_alone() -> None:
    assert chosen(1, 1, 0) == chosen(1, 1, 5)
    assert len(chosen(1, 1, 0)) == 3
    assert len({tuple(chosen(seed, r, 0)) for seed in (1, 2) for r in (1, 2)}) > 1


def test_a_late_reply_does_not_count_in_the_next_round() -> None:
    strategy = strategy_of(FedAvg)
    with toy.toy_grid(CLIENTS) as grid:
        faulty = FaultyGrid(grid, Faults(late=1), seed=4)
        arrays, _ = toy.play_round(strategy, faulty, 1, toy.start())
        (first,) = culprits(strategy)
        up = strategy.outcome.bytes_up
        toy.play_round(strategy, faulty, 2, arrays)
        (second,) = culprits(strategy)
        assert second != first, "another seed is needed: the late one is late again"
        assert len(faulty._held) == 1
        assert strategy.outcome.bytes_up == up  # of eleven replies each time


def test_probes_misbehave_too() -> None:
    strategy = strategy_of(GeneticCFL, init="probe")
    with toy.toy_grid(CLIENTS) as grid:
        strategy.initialise(FaultyGrid(grid, Faults(nan=2, crash=1), seed=4), toy.start())
    assert (strategy.outcome.rejected, strategy.outcome.failed) == (2, 1)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"faults": {"nan": 31}}, "faults: expected at most 30 clients, the size of a cohort"),
        ({"faults": {"hang": 1}}, "faults.hang = 1 would stop the run for ever: set training.dead"),
        ({"faults": {"nam": 1}}, "did you mean 'nan'"),
        ({"aggregation": {"kind": "krum", "f": 14}}, "krum with f = 14 needs at least 31 clients"),
        (
            {"aggregation": {"kind": "trimmed-mean"}, "partition": {"clients": 13}},
            "cuts 0 of 3 clients",
        ),
        (
            {"aggregation": {"kind": "median"}, "privacy": {"kind": "central"}},
            "privacy.kind 'central' needs aggregation.kind 'mean', received 'median'",
        ),
        ({"privacy": {"clip_norm": 0.0}}, "privacy.clip_norm: input should be greater than 0"),
        ({"training": {"deadline": -1.0}}, "training.deadline: input should be greater than or"),
    ],
)
def test_what_cannot_work_is_refused_before_round_1(tree: dict, why: str) -> None:
    with pytest.raises(InputError) as caught:
        build(tree)
    assert why in str(caught.value)


def test_a_run_with_every_fault_goes_on_and_tells_all_of_it(tmp_path: Path) -> None:
    """Real clients, in the process of the command line; the hanging one is abandoned."""
    kinds = [*REASONS, *WELL_FORMED, "hang"]
    arguments = ["compare", "--dataset=digits", "--model=mlp", "--clients=40", "--fraction=1"]
    arguments += ["--rounds=2", "--out=run", "--set=training.local_epochs=1", "--quiet"]
    arguments += ["--set=training.deadline=4", *(f"--set=faults.{kind}=1" for kind in kinds)]
    process = start(arguments, tmp_path)
    assert finish(process) == (0, "", "")
    malformed = [reason for reason in REASONS.values() if reason.startswith("rejected")]
    failed = len(REASONS) - len(malformed) + 1
    for row in rows(tmp_path / "run" / "rounds.csv"):
        if row["round"] != "0":
            assert (int(row["rejected"]), int(row["failed"])) == (len(malformed), failed)
            assert float(row["test_loss"]) < 10
    clients = rows(tmp_path / "run" / "clients.csv")
    statuses = {row["status"] for row in clients}
    assert "failed: stuck, abandoned 2 s after the deadline of 4 s" in statuses
    assert "failed: no reply in time" in statuses
    page = (tmp_path / "run" / "report.html").read_text()
    for status in statuses - {"ok"}:
        assert status.split("'")[0] in page


def test_two_nan_clients_of_each_round_are_two_rejections(tmp_path: Path) -> None:
    play(tmp_path / "run", faults={"nan": 2}, run={"rounds": 2})
    trained = [row for row in rows(tmp_path / "run" / "rounds.csv") if row["round"] != "0"]
    assert [row["rejected"] for row in trained] == ["2"] * 4
    with (tmp_path / "run" / "clients.csv").open() as stream:
        bad = [row for row in csv.DictReader(stream) if row["status"] != "ok"]
    assert len(bad) == 8
    assert {row["status"] for row in bad} == {"rejected: array 0: weights are not finite"}
    assert {row["applied_learning_rate"] for row in bad} == {""}


def test_a_resumed_run_with_late_replies_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """The reply that is held back is lost with the process; nothing may depend on it."""
    common = {"faults": {"late": 1, "duplicate": 1}}
    play(tmp_path / "whole", run={"rounds": 3}, **common)
    play(tmp_path / "run", run={"rounds": 1}, **common)
    assert finish(start(["resume", "run", "--rounds=3", "--quiet"], tmp_path)) == (0, "", "")
    assert comparable(tmp_path / "run") == comparable(tmp_path / "whole")


def send_a_long_list(weights: toy.Weights, metrics: toy.Metrics) -> None:
    metrics["fitness"] = [0.1] * 60_000


def crash_with_odd_letters(weights: toy.Weights, metrics: toy.Metrics) -> None:
    raise RuntimeError("no file 'x\udcff' \x1b[31m\r" + "y" * 300_000)


@pytest.mark.parametrize("fault", [send_a_long_list, crash_with_odd_letters])
def test_a_reason_is_short_and_printable_whatever_a_client_sends(fault: toy.Fault) -> None:
    """It goes into a CSV file, whose fields have a limit."""
    strategy = strategy_of(FedAvg)
    with toy.toy_grid(CLIENTS, {3: fault}) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
    (status,) = (o.status for o in strategy.outcome.clients if o.status != OK)
    assert len(status) <= 200 and status.isprintable()
    assert status.encode().decode() == status


def claim_more_epochs(weights: toy.Weights, metrics: toy.Metrics) -> None:
    metrics["epochs"], metrics["samples"] = 9_999, 9_999 * metrics["num-examples"]


def claim_less_work(weights: toy.Weights, metrics: toy.Metrics) -> None:
    metrics["samples"] -= 1


@pytest.mark.parametrize("fault", [claim_more_epochs, claim_less_work])
def test_work_that_was_not_asked_for_is_rejected(fault: toy.Fault) -> None:
    """It would spoil the budgets by which strategies are compared."""
    strategy = strategy_of(FedAvg)
    with toy.toy_grid(CLIENTS, {3: fault}) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
    (status,) = (o.status for o in strategy.outcome.clients if o.status != OK)
    assert status.startswith("rejected: claims ")
    assert strategy.outcome.client_epochs == 2 * (CLIENTS - 1)


def test_a_node_that_claims_more_than_the_server_knows_is_refused() -> None:
    def boast(weights: toy.Weights, metrics: toy.Metrics) -> None:
        if metrics["partition-id"] == 3:
            metrics["num-examples"] = 10**18

    known = {client: toy.examples(client) for client in range(CLIENTS)}
    strategy = strategy_of(FedAvg, examples=known, query_timeout=0.5)
    with toy.toy_grid(CLIENTS, query_fault=boast) as grid:
        with pytest.raises(StrategyError, match=r"partition 3 claims 1000000000000000000 examples"):
            toy.play_round(strategy, grid, 1, toy.start())


@pytest.mark.parametrize("rule", ["krum", "trimmed-mean"])
def test_a_bad_reply_stops_no_run_at_the_smallest_cohort(rule: str) -> None:
    from strategies.core.aggregation import Aggregation

    rule_of_five = Aggregation(rule, f=1, trim=0.2)  # type: ignore[arg-type]
    strategy = FedAvg(seed=4, clients=5, fraction=1.0, aggregation=rule_of_five)
    with toy.toy_grid(5, {1: toy.send_nan, 2: toy.crash}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    assert all(np.isfinite(array).all() for array in arrays.to_numpy_ndarrays())


def test_weights_that_come_back_untouched_are_copied_before_they_are_spoiled() -> None:
    """A client may answer with the very arrays it received, shared by all clients."""

    def send_back(weights: toy.Weights, metrics: toy.Metrics) -> None:
        pass

    begun = toy.start()
    before = toy.as_bytes(begun)
    with toy.toy_grid(CLIENTS, dict.fromkeys(range(CLIENTS), send_back)) as grid:
        toy.play_round(strategy_of(FedAvg), FaultyGrid(grid, Faults(nan=3), 4), 1, begun)
    assert toy.as_bytes(ArrayRecord(begun.to_numpy_ndarrays())) == before
