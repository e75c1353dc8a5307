"""The strategies that ask more of a client than training, on fedgen's own client and engine."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from runs import SMALL, comparable, finish, play, rows, start

from fedgen.comparison import flow, opening, request
from fedgen.config.toml import merge, parse_setting
from fedgen.config.tree import build
from fedgen.engine import models
from fedgen.engine.plan import Plan
from fedgen.errors import InputError
from fedgen.federation import client_app
from fedgen.federation.grid import FIRST_NODE, InProcessGrid
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import to_run_config
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher
from strategies.core.aggregation import weighted_mean
from strategies.evolution.start import random_genome
from strategies.messages.arrays import read_arrays
from strategies.streams import rng

STRATEGIES = ["fedavg", "fedprox", "cyclic", "scaffold", "delta-sgd", "ifca"]
ROUNDS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return play(out, run={"rounds": ROUNDS, "strategies": STRATEGIES, "workers": 2})


def test_they_play_on_the_same_clients_and_every_reply_is_used(run: Run) -> None:
    clients = rows(run.path / "clients.csv")
    assert len(clients) == len(STRATEGIES) * ROUNDS * 6
    assert {row["status"] for row in clients} == {"ok"}
    mine = {(r["strategy"], r["round"], r["client"], r["samples"]) for r in clients}
    for name in STRATEGIES:
        assert {key[1:] for key in mine if key[0] == name} == {
            key[1:] for key in mine if key[0] == "fedavg"
        }
    starts = [r for r in rows(run.path / "rounds.csv") if r["round"] == "0"]
    assert len({row["test_loss"] for row in starts}) == 1
    ends = [r["test_loss"] for r in rows(run.path / "rounds.csv") if r["round"] == str(ROUNDS)]
    assert len(set(ends)) == len(STRATEGIES)


def test_what_was_applied_is_told(run: Run) -> None:
    clients = rows(run.path / "clients.csv")
    rates = {name: set() for name in STRATEGIES}
    for row in clients:
        rates[row["strategy"]].add(float(row["applied_learning_rate"]))
    for name, rate in (("fedprox", 1e-4), ("cyclic", 1e-3), ("scaffold", 0.1), ("ifca", 1e-4)):
        assert rates[name] == {float(np.float32(rate))}
    assert len(rates["delta-sgd"]) > 3 and float(np.float32(0.2)) not in rates["delta-sgd"]
    picked = {row["cluster"] for row in clients if row["strategy"] == "ifca"}
    assert picked and picked <= {"0", "1"}


def test_what_travels_is_counted(run: Run) -> None:
    weights = sum(w.nbytes for w in Resources(run.config).model(0).get_weights())
    down = {"fedprox": 1, "cyclic": 3, "scaffold": 2, "delta-sgd": 1, "ifca": 2}
    up = {name: 3 if name == "cyclic" else 1 for name in down}
    for row in rows(run.path / "rounds.csv"):
        if row["round"] != "0" and row["strategy"] in down:
            for times, received in ((down, "bytes_down"), (up, "bytes_up")):
                exact = 6 * times[row["strategy"]] * weights
                assert exact < int(row[received]) < 1.05 * exact


def test_a_resumed_run_has_the_same_bytes_with_any_number_of_workers(
    run: Run, tmp_path: Path
) -> None:
    part = play(tmp_path / "run", run={"rounds": 1, "strategies": STRATEGIES, "workers": 1})
    with opening.resumed(part.path, rounds=ROUNDS) as (resumed, held):
        flow.play(resumed, held, Watcher())
    assert comparable(resumed.path) == comparable(run.path)


def test_cyclic_is_the_engine_called_once_per_client(tmp_path: Path) -> None:
    """One Adam trains one model on one client after another; snapshots are averaged."""
    sections = {"run": {"rounds": 2, "strategies": ["cyclic"]}}
    played = play(tmp_path / "run", **sections)
    here = Resources(played.config)
    cohort = sorted({int(r["client"]) for r in rows(played.path / "clients.csv")})
    weights = models.get_weights(here.model(0))
    moments = None
    for number in (1, 2):
        snapshots = []
        for client in cohort:
            snapshots.append(weights)
            order = rng(0, "batch-order", number, client).permutation(
                here.partition(0).clients[client].train
            )
            batch = random_genome(rng(0, "genome", 0, client)).batch_size
            job = Plan(1e-3, batch, order[None], moments=moments)
            trained = here.engine(0).train(weights, job, keep=True)
            weights, moments = trained.weights, trained.moments
        weights = weighted_mean(snapshots, [1.0] * len(snapshots))
    with np.load(played.path / "shards/cyclic-seed0/checkpoint-000002.npz") as stored:
        for i, wanted in enumerate(weights):
            assert stored[f"array_{i}"].tobytes() == wanted.tobytes()


def test_well_formed_malice_keeps_what_travels_beside_the_weights(tmp_path: Path) -> None:
    sections = {
        "run": {"rounds": 1, "strategies": STRATEGIES},
        "faults": {"sign_flip": 1, "nan": 1},
    }
    played = play(tmp_path / "run", **sections)
    for row in rows(played.path / "rounds.csv")[1::2]:
        assert (row["rejected"], row["failed"]) == ("1", "0")


@pytest.mark.parametrize(
    ("strategy", "setting", "reason"),
    [
        ("cyclic", "privacy.kind=local", "cyclic: expected privacy.kind none, received local"),
        ("cyclic", "aggregation.kind=median", "cyclic: expected aggregation.kind mean"),
        ("scaffold", "privacy.kind=central", "scaffold: expected privacy.kind none or local"),
        ("ifca", "privacy.kind=central", "ifca: expected privacy.kind none or local"),
    ],
)
def test_what_does_not_go_together_is_refused(strategy: str, setting: str, reason: str) -> None:
    tree = merge(SMALL | {"run": {"strategies": [strategy]}}, [parse_setting(setting)])
    with pytest.raises(InputError, match=reason):
        request.check(Resources(build(tree)), pytest.fail)


def test_a_refusal_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    arguments = "compare --dataset=digits --strategies=cyclic --set=privacy.kind=local --out=run"
    code, out, err = finish(start(arguments.split(), tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("fedgen: cyclic: expected privacy.kind none") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_client_picks_the_model_that_was_trained_on_its_samples() -> None:
    config = build(SMALL)
    here = Resources(config, slots=1)
    bad = models.get_weights(here.model(0))
    order = np.stack([here.partition(0).clients[3].train] * 10)
    good = here.engine(0).train(bad, Plan(1e-3, 32, order)).weights
    settings = {"seed": 0, "server-round": 1, "fitness": "validation", "learning-rate": 1e-9}
    settings |= {"batch-size": 32, "local-epochs": 1, "models": 2}
    grid = InProcessGrid(
        client_app.made(lambda _: here), to_run_config(config), clients=12, workers=1
    )
    try:
        for first, second, best in ((bad, good, 1), (good, bad, 0)):
            content = {"arrays": ArrayRecord(first), "model-1": ArrayRecord(second)}
            content["config"] = ConfigRecord(settings)
            message = Message(RecordDict(content), FIRST_NODE + 3, "train")
            (reply,) = grid.send_and_receive([message])
            assert reply.content["metrics"]["model"] == best
            np.testing.assert_allclose(read_arrays(reply.content["arrays"])[0], good[0], atol=1e-5)
    finally:
        grid.close()
