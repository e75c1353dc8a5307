"""Whole comparisons: files, fairness, determinism, costs."""

import json
import math
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
from runs import FLAGS, SMALL, comparable, finish, play, rows, start

from fedgen.comparison import flow, opening, trainers
from fedgen.config.sections import Data
from fedgen.config.tree import Arm, build
from fedgen.data import datasets
from fedgen.errors import ArmError, RunError
from fedgen.federation.resources import Resources
from fedgen.report.results import load
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher
from strategies import REGISTRY
from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.start import PROBE_BATCHES, PROBE_RATES
from strategies.fedavg import FedAvg

ROUNDS = 3
RATES = {"big-steps": 0.5, "fedavg": 1e-4}


class BigSteps(FedAvg):
    """A user's own strategy."""

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        return {client: Assignment(Genome(0.5, 16), "fixed") for client in cohort}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return play(out, run={"rounds": ROUNDS, "seeds": 2, "workers": 2})


def test_the_run_directory_is_complete_and_readable_without_fedgen(run: Run) -> None:
    config = tomllib.loads((run.path / "config.toml").read_text())
    assert config["run"]["rounds"] == ROUNDS
    assert config["genetic-cfl"]["eps"] == 0.15
    provenance = config["provenance"]
    assert provenance["fingerprint"] == datasets.load(Data(dataset="digits")).fingerprint
    assert {"fedgen", "flwr", "tensorflow", "keras", "numpy"} <= set(provenance)
    names = {f"{s}-seed{k}" for s in ("genetic-cfl", "fedavg") for k in (0, 1)}
    assert {path.name for path in (run.path / "shards").iterdir()} == names
    assert {path.stem for path in (run.path / "models").iterdir()} == names
    assert 'id="library"' in (run.path / "report.html").read_text()
    leftovers = [path for path in run.path.rglob("*") if ".tmp" in path.name]
    assert leftovers == []


def test_rows_are_complete_and_in_canonical_order(run: Run) -> None:
    keys = [(r["strategy"], int(r["seed"]), int(r["round"])) for r in rows(run.path / "rounds.csv")]
    wanted = [(s, k, n) for s in ("genetic-cfl", "fedavg") for k in (0, 1) for n in range(4)]
    assert keys == wanted
    clients = rows(run.path / "clients.csv")
    assert len(clients) == 2 * 2 * ROUNDS * 6
    assert all(row["status"] == "ok" for row in clients)


def test_every_strategy_starts_alike_on_the_same_clients(run: Run) -> None:
    by_arm: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows(run.path / "rounds.csv"):
        if row["round"] == "0":
            by_arm[row["strategy"], row["seed"]] = row
    assert by_arm["genetic-cfl", "0"]["test_loss"] == by_arm["fedavg", "0"]["test_loss"]
    assert by_arm["fedavg", "0"]["test_loss"] != by_arm["fedavg", "1"]["test_loss"]
    cohorts: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for row in rows(run.path / "clients.csv"):
        arm = (row["strategy"], row["seed"], row["round"])
        cohorts.setdefault(arm, []).append((row["client"], row["samples"]))
    for number in ("1", "2", "3"):
        assert cohorts["genetic-cfl", "0", number] == cohorts["fedavg", "0", number]
    assert cohorts["fedavg", "0", "1"] != cohorts["fedavg", "1", "1"]


def test_the_assigned_rate_is_the_applied_one_and_rates_differ(run: Run) -> None:
    genetic = [r for r in rows(run.path / "clients.csv") if r["strategy"] == "genetic-cfl"]
    for row in genetic:
        assert np.float32(row["learning_rate"]) == np.float32(row["applied_learning_rate"])
        assert row["batch_size"] == row["applied_batch_size"]
    assert len({row["learning_rate"] for row in genetic if row["round"] == "1"}) == 12
    fixed = [r for r in rows(run.path / "clients.csv") if r["strategy"] == "fedavg"]
    assert {(row["learning_rate"], row["origin"]) for row in fixed} == {("0.0001", "fixed")}


def test_genes_come_from_the_named_parents(run: Run) -> None:
    genetic = [r for r in rows(run.path / "clients.csv") if r["strategy"] == "genetic-cfl"]
    before = {(r["seed"], int(r["round"]), r["client"]): r for r in genetic}
    origins = {row["origin"] for row in genetic if row["round"] != "1"}
    assert origins == {"elite", "mutant"}
    for row in genetic:
        if row["round"] == "1":
            assert row["origin"] == "random" and row["parent"] == ""
            continue
        parent = before[row["seed"], int(row["round"]) - 1, row["parent"]]
        batch_parent = before[row["seed"], int(row["round"]) - 1, row["batch_parent"]]
        inherited = float(parent["learning_rate"]) * float(row["mutation"])
        assert float(row["learning_rate"]) == inherited
        assert row["batch_size"] == batch_parent["batch_size"]
        assert parent["cluster"] == batch_parent["cluster"] == row["cluster"]


def test_costs_are_counted(run: Run) -> None:
    first, second = (r for r in rows(run.path / "rounds.csv")[:2])
    costs = ("client_epochs", "samples", "bytes_down", "bytes_up", "clients")
    assert [first[key] for key in costs] == ["0"] * 5 and first["train_loss"] == ""
    assert second["client_epochs"] == "6" and second["clients"] == "6"
    clients = [r for r in rows(run.path / "clients.csv") if r["round"] == "1"][:6]
    assert int(second["samples"]) == sum(int(row["samples"]) for row in clients)
    weights = sum(w.nbytes for w in Resources(run.config).model(0).get_weights())
    for key in ("bytes_down", "bytes_up"):
        assert 6 * weights < int(second[key]) < 6.2 * weights
    total = sum(int(row["samples"]) for row in clients)
    loss = sum(float(row["train_loss"]) * int(row["samples"]) for row in clients) / total
    assert float(second["train_loss"]) == pytest.approx(loss)


def test_the_summary_follows_from_the_rows(run: Run) -> None:
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["dataset"] == "digits" and summary["seeds"] == [0, 1]
    assert summary["parameters"] == 64 * 128 + 128 + 1290
    arm = [
        r for r in rows(run.path / "rounds.csv") if (r["strategy"], r["seed"]) == ("fedavg", "1")
    ]
    fedavg = summary["strategies"]["fedavg"]
    assert fedavg["final_accuracy"]["values"][1] == float(arm[-1]["test_accuracy"])
    best = max(arm, key=lambda row: float(row["validation_accuracy"]))
    assert fedavg["best_accuracy"]["values"][1] == float(best["test_accuracy"])
    assert fedavg["client_epochs"]["mean"] == 6 * ROUNDS


def test_the_saved_model_is_the_final_one(run: Run) -> None:
    model = keras.models.load_model(run.path / "models" / "fedavg-seed0.keras")
    digits = datasets.load(Data(dataset="digits"))
    probabilities = model(digits.x_test.astype(np.float32) * digits.scale)
    np.testing.assert_allclose(np.sum(probabilities, -1), 1, atol=1e-5)
    accuracy = float(np.mean(np.argmax(probabilities, -1) == digits.y_test))
    last = [r for r in rows(run.path / "rounds.csv") if r["strategy"] == "fedavg"][ROUNDS]
    assert accuracy == float(last["test_accuracy"])


def test_workers_do_not_change_a_byte(run: Run, tmp_path: Path) -> None:
    alone = play(tmp_path / "run", run={"rounds": ROUNDS, "seeds": 2, "workers": 1})
    assert comparable(alone.path) == comparable(run.path)


def test_a_probe_is_counted_in_round_0_and_evolves_at_once(tmp_path: Path) -> None:
    sections = {
        "run": {"rounds": 1, "strategies": ["genetic-cfl"]},
        "genetic-cfl": {"init": "probe"},
    }
    run = play(tmp_path / "run", **sections)
    zero, one = rows(run.path / "rounds.csv")
    assert int(zero["client_epochs"]) == 6 * 6 and int(zero["samples"]) == 6 * int(one["samples"])
    probed = [row for row in rows(run.path / "clients.csv") if row["round"] == "0"]
    assert len(probed) == 6 and all(row["cluster"] == "" for row in probed)
    assert {float(row["learning_rate"]) for row in probed} <= set(PROBE_RATES)
    assert {int(row["batch_size"]) for row in probed} <= set(PROBE_BATCHES)
    origins = {row["origin"] for row in rows(run.path / "clients.csv") if row["round"] == "1"}
    assert origins <= {"elite", "mutant"}


@pytest.mark.parametrize("fitness", ["test", "improvement"])
def test_fitness_is_what_was_asked_for(fitness: str, tmp_path: Path) -> None:
    sections = {
        "run": {"rounds": 1, "strategies": ["genetic-cfl"]},
        "genetic-cfl": {"fitness": fitness},
    }
    run = play(tmp_path / "run", **sections)
    validation = play(tmp_path / "other", run={"rounds": 1, "strategies": ["genetic-cfl"]})
    one, other = (rows(r.path / "clients.csv") for r in (run, validation))
    assert all(a["fitness"] != b["fitness"] for a, b in zip(one, other, strict=True))
    assert [a["train_loss"] for a in one] == [b["train_loss"] for b in other]
    page = (run.path / "report.html").read_text()
    assert ("This run leaks" in page) == (fitness == "test")
    if fitness == "improvement":
        assert min(float(row["fitness"]) for row in one) < 0


def test_centralised_trains_the_pooled_data_with_one_optimiser(tmp_path: Path) -> None:
    run = play(tmp_path / "run", run={"rounds": 2, "strategies": ["centralised"]})
    _, one, two = rows(run.path / "rounds.csv")
    assert one["samples"] == two["samples"] == str(1437 - 144)
    assert one["bytes_up"] == "0" and one["client_epochs"] == "1"
    assert rows(run.path / "clients.csv") == []
    assert float(two["train_loss"]) < float(one["train_loss"])


def test_resampled_cohorts_change_and_newcomers_get_genes(tmp_path: Path) -> None:
    run = play(tmp_path / "run", cohort={"resample": True}, run={"rounds": 3})
    genetic = [r for r in rows(run.path / "clients.csv") if r["strategy"] == "genetic-cfl"]
    cohorts = {n: {r["client"] for r in genetic if r["round"] == n} for n in ("1", "2", "3")}
    assert cohorts["1"] != cohorts["2"]
    newcomers = [r for r in genetic if r["round"] == "2" and r["client"] not in cohorts["1"]]
    assert newcomers and all(r["origin"] == "random" and r["cluster"] for r in newcomers)


def test_a_model_with_normalisation_and_dropout_trains_federated(tmp_path: Path) -> None:
    run = play(
        tmp_path / "run",
        model={"name": "mlp-356-105-51-bn-dropout"},
        fedavg={"learning_rate": 1e-2},
        run={"rounds": 6, "strategies": ["fedavg"]},
    )
    accuracy = [float(row["test_accuracy"]) for row in rows(run.path / "rounds.csv")]
    assert accuracy[-1] > 0.8 > accuracy[0]


def test_a_cohort_that_cannot_be_used_ends_the_run_with_code_3() -> None:
    config = build(SMALL | {"run": {"rounds": 1}})
    arm = Arm(config, "fedavg", 0)

    class Empty:
        def get_node_ids(self) -> list[int]:
            return []

    strategy = trainers.build_strategy(arm, Resources(arm.config))
    strategy.peers.timeout = 0.0
    with pytest.raises(RunError, match="6 are needed") as error:
        trainers.Federated(strategy, Empty()).step(1, [np.zeros(3, np.float32)])
    assert error.value.exit_code == 3


def test_a_new_strategy_is_one_class_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "big-steps", f"{__name__}:BigSteps")
    run = play(tmp_path / "run", run={"rounds": 1, "strategies": ["big-steps", "fedavg"]})
    rates = {(r["strategy"], r["applied_learning_rate"]) for r in rows(run.path / "clients.csv")}
    assert rates == {(name, str(float(np.float32(rate)))) for name, rate in RATES.items()}


def test_a_model_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 4, 4), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    code, out, err = finish(start(["compare", "--dataset=own.npz"], tmp_path))
    assert (code, out) == (2, "")
    assert err == "fedgen: model cnn: cannot be built for data of shape (4, 4, 1)\n"
    assert not (tmp_path / "runs").exists()


def test_a_run_s_config_makes_the_same_run_again(run: Run, tmp_path: Path) -> None:
    config = run.path / "config.toml"
    code, out, err = finish(start(["compare", str(config), "--out=again"], tmp_path))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "again, exactly: python -m fedgen compare again/config.toml"
    assert comparable(tmp_path / "again") == comparable(run.path)
    other = tmp_path / "other.toml"
    text = config.read_text()
    fingerprint = text.split('fingerprint = "')[1][:64]
    other.write_text(text.replace(fingerprint, "0" * 64))
    arguments = ["compare", str(other), "--rounds=1", "--strategies=fedavg", "--quiet"]
    code, _, err = finish(start([*arguments, "--out=third"], tmp_path))
    assert code == 0 and err.startswith("!!! NOT THE SAME RUN AGAIN: fingerprint was '0000")


def test_json_prints_the_summary_and_nothing_else(tmp_path: Path) -> None:
    arguments = ["compare", "--dataset=digits", "--model=mlp", "--rounds=1", "--json", "--out=o"]
    code, out, err = finish(start(arguments, tmp_path))
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "o" / "summary.json").read_text())
    assert math.isfinite(json.loads(out)["strategies"]["fedavg"]["final_loss"]["mean"])


def test_without_a_named_data_set_digits_stand_in_and_say_so(tmp_path: Path) -> None:
    arguments = ["compare", "--model=mlp", "--rounds=1", "--strategies=fedavg", "--quiet"]
    code, out, err = finish(start(arguments, tmp_path))
    assert (code, out) == (0, "")
    first, second = err.splitlines()
    assert "CIFAR-10 CANNOT BE HAD" in first and "cifar-10-binary.tar.gz" in first
    assert "DIGITS" in second and "--data-dir" in second
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("digits-")
    assert json.loads((made / "summary.json").read_text())["dataset"] == "digits"
    assert 'dataset = "digits"' in (made / "config.toml").read_text()
    assert "<title>fedavg on digits</title>" in (made / "report.html").read_text()


DIVERGES = {"learning_rate": 1e30}


def test_an_arm_that_diverges_ends_alone(tmp_path: Path) -> None:
    """On every seed; what the others play is what they play without it."""
    out = tmp_path / "run"
    plan = {"rounds": 2, "seeds": 2}
    with pytest.raises(ArmError, match="weights are not finite; neither could ") as error:
        play(out, run={**plan, "strategies": ["scaffold", "fedavg"]}, scaffold=DIVERGES)
    assert set(error.value.reasons) == {"scaffold-seed0", "scaffold-seed1"}
    assert error.value.exit_code == RunError.exit_code
    alone = play(tmp_path / "alone", run={**plan, "strategies": ["fedavg"]}).path
    mine = comparable(out)
    others = {name: found for name, found in mine.items() if name.startswith("fedavg-")}
    wanted = comparable(alone)
    assert others == {name: wanted[name] for name in others} and len(others) == 4
    for name in ("rounds.csv", "clients.csv"):
        assert [row for row in mine[name] if row["strategy"] == "fedavg"] == wanted[name]
    played = [row["round"] for row in mine["rounds.csv"] if row["strategy"] == "scaffold"]
    assert played == ["0", "0"]  # the rounds before it diverged are kept
    lost = [row for row in rows(out / "clients.csv") if row["strategy"] == "scaffold"]
    assert [(row["seed"], row["round"]) for row in lost] == [("0", "1")] * 6 + [("1", "1")] * 6
    assert all("weights are not finite" in row["status"] for row in lost)
    assert {row["strategy"] for row in rows(out / "evaluation.csv")} == {"fedavg"}
    models = {path.name for path in (out / "models").iterdir()}
    assert models == {"fedavg-seed0.keras", "fedavg-seed1.keras"}
    assert json.loads((out / "summary.json").read_text()) == error.value.summary
    page = (out / "report.html").read_text()
    assert "scaffold ended in round 1 on seeds 0, 1, and is not compared there" in page
    assert "are level" not in page and "every reply passed" not in page
    placed = "scaffold (diverged in round 1 on seeds 0, 1)"
    for heading in ("curves", "cost"):
        assert placed in page.split(f'id="{heading}"')[1].split("<section")[0], heading
    named = [trace.name for trace in load(out).figure("accuracy").data if trace.name]
    assert named == [placed, "fedavg"]
    with pytest.raises(ArmError), opening.resumed(out) as (again, held):
        flow.play(again, held, Watcher())  # the round is tried again, to the same end
    assert comparable(out) == mine


def test_an_arm_that_cannot_even_search_leaves_nothing(tmp_path: Path) -> None:
    flags = ["--rounds=1", "--strategies=fedavg-tuned", "--set=training.optimizer=sgd", "--out=run"]
    search = ["--set=fedavg-tuned.learning_rates=[1e29, 1e30]"]
    code, out, err = finish(start(["compare", *FLAGS, *flags, *search], tmp_path))
    assert code == 3
    assert "no round was finished, so nothing is kept" in err and "can be trained" in err
    assert "report:" not in out and not (tmp_path / "run").exists()
