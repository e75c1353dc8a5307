"""CSV files with a header: columns of numbers, one that is learned, and perhaps one of clients."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.formats.tables import cells, columns
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError

SPLITS = {
    "train": ("train.csv",),
    "test": ("test.csv",),
    "validation": ("validation.csv", "val.csv", "valid.csv"),
}
"""What the files of a folder are called; the first that is there is read."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may stand between cells, the likeliest first."""

CHUNK = 65_536
"""Rows that are text at a time."""

_REMEDY = "leave the column out, or name it as data.target or data.client"


@dataclass(frozen=True)
class _Roles:
    """What the columns of all files are for."""

    file: Path
    target: str
    client: str
    features: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [*self.features, *filter(None, (self.target, self.client))]


@dataclass(frozen=True)
class _Table:
    """What a file holds."""

    separator: str
    x: Array
    target: cells.Column
    client: cells.Column


def is_folder(path: Path) -> bool:
    """Whether a folder has a training file."""
    return any((path / name).exists() for name in SPLITS["train"])


def read(path: Path, *, target: str = "", client: str = "") -> Raw:
    """Read a CSV file, or ``train.csv`` and what there is of the others in a folder.

    Cells are separated by what splits the header into most of them. Columns of all files are those
    of the training file, in any order.

    Args:
        path: The file or folder.
        target: The column that is learned, numbers or text; else the one with a usual name.
        client: The column that says whose a sample is; all others are numbers.

    Raises:
        InputError: If it has no header, a column is missing or not told, or a cell is empty or no
            number where one is due.
    """
    files, others = _files(path)
    with limits.reading(files["train"], "CSV file with a header", csv.Error):
        roles = _find_roles(files["train"], target, client)
    tables = {}
    for split, file in files.items():
        with limits.reading(file, "CSV file with a header", csv.Error):
            tables[split] = _read(file, roles)
    with limits.reading(path, "CSV file with a header"):
        y = cells.targets([table.target for table in tables.values()])
        owners: list[Array] | list[None] = [None] * len(tables)
        if client:
            owners = cells.owners([table.client for table in tables.values()])
    splits = {
        split: Samples(table.x, labels, owner)
        for (split, table), labels, owner in zip(tables.items(), y, owners, strict=True)
    }
    notes = [*columns.note(roles.target, target), *_separated(tables)]
    if others:
        notes.append(f"files: not used: {limits.few(others)}")
    return Raw(splits["train"], splits.get("test"), splits.get("validation"), notes=tuple(notes))


def _files(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the file of every split, and the names of others."""
    if not path.is_dir():
        return {"train": path}, []
    files = {
        split: next(path / name for name in names if (path / name).exists())
        for split, names in SPLITS.items()
        if any((path / name).exists() for name in names)
    }
    others = {*path.glob("*.csv")} - {*files.values()}
    return files, sorted(file.name for file in others)


def _find_roles(file: Path, target: str, client: str) -> _Roles:
    with _open(file) as stream:
        header = _header(file, csv.reader(stream, delimiter=_separator(stream)))
    target = columns.find_target(file, header, target)
    client = client and columns.find(file, header, client, "client")
    features = tuple(name for name in header if name not in (target, client))
    if not features:
        raise InputError(f"data file {file}: expected columns of numbers besides {target}")
    return _Roles(file, target, client, features)


def _open(file: Path) -> TextIO:
    limits.check(file, 8 * file.stat().st_size)  # a cell is two bytes at least
    return file.open(newline="", encoding="utf-8-sig")


def _separator(stream: TextIO) -> str:
    """Return what splits the first line into most cells, and go back to it."""
    bare = re.sub(r'"[^"]*"?', "", stream.readline())
    stream.seek(0)
    return max(SEPARATORS, key=bare.count)


def _header(file: Path, rows: Iterator[list[str]]) -> list[str]:
    header = [name.strip() for name in next(rows, [])]
    if not header or len({*header}) != len(header) or "" in header:
        raise InputError(
            f"data file {file}: expected a header of different names in its first line, "
            f"received {limits.few(header) or 'nothing'}"
        )
    return header


def _read(file: Path, roles: _Roles) -> _Table:
    with _open(file) as stream:
        separator = _separator(stream)
        reader = csv.reader(stream, delimiter=separator)
        header = _header(file, reader)
        columns.check_same(file, header, roles.file, roles.names, roles.names)
        rows = ((reader.line_num, row) for row in reader if row)  # without empty lines
        places = [header.index(name) for name in roles.features]
        parts = []
        lines: list[int] = []
        labels: list[str] = []
        owners: list[str] = []
        while chunk := list(islice(rows, CHUNK)):
            for line, row in chunk:
                if len(row) != len(header):
                    raise InputError(
                        f"data file {file}: line {line:,}: expected {len(header)} cells as the "
                        f"header has, received {len(row)}"
                    )
            numbered = [line for line, _ in chunk]
            part = np.empty((len(chunk), len(places)))
            for number, place in enumerate(places):
                column = [row[place] for _, row in chunk]
                named = cells.Column(file, header[place], column, numbered)
                part[:, number] = cells.numbers(named, _REMEDY)
            parts.append(part)
            lines += numbered
            labels += [row[header.index(roles.target)].strip() for _, row in chunk]
            if roles.client:
                owners += [row[header.index(roles.client)].strip() for _, row in chunk]
    if not parts:
        raise InputError(f"data file {file}: expected rows below the header, received none")
    return _Table(
        separator,
        np.concatenate(parts),
        cells.Column(file, roles.target, labels, lines),
        cells.Column(file, roles.client, owners, lines),
    )


def _separated(tables: Mapping[str, _Table]) -> list[str]:
    """Return what must be said of separators that are no commas."""
    return [
        f"data: cells of {limits.few(names)} are separated by {SEPARATORS[separator]}"
        for separator in SEPARATORS
        if separator != ","
        and (
            names := [
                table.target.file.name for table in tables.values() if table.separator == separator
            ]
        )
    ]
