"""Data sets: read, checked, and held as uint8 or float32 arrays.

Nothing here is ever unpickled.
"""

import hashlib
import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

from fedgen.config.sections import Data
from fedgen.data import archives, cifar, labels, pixels
from fedgen.errors import InputError
from fedgen.files import disk, npz

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")

_held: dict[Path, tuple[disk.Stamp, tuple[NDArray[Any], ...]]] = {}
"""Arrays of files that are not written yet."""

_holds = itertools.count()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split into training and test set.

    Attributes:
        name: What outputs call it.
        x_train: Array of shape (n, height, width, channels), uint8 or float32.
        y_train: Array of shape (n,), int32, classes from 0.
        x_test: Like ``x_train``, of another length.
        y_test: Like ``y_train``, of another length.
        scale: Factor that models see pixel values times: 1 over ``data.scale``.
        labels: What the data call every class, in ascending order; often 0, 1, 2 and so on.
        fingerprint: SHA-256 of shapes, dtypes and contents, of labels that are not 0, 1, 2 and so
            on, and of a scale that is not the usual one.
        source: Where it came from, for people.
        scale_note: What must be said of the scale, if anything.
        other_notes: What else must be said of how the data were read.
    """

    name: str
    x_train: NDArray[np.generic]
    y_train: NDArray[np.int32]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.int32]
    scale: float
    labels: tuple[int, ...]
    fingerprint: str
    source: str
    scale_note: str = ""
    other_notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.x_train.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def classes(self) -> int:
        """Number of labels."""
        return len(self.labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What outputs call every class: its label."""
        return tuple(map(str, self.labels))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must hear of how the data were read, a line each; often nothing."""
        return (*filter(None, [self.scale_note]), *self.other_notes)

    @property
    def told(self) -> dict[str, Any]:
        """What outputs keep of how the data were read, where there is something."""
        named = [] if labels.are_classes(self.labels) else [*self.labels]
        found = {"notes": [*self.notes], "labels": named}
        return {name: values for name, values in found.items() if values}

    @property
    def holds_ids(self) -> bool:
        """Whether models see whole numbers from 0, as an embedding needs, and not scaled pixels."""
        return self.scale == 1 and all(
            images.dtype == np.uint8 or bool((images == np.abs(np.rint(images))).all())
            for images in (self.x_train, self.x_test)
        )


def load(data: Data) -> Dataset:
    """Load the data set that a config names.

    The arrays are kept for the next call, as long as the file that they are from is the same: by
    its place, size, times and inode.

    Raises:
        InputError: If a file is missing, cannot be downloaded, or is not what
            it should be.
    """
    folder, name = archives.data_dir(data.data_dir), data.dataset
    if name == "digits":
        return _read(name, None, (), data.scale, data.layout)
    path = archives.find(name, folder) if name in archives.PUBLISHED else Path(name)
    stamp = _held[path][0] if path in _held else disk.stamp(path)
    return _read(name, path, stamp, data.scale, data.layout)


def absolute(data: Data) -> Data:
    """Make the paths of a data set absolute: a run may be resumed from another directory."""
    update: dict[str, Any] = {}
    if folder := data.data_dir or os.environ.get("FEDGEN_DATA_DIR", ""):
        update["data_dir"] = str(Path(folder).absolute())
    if data.dataset.endswith(".npz"):
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
    copies = tuple(np.array(array) for array in arrays)  # what is trained on must not change
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
def _read(
    dataset: str, path: Path | None, stamp: disk.Stamp, scale: float | str, layout: str
) -> Dataset:
    """Read a data set; a file with another stamp is another file."""
    if path is None:
        _check_layout(dataset, layout)
        return _digits(scale)
    if held := _held.get(path):
        return from_arrays(path.stem, *held[1], source="memory", scale=scale, layout=layout)
    if dataset not in archives.PUBLISHED:
        return read_npz(path, path.stem, scale=scale, layout=layout)
    archive = archives.PUBLISHED[dataset]
    if path == archives.cache() / archive.name:
        path = archives.fetch(archive, path.parent)  # again, if it was altered there
    elif path.suffix != ".npz":
        archives.check_hash(path, archive)
    if path.suffix != ".npz":
        _check_layout(dataset, layout)
        return read_cifar10(path, scale=scale)
    found = read_npz(path, dataset, scale=scale, layout=layout)
    if archives.has_hash(path, archive):
        return found
    told = f"data: {dataset} is read from {path.name}, which is not the published file"
    return replace(found, other_notes=(told, *found.other_notes))


def _check_layout(dataset: str, layout: str) -> None:
    if layout == pixels.CHANNELS_FIRST:
        raise InputError(
            f"data.layout: expected 'auto' or 'channels-last' for {dataset}, whose layout is "
            f"known, received {layout!r}"
        )


def read_cifar10(path: Path, *, scale: float | str = pixels.AUTO) -> Dataset:
    """Read the binary CIFAR-10 archive.

    Raises:
        InputError: If it is not what it should be; see ``fedgen.data.cifar``.
    """
    train, test = cifar.read(path)
    return from_arrays("cifar10", *train, *test, source=str(path), scale=scale)


def read_npz(
    path: Path,
    name: str,
    *,
    scale: float | str = pixels.AUTO,
    layout: str = pixels.AUTO,
) -> Dataset:
    """Read ``x_train, y_train, x_test, y_test`` from an ``.npz`` file.

    Keys, dtypes and sizes are checked before the first array is read.

    Args:
        path: The file.
        name: What outputs call it.
        scale: As ``from_arrays`` takes it.
        layout: Likewise.

    Raises:
        InputError: If the file or an array in it is missing, unreadable, of the
            wrong kind (object arrays are refused), or more than fits into the
            memory that is free.
    """
    try:
        with path.open("rb") as stream:
            found = npz.names(stream)
            missing = [key for key in NPZ_KEYS if key not in found]
            others = [key for key in dict.fromkeys(found) if key not in NPZ_KEYS]
            if missing:
                raise InputError(
                    f"data file {path}: expected arrays {', '.join(NPZ_KEYS)}, "
                    f"missing {', '.join(missing)}{_beside(others)}"
                )
            arrays = npz.read(stream, NPZ_KEYS, psutil.virtual_memory().available)
    except FileNotFoundError as error:
        raise InputError(f"data file {path}: does not exist") from error
    except npz.DAMAGE as error:
        raise InputError(
            f"data file {path}: not a readable .npz of plain arrays ({error})"
        ) from error
    notes = (f"arrays: not used{_beside(others)}",) if others else ()
    try:
        return from_arrays(name, *arrays, source=str(path), scale=scale, layout=layout, notes=notes)
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from error


def _beside(names: Sequence[str]) -> str:
    """Return names of arrays after a colon, few and printable: anybody may have chosen them."""
    shown = [ascii(name[:40])[1:-1] for name in names[:8]]
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f": {', '.join(shown)}{more}" if names else ""


def from_arrays(
    name: str,
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_test: ArrayLike,
    y_test: ArrayLike,
    *,
    source: str,
    scale: float | str = pixels.AUTO,
    layout: str = pixels.AUTO,
    usual: float | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Check arrays and make a data set of them.

    Args:
        name: What outputs call it.
        x_train: (n, height, width) or (n, height, width, channels); uint8, or floats in [0, 1],
            or any finite numbers that float32 holds where ``scale`` is a number.
        y_train: (n,) or (n, 1) integer labels; the different ones become classes from 0 on.
        x_test: Like ``x_train``.
        y_test: Like ``y_train``, all of them among those of ``y_train``.
        source: Where it came from, for people.
        scale: What pixel values are divided by; see ``pixels.divisor`` for "auto".
        layout: Where channels are; see ``pixels.find_layout`` for "auto".
        usual: What "auto" divides by where images are known.
        notes: What must be said of them already.

    Raises:
        InputError: Naming the array, what was expected and what was received.
    """
    raw = [np.asarray(array) for array in (x_train, y_train, x_test, y_test)]
    where = pixels.find_layout("x_train", raw[0].shape, layout)
    train, test = (
        pixels.as_stored(key, pixels.arrange(key, array, where), scaled=not isinstance(scale, str))
        for key, array in (("x_train", raw[0]), ("x_test", raw[2]))
    )
    given = labels.read("y_train", raw[1]), labels.read("y_test", raw[3])
    for split, images, mine in (("train", train, given[0]), ("test", test, given[1])):
        if len(mine) != len(images):
            raise InputError(
                f"y_{split}: expected {len(images)} labels as x_{split} has, received {len(mine)}"
            )
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise InputError(
            f"x_test: expected {train.dtype} images of shape {train.shape[1:]} as x_train has, "
            f"received {test.dtype} of {test.shape[1:]}"
        )
    if len(train) < 2:
        raise InputError(f"x_train: expected at least 2 images, received {len(train)}")
    classes, tested, names = labels.classify(*given)
    divisor, scale_note = pixels.divisor(train, test, scale, usual)
    digest = hashlib.sha256()
    for array in (train, classes, test, tested):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    if not labels.are_classes(names):
        digest.update(f"labels{names}".encode())
    if divisor != (usual or (255 if train.dtype == np.uint8 else 1)):
        digest.update(f"scale{divisor!r}".encode())
    return Dataset(
        name=name,
        x_train=train,
        y_train=classes,
        x_test=test,
        y_test=tested,
        scale=1 / divisor,
        labels=names,
        fingerprint=digest.hexdigest(),
        source=source,
        scale_note=scale_note,
        other_notes=(*notes, *filter(None, [labels.note(names)])),
    )


def _digits(scale: float | str) -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.images.astype(np.uint8), bunch.target, test_size=0.2, random_state=0
    )
    return from_arrays(
        "digits", x_train, y_train, x_test, y_test, source="scikit-learn", scale=scale, usual=16
    )
