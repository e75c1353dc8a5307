"""fedgen from Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import comparable, finish, play, rows, start

import fedgen
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.datasets import NPZ_KEYS
from fedgen.errors import InputError
from fedgen.report.results import Results
from strategies.fedavg import FedAvg

WAY = {
    "dataset": "digits",
    "model": "mlp",
    "clients": 12,
    "fraction": 0.5,
    "rounds": 2,
    "settings": {"training.local_epochs": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return fedgen.compare(**WAY, out=tmp_path_factory.mktemp("api") / "run", quiet=True)


def test_compare_makes_the_run_that_the_command_makes(run: Results, tmp_path: Path) -> None:
    assert comparable(run.path) == comparable(play(tmp_path / "run", run={"rounds": 2}).path)
    assert (run.path / "report.html").exists()


def test_a_loaded_run_has_the_rows_of_its_files_and_its_summary(run: Results) -> None:
    import json

    again = fedgen.load_run(str(run.path))
    assert again == run
    for name, kept in (("rounds", again.rounds), ("clients", again.clients)):
        written = rows(run.path / f"{name}.csv")
        assert [str(row.seconds) for row in kept] == [row["seconds"] for row in written]
        assert len(kept) == len(written) > 0
    assert again.summary == json.loads((run.path / "summary.json").read_text())
    assert again.summary["parameters"] > 0


def test_figures_by_name_on_any_axis(run: Results) -> None:
    assert set(run.charts) >= {"accuracy", "loss", "clients", "lineage-genetic-cfl-seed0"}
    figure = run.figure("accuracy", axis="rounds")
    assert list(figure.data[0].x) == [0, 1, 2]
    assert [row.test_accuracy for row in run.arms["genetic-cfl"][0]] == list(figure.data[0].y)
    clusters = run.figure("clusters-genetic-cfl-seed0")
    assert [step.label for step in clusters.layout.sliders[0].steps] == ["1", "2"]
    assert not run.charts[
        "clusters-genetic-cfl-seed0"
    ].figure.layout.sliders  # the page has its own
    for arguments, why in [
        (("acuracy",), "unknown figure 'acuracy': did you mean 'accuracy'"),
        (("accuracy", "epochs"), "unknown axis 'epochs': did you mean 'client-epochs'"),
        (("clients", "rounds"), "figure 'clients': expected no axis"),
    ]:
        with pytest.raises(InputError, match=why):
            run.figure(*arguments)


def test_a_notebook_shows_who_is_ahead_and_the_table(run: Results) -> None:
    shown = run._repr_html_()
    assert "is ahead of" in shown or "are level" in shown
    assert "<table>" in shown and "final accuracy" in shown and "<code>accuracy</code>" in shown


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rounds": -1}, "run.rounds"),
        ({"strategies": ["fedavgg"]}, "unknown strategy 'fedavgg': did you mean 'fedavg'"),
        ({"settings": {"eps": 1}}, "setting 'eps': expected SECTION.KEY"),
        ({"settings": {"genetic-cfl.epps": 1}}, "unknown setting 'epps': did you mean 'eps'"),
        ({"config": "nowhere.toml"}, "config nowhere.toml: cannot be read"),
    ],
    ids=str,
)
def test_wrong_input_is_an_error_that_says_what(change: dict, why: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match=why):
        fedgen.compare(**{**WAY, **change}, out=out, quiet=True)
    assert not out.exists()
    with pytest.raises(InputError, match="not a run directory"):
        fedgen.load_run(tmp_path)


def test_importing_and_loading_need_no_tensorflow(run: Results) -> None:
    code = (
        f"import sys, fedgen; run = fedgen.load_run({str(run.path)!r}); run.figure('accuracy');"
        "print(len(run.rounds), 'tensorflow' in sys.modules, 'flwr' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(run.rounds)} False False\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fedgen.nothing  # noqa: B018


def test_arrays_and_functions_are_taken_as_they_are(tmp_path: Path) -> None:
    from keras import layers

    digits = datasets.load(Data(dataset="digits"))
    arrays = [digits.x_train, digits.y_train, digits.x_test, digits.y_test]

    def net(shape: tuple[int, int, int], classes: int) -> list[object]:
        return [layers.Flatten(), layers.Dense(width), layers.Dense(classes)]

    class Own(FedAvg):
        pass

    found = []
    for width in (5, 6):  # noqa: B007  the function closes over it
        given = {"model": net, "dataset": arrays, "strategies": [Own, "fedavg"], "rounds": 1}
        run = fedgen.compare(**{**WAY, **given}, out=tmp_path / str(width), quiet=True)
        found.append(run)
        assert [len(rows) for rows in run.arms["__main__:Own"]] == [2]
        assert run.summary["parameters"] == 64 * width + width + 10 * width + 10
    assert fedgen.load_run(tmp_path / "5").rounds == found[0].rounds
    with np.load(tmp_path / "5" / "data.npz", allow_pickle=False) as written:
        assert all(np.array_equal(written[k], a) for k, a in zip(NPZ_KEYS, arrays, strict=True))
    code, _, err = finish(start(["resume", "5", "--rounds=2"], tmp_path))
    assert code == 2 and "put it in a module" in err


def test_a_run_on_arrays_goes_on_from_its_own_copy(tmp_path: Path) -> None:
    digits = datasets.load(Data(dataset="digits"))
    arrays = [digits.x_train * 10, digits.y_train, digits.x_test * 10, digits.y_test]
    given = {**WAY, "dataset": tuple(arrays), "rounds": 1}
    fedgen.compare(**given, out=tmp_path / "run", quiet=True)
    code, _, err = finish(start(["resume", "run", "--rounds=2", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    wanted = fedgen.compare(**{**given, "rounds": 2}, out=tmp_path / "whole", quiet=True)
    assert comparable(tmp_path / "run") == comparable(wanted.path)


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ([np.zeros((3, 8, 8))], r"expected the arrays \(x_train, y_train, x_test, y_test\)"),
        ((np.zeros((3, 8)), [0, 1, 0], np.zeros((1, 8)), [0]), "received data of shape"),
    ],
)
def test_arrays_that_are_no_data_set_write_nothing(
    dataset: object, why: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=why):
        fedgen.compare(dataset=dataset, out=tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_is_neither_a_name_nor_arrays_is_named(tmp_path: Path) -> None:
    for given, told in ((np.zeros((3, 2)), "received ndarray"), ({"x": 1}, "received dict")):
        with pytest.raises(InputError, match=f"dataset: expected a name, a path or .*{told}"):
            fedgen.compare(dataset=given, out=tmp_path / "run", quiet=True)  # type: ignore[arg-type]
    ragged = ([[1.0], [1.0, 2.0]], [0, 1], [[1.0]], [0])
    with pytest.raises(InputError, match="dataset: expected arrays, received others"):
        fedgen.compare(dataset=ragged, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
