"""The seconds of compiling: once, however many threads compile, and those that are not over."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedgen.engine.compiling import Compiling


def test_only_first_calls_count_and_together_once() -> None:
    compiling = Compiling()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(lambda key: compiling.call(time.sleep, key, 0.2), range(4)))
    assert 0.2 <= compiling.seconds < 0.4
    assert compiling.call(len, "other", "abc") == 3


def test_what_is_being_compiled_counts_already() -> None:
    compiling, go_on = Compiling(), threading.Event()
    thread = threading.Thread(target=lambda: compiling.call(go_on.wait, 0, 10))
    thread.start()
    time.sleep(0.2)
    before = compiling.seconds
    time.sleep(0.1)
    assert 0.1 < before < compiling.seconds - 0.09
    go_on.set()
    thread.join()
    after = compiling.seconds
    time.sleep(0.05)
    assert compiling.seconds == after


def test_a_failure_ends_it() -> None:
    compiling = Compiling()
    with pytest.raises(ZeroDivisionError):
        compiling.call(lambda: 1 / 0, "key")
    seconds = compiling.seconds
    time.sleep(0.05)
    assert compiling.seconds == seconds
