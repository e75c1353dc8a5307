"""Faults in the calls by which ``fedgen.files.disk`` reaches the system."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fedgen.files import disk

STEPS = ("open", "write", "fsync", "replace", "truncate", "unlink", "makedirs")


class Crash(BaseException):
    """The process dies here. Nothing in ``disk`` cleans up after it, so files are as after a kill.

    (Writing is unbuffered there. What a power failure takes is not shown by this.)
    """


class System:
    """The module ``os``, but for one call that goes wrong.

    Args:
        step: Which of the calls named in ``STEPS``, counted from 0; -1 for none.
        how: ``"before"`` or ``"after"``: the process dies there; ``"half"``: it dies in
            the middle of a write; ``"ENOSPC"`` or ``"EIO"``: the call fails, a
            write after half of its bytes.
    """

    def __init__(self, step: int, how: str = "") -> None:
        self.calls: list[str] = []
        self._step, self._how = step, how

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 != self._step or self._how == "after":
                result = real(*arguments, **named)
                if len(self.calls) - 1 == self._step:
                    raise Crash
                return result
            if name == "write" and self._how != "before":
                file, content = arguments
                os.write(file, bytes(content)[: len(content) // 2])
            if self._how in ("before", "half"):
                raise Crash
            number = getattr(errno, self._how)
            raise OSError(number, os.strerror(number))

        return call


@contextmanager
def failing(step: int, how: str = "") -> Iterator[System]:
    """Let one call go wrong inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        system = System(step, how)
        patch.setattr(disk, "os", system)
        yield system
