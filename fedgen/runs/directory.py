"""A run directory as a whole: free, claimed by one parent, and gone if nothing began in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedgen.errors import InputError
from fedgen.files import disk, locks

CONFIG = "config.toml"
"""The file that says what a run is."""


def create(path: Path, config: str) -> None:
    """Write ``config.toml`` into a directory that ``claim`` holds.

    Raises:
        InputError: If the directory is not empty.
        RunError: If it cannot be written.
    """
    check_free(path)
    disk.replace(path / CONFIG, config.encode())


@contextmanager
def claim(path: Path, *, new: bool) -> Iterator[None]:
    """Be the one parent of a run directory inside a ``with`` block.

    Args:
        path: The run directory.
        new: Whether it is to be made.

    Raises:
        InputError: If another process is its parent, with that process's id; if a
            new one is not free, or an old one does not exist.
    """
    if new:
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error
    elif not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{path}: not a run directory, it {what}")
    with locks.hold(path):
        yield


@contextmanager
def discarded_unless(path: Path, worth_keeping: Callable[[], bool]) -> Iterator[None]:
    """Leave no run directory when a ``with`` block ends early and there is nothing to go on from.

    Args:
        path: A directory that does not exist yet, or is empty; an empty one stays.
        worth_keeping: Whether what the block has left is kept.
    """
    check_free(path)
    existed = path.exists()
    try:
        yield
    except BaseException:
        if path.is_dir() and not worth_keeping():
            for found in path.iterdir():
                shutil.rmtree(found) if found.is_dir() else found.unlink()
            if not existed:
                path.rmdir()
        raise


def check_free(path: Path) -> None:
    """Check that a run directory does not exist yet, or is empty and writable.

    What a run leaves that was killed before its ``config.toml`` was there does not count.

    Raises:
        InputError: If that is not so.
    """
    leftovers = {locks.LOCK, ".config.toml.tmp"}
    try:
        if path.exists() and (
            not path.is_dir() or any(found.name not in leftovers for found in path.iterdir())
        ):
            raise InputError(
                f"--out {path}: exists and is not an empty directory; name another one"
            )
        nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {path}: cannot be written ({nearest} is not a writable directory)")
