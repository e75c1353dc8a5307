"""Arrow tables made samples: image cells, nested lists, or columns of numbers.

How hubs publish images: a column of ``struct<bytes, path>``, or of bytes, or of lists of lists of
integers; and what they know of columns as JSON in the schema, under ``huggingface``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.formats.pictures.decode import decode
from fedgen.data.formats.tables import columns
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError, unknown

LABELS = ("fine", "coarse")

_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls a column that numbers rows."""


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Attributes:
        target: The column of labels.
        client: The column that says whose a sample is, or "".
        cells: The column of images or vectors, or "" where samples are rows of numbers.
        numbers: The columns of numbers that samples are rows of, if they are.
        names: What the data call the classes.
        notes: What must be said of the columns.
    """

    target: str
    client: str
    cells: str
    numbers: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def used(self) -> list[str]:
        """The columns that are read."""
        wanted = (self.target, self.client, self.cells, *self.numbers)
        return list(dict.fromkeys(filter(None, wanted)))


def pyarrow() -> Any:
    """Return the library that reads tables.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise InputError("tables: need pyarrow; pip install 'fedgen[data]'") from error
    return pyarrow


def known_features(schema: Any) -> dict[str, Any]:
    """Return what a hub says of the columns of a schema, nothing where it says nothing."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):  # whoever wrote it; columns stay as are
        return {}
    return features if isinstance(features, dict) else {}


def _index(schema: Any) -> set[str]:
    """Return the columns that pandas says are the index of rows, none where it says nothing."""
    try:
        told = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError, RecursionError):  # whoever wrote it
        return set()
    return {name for name in told if isinstance(name, str)} if isinstance(told, list) else set()


def find_roles(
    path: Path, schema: Any, features: Mapping[str, Any], labels: str, target: str, client: str
) -> Roles:
    """Return what the columns are for.

    No features are what numbers rows by pandas's word, and fine or coarse labels beside others.

    Args:
        path: The file, for errors.
        schema: Of the table.
        features: What a hub says of columns.
        labels: "fine" or "coarse" where there are both, or "".
        target: The column that is learned as somebody names it, or "".
        client: The column of clients as somebody names it, or "".

    Raises:
        InputError: If a column is not there, or it is not clear which one is what.
    """
    names = list(map(str, schema.names))
    if len({*names}) != len(names):
        raise InputError(f"data file {path}: two columns have one name")
    if labels and labels not in LABELS:
        raise unknown("data.labels", labels, LABELS)
    if labels and f"{labels}_label" not in names:
        raise InputError(
            f"data file {path}: data.labels: {labels!r} expects a column {labels}_label, "
            f"received {limits.few(names)}"
        )
    classes = [name for name in names if _class_names(features, name)]
    said = target or (labels and f"{labels}_label")
    target = columns.find_target(
        path, names, said, "fine_label", *(classes if len(classes) == 1 else ())
    )
    client = client and columns.find(path, names, client, "client")
    free = [name for name in names if name not in (target, client)]
    aside = {*_index(schema), *(f"{kind}_label" for kind in LABELS)}
    likely = [name for name in free if name not in aside and not _INDEX.fullmatch(name)]
    cells = [name for name in likely if _holds_cells(schema.field(name).type)]
    if len(cells) > 1:
        raise InputError(
            f"data file {path}: expected one column of images, received {limits.few(cells)}"
        )
    numbers = [] if cells else [name for name in likely if _is_number(schema.field(name).type)]
    if not cells and not numbers:
        raise InputError(
            f"data file {path}: expected a column of images or columns of numbers besides "
            f"{target}, received {limits.few(free) or 'none'}"
        )
    others = [name for name in free if name not in (*cells, *numbers)]
    return Roles(
        target,
        client,
        cells[0] if cells else "",
        tuple(numbers),
        _class_names(features, target),
        (
            *columns.note(target, said),
            *([f"columns: not used: {limits.few(others)}"] if others else []),
        ),
    )


def width(kind: Any) -> int | None:
    """Return the bytes that a value of a type takes, ``None`` where values differ in that."""
    kind = getattr(kind, "storage_type", kind)
    if pyarrow().types.is_fixed_size_list(kind):
        part = width(kind.value_type)
        return None if part is None else part * int(kind.list_size)
    return -(-int(kind.bit_width) // 8) if _is_number(kind) else None


def innermost(kind: Any) -> Any:
    """Return the type of what lists of lists hold."""
    while _is_list(kind):
        kind = getattr(kind, "storage_type", kind).value_type
    return kind


def make_raw(path: Path, tables: Mapping[str, Any], roles: Roles, *, follow: bool = False) -> Raw:
    """Make arrays of the tables of splits.

    Args:
        path: The file, for errors.
        tables: By split, "train" at least.
        roles: What their columns are for.
        follow: Whether cells without bytes may name a file that has them.

    Raises:
        InputError: If a cell is missing or unreadable, or cells differ in size.
    """
    splits = {split: _samples(path, split, table, roles, follow) for split, table in tables.items()}
    return Raw(
        splits["train"],
        splits.get("test"),
        splits.get("validation"),
        names=roles.names,
        notes=roles.notes,
    )


def _samples(path: Path, split: str, table: Any, roles: Roles, follow: bool) -> Samples:
    if not len(table):
        raise InputError(f"data file {path}: expected samples in {split}, received none")
    parts = {name: _column(path, split, table, name) for name in roles.used}
    x: Array
    if not roles.cells:
        limits.check(path, 8 * len(table) * len(roles.numbers))
        x = np.column_stack([_values(parts[name]) for name in roles.numbers])
    elif _is_encoded(parts[roles.cells].type):
        cells = _contents(path, split, parts[roles.cells], roles.cells, follow)
        x = decode(path, cells, lambda place: f"{split}, row {place}, {roles.cells}")
    else:
        x = _narrow(_nested(path, roles.cells, parts[roles.cells]))
    client = _label(path, roles.client, parts[roles.client]) if roles.client else None
    return Samples(x, _label(path, roles.target, parts[roles.target]), client)


def _column(path: Path, split: str, table: Any, name: str) -> Any:
    if name not in table.column_names:
        raise InputError(f"data file {path}: {split} has no column {ascii(name)[1:-1]}")
    column = table.column(name)
    if column.null_count:
        raise InputError(
            f"data file {path}: {split}: column {ascii(name)[1:-1]} lacks {column.null_count:,} "
            f"of {len(column):,} values; leave those rows out, or fill them"
        )
    return column


def _contents(path: Path, split: str, column: Any, name: str, follow: bool) -> list[Any]:
    """Return the bytes of encoded images, or the files that have them."""
    types = pyarrow().types
    contents: list[Any] = []
    for chunk in column.chunks:
        if not types.is_struct(chunk.type):
            contents += chunk.to_pylist()
            continue
        cells = chunk.field("bytes").to_pylist()
        if follow and None in cells:
            places = chunk.field("path").to_pylist()
            cells = [
                Path(place) if cell is None and place else cell
                for cell, place in zip(cells, places, strict=True)
            ]
        contents += cells
    if None in contents:
        raise InputError(
            f"data file {path}: {split}, row {contents.index(None)}: {name} has no bytes, and "
            "files that it may name are not read; publish images inside of the table"
        )
    return contents


def _label(path: Path, name: str, column: Any) -> Array:
    """Return what is learned, or clients: numbers, or text."""
    pa = pyarrow()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = column.to_pylist()
        limits.check(path, 4 * max(map(len, texts)) * len(texts))  # all are as long as that
        return np.array(texts, np.str_)
    if _is_list(column.type):
        return _nested(path, name, column)
    if not _is_number(column.type):
        raise InputError(
            f"data file {path}: column {ascii(name)[1:-1]}: expected numbers or text, received "
            f"{column.type}"
        )
    return _values(column)


def _nested(path: Path, name: str, column: Any) -> Array:
    """Return lists of lists of equal lengths as one array."""
    types = pyarrow().types
    array = column.combine_chunks()
    shape = [len(array)]
    while _is_list(getattr(array, "storage", array).type):
        array = getattr(array, "storage", array)
        if types.is_fixed_size_list(array.type):
            length = array.type.list_size
        else:
            lengths = np.diff(array.offsets.to_numpy())
            if len(lengths) and lengths.min() != lengths.max():
                raise InputError(
                    f"data file {path}: column {ascii(name)[1:-1]}: expected lists of one length, "
                    f"received {lengths.min():,} to {lengths.max():,}"
                )
            length = int(lengths[0]) if len(lengths) else 0
        shape.append(length)
        array = array.flatten()
    if not _is_number(array.type) or array.null_count:
        raise InputError(
            f"data file {path}: column {ascii(name)[1:-1]}: expected lists of numbers, received "
            f"{array.null_count:,} missing of {array.type}"
        )
    return _values(array).reshape(shape)


def _values(column: Any) -> Array:
    values: Array = np.asarray(
        column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False)
    )
    return values


def _narrow(array: Array) -> Array:
    """Return images of wide integers as uint8, where all of them are from 0 to 255."""
    if array.ndim >= 3 and array.dtype.kind in "iu" and array.dtype.itemsize > 1 and array.size:
        low, high = int(array.min()), int(array.max())
        if low >= 0 and high <= 255:
            return array.astype(np.uint8)
    return array


def _class_names(features: Mapping[str, Any], column: str) -> tuple[str, ...]:
    told = features.get(column)
    if not isinstance(told, dict) or told.get("_type") != "ClassLabel":
        return ()
    names = told.get("names")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _holds_cells(kind: Any) -> bool:
    return _is_encoded(kind) or _is_list(kind)


def _is_encoded(kind: Any) -> bool:
    types = pyarrow().types
    if types.is_struct(kind):
        return "bytes" in {kind.field(place).name for place in range(kind.num_fields)}
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    types = pyarrow().types
    kind = getattr(kind, "storage_type", kind)
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
