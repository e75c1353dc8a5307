"""SVHN's MATLAB files, as scipy writes such files."""

import io
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from mutations import mutations, read_or_refuse
from scipy.io import loadmat, savemat

from fedgen.data import formats
from fedgen.data.formats.arrays import mat
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
X = {
    split: DRAW.integers(0, 256, (32, 32, 3, count), np.uint8)
    for split, count in (("train", 5), ("test", 3))
}
Y = {
    "train": np.array([[1], [10], [3], [9], [10]], np.uint8),
    "test": np.array([[10], [2], [2]], np.uint8),
}


def write(path: Path, compressed: bool = True, **changed: Any) -> Path:
    path.mkdir(exist_ok=True)
    for split in ("train", "test"):
        arrays = {"X": X[split], "y": Y[split]} | (changed if split == "train" else {})
        kept = {name: array for name, array in arrays.items() if array is not None}
        savemat(path / f"{split}_32x32.mat", kept, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn_is_read_back(tmp_path: Path, compressed: bool) -> None:
    found = formats.read(write(tmp_path / "a", compressed))
    assert found.test is not None
    for part, split in ((found.train, "train"), (found.test, "test")):
        assert part.x.dtype == np.uint8 and part.x.shape[1:] == (32, 32, 3)
        for place in range(len(part)):
            np.testing.assert_array_equal(part.x[place], X[split][..., place])
    assert found.train.y.tolist() == [1, 0, 3, 9, 0]
    assert found.test.y.tolist() == [0, 2, 2]
    assert found.notes == ("labels: the digit 0, which SVHN calls 10, is 0",)


def test_a_training_file_alone_has_no_test(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    (path / "test_32x32.mat").rename(tmp_path / "other.mat")
    assert formats.read(path).test is None
    assert formats.read(tmp_path / "other.mat").train.y.tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"X": None}, r"expected X of 4 axes of numbers, as SVHN has it, received nothing\[\]"),
        ({"y": None}, "expected y of 2 axes"),
        ({"X": X["train"][0]}, r"received uint8\[32, 3, 5\]"),
        ({"X": {"a": 1}}, "expected X of 4 axes of numbers.*received struct"),
        ({"X": np.array([[[[{"a": 1}]]]], object)}, "expected X of 4 axes.*received cell"),
        ({"y": "text"}, "expected y of 2 axes of numbers.*received char"),
        ({"y": Y["train"][1:]}, "y_train: expected 5 labels as x_train has, received 4"),
    ],
)
def test_what_is_not_svhn_is_refused(tmp_path: Path, changed: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        formats.read(write(tmp_path / "a", **changed))


def test_matlab_7_3_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    with h5py.File(path / "train_32x32.mat", "w") as content:
        content["X"] = X["train"]
    with pytest.raises(InputError, match=r"of MATLAB 5 to 7; save it with -v7, or as \.npz"):
        formats.read(path)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for compressed in (True, False):
        with pytest.raises(InputError, match="take 30,720 bytes, at most 16,000 are allowed"):
            formats.read(write(tmp_path / "a", compressed), limit=16_000)
        with pytest.raises(InputError, match="at most 9,999 are allowed"):
            formats.read(tmp_path / "a", limit=9_999)


def element(kind: int, content: bytes, order: str) -> bytes:
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def by_hand(name: str, number: int, kind: int, values: np.ndarray, order: str) -> bytes:
    """An array by its description: of a class, with its data stored as another type."""
    parts = [
        element(6, struct.pack(f"{order}II", number, 0), order),
        element(5, struct.pack(f"{order}{values.ndim}i", *values.shape), order),
        # A name of one letter is a small element.
        struct.pack(f"{order}I", 1 << 16 | 1) + name.encode() + bytes(3),
        element(kind, values.tobytes("F"), order),
    ]
    return element(14, b"".join(parts), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_and_data_that_are_stored_small(tmp_path: Path, order: str) -> None:
    labels = Y["train"].astype(f"{order}u2")
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x100)
    content = start + (b"IM" if order == "<" else b"MI")
    content += by_hand("z", 7, 1, np.zeros((1, 2), np.int8), order)
    content += by_hand("X", 9, 2, X["train"], order) + by_hand("y", 6, 4, labels, order)
    (tmp_path / "a.mat").write_bytes(content)
    if order == "<":
        np.testing.assert_array_equal(loadmat(tmp_path / "a.mat")["y"], Y["train"])
    found = formats.read(tmp_path / "a.mat")
    np.testing.assert_array_equal(found.train.x, X["train"].transpose(3, 0, 1, 2))
    assert found.train.y.dtype == np.uint16 and found.train.y.tolist() == [1, 0, 3, 9, 0]


@pytest.mark.parametrize("shape", [(32, 32, 3, 4), (32, 32, 3, 6)])
def test_data_that_are_not_of_their_shape_are_refused(tmp_path: Path, shape: tuple) -> None:
    content = bytearray(write(tmp_path / "a", False).joinpath("train_32x32.mat").read_bytes())
    place = content.index(struct.pack("<4i", *X["train"].shape))
    content[place : place + 16] = struct.pack("<4i", *shape)
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InputError, match="15,360 bytes of data for shape"):
        formats.read(tmp_path / "a.mat")


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_numbers_of_every_type(tmp_path: Path, dtype: str) -> None:
    images = (X["train"] // 2).astype(dtype)
    found = formats.read(write(tmp_path / "a", X=images))
    np.testing.assert_array_equal(found.train.x, images.transpose(3, 0, 1, 2))
    assert found.train.x.dtype == np.dtype(dtype)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected X of 4 axes of numbers.*received complex"):
        formats.read(write(tmp_path / "a", X=X["train"] + 1j))


def content(compressed: bool) -> bytes:
    stream = io.BytesIO()
    savemat(stream, {"X": X["train"][:2, :2], "y": Y["train"]}, do_compression=compressed)
    return stream.getvalue()


@pytest.mark.fuzz
@given(mutations(content(True)) | mutations(content(False)))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.mat"
    path.write_bytes(content)
    read_or_refuse(mat.read, path)
