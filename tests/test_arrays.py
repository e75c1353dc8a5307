import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from flwr.app import ArrayRecord

from strategies.arrays import read_arrays


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
