"""Rows of CSV files: their columns, written and read by their dataclasses."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

from fedgen.errors import InputError

DictReader = csv.DictReader

csv.field_size_limit(2**31 - 1)  # the indices of a client are one field, and may be a million

_CONVERT: dict[str, Callable[[str], Any]] = {
    "bool": {"True": True, "False": False}.__getitem__,
    "float": float,
    "int": int,
    "str": str,
}


MEASURED = "measured"
"""The field of a row that is a mapping: a column of floats for each of its names, after the others.
Which names there are is for whoever writes a file to say."""


def columns(kind: type[Any], *, optional: bool = False) -> list[str]:
    """Return the column names of a kind of row: of its fields without a default, or of all."""
    own = (field for field in fields(kind) if field.name != MEASURED)
    return [field.name for field in own if optional or field.default is MISSING]


def holds(kind: type[Any]) -> dict[str, str]:
    """Return what the columns of a kind of row hold: "bool", "float", "int" or "str"."""
    own = (field for field in fields(kind) if field.name != MEASURED)
    return {field.name: _held(field) for field in own}


def _held(field: Field[Any]) -> str:
    return next(name for name in _CONVERT if name in str(field.type))


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


def to_csv(
    rows: Iterable[Any],
    kind: type[Any],
    *,
    header: bool,
    optional: bool = False,
    measured: Sequence[str] = (),
) -> str:
    """Write rows as CSV, as ``write_lines`` does; with the columns of ``columns`` and ``MEASURED``.

    Args:
        rows: What is written.
        kind: A dataclass.
        header: Whether the names of the columns come first.
        optional: Whether fields with a default are columns.
        measured: What of ``row.measured`` is; a row that lacks it has an empty field.
    """
    names = columns(kind, optional=optional)
    lines = (
        [*(getattr(row, name) for name in names), *(row.measured.get(name) for name in measured)]
        for row in rows
    )
    return write_lines([[*names, *measured], *lines] if header else lines)


def measured_in(rows: Iterable[Any]) -> list[str]:
    """Return the names of ``MEASURED`` that any row has use for."""
    return list(dict.fromkeys(name for row in rows for name in getattr(row, MEASURED, ())))


def all_columns(rows: Sequence[Any], kind: type[Any]) -> str:
    """Write rows as CSV with every column that any of them has use for."""
    return to_csv(rows, kind, header=True, optional=True, measured=measured_in(rows))


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
        kind: Kind of the rows; columns of fields with a default may be missing, all of them, and
            further ones may follow where a row has ``MEASURED``: those that ``kind.measures``.

    Raises:
        InputError: If the text is no CSV, or a row does not fit the columns.
    """
    table = read_lines(content, path)
    names = table[0] if table else []
    every, required = columns(kind, optional=True), columns(kind)
    own = every if names[: len(every)] == every else required
    more = names[len(own) :]
    measures = getattr(kind, "measures", lambda _: False)
    if names[: len(own)] != own or not all(map(measures, more)) or len({*names}) < len(names):
        raise InputError(f"{path}: expected the columns {','.join(required)}")
    return [
        _parse_measured(path, number, values, kind, len(own), more)
        for number, values in enumerate(table[1:], 2)
    ]


def _parse_measured(
    path: Path, line: int, values: Sequence[str], kind: type[Any], own: int, more: Sequence[str]
) -> Any:
    if len(values) != own + len(more):
        raise InputError(
            f"{path} line {line}: expected {own + len(more)} fields, received {len(values)}"
        )
    row = parse(path, line, values[:own], kind, own)
    if not more:
        return row
    try:
        pairs = zip(more, values[own:], strict=True)
        return replace(row, **{MEASURED: {name: float(text) for name, text in pairs if text}})
    except ValueError as error:
        raise InputError(f"{path} line {line}: expected numbers, received others") from error


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
    wanted = [field for field in fields(kind) if field.name != MEASURED][:count]
    if len(values) != len(wanted):
        raise InputError(
            f"{path} line {line}: expected {len(wanted)} fields, received {len(values)}"
        )
    parsed: list[Any] = []
    for field, text in zip(wanted, values, strict=True):
        if text == "" and "None" in str(field.type):
            parsed.append(None)
            continue
        name = _held(field)
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
