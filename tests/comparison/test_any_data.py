"""Every strategy on tables, characters and a graph; metrics, patience, and known partitions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from runs import ENGINE, comparable, play, rows
from sklearn.datasets import load_breast_cancer, load_diabetes

from fedgen import load_run
from fedgen.comparison import flow, opening
from fedgen.config.tree import build
from fedgen.errors import InputError
from fedgen.federation.resources import Resources
from fedgen.runs.watch import Watcher
from strategies import REGISTRY

DRAW = np.random.default_rng(0)


def table() -> dict[str, np.ndarray]:
    """Rows of features, two classes by name, and whose every row is."""
    found = load_breast_cancer()
    names = found.target_names[found.target]
    own = {"x_train": found.data[:300], "y_train": names[:300], "client": np.arange(300) % 6}
    test = {"x_test": found.data[300:400], "y_test": names[300:400]}
    return own | test | {"client_test": np.arange(100) % 5}


def characters() -> dict[str, np.ndarray]:
    """A song with a refrain, of which the next letter is learned; one split only."""
    letters = np.array([*("la la sol fa mi " * 40)])
    alphabet, ids = np.unique(letters, return_inverse=True)
    windows = np.lib.stride_tricks.sliding_window_view(ids, 9)[:240]
    return {"x": windows[:, :8], "y": alphabet[windows[:, 8]]}


def several_labels() -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(300, 6))
    y = (x[:, :3] + x[:, 3:] > 0).astype(int)
    return {"x_train": x[:240], "y_train": y[:240], "x_test": x[240:], "y_test": y[240:]}


def quantities() -> dict[str, np.ndarray]:
    found = load_diabetes()
    x, y = found.data * 20, (found.target - 150) / 80
    return {"x_train": x[:350], "y_train": y[:350], "x_test": x[350:], "y_test": y[350:]}


def saved(path: Path, arrays: dict[str, np.ndarray]) -> str:
    np.savez(path / "own.npz", **arrays)
    return str(path / "own.npz")


ALL = {
    "run": {"strategies": [*REGISTRY, "centralised"], "rounds": 1},
    "training": {"optimizer": "sgd", "local_epochs": 1},
    "fedavg-tuned": {"learning_rates": [0.1, 0.01]},
    "optuna-tpe": {"trials": 2},
    "optuna-asha": {"trials": 2, "max_rounds": 2},
    "fedex": {"configurations": 2},
}
KINDS = {
    "table": ({"name": "table"}, {"standardise": True}),
    "characters": ({"name": "lstm-small"}, {}),
}
if ENGINE != "jax":  # which compiles it anew for most strategies; tests/engine/ has graphs
    KINDS["graph"] = ({"name": "resnet-small-gn"}, {})


@pytest.mark.parametrize("kind", KINDS)
def test_every_strategy_trains_on_it(tmp_path: Path, kind: str) -> None:
    model, settings = KINDS[kind]
    data, partition = {"dataset": "digits"}, {"clients": 6}
    if kind != "graph":
        data = {"dataset": saved(tmp_path, {"table": table, "characters": characters}[kind]())}
    if kind == "table":
        partition = {"kind": "natural", "clients": 100}
    sections = ALL | {"data": data | settings, "model": model, "partition": partition}
    run = play(tmp_path / "run", cohort={"fraction": 0.34}, **sections)
    found = rows(run.path / "rounds.csv")
    assert [row["strategy"] for row in found if row["round"] == "1"] == ALL["run"]["strategies"]
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in found)
    assert {row["failed"] for row in found} | {row["rejected"] for row in found} == {"0"}
    first = [row for row in found if row["round"] == "0" and row["client_epochs"] == "0"]
    assert len({row["test_loss"] for row in first}) == 1, "they start from the same weights"


def test_natural_clients_hold_and_are_measured_on_what_is_theirs(tmp_path: Path) -> None:
    run = play(
        tmp_path / "run",
        data={"dataset": saved(tmp_path, table()), "standardise": True},
        model={"name": "logistic"},
        partition={"kind": "natural", "clients": 100},
        cohort={"fraction": 0.5},
        run={"rounds": 2, "strategies": ["fedavg"], "metric": "auc", "personalise": "rounds"},
        fedavg={"learning_rate": 0.05},
    )
    held = rows(run.path / "partition.csv")
    assert [row["name"] for row in held] == ["0", "1", "2", "3", "4", "5"]
    assert [int(row["train"]) + int(row["validation"]) for row in held] == [50] * 6
    assert held[2]["indices"].split()[:3] == ["2", "8", "14"]
    worth = rows(run.path / "evaluation.csv")
    # Clients 0 to 4 have 20 test rows each; client 5 has none, and so its validation samples.
    assert [int(row["samples"]) for row in worth[:5]] == [20] * 5
    assert worth[5]["samples"] == held[5]["validation"]
    assert all(float(row["own_loss"]) != float(row["loss"]) for row in worth)
    assert float(worth[0]["auc"]) > 0.5 and float(worth[0]["own_auc"]) > 0.5
    cohort = rows(run.path / "clients.csv")
    assert all(row["global_auc"] and row["own_auc"] for row in cohort)
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["metric"]["name"] == "auc" and summary["labels"] == ["benign", "malignant"]
    final = rows(run.path / "rounds.csv")[-1]
    assert summary["strategies"]["fedavg"]["final_auc"]["values"] == [float(final["test_auc"])]
    classes = rows(run.path / "classes.csv")
    assert [row["label"] for row in classes] == ["benign", "malignant"]
    taken = [[int(count) for count in row["taken"].split()] for row in classes]
    right = taken[0][0] + taken[1][1]
    assert right / 100 == pytest.approx(float(final["test_accuracy"]))


@pytest.mark.parametrize(
    ("arrays", "metric", "columns"),
    [
        (several_labels, "micro_f1", ["macro_f1", "micro_f1", "auc"]),
        (quantities, "r2", ["rmse", "mae", "r2"]),
    ],
)
def test_other_targets_are_learned_and_decided_by_their_metric(
    tmp_path: Path, arrays: object, metric: str, columns: list[str]
) -> None:
    run = play(
        tmp_path / "run",
        data={"dataset": saved(tmp_path, arrays())},  # type: ignore[operator]
        model={"name": "table"},
        partition={"kind": "quantity", "clients": 6},
        run={"rounds": 3, "strategies": ["fedavg", "fedprox", "tournament"]},
        cohort={"fraction": 1.0},
        tournament={"entrants": 2, "rates": [1e-5, 0.01]},
        fedavg={"learning_rate": 0.01},
        fedprox={"learning_rate": 1e-5},
    )
    sent = [row for row in rows(run.path / "clients.csv") if row["strategy"] == "tournament"]
    last = {row["learning_rate"] for row in sent if row["round"] == "3"}
    assert [float(rate) for rate in last] == [0.01]  # the other one has fallen out
    wrong = [float(row["fitness"]) for row in sent]
    assert all(0 <= one <= 1 for one in wrong) is (metric == "micro_f1")
    found = rows(run.path / "rounds.csv")
    assert [name for name in found[0] if name.startswith("test_")][2:] == [
        f"test_{name}" for name in columns
    ]
    assert (found[0]["test_accuracy"] == "") is (metric == "r2")
    ahead, behind, _ = (row for row in found if row["round"] == "3")
    assert float(ahead[f"test_{metric}"]) > float(behind[f"test_{metric}"])
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["strategies"]["fedavg"][f"final_{metric}"]["mean"] == float(
        ahead[f"test_{metric}"]
    )
    page = (run.path / "report.html").read_text()
    title = {"micro_f1": "micro F1", "r2": "R²"}[metric]
    assert f"of final test {title}" in page or f"in final test {title}" in page
    with pytest.raises(InputError, match="one class a sample, received others"):
        play(
            tmp_path / "other",
            data={"dataset": str(tmp_path / "own.npz")},
            model={"name": "table"},
            partition={"kind": "shards"},
        )


def test_a_partition_csv_deals_out_the_same_again(tmp_path: Path) -> None:
    for kind in ("contiguous", "dirichlet"):
        first = play(tmp_path / kind, partition={"kind": kind}, run={"rounds": 1})
        again = play(
            tmp_path / f"{kind}-again",
            partition={"kind": "given", "file": str(first.path / "partition.csv"), "clients": 100},
            run={"rounds": 1},
        )
        assert comparable(first.path) == comparable(again.path)
        held = [
            [dict(row, start="", stop="") for row in rows(r.path / "partition.csv")]
            for r in (first, again)
        ]
        assert held[0] == held[1]


def test_a_given_partition_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "parts.json"
    path.write_text(json.dumps([[*range(c, 1437, 8)] for c in range(8)]))
    given = {"kind": "given", "file": str(path), "clients": 100}
    run = play(tmp_path / "run", partition=given, run={"rounds": 1})
    assert run.config.partition.clients == 8
    path.write_text(json.dumps([[*range(c, 1437, 9)] for c in range(8)]))
    with pytest.raises(InputError, match="provenance.partition was"):
        with opening.resumed(run.path, rounds=2):
            pass


def test_patience_ends_an_arm_and_keeps_its_best_model(tmp_path: Path) -> None:
    run = play(
        tmp_path / "run",
        run={"rounds": 30, "strategies": ["fedavg", "fedprox"], "patience": "client-epochs=12"},
        fedavg={"learning_rate": 0.03},
        fedprox={"learning_rate": 1e-4},
    )
    found = [row for row in rows(run.path / "rounds.csv") if row["strategy"] == "fedavg"]
    values = [float(row["validation_accuracy"]) for row in found]
    best = values.index(max(values))
    assert len(found) == best + 3 and len(found) < 31  # two rounds of six clients, one epoch each
    (ended,) = [row for row in rows(run.path / "ended.csv") if row["strategy"] == "fedavg"]
    assert (ended["how"], ended["round"]) == ("patience", str(best + 3))
    assert f"were spent since round {best}, the best so far" in ended["why"]
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["strategies"]["fedavg"]["final_accuracy"]["mean"] is not None
    models = {path.name for path in (run.path / "models").iterdir()}
    assert {"fedavg-seed0.keras", "fedavg-seed0-best.keras"} <= models
    assert (run.path / "models/fedavg-seed0.keras").read_bytes() != (
        run.path / "models/fedavg-seed0-best.keras"
    ).read_bytes()
    with opening.resumed(run.path, rounds=31) as (same, held):  # it stays ended
        flow.play(same, held, Watcher())
    after = [row for row in rows(run.path / "rounds.csv") if row["strategy"] == "fedavg"]
    assert len(after) == len(found)


def test_what_does_not_go_together_is_one_line(tmp_path: Path) -> None:
    for sections, part in (
        ({"run": {"metric": "r2"}}, "run.metric: unknown metric 'r2'"),
        ({"run": {"metrics": ["nowhere:cost"], "rounds": 1}}, "nowhere"),
        (
            {"partition": {"kind": "natural", "clients": 100}},
            "an array 'client' beside x_train and y_train",
        ),
        ({"partition": {"kind": "given"}}, "partition: file: expected a path with kind 'given'"),
        ({"run": {"patience": "12"}}, "run.patience: expected UNIT=AMOUNT"),
        ({"run": {"target": 60.0}}, "run.target = 60: expected 0 to 1 for accuracy, a share"),
        ({"run": {"metric": "auc"}}, "run.metric = 'auc': expected two classes, received 10"),
        ({"run": {"metric": "top5_accuracy"}}, "expected more than 10 classes, received 10"),
    ):
        with pytest.raises(InputError, match=part):
            play(tmp_path / "run", **sections)


def test_a_metric_of_ones_own_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_scores.py").write_text(
        "def doubt(y, scores):\n    return 1 - scores.max(axis=1).mean()\n"
    )
    run = play(
        tmp_path / "run",
        run={
            "rounds": 2,
            "metrics": ["mine_of_scores:doubt"],
            "metric": "doubt",
            "better": "lower",
            "strategies": ["fedavg"],
        },
        fedavg={"learning_rate": 0.01},
    )
    with (run.path / "rounds.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    table = load_run(run.path).table("rounds")
    assert list(table[0])[-1] == "validation_doubt" and "measured" not in table[0]
    assert [row["test_doubt"] for row in table] == [float(row["test_doubt"]) for row in found]
    provenance = run.tree()["provenance"]
    assert len(provenance["code of mine_of_scores:doubt"]) == 64
    assert list(found[0])[-1] == "validation_doubt"
    assert float(found[2]["test_doubt"]) < float(found[0]["test_doubt"]) <= 0.9
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["metric"] == {
        **{"name": "doubt", "title": "doubt", "higher": False, "share": False}
    }
    assert "final_doubt" in summary["strategies"]["fedavg"]


def test_balanced_classes_are_those_that_somebody_trains(tmp_path: Path) -> None:
    alone = np.minimum(np.arange(40), 30)  # most clients have one sample, which is not held out
    arrays = {"x_train": DRAW.normal(size=(40, 3)), "y_train": np.arange(40) % 3, "client": alone}
    arrays |= {"x_test": arrays["x_train"], "y_test": arrays["y_train"]}
    sections = {
        "data": {"dataset": saved(tmp_path, arrays)},
        "model": {"name": "logistic"},
        "training": {"class_weights": "balanced", "engine": ENGINE},
    }
    engines = []
    for kind in ("quantity", "natural", "quantity"):
        clients = 100 if kind == "natural" else 4
        held = Resources(build(sections | {"partition": {"kind": kind, "clients": clients}}))
        engines.append((held.engine(0), held.partition(0).training.tolist()))
    assert engines[0][1] != engines[1][1]
    assert engines[0][0] is not engines[1][0] and engines[0][1] == engines[2][1]
