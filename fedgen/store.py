"""The run directory: one shard per arm, merged into CSV files by the parent.

A shard is written by one owner and committed after every round: rows first,
then one checkpoint that replaces the last by rename and knows how long the row
files were. What a killed process wrote after its last commit is cut off when
the shard is opened again.
"""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedgen.config import Arm
from fedgen.datasets import DAMAGE
from fedgen.errors import InputError, RunError
from fedgen.records import ClientRow, RoundRow, Row, read_csv, to_csv
from strategies.aggregation import Arrays

FORMAT = 1
ROWS: dict[str, type[Row]] = {"rounds.csv": RoundRow, "clients.csv": ClientRow}


@dataclass(frozen=True)
class Checkpoint:
    """What an arm needs to go on after a round.

    Attributes:
        round: The last round that is finished.
        weights: Global weights after it.
        state: The player's state, JSON values.
        arrays: The player's state, arrays.
    """

    round: int
    weights: Arrays
    state: dict[str, Any]
    arrays: Arrays


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole, or leave it as it was; on disk when this returns.

    Raises:
        RunError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}, {len(content)} bytes)"
        ) from error


class Shard:
    """Rows and latest checkpoint of one arm."""

    def __init__(self, run: Path, arm: Arm) -> None:
        self.folder = run / "shards" / arm.name
        self._checkpoint = self.folder / "checkpoint.npz"

    def open(self) -> Checkpoint | None:
        """Return the latest checkpoint and cut off rows that it does not know.

        Raises:
            InputError: If the checkpoint is damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._checkpoint.exists():
            for name, kind in ROWS.items():
                write_atomically(self.folder / name, to_csv([], kind, header=True).encode())
            return None
        try:
            file = self._checkpoint
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as bundle:
                meta = json.loads(bytes(bundle["meta"]))
                if meta["format"] != FORMAT:
                    raise ValueError(f"format {meta['format']}, expected {FORMAT}")
                weights = [bundle[f"weights_{i}"] for i in range(meta["weights"])]
                arrays = [bundle[f"arrays_{i}"] for i in range(meta["arrays"])]
            for name, length in meta["rows"].items():
                found = (self.folder / name).stat().st_size
                if found < length:
                    raise ValueError(f"{name} has {found} bytes, expected {length}")
                os.truncate(self.folder / name, length)
            return Checkpoint(meta["round"], weights, meta["state"], arrays)
        except (*DAMAGE, KeyError) as error:
            raise InputError(f"checkpoint {self._checkpoint}: damaged ({error})") from error

    def finished_round(self) -> int:
        """Return the last round that is committed, -1 before the first."""
        checkpoint = self.open() if self._checkpoint.exists() else None
        return -1 if checkpoint is None else checkpoint.round

    def commit(
        self, checkpoint: Checkpoint, rounds: Sequence[RoundRow], clients: Sequence[ClientRow]
    ) -> None:
        """Append a round's rows, then replace the checkpoint.

        Raises:
            RunError: If the disk does not take it; the last checkpoint stays.
        """
        lengths = {
            "rounds.csv": self._append("rounds.csv", rounds),
            "clients.csv": self._append("clients.csv", clients),
        }
        meta = {
            "format": FORMAT,
            "round": checkpoint.round,
            "rows": lengths,
            "weights": len(checkpoint.weights),
            "arrays": len(checkpoint.arrays),
            "state": checkpoint.state,
        }
        named = {f"weights_{i}": array for i, array in enumerate(checkpoint.weights)}
        named |= {f"arrays_{i}": array for i, array in enumerate(checkpoint.arrays)}
        content = io.BytesIO()
        named["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(content, allow_pickle=False, **named)
        write_atomically(self._checkpoint, content.getvalue())

    def _append(self, name: str, rows: Sequence[Row]) -> int:
        path = self.folder / name
        try:
            with path.open("ab") as stream:
                stream.write(to_csv(rows, ROWS[name], header=False).encode())
                stream.flush()
                os.fsync(stream.fileno())
                return stream.tell()
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror})") from error


def create(path: Path, config: str) -> None:
    """Make a run directory with its ``config.toml``.

    Raises:
        InputError: If it exists and is not empty, or cannot be made.
    """
    check_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / "config.toml", config.encode())
    except (OSError, RunError) as error:
        raise InputError(f"--out {path}: cannot be written ({error})") from error


def check_free(path: Path) -> None:
    """Check that a run directory does not exist yet, or is empty and writable.

    Raises:
        InputError: If that is not so.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"--out {path}: exists and is not an empty directory; name another one"
            )
        nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror})") from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {path}: cannot be written ({nearest} is not a writable directory)")


def merge(run: Path, arms: Sequence[Arm]) -> None:
    """Join the shards' rows, in the order of the arms, into the run's CSV files."""
    for name, kind in ROWS.items():
        parts = [run / "shards" / arm.name / name for arm in arms]
        rows = [row for part in parts if part.exists() for row in read_csv(part, kind)]
        write_atomically(run / name, to_csv(rows, kind, header=True).encode())
