"""IDX files: MNIST's four, EMNIST's on their sides, in folders and zip files."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, one_line, read_or_refuse

from fedgen.data import formats
from fedgen.data.formats.arrays import idx
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
X = {
    split: DRAW.integers(0, 256, (count, 4, 3), np.uint8)
    for split, count in (("train", 5), ("t10k", 2))
}
Y = {"train": np.array([3, 1, 2, 0, 9], np.uint8), "t10k": np.array([9, 0], np.uint8)}


def content(array: np.ndarray, code: int = 8) -> bytes:
    """An IDX file, by its description."""
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def files(prefix: str = "", turned: bool = False, test: str = "t10k") -> dict[str, bytes]:
    found = {}
    for split, name in (("train", "train"), ("t10k", test)):
        images = X[split].swapaxes(1, 2) if turned else X[split]
        found[f"{prefix}{name}-images-idx3-ubyte"] = content(images)
        found[f"{prefix}{name}-labels-idx1-ubyte"] = content(Y[split])
    return found


EMNIST = files("emnist-letters-", turned=True, test="test")


def folder(path: Path, found: dict[str, bytes], packed: bool = False) -> Path:
    path.mkdir(exist_ok=True)
    for name, one in found.items():
        if packed:
            (path / f"{name}.gz").write_bytes(gzip.compress(one))
        else:
            (path / name).write_bytes(one)
    return path


def zipped(path: Path, found: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, one in found.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(one))
    return path


def same(found: formats.found.Raw) -> None:
    assert found.test is not None
    for part, split in ((found.train, "train"), (found.test, "t10k")):
        np.testing.assert_array_equal(part.x, X[split])
        np.testing.assert_array_equal(part.y, Y[split])
        assert part.x.dtype == part.y.dtype == np.uint8


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_back(tmp_path: Path, packed: bool) -> None:
    found = formats.read(folder(tmp_path / "a", files(), packed))
    same(found)
    assert found.notes == ()


def test_files_that_are_there_packed_and_unpacked_are_one(tmp_path: Path) -> None:
    folder(tmp_path / "a", files(), packed=True)
    same(formats.read(folder(tmp_path / "a", files())))


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    for path in (folder(tmp_path / "a", EMNIST, True), zipped(tmp_path / "b", EMNIST)):
        found = formats.read(path)
        same(found)
        assert found.notes == (
            "images: EMNIST's are stored on their sides, and are turned upright",
        )


def test_of_several_data_sets_one_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "b", EMNIST | files("emnist-digits-", test="test"))
    same(formats.read(path, kind="letters"))
    with pytest.raises(InputError, match="name one as kind: digits, letters"):
        formats.read(path)
    with pytest.raises(InputError, match="unknown kind of data .*'letter'.*letters"):
        formats.read(path, kind="letter")


@pytest.mark.parametrize(
    ("code", "dtype"), [(9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_values_of_every_type(tmp_path: Path, code: int, dtype: str) -> None:
    images = (X["train"].astype(int) - 128).astype(dtype)
    changed = files() | {"train-images-idx3-ubyte": content(images, code)}
    found = formats.read(folder(tmp_path / "a", changed))
    np.testing.assert_array_equal(found.train.x, images)
    assert found.train.x.dtype == np.dtype(dtype) and found.train.x.dtype.isnative


IMAGES = content(X["train"])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (IMAGES[:-1], r"says that it has \[5, 4, 3\] values of 1 bytes, received 59 bytes"),
        (IMAGES + b"\0", r"\[5, 4, 3\] values of 1 bytes, received more"),
        (b"\1" + IMAGES[1:], "train-images is no IDX file, by its first four bytes"),
        (IMAGES[:2] + b"\7" + IMAGES[3:], "no IDX file"),
        (IMAGES[:3] + b"\5" + IMAGES[4:], "no IDX file"),
        (b"", "no IDX file"),
        (IMAGES[:9], "ends within its header"),
        (IMAGES[:4] + b"\xff" * 12, "at most .* are allowed"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_none_is_refused(tmp_path: Path, bad: bytes, why: str, packed: bool) -> None:
    path = folder(tmp_path / "a", files() | {"train-images-idx3-ubyte": bad}, packed)
    with pytest.raises(InputError, match=why) as caught:
        formats.read(path)
    one_line(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("t10k-labels-idx1-ubyte", "train-images-idx3-ubyte"):
        found = files()
        del found[name]
        with pytest.raises(InputError, match=f"expected {name}, which is not there"):
            formats.read(folder(tmp_path / name, found))
    del EMNIST_MISSING["emnist-letters-test-images-idx3-ubyte"]
    with pytest.raises(InputError, match="expected emnist-letters-test-images-idx3-ubyte, which"):
        formats.read(folder(tmp_path / "c", EMNIST_MISSING))


EMNIST_MISSING = dict(EMNIST)


@pytest.mark.fuzz
@given(mutations(gzip.compress(IMAGES)), mutations(content(Y["train"])), st.booleans())
def test_any_file(
    tmp_path_factory: pytest.TempPathFactory, images: bytes, labels: bytes, first: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-idx"
    folder(path, files(), packed=True)
    folder(path, files())
    (path / "train-images-idx3-ubyte").unlink()
    if first:
        (path / "train-images-idx3-ubyte.gz").write_bytes(images)
    else:
        (path / "train-labels-idx1-ubyte").write_bytes(labels)
    read_or_refuse(idx.read, path)


@pytest.mark.fuzz
@given(data=st.data())
def test_any_zip_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = zipped(tmp_path_factory.getbasetemp() / "fuzz-idx.zip", EMNIST)
    path.write_bytes(data.draw(mutations(path.read_bytes())))
    read_or_refuse(idx.read, path)
