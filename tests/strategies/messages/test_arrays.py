import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from strategies.messages.arrays import read_arrays, write_arrays


def test_arrays_come_back_in_their_order() -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(1.5), np.zeros(0, np.int64)]
    found = read_arrays(ArrayRecord(arrays))
    assert [(a.dtype, a.shape, a.tobytes()) for a in found] == [
        (a.dtype, a.shape, a.tobytes()) for a in arrays
    ]


@contextmanager
def collecting_all_the_time() -> Iterator[None]:
    """Let other threads run wherever an object is made, also inside the parser."""

    def pause(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(5)
    gc.callbacks.append(pause)
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.callbacks.remove(pause)
        gc.set_threshold(*threshold)


def test_many_threads_may_read_at_once() -> None:
    """On CPython 3.11.7, some of these reads raise ``SystemError`` without the lock."""
    record = ArrayRecord([np.zeros((3, 2), np.float32)] * 4)
    with collecting_all_the_time(), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: read_arrays(record), range(300)))
    assert all(len(arrays) == 4 for arrays in found)


FORMS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(3.5, np.float64),
    np.zeros((0, 4), np.int64),
    np.arange(8, dtype=np.int32)[::2],
    np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    np.array([True, False]),
    np.array([1 + 2j]),
]


def test_written_arrays_are_flower_s_to_the_byte_and_read_back() -> None:
    mine, theirs = write_arrays(FORMS), ArrayRecord(FORMS)
    assert list(mine) == list(theirs)
    for a, b in zip(mine.values(), theirs.values(), strict=True):
        assert (a.dtype, a.shape, a.stype, a.data) == (b.dtype, b.shape, b.stype, b.data)
    for read, known in zip(read_arrays(mine), theirs.to_numpy_ndarrays(), strict=True):
        assert (read.dtype, read.shape) == (known.dtype, known.shape)
        assert read.tobytes() == known.tobytes() and np.array_equal(read, known)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff",
        Array(FORMS[0]).data[:-1],
        Array(FORMS[0]).data.replace(b"'<f4'", b"'|O8'"),
        Array(FORMS[0]).data.replace(b"(2, 3)", b"(2, 9)"),
        Array(FORMS[0]).data.replace(b"{'descr'", b"{'desc'r"),
    ],
    ids=["nothing", "magic", "endless header", "cut", "objects", "too few", "no header"],
)
def test_what_is_no_plain_array_is_refused_as_flower_refuses_it(data: bytes) -> None:
    array = Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=data)
    with pytest.raises(Exception) as theirs:  # noqa: B017
        array.numpy()
    with pytest.raises(type(theirs.value)) as mine:
        read_arrays(ArrayRecord({"0": array}))
    assert str(mine.value) == str(theirs.value)
