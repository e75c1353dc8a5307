"""A run in MLflow: checked before training, read back through MLflow after it."""

import dataclasses
import json
import math
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from commands import environment
from commands import run as fedgen
from runs import FLAGS, PATIENCE, finish, rows, start, without
from shards import MADE_WITH, arm, checkpoint, new_shard, round_row, silent

from fedgen.config.toml import to_toml
from fedgen.config.tree import build
from fedgen.errors import InputError, RunError
from fedgen.export import mlflow as tracking
from fedgen.report.results import load
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard

URI = "sqlite:///ml.db"


def logged(uri: str) -> tuple[Any, dict[str, Any]]:
    """MLflow's client, and the runs of the experiment by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("fedgen")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return client, {run.info.run_name: run for run in found}


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of its own, and a folder for the artifacts, which MLflow puts where it runs."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'ml.db'}"


def half_done(folder: Path) -> Path:
    """A run directory after rounds 0 and 1 of 2 rounds, as a killed process leaves it."""
    config = build({"run": {"rounds": 2, "strategies": ["fedavg", "genetic-cfl"]}})
    run = Run(folder / "run", config, {"fingerprint": "f5d9"})
    run.path.mkdir()
    (run.path / "config.toml").write_text(to_toml(run.tree()))
    new_shard(run.path, 2)
    return run.path


def test_a_run_is_logged_and_a_failure_to_do_so_loses_nothing(tmp_path: Path, uri: str) -> None:
    (tmp_path / "mlruns").write_text("MLflow cannot put artifacts here")
    command = ["compare", *FLAGS, "--strategies=genetic-cfl,fedavg", "--rounds=1", "--out=run"]
    code, out, err = finish(start([*command, f"--mlflow={URI}", "--json"], tmp_path))
    assert code == 3
    summary = json.loads(out)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    (line,) = err.splitlines()
    assert line.startswith(f"fedgen: MLflow at {URI} did not take the run (")
    again = "python -m fedgen export run --mlflow sqlite:///ml.db"
    assert line.endswith(f"Nothing of it is lost; log it again with: {again}")
    assert logged(uri)[1] == {}

    (tmp_path / "mlruns").unlink()
    result = fedgen(tmp_path, tmp_path, *shlex.split(again)[3:])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"MLflow: 2 runs in {URI}\n"
    client, found = logged(uri)
    assert set(found) == {"genetic-cfl-seed0", "fedavg-seed0"}
    for name, run in found.items():
        strategy = name.removesuffix("-seed0")
        mine = [row for row in rows(tmp_path / "run" / "rounds.csv") if row["strategy"] == strategy]
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "accuracy/test")
        assert [(point.step, point.value) for point in history] == [
            (int(row["round"]), float(row["test_accuracy"])) for row in mine
        ]
        epochs = sum(int(row["client_epochs"]) for row in mine)
        assert run.data.metrics["cost/client-epochs"] == epochs
        assert {
            "strategy": strategy,
            "seed": "0",
            "run.rounds": "1",
            "run.strategies": '["genetic-cfl", "fedavg"]',
            "genetic-cfl.mutation": "0.1",
            "training.local_epochs": "1",
            "data.data_dir": "",
        }.items() <= run.data.params.items()
        tags = run.data.tags
        assert tags["run_directory"] == "run" and len(tags["provenance.fingerprint"]) == 64
        assert {"provenance.fedgen", "provenance.tensorflow", "provenance.python"} <= tags.keys()
        folder = Path(client.download_artifacts(run.info.run_id, ""))
        for file in ("summary.json", "config.toml", "rounds.csv", "clients.csv", "report.html"):
            assert (folder / file).read_text() == (tmp_path / "run" / file).read_text(), file


def test_a_half_done_run_is_logged_as_killed_and_whole(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "BATCH", 7)  # no run here has so many rounds that one is full
    assert tracking.log(load(half_done(tmp_path)), uri) == 1  # the other arm has no round yet
    client, found = logged(uri)
    run = found["fedavg-seed0"]
    assert run.info.status == "KILLED"
    history = client.get_metric_history(run.info.run_id, "cost/client-epochs")
    assert [(point.step, point.value) for point in history] == [(0, 4), (1, 8)]
    assert "loss/test" not in run.data.metrics  # infinite; a database makes 1.8e308 of it
    assert run.data.tags["not_finite.loss/test"] == "inf in rounds 0 to 1"
    assert client.get_metric_history(run.info.run_id, "loss/test") == []
    assert run.data.tags["provenance.fingerprint"] == "f5d9"
    assert len(run.data.metrics) == 9 and len(run.data.params) > 50
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert len(rows(folder / "rounds.csv")) == 2


def test_metrics_that_are_not_finite_are_left_out_and_told_in_tags(
    tmp_path: Path, uri: str
) -> None:
    values = [2.5, math.inf, math.inf, 1.5, math.nan, -math.inf, math.inf]
    shard = new_shard(half_done(tmp_path).parent / "apart", 0)
    with shard.owned():
        shard.open(silent)
        for number, value in enumerate(values):
            row = dataclasses.replace(round_row(number), test_loss=value)
            shard.commit(checkpoint(number), [row], [], MADE_WITH)
    shutil.rmtree(tmp_path / "run" / "shards")
    (tmp_path / "apart" / "shards").rename(tmp_path / "run" / "shards")
    tracking.log(load(tmp_path / "run"), uri)
    client, found = logged(uri)
    run = found["fedavg-seed0"]
    history = client.get_metric_history(run.info.run_id, "loss/test")
    assert [(point.step, point.value) for point in history] == [(0, 2.5), (3, 1.5)]
    told = {name: text for name, text in run.data.tags.items() if "finite" in name}
    assert told == {
        "not_finite.loss/test": "inf in rounds 1 to 2, 6; nan in rounds 4; -inf in rounds 5"
    }


def test_an_arm_that_its_budget_ended_is_finished(tmp_path: Path, uri: str) -> None:
    path = half_done(tmp_path)
    budget = "client-epochs=9"
    tree = {"run": {"rounds": 9, "strategies": ["fedavg", "fedprox"], "budget": budget}}
    run = Run(path, build(tree), {"fingerprint": "f5d9"})
    (path / "config.toml").write_text(to_toml(run.tree()))
    new_shard(path, 2, arm("fedprox"))
    shard = Shard(path, arm())
    with shard.owned():
        shard.open(silent)
        shard.stop(budget, 12, tried=True)
    tracking.log(load(path), uri)
    _, found = logged(uri)
    assert {name: run.info.status for name, run in found.items()} == {
        "fedavg-seed0": "FINISHED",
        "fedprox-seed0": "KILLED",
    }


@pytest.mark.parametrize("more", [0, 1])
def test_a_setting_that_is_longer_than_mlflow_keeps_says_that_it_is_cut(
    tmp_path: Path, uri: str, more: int
) -> None:
    path = half_done(tmp_path)
    long = "d" * (tracking.PARAM + more)
    tree = {"run": {"rounds": 2, "strategies": ["fedavg"]}, "data": {"data_dir": long}}
    run = Run(path, build(tree), {"fingerprint": "f5d9"})
    (path / "config.toml").write_text(to_toml(run.tree()))
    tracking.log(load(path), uri)
    client, found = logged(uri)
    value = found["fedavg-seed0"].data.params["data.data_dir"]
    assert len(value) == tracking.PARAM
    assert value.endswith("cut, 6001 characters; whole in the artifacts") == bool(more)
    folder = Path(client.download_artifacts(found["fedavg-seed0"].info.run_id, ""))
    assert long in (folder / "config.toml").read_text()


def test_the_bounds_are_mlflow_s_own() -> None:
    from mlflow.utils import validation

    assert tracking.PARAM == validation.MAX_PARAM_VAL_LENGTH
    assert tracking.TAG == validation.MAX_TAG_VAL_LENGTH


UNUSABLE = {
    "": "expected the URI of an MLflow server or database, received ''",
    "ftp://x": "expected an MLflow server that answers, or a database",
    "sqlite:////proc/x.db": "unable to open database file",
    "oracle://me:secret@127.0.0.1/x": "expected an MLflow server that answers",
    "postgresql://me:secret@127.0.0.1:9/x": "expected an MLflow server that answers",
    "http://me:secret@127.0.0.1:9": "expected an MLflow server that answers.*onnection refused",
}


@pytest.mark.parametrize("uri", UNUSABLE)
def test_a_uri_that_cannot_be_used_is_refused_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(InputError, match=UNUSABLE[uri]) as caught:
        tracking.check(uri)
    assert time.monotonic() - started < PATIENCE
    assert "secret" not in caught.value.line and caught.value.line.startswith("--mlflow")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_gone_at_the_end_is_no_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="log it again with: .*export .*run --mlflow ftp://x"):
        tracking.log(load(half_done(tmp_path)), "ftp://x")


def test_an_experiment_that_was_deleted_is_named(uri: str) -> None:
    from mlflow import MlflowClient

    tracking.check(uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("fedgen")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(InputError, match="is deleted.*mlflow experiments restore -x 1"):
        tracking.check(uri)


@pytest.mark.parametrize("command", [["compare", *FLAGS, "--out=new"], ["resume", "run"]])
def test_before_training_a_missing_library_is_named(tmp_path: Path, command: list[str]) -> None:
    half_done(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = without("mlflow", [*command, f"--mlflow={URI}"], tmp_path, environment(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: --mlflow: mlflow-skinny is missing")
    assert line.endswith("pip install 'fedgen[mlflow]'")
    assert sorted(tmp_path.rglob("*")) == before
