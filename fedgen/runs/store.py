"""The run directory: one shard per arm, merged into CSV files by the parent.

A shard is written by one owner and committed after every round: rows first, then
the checkpoint that vouches for them. What a killed process wrote after its last
commit is cut off when the shard is opened again; a checkpoint that was damaged
since makes room for the one before it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedgen.config.tree import Arm
from fedgen.files import disk
from fedgen.files.csv import read_csv, to_csv
from fedgen.runs.rows import ClassRow, EndedRow, EvaluationRow, PartitionRow, Row
from fedgen.runs.shard import ROWS, SHARDS, Shard, written

PARTITION, EVALUATION, CLASSES = "partition.csv", "evaluation.csv", "classes.csv"
ENDED = "ended.csv"


EXTRAS: dict[str, type[Row]] = {
    PARTITION: PartitionRow,
    EVALUATION: EvaluationRow,
    CLASSES: ClassRow,
    ENDED: EndedRow,
}
"""Files that the parent makes from the config and the final models; older runs lack them."""


def has_begun(run: Path, arms: Sequence[Arm]) -> bool:
    """Whether a round of an arm is finished, so that there is something to go on from."""
    return any(Shard(run, arm).finished_round >= 0 for arm in arms)


def read_rows(run: Path, arms: Sequence[Arm]) -> dict[str, list[Any]]:
    """Return all rows by file name, in the order of the arms.

    They are the committed rows of the shards; where there are none, as in a run
    directory that was passed on without its shards, those of its CSV files.

    Raises:
        InputError: If they are missing or damaged.
    """
    shards = [Shard(run, arm) for arm in arms]
    if not has_begun(run, arms) and (run / "rounds.csv").exists():
        return {name: read_csv(run / name, kind) for name, kind in ROWS.items()}
    rows: dict[str, list[Any]] = {name: [] for name in ROWS}
    for shard in shards:
        for name in ROWS:
            rows[name] += shard.rows(name)
        if failed := shard.failed():
            rows["clients.csv"] += failed[1]
    return rows


def read_ended(run: Path, arms: Sequence[Arm]) -> list[EndedRow]:
    """Return which arms ended early: as their shards say, or without shards as ``ENDED`` does.

    Raises:
        InputError: If that does not read.
    """
    if not (run / SHARDS).exists():
        return read_extra(run, ENDED)
    return [ended for arm in arms if (ended := Shard(run, arm).ended())]


def read_extra(run: Path, name: str) -> list[Any]:
    """Return the rows of one of ``EXTRAS``; none where the file is not there.

    Raises:
        InputError: If it does not read.
    """
    return read_csv(run / name, EXTRAS[name]) if (run / name).exists() else []


def read_classes(run: Path, arms: Sequence[Arm]) -> list[ClassRow]:
    """Return how the final models of arms do class by class, by their shards.

    Raises:
        InputError: If that does not read.
    """
    shards = [shard for shard in (Shard(run, arm) for arm in arms) if not shard.failed()]
    paths = (shard.folder / CLASSES for shard in shards)
    return [row for path in paths if path.exists() for row in read_csv(path, ClassRow)]


def merge(run: Path, arms: Sequence[Arm]) -> dict[str, list[Any]]:
    """Join the shards' committed rows into the run's CSV files, and return them.

    Raises:
        InputError: If they are damaged.
        RunError: If the files cannot be written.
    """
    rows = read_rows(run, arms)
    for name in ROWS:
        disk.replace(run / name, written(arms[0].config, name, rows[name]).encode())
    if ended := read_ended(run, arms):
        disk.replace(run / ENDED, to_csv(ended, EndedRow, header=True).encode())
    else:
        disk.remove(run / ENDED)
    return rows
