"""Reading of ``.npz`` files that nobody vouches for: checked before anything is allocated."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    RuntimeError,
    OverflowError,
    SyntaxError,
    MemoryError,
    RecursionError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a file that is not what it should be raises."""

PLAIN = "biufc"
"""Kinds of dtype that are read: booleans and numbers."""

_MAGIC = 8
"""Bytes of an ``.npy`` file's magic string and version."""


def names(stream: IO[bytes]) -> list[str]:
    """Return the names of the arrays in a file.

    Raises:
        One of ``DAMAGE``: If the file is not a readable zip file.
    """
    with zipfile.ZipFile(stream) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read(
    stream: IO[bytes], wanted: Sequence[str], limit: int, *, compressed: bool = True
) -> list[NDArray[Any]]:
    """Read arrays by name; every header is checked before the first array is read.

    Args:
        stream: The file, open for reading.
        wanted: Names of the arrays, each of which must be there once.
        limit: Bytes that all of them together may take.
        compressed: Whether members may be compressed.

    Raises:
        One of ``DAMAGE``: If the file is unreadable, an array is missing, is no
            plain array, or claims another size than it has, or all are too large.
    """
    with zipfile.ZipFile(stream) as archive:
        members = [_member(archive, name, compressed) for name in wanted]
        total = sum(_check_header(archive, member) for member in members)
        if total > limit:
            raise ValueError(f"its arrays take {total:,} bytes, at most {limit:,} are allowed")
        arrays = []
        for member in members:
            with archive.open(member) as content:
                arrays.append(np.lib.format.read_array(content, allow_pickle=False))
                if content.read(1):
                    raise ValueError(f"{member.filename} is longer than its array")
        return arrays


def _member(archive: zipfile.ZipFile, name: str, compressed: bool) -> zipfile.ZipInfo:
    found = [member for member in archive.infolist() if member.filename == f"{name}.npy"]
    if len(found) != 1:
        raise ValueError(f"expected one array {name}, received {len(found)}")
    (member,) = found
    if not compressed and member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    return member


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return the bytes of a member's array, after holding its header against its size."""
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            prefix = 2
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(content)
            prefix = 4
        else:
            raise ValueError(f"{member.filename}: unknown .npy version {version}")
        content.seek(_MAGIC)
        header = _MAGIC + prefix + int.from_bytes(content.read(prefix), "little")
    if dtype.kind not in PLAIN:
        raise ValueError(f"{member.filename}: expected booleans or numbers, received {dtype}")
    if min(shape, default=0) < 0 or len(shape) > 32:
        raise ValueError(f"{member.filename}: impossible shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if header + size != member.file_size:
        raise ValueError(
            f"{member.filename}: {dtype}{list(shape)} takes {size:,} bytes, "
            f"{member.file_size - header:,} are there"
        )
    return size
