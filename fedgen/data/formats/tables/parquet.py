"""Parquet files, one or many: ``train-00000-of-00001.parquet`` and so on, as hubs publish them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedgen.data.formats import limits
from fedgen.data.formats.tables import arrow, columns
from fedgen.data.raw import Raw
from fedgen.errors import InputError

_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation"} | {
    "val": "validation"
}
ROWS = 1024
"""Rows that are read at a time at most, where cells may be of any length."""

_NAME = re.compile(rf"({'|'.join(_SPLITS)})([-_.].*)?")


def is_folder(path: Path) -> bool:
    """Whether a folder has Parquet files, in itself or where hubs keep them."""
    return any(_files(path))


def read(path: Path, *, labels: str = "", target: str = "", client: str = "") -> Raw:
    """Read images and labels, or a table of numbers, from a Parquet file or a folder of them.

    Args:
        path: The file, or a folder with those of a training split at least.
        labels: "fine" or "coarse", where there are columns ``fine_label`` and ``coarse_label``.
        target: The column that is learned; else the one with a usual name, or with names.
        client: The column that says whose a sample is, ``writer_id`` for example.

    Raises:
        InputError: If a file or a cell is unreadable, a column is missing or not told, or all is
            larger than what is free.
    """
    arrow.pyarrow()
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    files, others = find_splits(path)
    with limits.reading(path, "Parquet file", ArrowException):
        schema = ParquetFile(files["train"][0]).schema_arrow
        features = arrow.known_features(schema)
        roles = arrow.find_roles(path, schema, features, labels, target, client)
        tables = _tables(path, files, roles)
        found = arrow.make_raw(path, tables, roles)
    if not others:
        return found
    note = f"files: not used: {limits.few(others)}"
    return Raw(**{**vars(found), "notes": (*found.notes, note)})


def find_splits(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of every split, and the names of those that are of none.

    Raises:
        InputError: If there are none for training.
    """
    if not path.is_dir():
        return {"train": [path]}, []
    splits: dict[str, list[Path]] = {}
    others = []
    for file in _files(path):
        named = _NAME.fullmatch(file.stem)
        within = file.parent.name if file.parent != path else ""
        if named or within in _SPLITS:
            splits.setdefault(_SPLITS[named[1] if named else within], []).append(file)
        else:
            others.append(file)
    if not splits and others:
        return {"train": others}, []
    if "train" not in splits:
        raise InputError(
            f"data file {path}: expected train.parquet or train-00000-of-00001.parquet and so on, "
            f"received {limits.few(file.name for file in _files(path)) or 'no Parquet file'}"
        )
    return splits, [file.name for file in others]


def _files(path: Path) -> list[Path]:
    folders = (path, path / "data", *(path / name for name in _SPLITS))
    return [file for folder in folders for file in sorted(folder.glob("*.parquet"))]


def _tables(path: Path, files: dict[str, list[Path]], roles: arrow.Roles) -> dict[str, Any]:
    """Return the columns that are used, split by split.

    What a file says of its size is that of packed columns, where equal cells take next to nothing.
    So numbers are counted before any is read, and other cells while they are.
    """
    from pyarrow import concat_tables
    from pyarrow.parquet import ParquetFile

    most, taken = limits.free(), 0
    opened = {
        file: ParquetFile(file, page_checksum_verification=True)
        for part in files.values()
        for file in part
    }
    first = files["train"][0]
    schema = opened[first].schema_arrow
    for file, one in opened.items():
        columns.check_same(file, one.schema_arrow.names, first, roles.used, schema.names)
    limits.check(
        path, sum(_counted(one, name) for one in opened.values() for name in roles.used), most
    )
    tables = {}
    for split, part in files.items():
        parts = []
        for file in part:
            for table in _pieces(opened[file], roles.used, most):
                parts.append(table)
                taken += int(table.nbytes)
                limits.check(path, taken, most)
        tables[split] = concat_tables(parts)
    return tables


def _counted(file: Any, name: str) -> int:
    """Return the bytes that a column of numbers takes, or of lists of them; of others 0."""
    kind = file.schema_arrow.field(name).type
    if (width := arrow.width(kind)) is not None:
        return int(file.metadata.num_rows) * width
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    mine = [chunk for chunk in chunks if chunk.path_in_schema.startswith(f"{name}.")]
    return sum(int(chunk.num_values) for chunk in mine) * (arrow.width(arrow.innermost(kind)) or 0)


def _pieces(file: Any, names: list[str], most: int) -> Iterator[Any]:
    """Yield columns of a file, a number of rows at a time where cells may be of any length."""
    from pyarrow import Table

    # What a column is called may differ in what is said of it, and where it stands.
    yield _plain(file.schema_arrow.remove_metadata().empty_table().select(names))
    if all(arrow.width(file.schema_arrow.field(name).type) is not None for name in names):
        yield file.read(columns=names).select(names).replace_schema_metadata(None)
        return
    groups = range(file.metadata.num_row_groups)
    packed = [int(file.metadata.row_group(place).total_byte_size) for place in groups]
    rows = max(1, min(ROWS, most // max([1, *packed])))  # each may be all that is packed
    for batch in file.iter_batches(rows, columns=names):
        yield _plain(Table.from_batches([batch]).select(names).replace_schema_metadata(None))


def _plain(table: Any) -> Any:
    """Return a table of cells themselves, where they are places in a dictionary."""
    for place, field in enumerate(table.schema):
        if arrow.pyarrow().types.is_dictionary(field.type):
            cells = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, cells)
    return table
