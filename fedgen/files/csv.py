"""Rows of CSV files: their columns, written and read by their dataclasses."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from fedgen.errors import InputError

_CONVERT: dict[str, Callable[[str], Any]] = {
    "bool": {"True": True, "False": False}.__getitem__,
    "float": float,
    "int": int,
    "str": str,
}


def columns(kind: type[Any], *, optional: bool = False) -> list[str]:
    """Return the column names of a kind of row: of its fields without a default, or of all."""
    return [field.name for field in fields(kind) if optional or field.default is MISSING]


def cell(value: object) -> object:
    """Return a value as it stands in a CSV file; nothing is an empty field.

    What is not finite is spelled so that readers take its column for one of floats: with ``nan``
    polars makes text of it, with ``inf`` DuckDB makes text or dates. Python reads either spelling.
    """
    if value is None:
        return ""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "1e999" if value > 0 else "-1e999"


def write_lines(lines: Iterable[Iterable[object]]) -> str:
    """Write lines of values as CSV; floats are written so that they read back exactly."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(cell, line) for line in lines)
    return text.getvalue()


def to_csv(rows: Iterable[Any], kind: type[Any], *, header: bool, optional: bool = False) -> str:
    """Write rows as CSV, as ``write_lines`` does; with the columns of ``columns``."""
    names = columns(kind, optional=optional)
    lines = ([getattr(row, name) for name in names] for row in rows)
    return write_lines([names, *lines] if header else lines)


def read_csv(path: Path, kind: type[Any]) -> list[Any]:
    """Read rows back.

    Raises:
        InputError: If the file is missing, or a row does not fit the columns.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_csv(content, path, kind)


def parse_csv(content: bytes, path: Path, kind: type[Any]) -> list[Any]:
    """Parse the content of a CSV file with a header.

    Args:
        content: What is parsed.
        path: Where it is from, for errors.
        kind: Kind of the rows; columns of fields with a default may be missing, all of them.

    Raises:
        InputError: If the text is no CSV, or a row does not fit the columns.
    """
    table = read_lines(content, path)
    names = table[0] if table else []
    if names not in (columns(kind), columns(kind, optional=True)):
        raise InputError(f"{path}: expected the columns {','.join(columns(kind))}")
    lines = enumerate(table[1:], 2)
    return [parse(path, number, values, kind, len(names)) for number, values in lines]


def read_lines(content: bytes, path: Path) -> list[list[str]]:
    """Return the fields of every line.

    Raises:
        InputError: If the text is no CSV.
    """
    try:
        return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def parse(
    path: Path, line: int, values: Sequence[str], kind: type[Any], count: int | None = None
) -> Any:
    """Make a row of its fields.

    Args:
        path: Where it stands, for errors.
        line: On which line.
        values: The fields.
        kind: A dataclass of bool, int, float and str; ``None`` is an empty field.
        count: How many fields there are; ``None`` for all.

    Raises:
        InputError: If a field is missing, or is not what it should be.
    """
    wanted = fields(kind)[:count]
    if len(values) != len(wanted):
        raise InputError(
            f"{path} line {line}: expected {len(wanted)} fields, received {len(values)}"
        )
    parsed: list[Any] = []
    for field, text in zip(wanted, values, strict=True):
        annotation = str(field.type)
        if text == "" and "None" in annotation:
            parsed.append(None)
            continue
        name = next(name for name in _CONVERT if name in annotation)
        try:
            value = _CONVERT[name](text)
            if name == "int" and not -(2**63) <= int(value) < 2**63:
                raise ValueError(text)
            parsed.append(value)
        except (ValueError, KeyError):
            raise InputError(
                f"{path} line {line}: {field.name} must be {name}, received {text!r}"
            ) from None
    return kind(*parsed)
