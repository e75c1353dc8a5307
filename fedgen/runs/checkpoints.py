"""Checkpoints: arrays as ``.npz``, and a JSON manifest that vouches for every byte.

The manifest is written last, so its arrival is the commit. It holds the sizes and
SHA-256 sums of the arrays' file and of the row files as they were then, what the
run was made with, and a sum of its own.
"""

import hashlib
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from fedgen.files import disk, npz
from strategies.core.aggregation import Arrays

FORMAT = 2
KEPT = 2
"""How many of the latest checkpoints of an arm are kept."""

MOST_ARRAYS = 10_000
MOST_BYTES = 2**28
"""Bounds of what a manifest may claim to have, and of its own size."""

Count = Annotated[int, Field(ge=0, lt=2**63)]

_PREFIX, _DIGITS = "checkpoint-", 6


class Damaged(ValueError):
    """A file is not what was written; the text names it and says how it differs."""


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


@dataclass(frozen=True)
class Extent:
    """How long a file, or the beginning of one, is and what it sums up to."""

    size: Count
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint's manifest says.

    Attributes:
        format: Version of the layout.
        round: The last round that is finished.
        weights: Number of weight arrays in the arrays' file; those of the state follow.
        arrays: Number of state arrays.
        content: The arrays' file.
        rows: The beginning of every row file that belongs to the checkpoint, by name.
        made_with: Settings and versions that decide the results.
        state: The player's state, JSON values.
    """

    format: int
    round: Count
    weights: Annotated[int, Field(ge=0, le=MOST_ARRAYS)]
    arrays: Annotated[int, Field(ge=0, le=MOST_ARRAYS)]
    content: Extent
    rows: dict[str, Extent]
    made_with: dict[str, Any]
    state: dict[str, Any]


_MANIFEST = TypeAdapter(Manifest)


def numbers(folder: Path) -> list[int]:
    """Return the rounds that a folder has manifests of, latest first."""
    found = [
        path.stem.removeprefix(_PREFIX)
        for path in folder.glob(f"{_PREFIX}*.json")
        if path.stem.removeprefix(_PREFIX).isdecimal()
    ]
    return sorted({int(number) for number in found if len(number) <= 18}, reverse=True)


def manifest_path(folder: Path, number: int) -> Path:
    """Return where the manifest of a round is."""
    return folder / f"{_PREFIX}{number:0{_DIGITS}}.json"


def content_path(folder: Path, number: int) -> Path:
    """Return where the arrays of a round are."""
    return folder / f"{_PREFIX}{number:0{_DIGITS}}.npz"


def write(
    folder: Path,
    checkpoint: Checkpoint,
    rows: Mapping[str, Extent],
    made_with: Mapping[str, Any],
    spared: Collection[int] = (),
) -> None:
    """Commit a checkpoint; the ones before the latest two are removed, but for spared rounds.

    Raises:
        RunError: If the disk does not take it; the last checkpoint stays.
    """
    stored = [*checkpoint.weights, *checkpoint.arrays]
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{f"array_{i}": array for i, array in enumerate(stored)})
    content = stream.getvalue()
    manifest = Manifest(
        format=FORMAT,
        round=checkpoint.round,
        weights=len(checkpoint.weights),
        arrays=len(checkpoint.arrays),
        content=Extent(len(content), hashlib.sha256(content).hexdigest()),
        rows=dict(rows),
        made_with=dict(made_with),
        state=checkpoint.state,
    )
    disk.replace(content_path(folder, checkpoint.round), content)
    disk.replace(manifest_path(folder, checkpoint.round), encode(manifest))
    prune(folder, numbers(folder), spared)


def prune(folder: Path, good: list[int], spared: Collection[int] = ()) -> None:
    """Remove all but the latest two of the good ones, manifests first, and what a kill left.

    Args:
        folder: Where they are.
        good: Rounds, the latest first.
        spared: Those of them that stay whatever their age.
    """
    kept = [*good[:KEPT], *(number for number in good[KEPT:] if number in spared)]
    keep = {path(folder, number) for number in kept for path in (manifest_path, content_path)}
    for pattern in (f"{_PREFIX}*.json", f"{_PREFIX}*.npz", ".*.tmp"):
        for path in folder.glob(pattern):
            if path not in keep:
                disk.remove(path)


def encode(manifest: Manifest) -> bytes:
    """Write a manifest as JSON with a sum over everything else in it."""
    # Not by dataclasses.asdict, which copies deeply: the state may be of every known client.
    body = vars(manifest) | {
        "content": vars(manifest.content),
        "rows": {name: vars(extent) for name, extent in manifest.rows.items()},
    }
    return _dump(body | {"sha256": hashlib.sha256(_dump(body)).hexdigest()})


def decode(content: bytes) -> Manifest:
    """Read a manifest back; every byte must be as it was written.

    Raises:
        Damaged: If it is not.
    """
    try:
        tree = json.loads(content)
        if isinstance(tree, dict) and tree.get("format") != FORMAT:
            raise Damaged(f"format {tree.get('format')!r}, this fedgen reads {FORMAT}")
        values = {field.name: tree[field.name] for field in fields(Manifest)}
        manifest = _MANIFEST.validate_python(values, strict=False)
        if encode(manifest) != content:
            raise Damaged("its sum does not fit its text")
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"not a manifest ({type(error).__name__})") from error
    return manifest


def read_manifest(folder: Path, number: int) -> Manifest:
    """Read the manifest of a round.

    Raises:
        Damaged: If it is missing, unreadable, altered, or another round's.
    """
    path = manifest_path(folder, number)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Damaged(f"has more than {MOST_BYTES:,} bytes")
        manifest = decode(path.read_bytes())
    except (OSError, Damaged) as error:
        raise Damaged(f"{path}: {_cause(error)}") from error
    if manifest.round != number:
        raise Damaged(f"{path}: is of round {manifest.round}")
    return manifest


def latest_manifest(folder: Path) -> Manifest | None:
    """Return the latest manifest that reads, without looking at what it vouches for."""
    for number in numbers(folder):
        try:
            return read_manifest(folder, number)
        except Damaged:
            continue  # whoever goes on from it names it
    return None


def read(folder: Path, manifest: Manifest) -> Checkpoint:
    """Read the arrays that a manifest vouches for.

    Raises:
        Damaged: If the file is missing, unreadable or altered.
    """
    path = content_path(folder, manifest.round)
    content = check(path, manifest.content, whole=True)
    wanted = [f"array_{i}" for i in range(manifest.weights + manifest.arrays)]
    try:
        stored = npz.read(io.BytesIO(content), wanted, len(content), compressed=False)
    except npz.DAMAGE as error:
        raise Damaged(f"{path}: {_cause(error)}") from error
    split = manifest.weights
    return Checkpoint(manifest.round, stored[:split], manifest.state, stored[split:])


def check(path: Path, extent: Extent, *, whole: bool) -> bytes:
    """Return the first bytes of a file, as many as an extent says, after holding them against it.

    Args:
        path: The file.
        extent: What is expected.
        whole: Whether the file must end there.

    Raises:
        Damaged: If it is shorter, longer (``whole``), altered, or cannot be read.
    """
    try:
        size = path.stat().st_size
        if size < extent.size or (whole and size > extent.size):
            raise Damaged(f"{path}: has {size:,} bytes, expected {extent.size:,}")
        with path.open("rb") as stream:
            content = stream.read(extent.size)
    except OSError as error:
        raise Damaged(f"{path}: {_cause(error)}") from error
    if hashlib.sha256(content).hexdigest() != extent.sha256:
        raise Damaged(f"{path}: its bytes are not those that were written (sha256 differs)")
    return content


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _cause(error: BaseException) -> str:
    return f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
