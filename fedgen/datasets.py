"""Data sets: found, downloaded, checked, and held as uint8 or float32 arrays.

Nothing here is ever unpickled.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pooch
import psutil
from numpy.typing import NDArray

from fedgen import cifar, npz
from fedgen.errors import InputError, Unavailable
from fedgen.sections import Data

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Archive:
    """A file that a data set is published as.

    Attributes:
        url: Where it is downloaded from.
        sha256: Its hash, in hexadecimal.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


CIFAR10 = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
MNIST = Archive(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split into training and test set.

    Attributes:
        name: What outputs call it.
        x_train: Array of shape (n, height, width, channels), uint8 or float32.
        y_train: Array of shape (n,), int32, labels from 0.
        x_test: Like ``x_train``, of another length.
        y_test: Like ``y_train``, of another length.
        scale: Factor that maps pixels to [0, 1].
        classes: Number of labels.
        fingerprint: SHA-256 of shapes, dtypes and contents.
        source: Where it came from, for people.
    """

    name: str
    x_train: NDArray[np.generic]
    y_train: NDArray[np.int32]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.int32]
    scale: float
    classes: int
    fingerprint: str
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.x_train.shape[1:]
        return int(height), int(width), int(channels)


@lru_cache(maxsize=2)
def load(data: Data) -> Dataset:
    """Load the data set that a config names; the arrays are kept for the next call.

    Raises:
        InputError: If a file is missing, cannot be downloaded, or is not what
            it should be.
    """
    folder = _data_dir(data)
    if data.dataset == "digits":
        return _digits()
    if data.dataset == "cifar10":
        return _published("cifar10", CIFAR10, folder)
    if data.dataset == "mnist":
        return _published("mnist", MNIST, folder)
    return read_npz(Path(data.dataset), Path(data.dataset).stem)


def _data_dir(data: Data) -> Path | None:
    named = data.data_dir or os.environ.get("FEDGEN_DATA_DIR", "")
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(
            f"data directory {named}: not an existing directory (--data-dir or FEDGEN_DATA_DIR)"
        )
    return Path(named)


def _published(name: str, archive: Archive, folder: Path | None) -> Dataset:
    if folder is not None:
        own = folder / f"{name}.npz"
        if own.exists():
            return read_npz(own, name)
        if (folder / archive.name).exists():
            check_hash(folder / archive.name, archive)
            return _parse(name, folder / archive.name)
    return _parse(name, fetch(archive, pooch.os_cache("fedgen")))


def _parse(name: str, path: Path) -> Dataset:
    return read_npz(path, name) if path.suffix == ".npz" else read_cifar10(path)


def check_hash(path: Path, archive: Archive) -> None:
    """Check a local archive's hash.

    Raises:
        InputError: If it differs.
    """
    received = pooch.file_hash(str(path), alg="sha256")
    if received != archive.sha256:
        raise InputError(
            f"archive {path}: truncated or altered, expected sha256 {archive.sha256}, "
            f"received {received}. Delete it, or fetch it again from {archive.url}"
        )


def fetch(archive: Archive, cache: Path) -> Path:
    """Download an archive into a cache, or find it there, and check its hash.

    Raises:
        Unavailable: If it cannot be downloaded, stored, or has the wrong hash.
    """
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            archive.url,
            known_hash=f"sha256:{archive.sha256}",
            fname=archive.name,
            path=cache,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
        )
    except ValueError as error:
        raise Unavailable(f"{archive.url}: wrong hash, expected sha256 {archive.sha256}") from error
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise Unavailable(
            f"{archive.name} is not in --data-dir and could not be downloaded from "
            f"{archive.url} ({type(error).__name__}: {cause})"
        ) from error
    return Path(path)


def read_cifar10(path: Path) -> Dataset:
    """Read the binary CIFAR-10 archive.

    Raises:
        InputError: If it is not what it should be; see ``fedgen.cifar``.
    """
    train, test = cifar.read(path)
    return from_arrays("cifar10", *train, *test, source=str(path))


def read_npz(path: Path, name: str) -> Dataset:
    """Read ``x_train, y_train, x_test, y_test`` from an ``.npz`` file.

    Keys, dtypes and sizes are checked before the first array is read.

    Raises:
        InputError: If the file or an array in it is missing, unreadable, of the
            wrong kind (object arrays are refused), or more than fits into the
            memory that is free.
    """
    try:
        with path.open("rb") as stream:
            found = npz.names(stream)
            missing = [key for key in NPZ_KEYS if key not in found]
            if missing:
                raise InputError(
                    f"data file {path}: expected arrays {', '.join(NPZ_KEYS)}, "
                    f"missing {', '.join(missing)}"
                )
            arrays = npz.read(stream, NPZ_KEYS, psutil.virtual_memory().available)
    except FileNotFoundError as error:
        raise InputError(f"data file {path}: does not exist") from error
    except npz.DAMAGE as error:
        raise InputError(
            f"data file {path}: not a readable .npz of plain arrays ({error})"
        ) from error
    try:
        return from_arrays(name, *arrays, source=str(path))
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from error


def from_arrays(
    name: str,
    x_train: NDArray[np.generic],
    y_train: NDArray[np.generic],
    x_test: NDArray[np.generic],
    y_test: NDArray[np.generic],
    *,
    source: str,
    scale: float | None = None,
) -> Dataset:
    """Check arrays and make a data set of them.

    Args:
        name: What outputs call it.
        x_train: (n, height, width) or (n, height, width, channels); uint8, or
            floats in [0, 1].
        y_train: (n,) or (n, 1) integer labels from 0.
        x_test: Like ``x_train``.
        y_test: Like ``y_train``.
        source: Where it came from, for people.
        scale: Factor that maps pixels to [0, 1]; the default is 1/255 for
            uint8 and 1 for floats.

    Raises:
        InputError: Naming the array, what was expected and what was received.
    """
    images = {"x_train": _images("x_train", x_train), "x_test": _images("x_test", x_test)}
    labels = {"y_train": _labels("y_train", y_train), "y_test": _labels("y_test", y_test)}
    for split in ("train", "test"):
        count, wanted = len(labels[f"y_{split}"]), len(images[f"x_{split}"])
        if count != wanted:
            raise InputError(
                f"y_{split}: expected {wanted} labels as x_{split} has, received {count}"
            )
    train, test = images["x_train"], images["x_test"]
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise InputError(
            f"x_test: expected {train.dtype} images of shape {train.shape[1:]} as x_train has, "
            f"received {test.dtype} of {test.shape[1:]}"
        )
    if len(train) < 2:
        raise InputError(f"x_train: expected at least 2 images, received {len(train)}")
    classes = int(labels["y_train"].max()) + 1
    if classes < 2 or int(labels["y_test"].max()) >= classes:
        raise InputError(
            f"y_test: labels must be among those of y_train (0 to {classes - 1}, at least two), "
            f"received up to {int(labels['y_test'].max())}"
        )
    digest = hashlib.sha256()
    for array in (train, labels["y_train"], test, labels["y_test"]):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return Dataset(
        name=name,
        x_train=train,
        y_train=labels["y_train"],
        x_test=test,
        y_test=labels["y_test"],
        scale=scale if scale is not None else (1 / 255 if train.dtype == np.uint8 else 1.0),
        classes=classes,
        fingerprint=digest.hexdigest(),
        source=source,
    )


def _images(key: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.ndim not in (3, 4):
        raise InputError(
            f"{key}: expected shape (n, height, width) or (n, height, width, channels), "
            f"received {array.shape}"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one image, received shape {array.shape}")
    images = array if array.ndim == 4 else array[..., None]
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(f"{key}: expected uint8 or floats in [0, 1], received {array.dtype}")
    low, high = float(images.min()), float(images.max())
    if not (0 <= low and high <= 1):  # NaN fails both
        raise InputError(f"{key}: expected floats in [0, 1], received {low:g} to {high:g}")
    return images.astype(np.float32)


def _labels(key: str, array: NDArray[np.generic]) -> NDArray[np.int32]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{key}: expected integers of shape (n,) or (n, 1), "
            f"received {array.dtype} of shape {array.shape}"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one label, received none")
    if int(array.min()) < 0 or int(array.max()) >= 2**16:
        raise InputError(
            f"{key}: expected labels from 0 to 65535, received {array.min()} to {array.max()}"
        )
    return array.astype(np.int32)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.images.astype(np.uint8), bunch.target, test_size=0.2, random_state=0
    )
    return from_arrays(
        "digits", x_train, y_train, x_test, y_test, source="scikit-learn", scale=1 / 16
    )
