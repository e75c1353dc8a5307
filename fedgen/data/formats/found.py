"""Which format a file or folder is of, told by what is in it and not by its name alone."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from fedgen.config.sections import Data
from fedgen.data.formats import limits
from fedgen.data.formats.arrays import cifar, idx, mat, npz
from fedgen.data.formats.natural import clients, leaf, tff
from fedgen.data.formats.pictures import folder
from fedgen.data.formats.tables import hub, parquet, text
from fedgen.data.raw import Raw
from fedgen.errors import InputError

OPTIONS = ("labels", "target", "client", "kind")
"""What may be said of how to read; each format takes some of them."""


@dataclass(frozen=True)
class Format:
    """A format that is read.

    Attributes:
        name: What people call it.
        tells: Whether a file or folder, given its first bytes or none, is of it.
        read: What reads it; its keyword arguments are the options that it takes.
    """

    name: str
    tells: Callable[[Path, bytes], bool]
    read: Callable[..., Raw]

    @property
    def options(self) -> tuple[str, ...]:
        """The options that it takes."""
        given = signature(self.read).parameters.values()
        return tuple(option.name for option in given if option.kind is Parameter.KEYWORD_ONLY)


def _starts(*magic: bytes) -> Callable[[Path, bytes], bool]:
    return lambda _, start: start.startswith(magic)


def _is(tells: Callable[[Path], bool]) -> Callable[[Path, bytes], bool]:
    """Ask a folder only."""
    return lambda path, _: path.is_dir() and tells(path)


def _has_idx(path: Path, start: bytes) -> bool:
    if path.is_dir():
        return any(idx.names_one(file.name) for file in path.iterdir())
    return start[:2] == b"PK" and any(idx.names_one(name) for name in _members(path))


def _members(path: Path) -> list[str]:
    """Return the names of a zip file's members, none if it is unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.rsplit("/", 1)[-1] for name in archive.namelist()]
    except limits.DAMAGE:  # whoever reads it says what is wrong
        return []


def _is_table(path: Path, start: bytes) -> bool:
    if path.is_dir():
        return text.is_folder(path)
    line = start.split(b"\n", 1)[0]
    separated = any(separator.encode() in line for separator in text.SEPARATORS)
    return b"\0" not in start and (path.suffix.lower() == ".csv" or separated)


FORMATS = (
    Format("a data set of a hub", lambda path, _: str(path).startswith(hub.PREFIX), hub.read),
    Format("IDX files", _has_idx, idx.read),
    Format("an .npz file", _starts(b"PK"), npz.read),
    Format("a CIFAR archive", _starts(b"\x1f\x8b"), cifar.read),
    Format("a Parquet file", _starts(b"PAR1"), parquet.read),
    Format("an HDF5 file of TensorFlow Federated", _starts(b"\x89HDF"), tff.read),
    Format("a MATLAB file", _starts(b"MATLAB"), mat.read),
    Format("a folder of .npy files", _is(npz.is_folder), npz.read_folder),
    Format("SVHN's MATLAB files", _is(mat.is_folder), mat.read),
    Format("a data set that save_to_disk wrote", _is(hub.is_folder), hub.read),
    Format("Parquet files", _is(parquet.is_folder), parquet.read),
    Format("HDF5 files of TensorFlow Federated", _is(tff.is_folder), tff.read),
    Format("JSON files of LEAF", _is(leaf.is_folder), leaf.read),
    Format("an .npz file for each client", _is(clients.is_folder), clients.read),
    Format("a folder of images for each class", _is(folder.is_folder), folder.read),
    Format("a JSON file of LEAF", lambda path, _: path.is_file() and leaf.is_file(path), leaf.read),
    Format("a CSV file", _is_table, text.read),
)
"""What is read, in the order in which it is told: what is surer first."""


SUFFIXES = {
    ".npz": "an .npz file",
    ".gz": "a CIFAR archive",
    ".parquet": "a Parquet file",
    ".mat": "a MATLAB file",
    ".json": "a JSON file of LEAF",
    ".csv": "a CSV file",
}
"""What a file is by its name, where what is in it is nothing known."""


def tell(path: Path) -> Format:
    """Return the format that a file or folder is of.

    Raises:
        InputError: If it is not there, or of none.
    """
    start = b""
    if not str(path).startswith(hub.PREFIX):
        with limits.reading(path, "file or folder"):
            if not path.is_dir():
                with path.open("rb") as stream:
                    start = stream.read(4096)
    with limits.reading(path, "file or folder"):
        for known in FORMATS:
            if known.tells(path, start):
                return known
    if path.is_file() and path.suffix in SUFFIXES:  # its reader says what is wrong
        return next(known for known in FORMATS if known.name == SUFFIXES[path.suffix])
    what = "folder" if path.is_dir() else "file"
    expected = "; ".join(known.name for known in FORMATS)
    raise InputError(f"data {what} {path}: of no known format; expected one of: {expected}")


def read(path: Path, *, limit: int | None = None, **options: Any) -> Raw:
    """Read a data set from a file, a folder, or a hub.

    Args:
        path: Where it is; ``hf:NAME`` for a hub's.
        limit: Most bytes that its arrays may take, ``None`` for all that are free.
        options: What ``OPTIONS`` names, as the format takes them; empty ones are not said.

    Raises:
        InputError: If it is not there, of no known format, not what it should be, too large, or
            an option is not one of its format's.
    """
    known = tell(path)
    said = {name: value for name, value in options.items() if value not in (None, "")}
    for name, value in said.items():
        if name not in known.options:
            takes = ", ".join(map(_setting, known.options)) or "no options"
            raise InputError(
                f"data {path}: {known.name} takes {takes}, received "
                f"{_setting(name)}={str(value)[:40]!r}"
            )
    with limits.at_most(limit):
        found = known.read(path, **said)
    _check(path, found)
    return found


def _setting(option: str) -> str:
    """Return what users call an option, if they can set it."""
    return f"data.{option}" if option in Data.model_fields else option


def _check(path: Path, found: Raw) -> None:
    """Refuse samples that have not as many labels and clients."""
    for split in ("train", "test", "validation"):
        part = getattr(found, split)
        if part is None:
            continue
        if not part.x.ndim or not part.y.ndim:
            raise InputError(f"data {path}: x_{split} and y_{split}: expected arrays of samples")
        for what, array in ((f"y_{split}", part.y), (f"clients of {split}", part.client)):
            if array is not None and (not array.ndim or len(array) != len(part.x)):
                of = "labels" if array is part.y else "of them"
                raise InputError(
                    f"data {path}: {what}: expected {len(part.x)} {of} as x_{split} has, received "
                    f"{len(array) if array.ndim else 'one value'}"
                )
