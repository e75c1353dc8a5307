"""What a data set is made of: whose its samples are, and which of them test and validate."""

from pathlib import Path

import numpy as np
import pytest
from datafiles import small, write_npz

from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.errors import InputError


def test_files_that_are_called_like_known_data_are_files(tmp_path: Path) -> None:
    for name in ("synthetic.npz", "digits.npz"):
        found = datasets.load(Data(dataset=str(write_npz(tmp_path / name, small()))))
        assert len(found.x_train) == 4
        assert datasets.is_path(name) and datasets.is_path(f"synthetic_{name}")
    drawn = datasets.load(Data(dataset="synthetic"))
    assert drawn.shape == (60,) and drawn.clients is not None and len(drawn.clients.names) == 30
    other = datasets.load(Data(dataset="synthetic:0,0.5"))
    assert other.fingerprint != drawn.fingerprint
    for wrong in ("synthetic:x", "synthetic:1", "synthetic:1,2,3"):
        with pytest.raises(InputError, match="expected synthetic:ALPHA,BETA, two numbers"):
            datasets.load(Data(dataset=wrong))


def test_clients_of_test_samples_are_named_as_those_of_training_samples(tmp_path: Path) -> None:
    arrays = small(client=np.array([7, 7, -1, 7]), client_test=np.array([7, 3]))
    found = datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", arrays))))
    assert found.clients is not None and found.clients.names == ("-1", "7")
    assert found.clients.train.tolist() == [1, 1, 0, 1]
    assert found.clients.test is not None and found.clients.test.tolist() == [1, -1]
    arrays["client_test"] = np.array(["7", "3"])
    with pytest.raises(InputError, match="client_test: expected names of clients as client has"):
        datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", arrays))))
    arrays["client_test"] = np.array([7])
    with pytest.raises(InputError, match="expected 2 of them as x_test has, received 1"):
        datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", arrays))))


def test_a_share_is_the_test_set_of_data_that_have_none(tmp_path: Path) -> None:
    x = np.arange(50, dtype=np.float64).reshape(25, 2)
    path = write_npz(tmp_path / "own.npz", {"x": x, "y": np.arange(25) % 2, "client": x[:, 0]})
    with pytest.raises(InputError, match="client: expected integers or strings"):
        datasets.load(Data(dataset=str(path)))
    path = write_npz(tmp_path / "own.npz", {"x": x, "y": np.arange(25) % 2})
    found = datasets.load(Data(dataset=str(path), test_fraction=0.4))
    assert (len(found.x_train), len(found.x_test)) == (15, 10)
    both = np.concatenate([found.x_train, found.x_test])
    assert sorted(both.tolist()) == x.tolist()
    assert "10 of 25 samples, drawn at random, are it" in found.notes[0]


def test_a_validation_split_of_the_data_s_own_is_kept_apart(tmp_path: Path) -> None:
    own = {"x_validation": np.full((2, 3, 2), 9, np.uint8), "y_validation": np.array([0, 1])}
    found = datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", small(**own)))))
    assert found.validation.tolist() == [4, 5] and len(found.x_train) == 6
    assert (found.x_train[4:] == 9).all() and found.y_train[4:].tolist() == [0, 1]


def test_a_layout_that_values_decide_is_said(tmp_path: Path) -> None:
    def noted(low: float, **settings: str) -> tuple[tuple[int, ...], str]:
        arrays = small(x_train=np.full((4, 3, 2), low), x_test=np.full((2, 3, 2), low))
        path = write_npz(tmp_path / "own.npz", arrays)
        found = datasets.load(Data(dataset=str(path), **settings))
        return found.shape, " ".join(found.notes)

    shape, said = noted(0.5)
    assert shape == (3, 2, 1) and "are read as grey images; data.layout = 'as-given' reads" in said
    shape, said = noted(1.5)
    assert shape == (3, 2) and "are read as signals, (length, channels) each" in said
    assert noted(1.5, layout="channels-last")[0] == (3, 2, 1)
    assert noted(0.5, layout="as-given") == ((3, 2), "")


def test_test_samples_of_strangers_are_counted_and_those_without_clients_refused(
    tmp_path: Path,
) -> None:
    arrays = small(client=np.array([0, 1, 0, 1]), client_test=np.array([0, 9]))
    found = datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", arrays))))
    assert "1 of 2 test samples are of clients without training samples" in found.notes[-1]
    del arrays["client"]
    with pytest.raises(InputError, match="client_test: expected beside it an array client"):
        datasets.load(Data(dataset=str(write_npz(tmp_path / "own.npz", arrays))))
