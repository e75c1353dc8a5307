"""The CIFAR archives: ``.tar.gz`` of records of bytes, or of pickles, by Krizhevsky (2009).

https://www.cs.toronto.edu/~kriz/cifar.html describes all four. An archive is streamed and nothing
in it is ever written to disk. Only the files that belong there are kept, and only as much as they
may hold.
"""

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.data.formats import limits
from fedgen.data.formats.arrays import pickles
from fedgen.data.raw import Raw, Samples
from fedgen.errors import InputError, unknown

PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
MOST_RECORDS = 10_000
"""Records of a file: each holds as many when published."""

TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)

LIMIT = 256 * 2**20
"""Most bytes that an archive may unpack to; the published ones have 184 to 187 million."""

LABELS = ("fine", "coarse")

_EXTRA = 4 * 2**20
"""Bytes that names of files and labels may take in a pickle."""

_NAMES = 2**16
"""Bytes that names of classes may take."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Files of an archive.

    Attributes:
        name: What it is called.
        train: Its training files, in their order.
        test: Its test files.
        most: Records that a file may hold.
        labels: What labels it has, in the order of a record's first bytes.
        names: The file of the names of classes, by label.
        pickled: Whether its files are pickles.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    most: int
    labels: tuple[str, ...]
    names: dict[str, str]
    pickled: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The files that must be there."""
        return *self.train, *self.test

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.labels) + PIXELS

    @property
    def wanted(self) -> dict[str, int]:
        """Every file that is read, and the most bytes that it may have."""
        size = self.most * self.record + (_EXTRA if self.pickled else 0)
        return dict.fromkeys(self.files, size) | dict.fromkeys(self.names.values(), _NAMES)


BINARY = Layout("CIFAR-10", TRAIN, TEST, MOST_RECORDS, ("fine",), {"fine": "batches.meta.txt"})
LAYOUTS = (
    BINARY,
    Layout(
        "CIFAR-100",
        ("train.bin",),
        ("test.bin",),
        50_000,
        ("coarse", "fine"),
        {"fine": "fine_label_names.txt", "coarse": "coarse_label_names.txt"},
    ),
    Layout(
        "CIFAR-10",
        tuple(name.removesuffix(".bin") for name in TRAIN),
        ("test_batch",),
        MOST_RECORDS,
        ("fine",),
        {"fine": "batches.meta"},
        pickled=True,
    ),
    Layout(
        "CIFAR-100",
        ("train",),
        ("test",),
        50_000,
        ("coarse", "fine"),
        {"fine": "meta", "coarse": "meta"},
        pickled=True,
    ),
)

_SIZES = {name: size for layout in LAYOUTS for name, size in layout.wanted.items()}
_RECORDS = {name: layout for layout in LAYOUTS if not layout.pickled for name in layout.files}


def read(path: Path, *, labels: str = "fine") -> Raw:
    """Read images of shape (n, 32, 32, 3), labels, and the names of classes where they are there.

    Args:
        path: The archive.
        labels: "fine" or, in CIFAR-100, "coarse".

    Raises:
        InputError: If a member is missing, too large, truncated, a link, or named outside of the
            archive, a pickle in it holds more than plain data, or this is no such archive.
    """
    if labels not in LABELS:
        raise unknown("data.labels", labels, LABELS)
    found = _members(path)
    layout = max(LAYOUTS, key=lambda layout: len({*layout.files} & {*found}))
    missing = [name for name in layout.files if name not in found]
    if missing:
        raise InputError(
            f"archive {path}: expected {', '.join(layout.files)}, missing {', '.join(missing)}"
        )
    if labels not in layout.labels:
        raise InputError(f"{layout.name} has fine labels only, received data.labels = {labels!r}")
    take = _unpickled if layout.pickled else _records
    train, test = (
        _joined([take(path, layout, name, found[name], labels) for name in files])
        for files in (layout.train, layout.test)
    )
    names = found.get(layout.names[labels])
    return Raw(train, test, names=() if names is None else _names(path, layout, names, labels))


def _members(path: Path) -> dict[str, bytes]:
    """Return the contents of the files that an archive may have, by their names."""
    found: dict[str, bytes] = {}
    # What is not kept here is never unpacked either: the stream is read past it.
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=_Bounded(unpacked, path), mode="r|") as archive,
        ):
            for member in archive:
                _check_place(path, member)
                name = member.name.rsplit("/", 1)[-1]
                if name in _SIZES and not member.isdir():
                    if name in found:
                        raise InputError(f"archive {path}: {name} is there twice")
                    found[name] = _content(path, name, archive, member)
    except (*limits.DAMAGE, tarfile.TarError) as error:
        raise InputError(f"archive {path}: truncated or not a .tar.gz ({error})") from error
    return found


def _check_place(path: Path, member: tarfile.TarInfo) -> None:
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts:
        raise InputError(f"archive {path}: {member.name!r} points outside of it; not reading it")
    if member.issparse() or not (member.isfile() or member.isdir()):
        raise InputError(
            f"archive {path}: {member.name!r} is a link or no plain file; not reading it"
        )


def _content(path: Path, name: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    size, most = member.size, _SIZES[name]
    record = _RECORDS[name].record if name in _RECORDS else 1
    if not 0 < size <= most or size % record:
        multiple = f"a multiple of {record}, " if record > 1 else ""
        raise InputError(
            f"archive {path}: {name} has {size} bytes, expected {multiple}{most} at most"
        )
    stream = archive.extractfile(member)
    content = stream.read() if stream is not None else b""
    if len(content) != size:
        raise InputError(f"archive {path}: {name} has {len(content)} bytes, expected {size}")
    return content


def _records(path: Path, layout: Layout, name: str, content: bytes, labels: str) -> Samples:
    records = np.frombuffer(content, np.uint8).reshape(-1, layout.record)
    pixels = records[:, len(layout.labels) :]
    return Samples(_planes(pixels), records[:, layout.labels.index(labels)].copy())


def _unpickled(path: Path, layout: Layout, name: str, content: bytes, labels: str) -> Samples:
    held = _plain(path, layout, name, content)
    pixels = held.get("data")
    given = held.get("labels" if len(layout.labels) == 1 else f"{labels}_labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise _not_plain(path, layout, f"{name}: its data are not rows of {PIXELS} bytes")
    if (
        not isinstance(given, list)
        or len(given) != len(pixels)
        or not all(isinstance(label, int) and 0 <= label < 256 for label in given)
    ):
        raise _not_plain(path, layout, f"{name}: its labels are not {len(pixels)} small integers")
    return Samples(_planes(pixels), np.array(given, np.uint8))


def _names(path: Path, layout: Layout, content: bytes, labels: str) -> tuple[str, ...]:
    """Return the names of classes, of lines or of a pickle's list."""
    if not layout.pickled:
        return tuple(
            line.strip() for line in content.decode("latin-1").splitlines() if line.strip()
        )
    held = _plain(path, layout, layout.names[labels], content)
    given = held.get("label_names" if len(layout.labels) == 1 else f"{labels}_label_names")
    if not isinstance(given, list) or not all(isinstance(name, (bytes, str)) for name in given):
        raise _not_plain(path, layout, f"{layout.names[labels]}: its names are not a list of text")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in given)


def _plain(path: Path, layout: Layout, name: str, content: bytes) -> dict[str, Any]:
    try:
        return pickles.read(content)
    except pickles.Refused as error:
        raise _not_plain(path, layout, f"{name} is a pickle that is not read: {error}") from error


def _not_plain(path: Path, layout: Layout, why: str) -> InputError:
    binary = f"{layout.name.lower()}-binary.tar.gz"
    return InputError(f"archive {path}: {why}; the binary archive, {binary}, holds no pickles")


def _joined(parts: list[Samples]) -> Samples:
    (first, *more) = parts
    if not more:
        return first
    return Samples(*(np.concatenate([getattr(part, key) for part in parts]) for key in "xy"))


def _planes(pixels: Bytes) -> Bytes:
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than ``LIMIT`` bytes."""

    def __init__(self, stream: gzip.GzipFile, path: Path) -> None:
        self._stream, self._path, self._left = stream, path, LIMIT

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read as many bytes, or fewer at the end."""
        content = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise InputError(
                f"archive {self._path}: unpacks to more than {LIMIT:,} bytes; not reading it"
            )
        return content
