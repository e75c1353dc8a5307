"""Arrays by name: of .npz files, of MedMNIST's, and of folders that stay on disk."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from mutations import mutations, read_or_refuse

from fedgen.data import formats
from fedgen.data.formats.arrays import npz
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
OWN: dict[str, Any] = {
    "x_train": DRAW.integers(0, 256, (6, 4, 5), np.uint8),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "client": np.array(["anna", "bo", "anna", "bo", "anna", "bo"]),
    "x_test": DRAW.integers(0, 256, (3, 4, 5), np.uint8),
    "y_test": np.array([2, 1, 0]),
    "client_test": np.array(["bo", "bo", "anna"]),
    "x_validation": DRAW.integers(0, 256, (2, 4, 5), np.uint8),
    "y_validation": np.array([1, 1]),
}
MEDMNIST = {
    f"{split}_{kind}": array
    for split, count in (("train", 5), ("val", 3), ("test", 4))
    for kind, array in (
        ("images", DRAW.integers(0, 256, (count, 28, 28, 3), np.uint8)),
        ("labels", DRAW.integers(0, 9, (count, 1), np.uint8)),
    )
}


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def folder(path: Path, **arrays: Any) -> Path:
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


@pytest.mark.parametrize("write", [save, folder])
def test_every_array_is_read_back(tmp_path: Path, write: Any) -> None:
    found = formats.read(write(tmp_path / "a.npz", **OWN))
    assert found.test is not None and found.validation is not None
    for split, suffix in ((found.train, "train"), (found.test, "test")):
        np.testing.assert_array_equal(split.x, OWN[f"x_{suffix}"])
        np.testing.assert_array_equal(split.y, OWN[f"y_{suffix}"])
    np.testing.assert_array_equal(found.train.client, OWN["client"])
    np.testing.assert_array_equal(found.test.client, OWN["client_test"])
    np.testing.assert_array_equal(found.validation.x, OWN["x_validation"])
    np.testing.assert_array_equal(found.validation.y, OWN["y_validation"])
    assert (found.names, found.notes) == ((), ())


@pytest.mark.parametrize("write", [save, folder])
def test_medmnist_has_a_validation_split_of_its_own(tmp_path: Path, write: Any) -> None:
    found = formats.read(write(tmp_path / "a.npz", **MEDMNIST))
    for split, name in ((found.train, "train"), (found.validation, "val"), (found.test, "test")):
        assert split is not None and split.client is None
        np.testing.assert_array_equal(split.x, MEDMNIST[f"{name}_images"])
        np.testing.assert_array_equal(split.y, MEDMNIST[f"{name}_labels"])


@pytest.mark.parametrize("write", [save, folder])
def test_a_single_split_has_no_test(tmp_path: Path, write: Any) -> None:
    arrays = {"x": OWN["x_train"], "y": OWN["y_train"], "client": np.arange(6)}
    found = formats.read(write(tmp_path / "a.npz", **arrays))
    np.testing.assert_array_equal(found.train.x, arrays["x"])
    np.testing.assert_array_equal(found.train.client, np.arange(6))
    assert (found.test, found.validation) == (None, None)


def test_samples_of_a_folder_stay_on_disk(tmp_path: Path) -> None:
    found = formats.read(folder(tmp_path / "a", **OWN), limit=10_000)
    assert isinstance(found.train.x, np.memmap) and not isinstance(found.train.y, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.train.x[0] = 0


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    found = formats.read(save(tmp_path / "a.npz", **OWN, extra=np.zeros(2)))
    assert found.notes == ("arrays: not used: extra",)


@pytest.mark.parametrize("write", [save, folder])
@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x_train": 1, "y_train": 1}, "expected arrays .*, missing x_test, y_test$"),
        ({"x_train": 1, "y_train": 1, "x_test": 1, "z": 1}, "missing y_test: z$"),
        ({"train_images": 1, "train_labels": 1, "test_images": 1}, "missing test_labels$"),
        ({"x": 1}, "expected arrays x, y, missing y$"),
        (OWN | {"y_validation": None}, "not a readable|missing y_validation"),
        (OWN | {"x_train": np.array([{}] * 6)}, "expected booleans or numbers, received object"),
        (OWN | {"client": np.array([{}] * 6)}, "expected numbers or text, received object"),
        (
            OWN | {"y_train": OWN["y_train"][:5]},
            "y_train: expected 6 labels as x_train has, received 5",
        ),
        (OWN | {"client": OWN["client"][:5]}, "clients of train: expected 6 .* received 5"),
        (OWN | {"x_train": np.uint8(3)}, "x_train and y_train: expected arrays of samples"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, write: Any, arrays: dict, why: str) -> None:
    kept = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(InputError, match=why) as caught:
        formats.read(write(tmp_path / "a.npz", **kept))
    assert str(tmp_path) in str(caught.value)


def test_a_missing_half_of_a_validation_split_is_named(tmp_path: Path) -> None:
    arrays = {name: array for name, array in OWN.items() if name != "x_validation"}
    with pytest.raises(InputError, match="missing x_validation$"):
        formats.read(save(tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_than_it_says_is_refused(tmp_path: Path, change: int) -> None:
    file = folder(tmp_path / "a", **OWN) / "x_train.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] if change < 0 else content + b"\0")
    with pytest.raises(InputError, match=rf"takes 120 bytes, {120 + change} are there"):
        formats.read(tmp_path / "a")


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    file = folder(tmp_path / "a", **OWN) / "client.npy"
    file.write_bytes(file.read_bytes()[:-4] + b"\xff\xff\xff\x7f")
    with pytest.raises(InputError, match="not Unicode text"):
        formats.read(tmp_path / "a")


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take 452 bytes, at most 451 are allowed"):
        formats.read(save(tmp_path / "a.npz", **OWN), limit=451)
    formats.read(tmp_path / "a.npz", limit=452)


def content(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.fuzz
@given(mutations(content(**OWN)) | mutations(content(**MEDMNIST)))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-arrays.npz"
    path.write_bytes(content)
    read_or_refuse(npz.read, path)


def array_file(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.fuzz
@given(mutations(array_file(OWN["x_train"])), mutations(array_file(OWN["client"])))
def test_any_folder(
    tmp_path_factory: pytest.TempPathFactory, samples: bytes, clients: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-folder"
    if not path.exists():
        folder(path, **OWN)
    (path / "x_train.npy").write_bytes(samples)
    (path / "client.npy").write_bytes(clients)
    read_or_refuse(npz.read_folder, path)
