"""One .npz file a client."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from mutations import mutations, read_or_refuse

from fedgen.data import formats
from fedgen.data.formats.natural import clients
from fedgen.errors import InputError

X = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
Y = np.array([0, 1, 1, 0])


def write(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path.parent


def test_every_file_is_a_client(tmp_path: Path) -> None:
    write(tmp_path / "b.npz", x=X[:1], y=Y[:1])
    found = formats.read(write(tmp_path / "a.npz", x=X[1:], y=Y[1:]))
    np.testing.assert_array_equal(found.train.x, X[[1, 2, 3, 0]])
    np.testing.assert_array_equal(found.train.y, Y[[1, 2, 3, 0]])
    assert found.train.client is not None and found.test is None
    assert found.train.client.tolist() == ["a", "a", "a", "b"]


def test_splits_in_folders(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.npz", x=X[:2], y=Y[:2])
    write(tmp_path / "train" / "b.npz", x=X[2:3], y=Y[2:3])
    write(tmp_path / "test" / "b.npz", x=X[3:], y=Y[3:])
    found = formats.read(tmp_path)
    assert found.test is not None and found.test.client is not None
    np.testing.assert_array_equal(found.train.x, X[:3])
    np.testing.assert_array_equal(found.test.x, X[3:])
    assert found.test.client.tolist() == ["b"]


def test_splits_in_files(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.npz", x_train=X[:3], y_train=Y[:3], x_test=X[3:], y_test=Y[3:])
    found = formats.read(tmp_path)
    assert found.test is not None and found.test.client is not None
    assert found.test.client.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.train.x, np.concatenate([X[:3], X[:3]]))
    np.testing.assert_array_equal(found.test.y, Y[[3, 3]])


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": X}, r"b\.npz: expected arrays x, y of one client, missing y"),
        ({"z": X}, "expected arrays x_train, y_train, x_test, y_test of one client, missing x_tra"),
        ({"x": X, "y": Y[:3]}, r"b: expected as many of y as of x, received shapes \(3,\) and"),
        ({"x": np.uint8(1), "y": Y}, "b: expected as many of y as of x"),
        ({"x": X[:, :2], "y": Y}, r"expected uint8 of shape \(3, 2\) as a has, received uint8"),
        ({"x": X.astype(float), "y": Y}, "as a has, received float64"),
        ({"x": X, "y": Y[:, None]}, r"b: expected y of shape \(\) each as a has, received \(1,\)"),
        ({"x": np.array([{}] * 4), "y": Y}, "expected booleans or numbers, received object"),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y},
            "a has x and y, and others x_train and so on; write all alike",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arrays: dict, why: str) -> None:
    write(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(InputError, match=why):
        formats.read(write(tmp_path / "b.npz", **arrays))


def test_clients_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", x=X, y=Y)
    path = write(tmp_path / "b.npz", x=X, y=Y)
    with pytest.raises(InputError, match=r"b\.npz: not a readable .* at most 55 are allowed"):
        formats.read(path, limit=4 * 56 - 2)
    formats.read(path, limit=4 * 56)


STREAM = io.BytesIO()
np.savez(STREAM, x=X, y=Y)


@pytest.mark.fuzz
@given(mutations(STREAM.getvalue()))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-clients"
    write(path / "a.npz", x=X, y=Y)
    (path / "b.npz").write_bytes(content)
    read_or_refuse(clients.read, path)
