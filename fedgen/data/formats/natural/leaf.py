"""LEAF's JSON files: Caldas et al., "LEAF: A Benchmark for Federated Settings" (arXiv 1812.01097).

``train/*.json`` and ``test/*.json`` as its scripts write them: users, numbers of samples, and the
``x`` and ``y`` of every user. Images are rows of floats, Shakespeare's lines are text, and tweets
are rows of a table.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError

ALPHABET = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
"""The 80 characters of LEAF's Shakespeare, in its order (models/utils/language_utils.py)."""

OTHER = len(ALPHABET)
"""What stands for every other character."""

TWEET = 140
"""Bytes of a tweet that are read: so many letters it could have then."""

_TEXT = 4
"""Where a row has its text, after id, date, query and user."""

_IMAGE = 28
"""Height and width of FEMNIST's images."""

_BYTES = 8
"""So many times its own size a JSON file takes, once it is parsed."""


@dataclass(frozen=True)
class _Split:
    """What the files of a split hold, user after user."""

    kind: str
    x: list[Array]
    y: list[Array]
    users: list[str]
    cut: int

    def samples(self) -> Samples:
        counts = [len(y) for y in self.y]
        client = np.repeat(np.array(self.users, np.str_), counts)
        return Samples(np.concatenate(self.x), np.concatenate(self.y), client)


def is_folder(path: Path) -> bool:
    """Whether a folder has JSON files that begin as LEAF's do."""
    files = [file for part in _files(path).values() for file in part]
    return bool(files) and is_file(files[0])


def is_file(path: Path) -> bool:
    """Whether a file begins as LEAF's do: with an object, and its users soon after."""
    with path.open("rb") as stream:
        start = stream.read(4096).lstrip()
    return start[:1] == b"{" and any(key in start for key in (b'"users"', b'"user_data"'))


def read(path: Path) -> Raw:
    """Read a folder of ``train/*.json`` and ``test/*.json``, of ``*.json``, or one such file.

    Args:
        path: The folder or file.

    Returns:
        Images of shape (n, 28, 28), float32; other rows of numbers as float32; text as int32
        tokens of shape (n, length). Every sample says whose it is.

    Raises:
        InputError: If a file is no such JSON, users or samples are missing, or samples differ in
            length or kind.
    """
    files = _files(path)
    if not files.get("train"):
        raise InputError(f"data file {path}: expected train/*.json as LEAF writes them")
    found = {split: _read(path, part) for split, part in files.items() if part}
    kinds = {split.kind for split in found.values()}
    if len(kinds) > 1:
        raise InputError(
            f"data file {path}: expected samples of one kind, received {sorted(kinds)}"
        )
    (kind,) = kinds
    parts = {name: split.samples() for name, split in found.items()}
    names: tuple[str, ...] = ()
    if kind == "lines":
        unknown = any((part.y == OTHER).any() for part in parts.values())
        names = (*ALPHABET, "other") if unknown else tuple(ALPHABET)
    notes = _notes(kind, parts["train"].x, sum(split.cut for split in found.values()))
    splits = parts["train"], parts.get("test"), parts.get("validation")
    return Raw(*splits, names, notes=notes, closed=bool(names))


def encode(texts: list[str]) -> NDArray[np.int32]:
    """Return lines of one length as tokens: places in ``ALPHABET``, or ``OTHER``.

    Args:
        texts: The lines, at least one.

    Returns:
        Array of shape (n, length).
    """
    table = np.full(129, OTHER, np.int32)
    table[[ord(letter) for letter in ALPHABET]] = np.arange(OTHER)
    letters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    tokens: NDArray[np.int32] = table[np.minimum(letters, 128)].reshape(len(texts), -1)
    return tokens


def _notes(kind: str, x: Array, cut: int) -> tuple[str, ...]:
    if kind == "lines":
        return (
            "tokens: characters are numbered by LEAF's alphabet of 80; 80 stands for all others",
        )
    if kind == "tweets":
        told = f"; {cut:,} are longer and cut" if cut else ""
        return (
            f"tokens: tweets are the bytes of their text in UTF-8, {TWEET} of them, 0 after its "
            f"end{told}",
        )
    if x.ndim == 3:
        return ("pixels: floats as LEAF writes FEMNIST, where 1 is white paper and 0 is ink",)
    return ()


def _files(path: Path) -> dict[str, list[Path]]:
    if not path.is_dir():
        return {"train": [path]}
    if not (path / "train").is_dir():
        return {"train": sorted(path.glob("*.json"))}
    places = {"train": "train", "test": "test", "validation": "val"}
    return {split: sorted((path / name).glob("*.json")) for split, name in places.items()}


def _read(path: Path, files: list[Path]) -> _Split:
    kinds: set[str] = set()
    found = _Split("", [], [], [], 0)
    cut = 0
    for file in files:
        for user, x, y in _users(file):
            kind = _kind(file, user, x)
            kinds.add(kind)
            with limits.reading(file, f"file of LEAF, user {ascii(user)[1:-1]}"):
                arrays = _arrays(kind, x, y)
            cut += sum(len(_bytes(row)) > TWEET for row in x) if kind == "tweets" else 0
            found.x.append(arrays[0])
            found.y.append(arrays[1])
            found.users.append(user)
    if len({array.shape[1:] for array in found.x}) != 1 or len(kinds) != 1:
        shapes = sorted({str(array.shape[1:]) for array in found.x})
        raise InputError(
            f"data file {path}: expected samples of one kind and length, received "
            f"{limits.few([*sorted(kinds), *shapes]) or 'none'}"
        )
    return _Split(kinds.pop(), found.x, found.y, found.users, cut)


def _users(file: Path) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Yield every user who has samples, and the samples as the JSON has them."""
    with limits.reading(file, "file of LEAF"):
        limits.check(file, _BYTES * file.stat().st_size)
        content = json.loads(file.read_bytes())
    data = content.get("user_data") if isinstance(content, dict) else None
    users = content.get("users") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not isinstance(users, list):
        raise InputError(f"data file {file}: expected users and user_data as LEAF writes them")
    for user in users:
        mine = data.get(user) if isinstance(user, str) else None
        x, y = (mine.get("x"), mine.get("y")) if isinstance(mine, dict) else (None, None)
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            raise InputError(
                f"data file {file}: user {str(user)[:40]!a}: expected x and y of one length in "
                "user_data"
            )
        if x:
            yield user, x, y


def _kind(file: Path, user: str, x: list[Any]) -> str:
    """Return what samples are, all of a user's alike."""
    if all(isinstance(row, str) for row in x):
        return "lines"
    if all(isinstance(row, list) for row in x):
        if all(len(row) > _TEXT and isinstance(row[_TEXT], str) for row in x):
            return "tweets"
        if not any(isinstance(cell, str) for row in x for cell in row[:1]):
            return "rows"
    raise InputError(
        f"data file {file}: user {user[:40]!a}: expected rows of numbers, lines of text, or tweets "
        "with their text in the fifth place"
    )


def _arrays(kind: str, x: list[Any], y: list[Any]) -> tuple[Array, Array]:
    """Return the samples of one user.

    Raises:
        One of ``limits.DAMAGE``: If they are not of one length, or not what their kind is.
    """
    if kind == "lines":
        lengths = {len(row) for row in x}
        if len(lengths) != 1 or not all(isinstance(label, str) and len(label) == 1 for label in y):
            raise ValueError("lines are not of one length, or labels are not single characters")
        return encode(x), encode(y)[:, 0]
    labels: Array = np.array(y)
    if labels.ndim > 2 or labels.dtype.kind not in "biuf":
        raise ValueError("labels are not numbers")
    if kind == "tweets":
        padded = (_bytes(row)[:TWEET].ljust(TWEET, b"\0") for row in x)
        codes = np.frombuffer(b"".join(padded), np.uint8)
        return codes.reshape(len(x), TWEET).astype(np.int32), labels
    rows = np.array(x, np.float32)
    if rows.shape[1:] == (_IMAGE * _IMAGE,):
        rows = rows.reshape(-1, _IMAGE, _IMAGE)
    return rows, labels


def _bytes(row: list[Any]) -> bytes:
    text: str = row[_TEXT]
    return text.encode("utf-8", "surrogatepass")
