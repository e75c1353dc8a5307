"""Flower's arrays as NumPy's, read by several threads."""

import threading
from collections.abc import Sequence

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

_reading = threading.Lock()


def read_arrays(record: ArrayRecord) -> list[NDArray[np.generic]]:
    """Return the arrays of a record, in its order.

    One thread at a time: NumPy parses a header with ``ast.literal_eval``, which in CPython
    up to 3.11.8 raises ``SystemError`` now and then when two threads are in it (CPython
    issue 106905), so that a client would fail at random.
    """
    with _reading:
        return [np.asarray(array) for array in record.to_numpy_ndarrays()]


def like(arrays: Sequence[NDArray[np.generic]], reference: ArrayRecord) -> ArrayRecord:
    """Return arrays as a record with the names and the dtypes of another one."""
    return ArrayRecord(
        {
            name: Array(array.astype(wanted.dtype, copy=False))
            for (name, wanted), array in zip(reference.items(), arrays, strict=True)
        }
    )
