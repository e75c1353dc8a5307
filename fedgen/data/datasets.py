"""Data sets by name or file: found, read, and kept for the next call.

Nothing here is ever unpickled.
"""

import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedgen.config.sections import HUB, SYNTHETIC, Data
from fedgen.data import archives, dataset, formats, inputs, labels, raw
from fedgen.data.dataset import Dataset
from fedgen.data.formats.natural import synthetic
from fedgen.errors import InputError
from fedgen.files import disk

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")

DIGITS = "digits"

DEFAULTS = Data()

_held: dict[Path, tuple[disk.Stamp, tuple[NDArray[Any], ...]]] = {}
"""Arrays of files that are not written yet."""

_holds = itertools.count()


def load(data: Data) -> Dataset:
    """Load the data set that a config names.

    The arrays are kept for the next call, as long as the files that they are from are the same: by
    their places, sizes, times and inodes.

    Raises:
        InputError: If a file is missing, cannot be downloaded, or is not what
            it should be.
    """
    folder, name = archives.data_dir(data.data_dir), data.dataset
    if not is_path(name) and name not in archives.PUBLISHED:
        return _read(data, None, ())
    path = archives.find(name, folder) if name in archives.PUBLISHED else Path(name)
    return _read(data, path, _held[path][0] if path in _held else _stamp(path))


def is_path(name: str) -> bool:
    """Whether the name of a data set is a file or folder."""
    return not (
        name in (DIGITS, SYNTHETIC, *archives.PUBLISHED) or name.startswith((f"{SYNTHETIC}:", HUB))
    )


def _stamp(path: Path) -> disk.Stamp:
    """Return what changes when a file does, or any in a folder."""
    if not path.is_dir():
        return disk.stamp(path)
    return tuple(part for file in sorted(path.rglob("*")) for part in disk.stamp(file))


def absolute(data: Data) -> Data:
    """Make the paths of a data set absolute: a run may be resumed from another directory."""
    update: dict[str, Any] = {}
    if folder := data.data_dir or os.environ.get("FEDGEN_DATA_DIR", ""):
        update["data_dir"] = str(Path(folder).absolute())
    if is_path(data.dataset):
        update["dataset"] = str(Path(data.dataset).absolute())
    return data.model_copy(update=update)


def hold(path: Path, arrays: Sequence[ArrayLike]) -> Path:
    """Keep the arrays of a data set under the name of a file that is not written yet.

    Args:
        path: The file, an ``.npz``, as a config names it.
        arrays: ``x_train, y_train, x_test, y_test``, as ``from_arrays`` takes them.

    Returns:
        The path, under which ``load`` finds them in this process until ``write``.
    """
    # What is trained on must not change, and objects would be pickled into the file.
    copies = tuple(labels.as_strings(np.array(array)) for array in arrays)
    _held[path] = (next(_holds),), copies
    return path


def write(path: Path) -> None:
    """Write the arrays that are kept under a file's name into it, and keep them no more.

    They must have been loaded before: only what ``from_arrays`` takes can be read again.

    Raises:
        RunError: If it cannot be written.
    """
    arrays: dict[str, Any] = dict(zip(NPZ_KEYS, _held[path][1], strict=True))
    content = io.BytesIO()
    np.savez(content, **arrays)
    disk.replace(path, content.getvalue())
    release(path)


def release(path: Path) -> None:
    """Keep the arrays of a file that is not written no more, if they are kept."""
    _held.pop(path, None)


@lru_cache(maxsize=2)
def _read(settings: Data, path: Path | None, stamp: disk.Stamp) -> Dataset:
    """Read a data set; one with another stamp is another."""
    name = settings.dataset
    if name == DIGITS:
        _check_layout(settings)
        return dataset.of(name, _digits(), settings, source="scikit-learn")
    if name == SYNTHETIC or name.startswith(f"{SYNTHETIC}:"):
        return dataset.of(name, _synthetic(name), settings, source="drawn at random")
    if path is None:  # a hub's
        return read(Path(name), name.removeprefix(HUB), settings)
    if held := _held.get(path):
        arrays = dict(zip(NPZ_KEYS, held[1], strict=True))
        return dataset.of(path.stem, raw.of(arrays), settings, source="memory")
    if name not in archives.PUBLISHED:
        return read(path, path.stem, settings)
    published = archives.PUBLISHED[name]
    own = path.name == archives.own_name(name) and path.parent != archives.cache()
    if not own:
        archives.verify(name, path)
        _check_layout(settings)
    found = read(path, name, settings, **published.options)
    if not own or archives.has_hash(path, published.files[0]):
        return found
    told = f"data: {name} is read from {path.name}, which is not the published file"
    return replace(found, other_notes=(told, *found.other_notes))


def _check_layout(settings: Data) -> None:
    if settings.layout == inputs.CHANNELS_FIRST:
        raise InputError(
            f"data.layout: expected 'auto' or 'channels-last' for {settings.dataset}, whose layout "
            f"is known, received {settings.layout!r}"
        )


def read(path: Path, name: str, settings: Data = DEFAULTS, **options: Any) -> Dataset:
    """Read a file or folder of any known format.

    Args:
        path: The file or folder; ``hf:NAME`` for a hub's.
        name: What outputs call it.
        settings: How it is read.
        options: What its reader must be told beside that.

    Raises:
        InputError: If it is missing, unreadable, of the wrong kind (object arrays are refused, and
            nothing is unpickled but CIFAR's plain arrays), or more than fits into the memory that
            is free.
    """
    options |= {"labels": settings.labels, "target": settings.target, "client": settings.client}
    found = formats.read(path, **options)
    try:
        return dataset.of(name, found, settings, source=str(path))
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from error


def _synthetic(name: str) -> raw.Raw:
    """Draw Synthetic(alpha, beta) by its name: "synthetic", or "synthetic:0.5,0.5"."""
    _, _, given = name.partition(":")
    try:
        alpha, beta = map(float, given.split(",")) if given else (1.0, 1.0)
    except ValueError as error:
        raise InputError(
            f"data.dataset {name!r}: expected synthetic:ALPHA,BETA, two numbers from 0 on"
        ) from error
    return synthetic.read(alpha=alpha, beta=beta)


def _digits() -> raw.Raw:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.images.astype(np.uint8), bunch.target, test_size=0.2, random_state=0
    )
    return raw.Raw(raw.Samples(x_train, y_train), raw.Samples(x_test, y_test), usual=16)
