"""One owner at a time, by ``flock``: the kernel frees a lock when its process ends, however."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedgen.errors import InputError

LOCK = ".lock"
"""Name of the lock's file; it is never removed, only locked and unlocked."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Own a folder inside a ``with`` block.

    Raises:
        InputError: If another process owns it, with that process's id, or the
            lock cannot be taken.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"{folder / LOCK}: cannot be opened ({error.strerror})") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: process {_owner(file)} is working on it; wait until it ends, or stop it"
            ) from error
        except OSError as error:
            raise InputError(
                f"{folder / LOCK}: cannot be locked ({error.strerror}); "
                "a run directory needs a file system with flock"
            ) from error
        with suppress(OSError):  # a full disk: the lock holds without the name of its owner
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _owner(file: int) -> str:
    # The owner writes its id right after it took the lock.
    for _ in range(20):
        owner = os.pread(file, 32, 0).decode(errors="replace").strip()
        if owner.isdigit():
            return owner
        time.sleep(0.05)
    return "unknown"
