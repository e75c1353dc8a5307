"""Formats are told by content; options are those of the format."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedgen.data import formats
from fedgen.data.formats.found import FORMATS
from fedgen.errors import InputError

X, Y = np.zeros((3, 2, 2), np.uint8), np.arange(3)


def test_names_do_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "a.npz").rename(tmp_path / "a.csv")
    assert formats.tell(tmp_path / "a.csv").name == "an .npz file"
    assert formats.read(tmp_path / "a.csv").train.y.tolist() == [0, 1, 2]
    (tmp_path / "b.npz").write_text("a,label\n1,0\n2,1\n")
    assert formats.read(tmp_path / "b.npz").train.x.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a", b"\x1f\x8b", "a CIFAR archive"),
        ("a", b"PAR1", "a Parquet file"),
        ("a", b"\x89HDF\r\n\x1a\n", "an HDF5 file of TensorFlow Federated"),
        ("a", b"MATLAB 5.0 MAT-file", "a MATLAB file"),
        ("a", b"PK\x03\x04", "an .npz file"),
        ("a", b' {"users": []', "a JSON file of LEAF"),
        ("a", b"a,b\n", "a CSV file"),
        ("a.csv", b"label\n", "a CSV file"),
        ("a.txt", b"a;b\n", "a CSV file"),
        ("a.tsv", b"a\tb\n", "a CSV file"),
        ("d/x_train.npy", b"", "a folder of .npy files"),
        ("d/train_images.npy", b"", "a folder of .npy files"),
        ("d/train-images-idx3-ubyte.gz", b"", "IDX files"),
        ("d/emnist-digits-test-labels-idx1-ubyte", b"", "IDX files"),
        ("d/train_32x32.mat", b"", "SVHN's MATLAB files"),
        ("d/train-00000-of-00001.parquet", b"", "Parquet files"),
        ("d/data/train.parquet", b"", "Parquet files"),
        ("d/fed_emnist_train.h5", b"", "HDF5 files of TensorFlow Federated"),
        ("d/train/a.json", b'{"users": []', "JSON files of LEAF"),
        ("d/a.json", b'{"user_data": []', "JSON files of LEAF"),
        ("d/anna.npz", b"", "an .npz file for each client"),
        ("d/train/anna.npz", b"", "an .npz file for each client"),
        ("d/dataset_dict.json", b"", "a data set that save_to_disk wrote"),
        ("d/cat/a.PNG", b"", "a folder of images for each class"),
        ("d/train/cat/a.jpg", b"", "a folder of images for each class"),
        ("d/train.csv", b"", "a CSV file"),
    ],
)
def test_every_format_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert formats.tell(tmp_path / name.split("/")[0]).name == told


def test_libraries_are_not_imported_before_they_are_needed() -> None:
    heavy = "{'PIL', 'pyarrow', 'datasets', 'h5py', 'scipy', 'pandas'}"
    code = f"import sys, fedgen.data.formats; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_hub_is_told_by_its_prefix() -> None:
    assert formats.tell(Path("hf:owner/name")).name == "a data set of a hub"


@pytest.mark.parametrize("content", [b"", b"hello", b"\0\1\2,", b"{}", bytes(9)])
def test_what_is_of_no_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=r"data file .*/a: of no known format; expected one of"):
        formats.read(tmp_path / "a")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="data folder .*: of no known format.*IDX files; an .npz"):
        formats.read(tmp_path)
    with pytest.raises(InputError, match="data file .*/none: does not exist"):
        formats.read(tmp_path / "none")


def test_options_that_a_format_does_not_take_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(InputError, match="takes no options, received data.labels='fine'"):
        formats.read(tmp_path / "a.npz", labels="fine")
    with pytest.raises(InputError, match="takes no options, received foo='1'"):
        formats.read(tmp_path / "a.npz", foo=1)
    assert len(formats.read(tmp_path / "a.npz", labels="", client=None).train) == 3


def test_options_are_those_that_readers_take() -> None:
    taken = {option for known in FORMATS for option in known.options}
    assert taken == {*formats.OPTIONS}


def test_a_single_idx_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(bytes(99)))
    with pytest.raises(InputError, match="truncated or not a .tar.gz|missing"):
        formats.read(tmp_path / "a")


def test_json_that_is_not_of_leaf_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="of no known format"):
        formats.read(tmp_path / "a")
