"""A run in Weights & Biases, offline for real: what is written is read back from its records."""

import json
import math
import os
import pty
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import environment
from runs import FLAGS, PATIENCE, finish, rows, without
from shards import arm, new_shard
from warm import Command

from fedgen.config.toml import to_toml
from fedgen.config.tree import build
from fedgen.errors import InputError, RunError
from fedgen.export import mlflow as tracking
from fedgen.export import trackers
from fedgen.export import wandb as weights
from fedgen.report.results import load
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard

KEY = "k" * 40
DOCUMENTS = ["clients.csv", "config.toml", "report.html", "rounds.csv", "summary.json"]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests, and no network."""
    for name in os.environ:
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in weights._ENVIRONMENT:  # set by fedgen; given back here
        monkeypatch.setenv(name, weights._ENVIRONMENT[name])


def records(path: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file: protocol buffers in LevelDB's log format, blocks of 32 KiB.

    The library has no reader of them any more.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a record that is whole, or its last part
            yield Record.FromString(whole)
            whole = b""


def item_of(item: Any) -> tuple[str, Any]:
    return item.key or "/".join(item.nested_key), json.loads(item.value_json)


def logged(run: Path) -> dict[str, dict[str, Any]]:
    """What the library has of a run's arms, by name: config, history by step, files, exit code."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        told: dict[str, Any] = {"history": {}, "kinds": set(), "files": path.parent / "files"}
        told["summary"] = {}
        for record in records(path):
            kind = record.WhichOneof("record_type")
            told["kinds"].add(kind)
            if kind == "run":
                told["run"] = record.run
                told["config"] = dict(map(item_of, record.run.config.update))
            elif kind == "history":
                point = dict(map(item_of, record.history.item))
                told["history"][record.history.step.num] = point
            elif kind == "summary":
                told["summary"] |= dict(map(item_of, record.summary.update))
            elif kind == "exit":
                told["exit"] = record.exit.exit_code
        found[told["run"].display_name] = told
    return found


def half_done(folder: Path, **run: Any) -> Path:
    """A run directory after rounds 0 and 1, as a killed process leaves it."""
    tree = {"run": {"rounds": 2, "strategies": ["fedavg", "genetic-cfl"], **run}}
    made = Run(folder / "run", build(tree), {"fingerprint": "f5d9"})
    made.path.mkdir()
    (made.path / "config.toml").write_text(to_toml(made.tree()))
    new_shard(made.path, 2)
    return made.path


def test_a_run_is_logged_and_nothing_else_of_the_machine(tmp_path: Path) -> None:
    names = ["genetic-cfl", "fedavg"]
    command = ["compare", *FLAGS, f"--strategies={','.join(names)}", "--rounds=1", "--out=run"]
    env = environment(tmp_path) | {"WANDB_SAVE_CODE": "true"}
    code, out, err = finish(Command([*command, "--wandb", "--json"], tmp_path, env))
    assert (code, err) == (0, "")
    run = tmp_path / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert json.loads(out) == summary
    found = logged(run)
    assert set(found) == {"genetic-cfl-seed0", "fedavg-seed0"}
    for name, told in found.items():
        strategy = name.removesuffix("-seed0")
        assert (told["run"].project, told["run"].run_group) == ("fedgen", "run")
        config = told["config"]
        assert (config["strategy"], config["seed"]) == (strategy, 0)
        assert config["run"]["strategies"] == names and config["genetic-cfl"]["mutation"] == 0.1
        assert len(config["provenance"]["fingerprint"]) == 64
        mine = [row for row in rows(run / "rounds.csv") if row["strategy"] == strategy]
        assert [*told["history"]] == [int(row["round"]) for row in mine] == [0, 1]
        for row, point in zip(mine, told["history"].values(), strict=True):
            assert point["accuracy/test"] == float(row["test_accuracy"])
            assert point["loss/validation"] == float(row["validation_loss"])
        assert point["cost/client-epochs"] == sum(int(row["client_epochs"]) for row in mine)
        assert told["exit"] == 0
        # No console, no code, no packages, no metadata of the machine, no figures of its load.
        assert sorted(path.name for path in told["files"].iterdir()) == DOCUMENTS
        assert not told["kinds"] & {"output", "output_raw", "stats", "environment", "artifact"}
        assert not told["run"].HasField("git") and not told["run"].host
        for document in DOCUMENTS[1:]:
            assert (told["files"] / document).read_bytes() == (run / document).read_bytes()


def test_a_half_done_run_is_logged_as_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_RUN_ID", "always-the-same")
    path = half_done(tmp_path)
    kept = sys.exit, sys.excepthook, threading.enumerate()
    said = weights.log(load(path))  # the other arm has no round yet
    assert said == f"W&B: 1 runs offline; send them with: wandb sync {path}/wandb/offline-run-*"
    assert (sys.exit, sys.excepthook, threading.enumerate()) == kept
    assert not [p for p in psutil.Process().children(True) if "wandb" in p.name()]
    told = logged(path)["fedavg-seed0"]
    assert (told["run"].project, told["exit"]) == ("mine", weights.KILLED)
    assert told["run"].run_id != "always-the-same"
    assert [point["loss/test"] for point in told["history"].values()] == [math.inf] * 2
    assert "loss/train" not in told["history"][0]


def test_how_an_arm_ended_is_told(tmp_path: Path) -> None:
    path = half_done(tmp_path, rounds=9, budget="client-epochs=9")
    new_shard(path, 2, arm("genetic-cfl"))
    shards = Shard(path, arm()), Shard(path, arm("genetic-cfl"))
    for shard in shards:
        shard.open(print)
    with shards[0].owned():
        shards[0].stop("client-epochs=9", 12, tried=True)
    with shards[1].owned():
        shards[1].fail("too few replies", [])
    weights.log(load(path))
    found = logged(path)
    assert {name: told["exit"] for name, told in found.items()} == {
        "fedavg-seed0": weights.FINISHED,
        "genetic-cfl-seed0": weights.FAILED,
    }
    assert found["genetic-cfl-seed0"]["summary"]["ended"].startswith("round 2, diverged: too few")


@contextmanager
def server(answer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of the library's: it refuses the key, or knows it and fails at all else."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            viewer = {"id": "1", "entity": "me", "username": "me", "teams": {"edges": []}}
            told = json.dumps({"data": {"viewer": viewer}}).encode()
            known = answer == "knows" and b"Viewer" in asked
            self.send_response(200 if known else 500 if answer == "knows" else 401)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        try:
            yield
        finally:
            listening.shutdown()
            thread.join()


def test_a_server_that_does_not_know_the_key_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server("refuses", monkeypatch), pytest.raises(InputError) as caught:
        weights.check()
    assert caught.value.line.startswith("--wandb: expected WANDB_... variables that hold, and a")
    assert "AuthenticationError" in caught.value.line and KEY not in caught.value.line
    assert caught.value.line.endswith("WANDB_MODE=offline")


def test_a_server_that_fails_at_the_end_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SECONDS", 2)
    path = half_done(tmp_path)
    with server("knows", monkeypatch):
        weights.check()
        with pytest.raises(RunError, match="log it again with: .*export .*run --wandb") as caught:
            weights.log(load(path))
    assert "WANDB_MODE=offline python -m fedgen export" in caught.value.line
    assert load(path).rounds and sys.exit.__module__ == "sys"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WANDB_MODE", "disabled", "expected WANDB_MODE online or offline"),
        ("WANDB_MODE", "sometimes", "WANDB_MODE online or offline, received 'sometimes'"),
        ("WANDB_PROJECT", "a/b", "Invalid project name"),
        ("WANDB_API_KEY", "short", "WANDB_API_KEY invalid"),
        ("WANDB_API_KEY", "", "there is none; do `wandb login`"),
        ("WANDB_BASE_URL", "ftp://x", "URL scheme should be"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        weights.check()
    assert says in caught.value.line and time.monotonic() - started < PATIENCE
    assert caught.value.line.startswith("--wandb: ")


def test_a_link_is_not_written_through_and_another_tracker_is_not_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, elsewhere = half_done(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (path / "wandb").symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link"):
        weights.log(load(path))
    assert not [*elsewhere.iterdir()]
    (path / "wandb").unlink()
    both = [lambda results: str(tracking.log(results, "ftp://x")), weights.log]
    with pytest.raises(RunError, match="MLflow at ftp://x did not take the run"):
        trackers.log(load(path), both)
    assert capsys.readouterr().out.startswith("W&B: 1 runs offline")


def test_nobody_is_asked_for_a_key_on_a_terminal(tmp_path: Path) -> None:
    half_done(tmp_path)
    main, other = pty.openpty()
    env = environment(tmp_path) | {"WANDB_MODE": "online"}
    with subprocess.Popen(
        [sys.executable, "-m", "fedgen", "export", "run", "--wandb"],
        cwd=tmp_path,
        env=env,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    ) as process:
        os.close(other)
        try:
            assert process.wait(timeout=60) == 2
        finally:
            process.kill()
    said = os.read(main, 10_000).decode()
    os.close(main)
    assert said.startswith("fedgen: --wandb: expected an API key, there is none")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("command", [["compare", *FLAGS, "--out=new"], ["resume", "run"]])
def test_before_training_a_missing_library_is_named(tmp_path: Path, command: list[str]) -> None:
    half_done(tmp_path)
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    before = sorted(tmp_path.rglob("*"))
    result = without("wandb", [*command, "--wandb"], tmp_path, environment(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: --wandb: wandb is missing")
    assert line.endswith("pip install 'fedgen[wandb]'")
    assert sorted(tmp_path.rglob("*")) == before
