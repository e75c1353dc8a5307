"""The binary CIFAR-10 archive: a ``.tar.gz`` of records of 1 + 3072 bytes.

It is streamed and nothing in it is ever written to disk. Only the six files that
belong there are kept, and only as much as they may hold.
"""

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

RECORD = 1 + 3 * 32 * 32
MOST_RECORDS = 10_000
"""Records of a file: each holds as many when published."""

TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)

LIMIT = 256 * 2**20
"""Most bytes that the archive may unpack to; the published one has 184 million."""

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read(path: Path) -> tuple[Split, Split]:
    """Return images of shape (n, 32, 32, 3) and labels of the training and the test set.

    Raises:
        InputError: If a member is missing, too large, truncated, a link, or named
            outside of the archive, or this is no such archive.
    """
    records: dict[str, NDArray[np.uint8]] = {}
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=_Bounded(unpacked, path), mode="r|") as archive,
        ):
            for member in archive:
                _check_place(path, member)
                name = member.name.rsplit("/", 1)[-1]
                if name in (*TRAIN, *TEST) and not member.isdir():
                    if name in records:
                        raise InputError(f"archive {path}: {name} is there twice")
                    records[name] = _records(path, name, archive, member)
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError) as error:
        raise InputError(f"archive {path}: truncated or not a .tar.gz ({error})") from error
    missing = [name for name in (*TRAIN, *TEST) if name not in records]
    if missing:
        raise InputError(
            f"archive {path}: expected {', '.join((*TRAIN, *TEST))}, missing {', '.join(missing)}"
        )
    train = np.concatenate([records[name] for name in TRAIN])
    test = np.concatenate([records[name] for name in TEST])
    return (_planes(train), train[:, 0]), (_planes(test), test[:, 0])


def _check_place(path: Path, member: tarfile.TarInfo) -> None:
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts:
        raise InputError(f"archive {path}: {member.name!r} points outside of it; not reading it")
    if member.issparse() or not (member.isfile() or member.isdir()):
        raise InputError(
            f"archive {path}: {member.name!r} is a link or no plain file; not reading it"
        )


def _records(
    path: Path, name: str, archive: tarfile.TarFile, member: tarfile.TarInfo
) -> NDArray[np.uint8]:
    size = member.size
    if not 0 < size <= MOST_RECORDS * RECORD or size % RECORD:
        raise InputError(
            f"archive {path}: {name} has {size} bytes, expected a multiple of {RECORD}, "
            f"{MOST_RECORDS * RECORD} at most"
        )
    stream = archive.extractfile(member)
    content = stream.read() if stream is not None else b""
    if len(content) != size:
        raise InputError(f"archive {path}: {name} has {len(content)} bytes, expected {size}")
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


def _planes(records: NDArray[np.uint8]) -> NDArray[np.uint8]:
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


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
