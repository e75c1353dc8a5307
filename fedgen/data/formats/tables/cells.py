"""What the cells of a column of text are: numbers, whole numbers, or text."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgen.data.formats import limits
from fedgen.data.raw import Array
from fedgen.errors import InputError

MISSING = {"", "?", "na", "n/a", "nan", "null"}
"""What stands where a number is missing, in small letters."""

_WHOLE = re.compile(r"[+-]?\d+")

_Kind = Literal["whole", "decimal", "comma", "missing", "text"]


@dataclass(frozen=True)
class Column:
    """Cells of a column, or of a part of it.

    Attributes:
        file: The file that they are from.
        name: What its header calls the column.
        cells: The cells; those of text without spaces around them.
        lines: The line of the file that each is in.
    """

    file: Path
    name: str
    cells: Sequence[str]
    lines: Sequence[int]


def numbers(column: Column, remedy: str = "") -> NDArray[np.float64]:
    """Return cells as numbers.

    Args:
        column: The cells.
        remedy: What may be done about a cell that is text.

    Raises:
        InputError: If one is none or not finite, with its line.
    """
    if "_" not in "".join(column.cells):  # which Python reads as part of a number
        try:
            array = np.array(list(map(float, column.cells)))
        except ValueError:
            pass
        else:
            if np.isfinite(array).all():
                return array
    place = next(place for place, cell in enumerate(column.cells) if not _is_finite(cell))
    raise _no_number(column, place, remedy)


def targets(columns: Sequence[Column]) -> list[Array]:
    """Return what is learned in every split: integers, else numbers, else text.

    Integers are written as Python writes them: "007" is another name than "7". Numbers are what all
    splits have, and what most of all cells are with decimals: then whatever else is there is
    damage.

    Args:
        columns: The column of every split.

    Raises:
        InputError: If a cell is empty, or no number among numbers, with its line.
    """
    for column in columns:
        _check_there(column, "what is learned")
    if (found := _integers(columns)) is not None:
        return found
    kinds = Counter(_kind(cell) for column in columns for cell in column.cells)
    told = kinds["decimal"] + kinds["comma"] + (kinds["whole"] if kinds["missing"] else 0)
    if (told and not kinds["text"]) or 2 * kinds["decimal"] > kinds.total():
        return [numbers(column) for column in columns]
    return [_text(column) for column in columns]


def owners(columns: Sequence[Column]) -> list[Array]:
    """Return whose the rows of every split are: integers, else text.

    Integers are written as Python writes them: "007" and "7", or "1_10" and "11_0", are different
    clients.

    Raises:
        InputError: If a cell is empty, with its line.
    """
    for column in columns:
        _check_there(column, "whose row it is")
    found = _integers(columns)
    return [_text(column) for column in columns] if found is None else found


def _integers(columns: Sequence[Column]) -> list[Array] | None:
    """Return cells as integers, if that loses nothing of how any is written."""
    found: list[Array] = []
    try:
        for column in columns:
            whole = list(map(int, column.cells))
            if list(map(str, whole)) != list(column.cells):
                return None
            found.append(np.array(whole, np.int64))
    except (ValueError, OverflowError):
        return None
    return found


def _text(column: Column) -> Array:
    longest = max(map(len, column.cells))
    limits.check(column.file, 4 * longest * len(column.cells))  # all are as long as that
    return np.array(column.cells, np.str_)


def _check_there(column: Column, what: str) -> None:
    if "" in column.cells:
        place = column.cells.index("")
        raise InputError(
            f"{_where(column, place)}: expected {what}, received ''; fill it, or leave the row out"
        )


def _kind(cell: str) -> _Kind:
    if _is_finite(cell):
        return "whole" if _WHOLE.fullmatch(cell) else "decimal"
    if cell.lower() in MISSING or _is_infinite(cell):
        return "missing"
    return "comma" if _has_comma(cell) else "text"


def _is_finite(cell: str) -> bool:
    try:
        return "_" not in cell and bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _is_infinite(cell: str) -> bool:
    try:
        return "_" not in cell and bool(np.isinf(float(cell)))
    except ValueError:
        return False


def _has_comma(cell: str) -> bool:
    return "," in cell and _is_finite(cell.replace(",", ""))


def _no_number(column: Column, place: int, remedy: str) -> InputError:
    cell = column.cells[place].strip()
    expected = "a finite number" if _is_infinite(cell) else "a number"
    if _is_infinite(cell) or cell.lower() in MISSING:
        remedy = "fill it, or leave the row out"
    elif _has_comma(cell):
        remedy = "decimals have a point"
    return InputError(
        f"{_where(column, place)}: expected {expected}, received {cell[:40]!a}"
        f"{remedy and f'; {remedy}'}"
    )


def _where(column: Column, place: int) -> str:
    name = ascii(column.name[:40])[1:-1]
    return f"data file {column.file}: line {column.lines[place]:,}, column {name}"
