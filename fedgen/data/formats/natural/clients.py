"""One ``.npz`` file a client: ``DIR/CLIENT.npz``, or ``DIR/{train,test}/CLIENT.npz``."""

from pathlib import Path

import numpy as np

from fedgen.data import raw
from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError
from fedgen.files import npz

SPLITS = ("train", "test")

_BOTH = ("x_train", "y_train", "x_test", "y_test")


def is_folder(path: Path) -> bool:
    """Whether a folder has ``.npz`` files, in itself or under ``train``."""
    return any(path.glob("*.npz")) or any((path / "train").glob("*.npz"))


def read(path: Path) -> Raw:
    """Read the samples of every client; clients are called as their files are.

    Args:
        path: A folder of files with ``x`` and ``y``, or with ``x_train``, ``y_train``, ``x_test``
            and ``y_test``; or one with folders ``train`` and, it may be, ``test`` of such files.

    Raises:
        InputError: If a file is unreadable, lacks an array, has samples of another shape or type
            than the first, or all take more than the memory that is free.
    """
    if any((path / "train").glob("*.npz")):
        train, test = (_split(path / split) for split in SPLITS)
        return Raw(_joined(path, train, "x", "y"), _joined(path, test, "x", "y") if test else None)
    found = _split(path)
    if all("x" in arrays for arrays in found.values()):
        return Raw(_joined(path, found, "x", "y"))
    return Raw(_joined(path, found, "x_train", "y_train"), _joined(path, found, "x_test", "y_test"))


def _split(folder: Path) -> dict[str, dict[str, Array]]:
    """Return the arrays of every client, by the client's name."""
    found: dict[str, dict[str, Array]] = {}
    left = limits.free() // 2  # once as they are read, and once after one another
    for file in sorted(folder.glob("*.npz")):
        with limits.reading(file, ".npz of plain arrays"), file.open("rb") as stream:
            names = npz.names(stream)
            wanted = ("x", "y") if {"x", "y"} & {*names} else _BOTH
            missing = [name for name in wanted if name not in names]
            if missing:
                raise InputError(
                    f"data file {file}: expected arrays {', '.join(wanted)} of one client, missing "
                    f"{', '.join(missing)}"
                )
            arrays = npz.read(stream, wanted, left)
        left -= sum(array.nbytes for array in arrays)
        found[file.stem] = dict(zip(wanted, arrays, strict=True))
    return found


def _joined(path: Path, found: dict[str, dict[str, Array]], x: str, y: str) -> Samples:
    """Return the samples of all clients after one another."""
    first = next(iter(found))
    for client, arrays in found.items():
        if x not in arrays:
            raise InputError(
                f"data file {path}: {client} has x and y, and others x_train and so on; write all "
                "alike"
            )
        mine, labels, model = arrays[x], arrays[y], found[first][x]
        if not mine.ndim or not labels.ndim or len(mine) != len(labels):
            raise InputError(
                f"data file {path}: {client}: expected as many of {y} as of {x}, received shapes "
                f"{labels.shape} and {mine.shape}"
            )
        if mine.shape[1:] != model.shape[1:] or mine.dtype != model.dtype:
            raise InputError(
                f"data file {path}: {client}: expected {model.dtype} of shape {model.shape[1:]} as "
                f"{first} has, received {mine.dtype} of {mine.shape[1:]}"
            )
        if labels.shape[1:] != found[first][y].shape[1:]:
            raise InputError(
                f"data file {path}: {client}: expected {y} of shape {found[first][y].shape[1:]} "
                f"each as {first} has, received {labels.shape[1:]}"
            )
    counts = [len(arrays[x]) for arrays in found.values()]
    return raw.Samples(
        np.concatenate([arrays[x] for arrays in found.values()]),
        np.concatenate([arrays[y] for arrays in found.values()]),
        np.repeat(np.array(list(found), np.str_), counts),
    )
