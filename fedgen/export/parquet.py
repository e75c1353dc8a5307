"""A run's rows as Parquet files beside its CSV files, with the same columns and their types."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedgen.errors import InputError
from fedgen.files import disk
from fedgen.files.csv import columns, holds, measured_in
from fedgen.report.results import Results
from fedgen.runs import shard, store
from fedgen.runs.rows import Row


def check() -> None:
    """Check that the library that writes them is there.

    Raises:
        InputError: If it is not, with what to install.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--parquet: pyarrow is missing ({error}), pip install 'fedgen[data]'"
        ) from error


def write(results: Results) -> list[Path]:
    """Write every table that has a row, in place of what was written before.

    What is empty in a CSV file is null, and what is not finite is so.

    Args:
        results: The run, also one that is half-done.

    Returns:
        The files.

    Raises:
        InputError: If pyarrow is missing.
        RunError: If a file cannot be written.
    """
    check()
    config, extras = results.run.config, store.EXTRAS
    tables: dict[str, Sequence[Row]] = {
        "rounds.csv": results.rounds,
        "clients.csv": results.clients,
        store.EVALUATION: results.evaluations,
        store.PARTITION: results.partition,
        store.CLASSES: results.classes,
        store.ENDED: results.ended,
    }
    made = []
    for name, rows in tables.items():
        path = (results.path / name).with_suffix(".parquet")
        if not rows:
            disk.remove(path)
            continue
        kind = extras.get(name) or shard.ROWS[name]
        told, measured = (
            (True, measured_in(rows)) if name in extras else shard.columns(config, name)
        )
        disk.replace(path, _content(rows, kind, told, measured))
        made.append(path)
    return made


def _content(rows: Sequence[Any], kind: type[Row], told: bool, measured: Sequence[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"bool": pa.bool_(), "float": pa.float64(), "int": pa.int64(), "str": pa.string()}
    held = holds(kind)
    table = {
        name: pa.array([getattr(row, name) for row in rows], types[held[name]])
        for name in columns(kind, optional=told)
    } | {
        name: pa.array([row.measured.get(name) for row in rows], pa.float64()) for name in measured
    }
    stream = io.BytesIO()
    parquet.write_table(pa.table(table), stream)
    return stream.getvalue()
