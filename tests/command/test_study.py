"""The command: a study from its file to a federation, with every bad input told in one line."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from runs import PATIENCE, environment, finish, start
from studies import KERAS, SKLEARN
from warm import cold

ROOT = Path(__file__).parents[2]


def begin(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a study whose fits may be in processes of joblib's."""
    return cold(["study", *arguments], cwd, environment(cwd / "cache"))


def study(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    return finish(start(["study", *arguments], cwd))


def write(path: Path, tree: dict) -> str:
    path.write_text(tomli_w.dumps(tree))
    return str(path)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small study has run with two jobs."""
    folder = tmp_path_factory.mktemp("played")
    file = write(folder / "small.toml", SKLEARN)
    code, out, err = finish(begin(folder, file, "--jobs", "2"))
    assert code == 0, err
    (folder / "first.txt").write_text(out)
    return folder


def test_a_study_shows_progress_a_table_and_where_it_is(played: Path) -> None:
    out = (played / "first.txt").read_text()
    assert "study directory: studies/small-digits" in out
    assert "8 fits to run, 0 are there" in out
    assert out.count(" left\n") == 8 and "8/8" in out
    assert "small, best validation accuracy first" in out and "every repeat" in out
    assert "4 of 4 cases not converged: Stochastic Optimizer" in out
    with (played / "studies/small-digits/results.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 8


def test_the_same_command_finds_everything_there(played: Path) -> None:
    code, out, _ = study(played, "small.toml")
    assert code == 0 and "nothing to do: all 8 fits are there" in out
    code, out, _ = study(played, "small.toml", "--json")
    summary = json.loads(out)
    assert code == 0 and (summary["fits"], summary["missing"]) == (8, 0)
    means = [case["validation_accuracy"]["mean"] for case in summary["cases"]]
    assert means == sorted(means, reverse=True) and len(means) == 4
    low, high = summary["cases"][0]["accuracy"]["interval"]
    assert low <= summary["cases"][0]["accuracy"]["mean"] <= high
    assert summary["best"]["case"] == summary["cases"][0]["case"]


def test_best_is_fitted_again_and_its_architecture_federated(played: Path) -> None:
    code, out, err = study(played, "small.toml", "--best", "--export", "model.toml")
    assert code == 0, err
    assert out.startswith("best: (") and "why: highest mean validation accuracy" in out
    assert "first test images, label and prediction" in out
    assert "python -m fedgen compare --model model.toml" in out
    code, out, err = study(played, "small.toml", "--best", "--json")
    best = json.loads(out)
    assert code == 0 and len(best["first"]) == 10
    with (played / "studies/small-digits/results.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["case"] == best["case"]]
    assert best["refit"]["accuracy"] == float(rows[0]["accuracy"]), "the same fit again"
    flags = "--dataset=digits --rounds=1 --clients=4 --fraction=0.5 --out=run --json"
    code, out, err = finish(start(["compare", "--model=model.toml", *flags.split()], played))
    assert code == 0, err
    assert json.loads(out)["model"].startswith("mlp (")
    # The run holds the architecture itself, and goes on without the file.
    (played / "model.toml").unlink()
    code, out, err = finish(start(["resume", "run", "--rounds=2", "--json"], played))
    assert code == 0 and json.loads(out)["rounds"] == 2, err


def test_keras_in_threads_with_its_curves(tmp_path: Path) -> None:
    file = write(tmp_path / "keras.toml", KERAS | {"quick": {"fixed": {"epochs": 2}}})
    code, out, err = study(tmp_path, file, "--quick", "--jobs", "2", "--out", "here")
    assert code == 0, err
    with (tmp_path / "here/epochs.csv").open(newline="") as stream:
        epochs = list(csv.DictReader(stream))
    assert [(row["seed"], row["epoch"]) for row in epochs] == [
        (seed, epoch) for _ in range(2) for seed in "01" for epoch in "12"
    ]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_ended_and_leaves_no_process(jobs: str, tmp_path: Path) -> None:
    slow = SKLEARN | {"fixed": {"max_iter": 3000, "tol": 0.0}}
    file = write(tmp_path / "slow.toml", slow)
    process = begin(tmp_path, file, "--jobs", jobs, "--set", "seeds=40")
    assert process.stdout is not None
    for line in process.stdout:
        if " left" in line:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert (code, "every finished fit is kept; the same command goes on" in err) == (130, True), err
    assert time.monotonic() - began < PATIENCE
    listing = subprocess.run(["ps", "-eo", "cwd,args"], capture_output=True, text=True, check=False)
    assert str(tmp_path) not in listing.stdout
    with (tmp_path / "studies/small-digits/results.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) >= 1


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["nothere.toml"], "config nothere.toml: cannot be read"),
        (["small.toml", "--set", "estimator=svm"], "unknown estimator 'svm'"),
        (["small.toml", "--set", "axes.alpha=[]"], "axes.alpha: expected a list of at least one"),
        (["small.toml", "--set", "axes.hidden_layers=[[0]]"], "positive integers, received [0]"),
        (["small.toml", "--set", "metrics=['f1']"], "unknown metric 'f1'"),
        (["small.toml", "--set", "seeds"], "expected KEY=VALUE"),
        (["small.toml", "--best"], "nothing has run yet"),
        (["small.toml", "--export", "m.toml"], "--export: expected together with --best"),
        (["small.toml", "--best", "--export", "m.txt"], "a name that ends in .toml"),
        (["small.toml", "--jobs", "-1"], "--jobs -1: expected 0 or more"),
        (["small.toml", "--quick"], "--quick: expected a table [quick]"),
        (["small.toml", "--dataset", "digit"], "unknown data set 'digit': did you mean 'digits'"),
        (["small.toml", "--out", "small.toml"], "expected a directory, received a file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], pattern: str, tmp_path: Path
) -> None:
    write(tmp_path / "small.toml", SKLEARN)
    code, out, err = study(tmp_path, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and pattern in err, err
    assert {path.name for path in tmp_path.iterdir()} <= {"small.toml", "cache"}


def test_neither_help_nor_a_scikit_learn_study_imports_tensorflow(played: Path) -> None:
    code = "import sys; from fedgen.cli import main; main(); print('tensorflow' in sys.modules)"
    for arguments in (["--help"], ["small.toml"], ["small.toml", "--best"]):
        found = subprocess.run(
            [sys.executable, "-c", code, "study", *arguments],
            cwd=played,
            env={**environment(played / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert found.stdout.endswith("False\n"), arguments
