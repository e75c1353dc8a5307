"""Reading of ``.npz`` files that nobody vouches for: checked before anything is allocated."""

import math
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Sequence
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

TEXT = "US"
"""Kinds of dtype that are read where text may stand: no more than numbers are they pickled."""

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
    stream: IO[bytes],
    wanted: Sequence[str],
    limit: int,
    *,
    compressed: bool = True,
    texts: Collection[str] = (),
) -> list[NDArray[Any]]:
    """Read arrays by name; every header is checked before the first array is read.

    Args:
        stream: The file, open for reading.
        wanted: Names of the arrays, each of which must be there once.
        limit: Bytes that all of them together may take.
        compressed: Whether members may be compressed.
        texts: Names of the arrays that may be text.

    Raises:
        One of ``DAMAGE``: If the file is unreadable, an array is missing, is no
            plain array, or claims another size than it has, or all are too large.
    """
    with zipfile.ZipFile(stream) as archive:
        members = [_member(archive, name, compressed) for name in wanted]
        kinds = [PLAIN + TEXT if name in texts else PLAIN for name in wanted]
        total = sum(map(_member_size, [archive] * len(members), members, kinds))
        if total > limit:
            raise ValueError(f"its arrays take {total:,} bytes, at most {limit:,} are allowed")
        arrays = []
        for member in members:
            with archive.open(member) as content:
                array = np.lib.format.read_array(content, allow_pickle=False)
                if content.read(1):
                    raise ValueError(f"{member.filename} is longer than its array")
                check_text(member.filename, array)
                arrays.append(array)
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


def _member_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str) -> int:
    with archive.open(member) as content:
        return check_header(content, member.filename, member.file_size, kinds)


def check_header(content: IO[bytes], name: str, length: int, kinds: str = PLAIN) -> int:
    """Return the bytes of an ``.npy`` file's array, after holding its header against its size.

    Args:
        content: The file, open for reading at its beginning.
        name: What it is called, for errors.
        length: Bytes of the file.
        kinds: Kinds of dtype that it may have.

    Raises:
        One of ``DAMAGE``: If it is no plain array, or of another size than it claims.
    """
    version = np.lib.format.read_magic(content)
    if version not in _READERS:
        raise ValueError(f"{name}: unknown .npy version {version}")
    prefix, read_header = _READERS[version]
    described = int.from_bytes(content.read(prefix), "little")
    if described > _LONGEST:  # NumPy would read it all before it says so
        raise ValueError(f"{name}: a header of {described:,} bytes")
    content.seek(_MAGIC)
    shape, _, dtype = read_header(content)
    header = _MAGIC + prefix + described
    if dtype.kind not in kinds:
        expected = "booleans or numbers" if kinds == PLAIN else "numbers or text"
        raise ValueError(f"{name}: expected {expected}, received {dtype}")
    if min(shape, default=0) < 0 or len(shape) > 32:
        raise ValueError(f"{name}: impossible shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if header + size != length:
        raise ValueError(
            f"{name}: {dtype}{list(shape)} takes {size:,} bytes, {length - header:,} are there"
        )
    return size


def check_text(name: str, array: NDArray[Any]) -> None:
    """Refuse text that is none: NumPy takes any four bytes for a letter, and then breaks on them.

    Raises:
        ValueError: If a letter is beyond Unicode.
    """
    if array.dtype.kind == "U" and array.size:
        order = array.dtype.newbyteorder("=") if not array.dtype.isnative else array.dtype
        letters = np.ascontiguousarray(array).astype(order).view(np.uint32)
        if letters.max(initial=0) > sys.maxunicode:
            raise ValueError(f"{name}: not Unicode text")
