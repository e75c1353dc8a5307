"""Arrays by name: of an ``.npz`` file, or of a folder of ``.npy`` files that stay on disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fedgen.data import raw
from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw
from fedgen.errors import InputError
from fedgen.files import npz

KEYS = ("x_train", "y_train", "x_test", "y_test")
CLIENTS = ("client", "client_test")
TEXTS = (*CLIENTS, "y", "y_train", "y_test", "y_validation")
"""Arrays that may be of strings."""

OWN = (*KEYS, *CLIENTS, "x_validation", "y_validation")
"""The names of ``fedgen.data.raw.of``, of which ``KEYS`` must be there."""

MEDMNIST = {
    f"{theirs}_{kind}": f"{axis}_{ours}"
    for theirs, ours in (("train", "train"), ("test", "test"), ("val", "validation"))
    for kind, axis in (("images", "x"), ("labels", "y"))
}
"""The names of Yang et al., "MedMNIST v2", Scientific Data 10, 2023 (arXiv 2110.14795)."""

SINGLE = {"x": "x_train", "y": "y_train", "client": "client"}
"""The names of files with one split."""


def read(path: Path) -> Raw:
    """Read an ``.npz`` file; keys, dtypes and sizes are checked before the first array is read.

    Raises:
        InputError: If the file or an array in it is missing, unreadable, of the wrong kind
            (object arrays are refused), or more than fits into the memory that is free.
    """
    with limits.reading(path, ".npz of plain arrays"), path.open("rb") as stream:
        found = npz.names(stream)
        wanted = layout(path, found)
        arrays = npz.read(stream, list(wanted), limits.free(), texts=TEXTS)
        return _raw(dict(zip(wanted.values(), arrays, strict=True)), found, wanted)


def read_folder(path: Path) -> Raw:
    """Read a folder of ``.npy`` files, whose samples stay on disk until they are looked at.

    Raises:
        InputError: If a file is missing, unreadable, or no plain array.
    """
    with limits.reading(path, "folder of .npy files"):
        found = sorted(file.stem for file in path.glob("*.npy"))
        wanted = layout(path, found)
        arrays = {ours: _mapped(path / f"{theirs}.npy") for theirs, ours in wanted.items()}
        return _raw(arrays, found, wanted)


def is_folder(path: Path) -> bool:
    """Whether a folder has such files."""
    names = {file.stem for file in path.glob("*.npy")}
    return bool(names & {*KEYS, *MEDMNIST, "x", "y"})


def layout(path: Path, found: Iterable[str]) -> dict[str, str]:
    """Return which arrays to read, and what ``fedgen.data.raw.of`` calls them.

    Args:
        path: The file or folder, for errors.
        found: The names that it has.

    Raises:
        InputError: If some are missing.
    """
    names = list(dict.fromkeys(found))
    if {"train_images", "train_labels"} & {*names}:
        known: Mapping[str, str] = MEDMNIST
        needed = tuple(name for name in MEDMNIST if name[:3] != "val" or name in names)
        if {"val_images", "val_labels"} & {*names}:
            needed = tuple(MEDMNIST)
    elif {"x", "y"} & {*names} and not {*KEYS} & {*names}:
        known, needed = SINGLE, ("x", "y")
    else:
        known, needed = {name: name for name in OWN}, KEYS
        if {"x_validation", "y_validation"} & {*names}:
            needed = (*KEYS, "x_validation", "y_validation")
    missing = [name for name in needed if name not in names]
    if missing:
        others = [name for name in names if name not in known]
        beside = f": {limits.few(others)}" if others else ""
        raise InputError(
            f"data file {path}: expected arrays {', '.join(needed)}, "
            f"missing {', '.join(missing)}{beside}"
        )
    return {theirs: ours for theirs, ours in known.items() if theirs in names}


def _raw(arrays: dict[str, Array], found: Iterable[str], used: Iterable[str]) -> Raw:
    others = [name for name in dict.fromkeys(found) if name not in {*used}]
    return raw.of(arrays, notes=(f"arrays: not used: {limits.few(others)}",) if others else ())


def _mapped(file: Path) -> Array:
    """Return the array of a file: samples as they lie on disk, labels and clients in memory."""
    samples = file.stem[:1] == "x" or file.stem.endswith("_images")
    kinds = npz.PLAIN + npz.TEXT if file.stem in TEXTS else npz.PLAIN
    with file.open("rb") as content:
        size = npz.check_header(content, file.name, file.stat().st_size, kinds)
    if samples and size:  # what is empty cannot be mapped
        mapped: Array = np.lib.format.open_memmap(file, mode="r")
        return mapped
    limits.check(file, size)
    array: Array = np.load(file, allow_pickle=False)
    npz.check_text(file.name, array)
    return array
