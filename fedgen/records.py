"""Rows of CSV files: their columns, writing and reading."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from fedgen.errors import InputError


@dataclass(frozen=True)
class RoundRow:
    """One round of one arm. Costs are this round's alone; seconds include evaluation."""

    strategy: str
    seed: int
    round: int
    test_accuracy: float
    test_loss: float
    validation_accuracy: float
    validation_loss: float
    train_loss: float | None
    clients: int
    rejected: int
    failed: int
    client_epochs: int
    samples: int
    bytes_down: int
    bytes_up: int
    seconds: float

    simulated_seconds: ClassVar[float | None] = None
    """No column, and none without simulated devices: see ``TimedRow``."""


@dataclass(frozen=True)
class TimedRow(RoundRow):
    """A round in a run with simulated devices, and how long it would take on them."""

    simulated_seconds: float | None  # type: ignore[misc]


@dataclass(frozen=True)
class ClientRow:
    """One cohort client in one round of one arm; ``None`` is an empty field."""

    strategy: str
    seed: int
    round: int
    client: int
    cluster: int | None
    learning_rate: float | None
    batch_size: int | None
    applied_learning_rate: float | None
    applied_batch_size: int | None
    fitness: float | None
    train_loss: float | None
    samples: int
    origin: str | None
    parent: int | None
    batch_parent: int | None
    mutation: float | None
    status: str
    seconds: float | None

    local_epochs: ClassVar[int | None] = None
    momentum: ClassVar[float | None] = None
    """No columns, and none where no further genes evolve: see ``GeneRow``."""


@dataclass(frozen=True)
class GeneRow(ClientRow):
    """A client in a run in which further genes evolve; arms without them leave them empty."""

    local_epochs: int | None  # type: ignore[misc]
    momentum: float | None  # type: ignore[misc]


@dataclass(frozen=True)
class PartitionRow:
    """What one client holds under one seed.

    ``start`` and ``stop`` bound its slice of the training set, where it is one; ``train`` and
    ``validation`` count its samples; ``labels`` counts the training samples of every class, from
    class 0 on, with spaces between.
    """

    seed: int
    client: int
    start: int | None
    stop: int | None
    train: int
    validation: int
    labels: str

    @property
    def counts(self) -> list[int]:
        """Training samples per class; none where the text holds something else."""
        words = self.labels.split()
        return [int(w) for w in words] if all(w.isdecimal() and len(w) < 19 for w in words) else []


@dataclass(frozen=True)
class EvaluationRow:
    """An arm's latest model on the validation samples of one client, cohort or not."""

    strategy: str
    seed: int
    round: int
    client: int
    samples: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class EndedRow:
    """An arm that ended before the last round that was asked for.

    Attributes:
        strategy: Whose arm.
        seed: Of which seed.
        round: The round that is not counted.
        how: ``DIVERGED`` or ``BUDGET``.
        why: The reason, for people.
    """

    strategy: str
    seed: int
    round: int
    how: str
    why: str

    @property
    def compared(self) -> bool:
        """Whether what it has come to can be held against others: its budget bought a round."""
        return self.how == BUDGET and self.round > 1


DIVERGED, BUDGET = "diverged", "budget"
"""How an arm ends early: too few of its replies can be used, or the next round costs too much."""

Row = RoundRow | ClientRow | PartitionRow | EvaluationRow | EndedRow

_CONVERT: dict[str, Callable[[str], Any]] = {
    "bool": {"True": True, "False": False}.__getitem__,
    "float": float,
    "int": int,
    "str": str,
}


def columns(kind: type[Any]) -> list[str]:
    """Return the column names of a kind of row."""
    return [field.name for field in fields(kind)]


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


def to_csv(rows: Iterable[Row], kind: type[Row], *, header: bool) -> str:
    """Write rows as CSV, as ``write_lines`` does."""
    names = columns(kind)
    lines = ([getattr(row, name) for name in names] for row in rows)
    return write_lines([names, *lines] if header else lines)


def read_csv(path: Path, kind: type[Row]) -> list[Any]:
    """Read rows back.

    Raises:
        InputError: If the file is missing, or a row does not fit the columns.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_csv(content, path, kind)


def parse_csv(content: bytes, path: Path, kind: type[Row]) -> list[Any]:
    """Parse the content of a CSV file with a header.

    Args:
        content: What is parsed.
        path: Where it is from, for errors.
        kind: Kind of the rows.

    Raises:
        InputError: If the text is no CSV, or a row does not fit the columns.
    """
    try:
        table = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not table or table[0] != columns(kind):
        raise InputError(f"{path}: expected the columns {','.join(columns(kind))}")
    return [parse(path, number, values, kind) for number, values in enumerate(table[1:], 2)]


def parse(path: Path, line: int, values: Sequence[str], kind: type[Any]) -> Any:
    """Make a row of its fields.

    Args:
        path: Where it stands, for errors.
        line: On which line.
        values: The fields.
        kind: A dataclass of bool, int, float and str; ``None`` is an empty field.

    Raises:
        InputError: If a field is missing, or is not what it should be.
    """
    wanted = fields(kind)
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
