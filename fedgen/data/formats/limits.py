"""What every reader keeps to: free memory, and one line for what cannot be read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import psutil

from fedgen.errors import InputError
from fedgen.files import npz

DAMAGE = (*npz.DAMAGE, LookupError, ArithmeticError, AttributeError)
"""What libraries raise about files that are not what they should be."""

_limit: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(limit: int | None) -> Iterator[None]:
    """Let what is read inside the block take so many bytes, ``None`` for all that are free."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def free() -> int:
    """Return how many bytes may be taken: what is free, or fewer where somebody says so."""
    available, limit = int(psutil.virtual_memory().available), _limit.get()
    return available if limit is None else min(available, limit)


def check(path: Path, size: int, most: int | None = None) -> None:
    """Refuse a file whose arrays do not fit, before any of them is made.

    Args:
        path: The file or folder.
        size: Bytes that its arrays take, by what it says of itself.
        most: Bytes that were free before any part of them was taken; else those that are now.

    Raises:
        InputError: If fewer are free.
    """
    most = free() if most is None else most
    if size > most:
        raise InputError(
            f"data file {path}: its arrays take {size:,} bytes, at most {most:,} are allowed; "
            "keep fewer samples, or save x_train.npy and so on, which stay on disk"
        )


@contextmanager
def reading(path: Path, kind: str, *more: type[Exception]) -> Iterator[None]:
    """Make one line of whatever a library says of a file that it cannot read.

    Args:
        path: The file or folder.
        kind: What it should be.
        more: What the library raises besides ``DAMAGE``.

    Raises:
        InputError: Instead of any of them.
    """
    damage: tuple[type[Exception], ...] = (*DAMAGE, *more)
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"data file {path}: does not exist") from error
    except damage as error:
        why = ascii(" ".join(str(error).split())[:200])[1:-1] or type(error).__name__
        raise InputError(f"data file {path}: not a readable {kind} ({why})") from error


def few(names: Iterable[object]) -> str:
    """Return names after one another, few and printable: anybody may have chosen them."""
    known = list(map(str, names))
    shown = [ascii(name[:40])[1:-1] for name in known[:8]]
    more = f" and {len(known) - 8:,} more" if len(known) > 8 else ""
    return f"{', '.join(shown)}{more}"
