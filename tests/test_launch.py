"""What the launchers decide and check before anything is started."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedgen import launch
from fedgen.config.toml import merge, to_toml
from fedgen.config.tree import build, dump
from fedgen.errors import InputError
from fedgen.federation.flower import together
from fedgen.federation.run_config import from_run_config

ROOT = Path(__file__).parents[1]


def test_a_run_config_is_completed_and_its_paths_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    read = launch.read_run_config("dataset='digits' rounds=3 clients=10 out='a b' data-dir='here'")
    assert (read["rounds"], read["clients"], read["model"]) == (3, 10, "cnn")
    assert read["out"] == str(tmp_path / "a b")
    assert read["data-dir"] == str(tmp_path / "here")


def test_a_run_that_goes_on_is_read_from_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build({"data": {"dataset": "digits"}, "run": {"rounds": 3, "seeds": 2}})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text(to_toml(dump(config)))
    monkeypatch.chdir(tmp_path)
    read = launch.read_run_config("resume='run' rounds=5")
    assert (read["resume"], read["out"]) == (str(tmp_path / "run"), "")
    went_on = from_run_config(read)
    began = launch.read_run_config("dataset='digits' rounds=3 set='run.seeds=2'")
    expected = build(merge(dump(from_run_config(began)), [("run", "rounds", 5)]))
    assert went_on == expected
    again = launch.read_run_config("dataset='digits' rounds=5 set='run.seeds=2' resume='run'")
    assert from_run_config(again) == went_on, "the same command that began it"


def test_without_out_the_run_directory_is_named_as_compare_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path(launch.read_run_config("dataset='digits'")["out"])
    assert out.parent == tmp_path / "runs" and out.name.startswith("digits-")


def test_everything_else_goes_through_the_set_key() -> None:
    text = "dataset='digits' set='run.workers=1 genetic-cfl.init=probe cohort.deadline=5'"
    config = from_run_config(launch.read_run_config(text))
    wanted = {
        "data": {"dataset": "digits", "targets": "classes"},  # what "auto" is of these
        "run": {"workers": 1, "metric": "accuracy"},
        "genetic-cfl": {"init": "probe"},
        "cohort": {"deadline": 5.0},
        "training": {"engine": "tensorflow"},  # what "auto" is here
    }
    assert config == build(wanted)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("round=3", "unknown key 'round': did you mean 'rounds'"),
        ("rounds=0", "run.rounds"),
        ("rounds=three", "expected"),
        ("rounds = 3", "expected"),
        ("rounds=[3]", "expected"),
        ("hello", "hello"),
        ("/nowhere.toml", "nowhere.toml"),
        ("dataset='digits' out=5", "out=5: expected a path in quotes"),
        ("dataset='digits' resume=5", "resume=5: expected a path in quotes"),
        ("resume='nowhere'", "nowhere: not a run directory"),
        ("resume='nowhere' out='there'", "expected one run directory; a run goes on where it is"),
        ("dataset='digit'", "did you mean 'digits'"),
        ("dataset='nowhere.npz'", "nowhere.npz"),
        ("dataset='digits' set='cohort.fractoin=1'", "did you mean 'fraction'"),
        (f"dataset='digits' out='{ROOT}'", "not an empty directory"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "deploy_local"])
def test_bad_input_is_one_line_and_starts_nothing(command: str, text: str, says: str) -> None:
    if command == "deploy_local" and text != "round=3":
        with pytest.raises(InputError, match=says):
            launch.read_run_config(text)
        return
    script = ROOT / "experiments" / f"{command}.sh"
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run([script, text], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and says in done.stderr


def test_a_simulation_runs_as_many_clients_at_once_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    options = dict(option.split("=") for option in launch.federation_config(7).split())
    assert options["num-supernodes"] == "7"
    assert options["client-resources-num-cpus"] == "1"
    assert options["init-args-num-cpus"] == str(len(os.sched_getaffinity(0)))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "init-args" not in launch.federation_config(7)


@pytest.mark.parametrize(("gpus", "clients", "part"), [(0, 3, 0), (1, 32, 0.0312), (2, 1, 1.0)])
def test_a_simulation_runs_as_many_clients_at_once_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, gpus: int, clients: int, part: float
) -> None:
    """By Ray's way of reckoning: how often a client's part is in the whole."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("fedgen.deployment.simulation.visible_gpus", lambda: gpus)
    text = launch.federation_config(100, clients)
    options = {name: float(value) for name, value in (o.split("=") for o in text.split())}
    of_one = [options.get(f"client-resources-num-{kind}", 0.0) for kind in ("cpus", "gpus")]
    assert of_one == [1, part]
    here = {"CPU": options["init-args-num-cpus"], "GPU": options.get("init-args-num-gpus", 0.0)}
    found = together([{"NodeID": "here", "Resources": here}], *of_one)
    assert list(found) == [("here", clients)]


def test_free_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", launch.free_port()))
