"""Flower's arrays as NumPy's, read by several threads."""

import threading

import numpy as np
from flwr.app import ArrayRecord
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
