"""A user's own file, from the command to every output: read as it is meant, or said to be not."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from runs import FLAGS, comparable, finish, play, rows, start

import fedgen
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.runs.run import Run

SETTINGS = {
    "run": {"rounds": 2, "strategies": ["fedavg"]},
    "fedavg": {"learning_rate": 0.01},
}
COMMAND = ["compare", *FLAGS[1:], "--strategies=fedavg", "--rounds=1", "--dataset=own.npz"]
NOTES = [
    "pixels: uint8 of x_train end at 16, so they are divided by 16, not by 255; data.scale sets "
    "another divisor, 1 for none",
    "arrays: not used: client_id",
    "labels: those of y_train are 1 to 10, so there are 10 classes; outputs name each by its label",
]


def write_digits(path: Path, shift: int = 1) -> Path:
    """Digits as somebody else would keep them: uint8 to 16, labels from 1, and one array more."""
    digits = datasets.load(Data(dataset="digits"))
    np.savez(
        path,
        x_train=digits.x_train[..., 0],
        y_train=digits.y_train + shift,
        x_test=digits.x_test[..., 0],
        y_test=digits.y_test + shift,
        client_id=np.arange(len(digits.y_train)) % 7,
    )
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("own")
    data = {"dataset": str(write_digits(folder / "own.npz"))}
    return play(folder / "run", data=data, **SETTINGS)


def test_small_uint8_and_labels_from_1_train_as_the_data_that_they_are(
    own: Run, tmp_path: Path
) -> None:
    digits = play(tmp_path / "digits", **SETTINGS)
    assert comparable(own.path) == comparable(digits.path)
    assert float(rows(own.path / "rounds.csv")[-1]["test_accuracy"]) > 0.5


def test_a_run_keeps_what_was_made_of_its_data(own: Run) -> None:
    kept = tomllib.loads((own.path / "config.toml").read_text())
    assert kept["provenance"]["notes"] == NOTES
    assert kept["provenance"]["labels"] == list(range(1, 11))
    summary = json.loads((own.path / "summary.json").read_text())
    assert summary["notes"] == NOTES
    assert summary["labels"] == [str(label) for label in range(1, 11)]
    page = (own.path / "report.html").read_text()
    assert all(f'<p class="note">{note}</p>' in page for note in NOTES)


def test_charts_and_tables_name_classes_by_their_labels(own: Run) -> None:
    chart = fedgen.load_run(own.path).charts["labels-seed0"]
    (heatmap,) = chart.figure.data
    assert list(heatmap.x) == [str(label) for label in range(1, 11)]
    assert chart.figure.layout.xaxis.type == "category"
    assert chart.table.head == ["client", *(f"class {label}" for label in range(1, 11))]


def test_nothing_is_said_where_there_is_nothing_to_say(tmp_path: Path) -> None:
    run = play(tmp_path / "digits", **SETTINGS)
    kept = tomllib.loads((run.path / "config.toml").read_text())
    assert not {"notes", "labels"} & set(kept["provenance"])
    assert not {"notes", "labels"} & set(json.loads((run.path / "summary.json").read_text()))
    chart = fedgen.load_run(run.path).charts["labels-seed0"]
    assert list(chart.figure.data[0].x) == list(range(10))


def test_the_command_says_each_thing_once_and_quietly_nothing(tmp_path: Path) -> None:
    write_digits(tmp_path / "own.npz")
    code, _, err = finish(start([*COMMAND, "--seeds=2", "--out=told"], tmp_path))
    assert code == 0 and err.splitlines() == [f"note: {note}" for note in NOTES]
    for flag in ("--quiet", "--json"):
        code, _, err = finish(start([*COMMAND, flag, f"--out=run{flag}"], tmp_path))
        assert (code, err) == (0, "")
    # Of the same data there is nothing new to warn of.
    arguments = ["compare", "told/config.toml", "--seeds=1", "--quiet", "--out=again"]
    assert finish(start(arguments, tmp_path)) == (0, "", "")
    code, out, err = finish(start(["resume", "told", "--rounds=2"], tmp_path))
    assert code == 0 and err.splitlines() == [f"note: {note}" for note in NOTES]


def test_a_run_on_renamed_labels_is_not_gone_on_with(tmp_path: Path) -> None:
    run = play(
        tmp_path / "run",
        data={"dataset": str(write_digits(tmp_path / "own.npz"))},
        run={"rounds": 1, "strategies": ["fedavg"]},
    )
    write_digits(tmp_path / "own.npz", shift=2)
    code, out, err = finish(start(["resume", str(run.path), "--rounds=2"], tmp_path))
    assert code == 2 and out == "" and "fingerprint was" in err and len(err.splitlines()) == 1
