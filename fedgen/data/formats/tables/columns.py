"""Which column of a table is what: learned, clients, and features that models see."""

from collections.abc import Collection, Sequence
from pathlib import Path

from fedgen.data.formats import limits
from fedgen.errors import InputError, unknown

USUAL = ("label", "labels", "target", "y", "class")
"""What columns that are learned are called where nobody says which they are, in small letters."""


def find_target(path: Path, columns: Sequence[str], target: str, *likely: str) -> str:
    """Return the column that is learned.

    Args:
        path: The file, for errors.
        columns: Names of all columns.
        target: The one that somebody names, or "".
        likely: Names that are likely ones beside the ``USUAL``.

    Raises:
        InputError: If it is not there, or none is named and not one alone is likely.
    """
    if target:
        return find(path, columns, target, "target")
    found = [name for name in columns if name in likely or name.lower() in USUAL]
    if not found:
        raise InputError(
            f"data file {path}: which column is learned? Set data.target to one of "
            f"{limits.few(columns)}"
        )
    if len(found) > 1:
        raise InputError(
            f"data file {path}: which column is learned, one of {limits.few(found)}? data.target "
            "sets it"
        )
    return found[0]


def find(path: Path, columns: Sequence[str], name: str, setting: str) -> str:
    """Return the column that a setting of ``data`` names.

    Raises:
        InputError: If it is not there, with the nearest that is.
    """
    if name not in columns:
        raise unknown(f"column of {path} for data.{setting}", name, columns)
    return name


def note(target: str, said: str) -> tuple[str, ...]:
    """Return what must be said of the column that is learned: its name, where nobody said it."""
    return () if said else (f"data: column {target[:40]!a} is learned",)


def check_same(
    file: Path,
    columns: Sequence[str],
    first: Path,
    needed: Collection[str],
    known: Collection[str],
) -> None:
    """Refuse a file whose columns are others than those of the first.

    Args:
        file: The file.
        columns: Its columns, in any order.
        first: The first file, for errors.
        needed: Columns that it must have.
        known: Columns that it may have.

    Raises:
        InputError: Naming what is missing, and what is there beside them.
    """
    missing = [name for name in needed if name not in columns]
    others = [name for name in columns if name not in known]
    if missing or others:
        lacks = f", missing {limits.few(missing)}" if missing else ""
        beside = f", received {limits.few(others)} beside them" if others else ""
        raise InputError(f"data file {file}: expected the columns of {first.name}{lacks}{beside}")
