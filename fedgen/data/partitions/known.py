"""Partitions that are known: by the data themselves, or by a file of indices."""

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.config.sections import Partition as Settings
from fedgen.data.partitions.partition import Indices
from fedgen.errors import InputError
from fedgen.files.csv import DictReader
from strategies.streams import rng

KINDS = ("natural", "given")
"""How many clients there are is theirs to say, not the settings'."""

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def natural(owners: NDArray[np.int32] | None) -> list[Indices]:
    """Give every client the samples that are its own.

    Args:
        owners: Array of shape (samples,): whose every sample is, clients counted from 0.

    Raises:
        InputError: If the data do not say.
    """
    if owners is None:
        raise InputError(
            "partition.kind 'natural': expected data that say whose every sample is, as an array "
            "'client' beside x_train and y_train, received data without"
        )
    order = np.argsort(owners, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(owners))
    return np.split(order, ends[:-1])


def with_validation(
    parts: Sequence[Indices], held_out: NDArray[np.bool_], seed: int
) -> list[Indices]:
    """Give clients who hold training samples only some of a validation split that the data have.

    As many, drawn at random, as theirs is a share of the training samples; at least one.
    """
    everybody = np.flatnonzero(held_out)
    training = len(held_out) - len(everybody)
    found = []
    for client, part in enumerate(parts):
        count = max(1, round(len(everybody) * len(part) / training))
        draw = rng(seed, "given-validation", 0, client)
        mine = draw.choice(everybody, min(count, len(everybody)), replace=False)
        found.append(part if held_out[part].any() else np.union1d(part, mine).astype(np.int32))
    return found


def spared(parts: Sequence[Indices], held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what trains nobody, less a sample of every client who would have nothing else.

    The sample is the client's first one, and so the same for everybody who holds it. If nothing is
    left that trains nobody, it is the last sample of who has most.

    Raises:
        InputError: If nobody has two.
    """
    rest = held_out.copy()
    for part in parts:
        if rest[part].all():
            rest[part[:1]] = False
    if not rest.any():
        largest = max(parts, key=len)
        if len(largest) < 2:
            raise InputError(
                "partition: expected a client with 2 samples or more, as one validates, received "
                "one each"
            )
        rest[largest[-1]] = True
    return rest


def given(path: Path, samples: int, seed: int) -> list[Indices]:
    """Read who holds what from a file.

    Args:
        path: A JSON file of lists of indices, or of an object of such lists by client; or a CSV
            file with columns ``client`` and ``index``, a row per sample, or ``client`` and
            ``indices``, a row per client, as fedgen's own ``partition.csv``: "0-9 12" are the
            samples 0 to 9 and 12. Where there is a column ``seed``, rows of this run's count.
        samples: Training samples that there are.
        seed: Seed of the run.

    Returns:
        One ascending array of indices per client, in ascending order of what the file calls them.

    Raises:
        InputError: Naming the file, what was expected and what was received.
    """
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as stream:
                found = _from_csv(DictReader(stream), seed)
        else:
            found = _from_json(json.loads(path.read_text("utf-8")))
        return [_checked(name, found[name], samples) for name in _in_order(found)]
    except (InputError, OSError, ValueError, csv.Error, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"partition.file {path}: {reason}") from error


def digest(settings: Settings) -> str:
    """Return the SHA-256 of the file of a given partition; "" for others."""
    return hashlib.sha256(Path(settings.file).read_bytes()).hexdigest() if settings.file else ""


def _from_json(tree: Any) -> dict[str, Any]:
    if isinstance(tree, list):
        tree = {str(place): part for place, part in enumerate(tree)}
    if not isinstance(tree, dict) or not tree:
        raise InputError(
            "expected lists of indices, one per client, or an object of them, received "
            f"{type(tree).__name__}{'' if tree else ' without any'}"
        )
    return tree


def _from_csv(rows: "DictReader[str]", seed: int) -> dict[str, list[int]]:
    columns = rows.fieldnames or []
    column = next((name for name in ("indices", "index") if name in columns), None)
    if "client" not in columns or column is None:
        raise InputError(
            f"expected columns client and index, or client and indices, received "
            f"{', '.join(map(ascii, columns[:8])) or 'none'}"
        )
    listed = list(rows)
    seeds = {row["seed"] for row in listed} if "seed" in columns else set()
    if len(seeds) > 1 and str(seed) not in seeds:
        raise InputError(f"expected rows of seed {seed}, or of one seed, received {len(seeds)}")
    found: dict[str, list[int]] = {}
    for number, row in enumerate(listed, 2):
        if str(seed) in seeds and row["seed"] != str(seed):
            continue
        text = row[column] or ""
        if not row["client"] or not text:
            raise InputError(f"line {number}: expected a client and its samples, received a gap")
        found.setdefault(row["client"], []).extend(_indices(text, f"line {number}"))
    return _from_json(found)


def _indices(text: str, where: str) -> list[int]:
    found: list[int] = []
    for word in text.split():
        match = _RANGE.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last - first > 2**31:
            raise InputError(f"{where}: expected indices as 3 or 4-9, received {ascii(word[:40])}")
        found.extend(range(first, last + 1))
    return found


def _checked(name: str, part: Any, samples: int) -> Indices:
    if not isinstance(part, list) or not part or {*map(type, part)} != {int}:
        raise InputError(f"client {name!r}: expected a list of indices, received {_told(part)}")
    found = np.unique(np.array(part, np.int64) if max(map(abs, part)) < 2**63 else [-1])
    if found[0] < 0 or found[-1] >= samples or len(found) < len(part):
        what = "twice one" if len(found) < len(part) else f"{found[0]} to {found[-1]}"
        raise InputError(
            f"client {name!r}: expected different indices from 0 to {samples - 1:,}, as there are "
            f"{samples:,} training samples, received {what}"
        )
    return found.astype(np.int32)


def _told(part: Any) -> str:
    if not isinstance(part, list) or not part:
        return "an empty list" if part == [] else type(part).__name__
    return "others among them"


def _in_order(found: Mapping[str, Any]) -> list[str]:
    numbers = all(name.isdecimal() and len(name) < 19 for name in found)
    return sorted(found, key=int) if numbers else sorted(found)


def as_text(indices: NDArray[np.integer[Any]]) -> str:
    """Return ascending indices as ``given`` reads them: runs as first-last, with spaces between."""
    if not len(indices):
        return ""
    starts = np.flatnonzero(np.diff(indices, prepend=indices[0] - 2) != 1)
    ends = np.append(starts[1:], len(indices)) - 1
    pairs = zip(indices[starts].tolist(), indices[ends].tolist(), strict=True)
    return " ".join(str(one) if one == other else f"{one}-{other}" for one, other in pairs)
