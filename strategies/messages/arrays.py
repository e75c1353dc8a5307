"""Flower's arrays as NumPy's, read by several threads."""

import math
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from io import BytesIO

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY\x01\x00"
"""How the .npy format begins in its version 1.0, which everything here is written in."""

PREFIX, LONGEST = len(MAGIC) + 2, 512
"""Bytes before a header, and the longest header that is kept."""

_reading = threading.Lock()


def read_arrays(record: ArrayRecord) -> list[NDArray[np.generic]]:
    """Return the arrays of a record, in its order; they cannot be written to.

    Clients of one model send the same headers over and over. Parsing them takes longer than a
    small model's weights, so a header that is known is not parsed again; whatever is not
    plainly an array of the .npy format 1.0 is left to Flower's own reader, errors included.
    """
    return [read_array(array) for array in record.values()]


def read_array(array: Array) -> NDArray[np.generic]:
    """Return one array of a record, as ``read_arrays`` does."""
    return _fast(array) if array.stype == "numpy.ndarray" else _slow(array)


def _fast(array: Array) -> NDArray[np.generic]:
    data = array.data
    if not isinstance(data, bytes) or not data.startswith(MAGIC):
        return _slow(array)
    begin = PREFIX + int.from_bytes(data[len(MAGIC) : PREFIX], "little")
    known = _header(data[:begin]) if begin <= LONGEST else None
    if known is None:
        return _slow(array)
    dtype, shape = known
    if len(data) - begin != dtype.itemsize * math.prod(shape):
        return _slow(array)
    return np.frombuffer(data, dtype, offset=begin).reshape(shape)


@lru_cache(maxsize=1024)
def _header(data: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...]] | None:
    """Parse a header; ``None`` where it is not that of plain numbers in C order."""
    stream = BytesIO(data)
    stream.seek(len(MAGIC))
    try:
        with _reading:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError):
        return None  # the slow reader says what is wrong
    plain = dtype.kind in "biufc" and dtype.itemsize > 0
    return (dtype, shape) if plain and not fortran else None


def _slow(array: Array) -> NDArray[np.generic]:
    """Read with Flower's own reader, one thread at a time.

    NumPy parses a header with ``ast.literal_eval``, which in CPython up to 3.11.8 raises
    ``SystemError`` now and then when two threads are in it (CPython issue 106905), so that a
    client would fail at random.
    """
    with _reading:
        return np.asarray(array.numpy())


def write_arrays(arrays: Sequence[NDArray[np.generic]]) -> ArrayRecord:
    """Return arrays as a record, to the bytes of ``ArrayRecord(arrays)`` but sooner."""
    record = ArrayRecord()  # given them at once, it would copy each
    for number, array in enumerate(arrays):
        record[str(number)] = write_array(array)
    return record


def write_array(array: NDArray[np.generic]) -> Array:
    """Return one array, to the bytes of ``Array(array)``."""
    if not array.flags.c_contiguous or array.dtype.kind not in "biufc":
        return Array(array)
    return Array(
        dtype=str(array.dtype),
        shape=array.shape,
        stype="numpy.ndarray",
        data=b"".join((_written_header(array.dtype, array.shape), array.data)),  # copied once
    )


@lru_cache(maxsize=1024)
def _written_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    stream = BytesIO()
    form = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, form)
    return stream.getvalue()


def like(arrays: Sequence[NDArray[np.generic]], reference: ArrayRecord) -> ArrayRecord:
    """Return arrays as a record with the names and the dtypes of another one.

    NumPy makes a number of what is computed of an array of shape (); it is one again here.
    """
    return ArrayRecord(
        {
            name: Array(np.asarray(array, wanted.dtype))
            for (name, wanted), array in zip(reference.items(), arrays, strict=True)
        }
    )


def record_bytes(messages: Iterable[Message]) -> int:
    """Return the bytes of all records in messages; one that carries an error has none."""
    return sum(
        record.count_bytes()
        for message in messages
        if message.has_content()
        for record in message.content.values()
    )
