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

_LONGEST = 10_000
"""Bytes of the longest header, as NumPy has it."""

_READERS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""By version: bytes of the header's length, and what reads the header."""


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
    allowed = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
    if member.compress_type not in allowed:
        raise ValueError(f"{member.filename} is compressed in a way that is not read")
    return member


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return the bytes of a member's array, after holding its header against its size."""
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version not in _READERS:
            raise ValueError(f"{member.filename}: unknown .npy version {version}")
        prefix, read_header = _READERS[version]
        length = int.from_bytes(content.read(prefix), "little")
        if length > _LONGEST:  # NumPy would read it all before it says so
            raise ValueError(f"{member.filename}: a header of {length:,} bytes")
        content.seek(_MAGIC)
        shape, _, dtype = read_header(content)
        header = _MAGIC + prefix + length
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
