"""The one place that writes run files: whole files by replacement, rows by appending.

What a call has written is on disk when it returns, ``tell`` aside. A process killed inside
one leaves the old file, or the new one, or a file of rows with a torn end.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fedgen.errors import RunError

# A run directory may come from somebody else: never write through a link in it.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_END = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

Stamp = tuple[int, ...]
"""What changes when a file does."""


def stamp(path: Path) -> Stamp:
    """Return a file's size, times, device and inode; nothing where there is none."""
    try:
        found = path.stat()
    except OSError:  # whoever reads it says what is wrong
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino


def replace(path: Path, content: bytes) -> None:
    """Replace a file as a whole, or leave it as it was.

    Raises:
        RunError: If it cannot be written, with what was needed and what is free.
    """
    _swap(path, content, sync=True)


def tell(path: Path, content: bytes) -> None:
    """Replace a file that nobody misses after a crash: nothing waits until it is on disk.

    Raises:
        RunError: If it cannot be written.
    """
    _swap(path, content, sync=False)


def create(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make files in a directory, all of them or none; a file that is there stays as it is.

    Args:
        folder: The directory.
        files: Their contents, by name.

    Raises:
        RunError: If one is there, or cannot be written.
    """
    made: list[Path] = []
    try:
        for path, content in ((folder / name, content) for name, content in files.items()):
            os.close(os.open(path, _NEW | os.O_EXCL, 0o644))
            made.append(path)
            _write(path, _END, content)
        _sync_folder(folder)
    except BaseException as error:  # Ctrl-C as well
        for one in made:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(one)
        if isinstance(error, OSError):
            raise _refusal(path, len(content), error) from error
        raise


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file that is there.

    Raises:
        RunError: If it cannot be written; the file's end may then be torn.
    """
    try:
        _write(path, _END, content)
    except OSError as error:
        raise _refusal(path, len(content), error) from error


def cut(path: Path, size: int) -> None:
    """Cut off what a file has beyond ``size`` bytes.

    Raises:
        RunError: If it cannot be written.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size > size:
                os.ftruncate(file, size)
                os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise _refusal(path, size, error) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        RunError: If it cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path}: cannot be removed ({error.strerror})") from error


def make_folder(path: Path) -> None:
    """Make a directory and those above it, unless they are there.

    Raises:
        RunError: If it cannot be made, or is a link: what is written would go elsewhere.
    """
    if path.is_symlink():
        raise RunError(f"{path}: is a link, expected a directory of the run's own")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be made ({error.strerror})") from error


def _swap(path: Path, content: bytes, *, sync: bool) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write(temporary, _NEW, content, sync=sync)
        os.replace(temporary, path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # it may be what fills the disk; the first error is the one to tell
            os.unlink(temporary)
        raise _refusal(path, len(content), error) from error


def _write(path: Path, flags: int, content: bytes, *, sync: bool = True) -> None:
    file = os.open(path, flags, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refusal(path: Path, needed: int, error: OSError) -> RunError:
    told = f"{path}: cannot be written ({error.strerror})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunError(told)
    free = ""
    with suppress(OSError):  # a folder that is gone has no free space to name
        free = f", {shutil.disk_usage(path.parent).free:,} are free there"
    return RunError(f"{told}: {needed:,} bytes were needed{free}")
