"""MATLAB files, as SVHN publishes its cropped digits: Netzer et al. (2011).

http://ufldl.stanford.edu/housenumbers: ``X`` of shape (32, 32, 3, n) and ``y`` of shape (n, 1),
labels 1 to 10, where 10 is the digit 0.

Files of MATLAB 5 to 7 are elements of a type, a length and data, which may be compressed; arrays
are elements of elements (MathWorks, "MAT-File Format"). Arrays of numbers are all that is read, and
by this module: a damaged file may end a process that reads it with scipy 1.17.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}

_HEADER = 128
_TAG = 8

_MATRIX, _COMPRESSED = 14, 15

_STORED = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8"},
}
"""Types of data by their numbers."""

_CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2"},
    **{12: "i4", 13: "u4", 14: "i8", 15: "u8"},
}
"""Types that arrays have, by the numbers of their classes; data may be stored in smaller ones."""

_OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"}

_COMPLEX = 0x800

_HEAD = 4096
"""Bytes that are enough for all of an array but its data."""


@dataclass(frozen=True)
class _Head:
    """What an array says before its data.

    Attributes:
        name: What it is called.
        kind: Its dtype, "" where it is none of plain numbers.
        told: What it is, for people.
        shape: Its lengths.
        stored: The dtype of its data.
        start: Where its data begin.
        size: Bytes of its data.
    """

    name: str
    kind: str
    told: str
    shape: tuple[int, ...]
    stored: str
    start: int
    size: int


def is_folder(path: Path) -> bool:
    """Whether a folder has SVHN's training file."""
    return (path / FILES["train"]).exists()


def read(path: Path) -> Raw:
    """Read ``train_32x32.mat`` and, if it is there, ``test_32x32.mat``.

    Args:
        path: The folder, or the training file in it.

    Raises:
        InputError: If a file is missing, unreadable, holds no plain ``X`` and ``y``, or more than
            fits into the memory that is free.
    """
    first = path / FILES["train"] if path.is_dir() else path
    second = first.parent / FILES["test"]
    train = _split(first)
    test = _split(second) if second.exists() and second != first else None
    tens = any((split.y == 10).any() for split in (train, test) if split is not None)
    note = "labels: the digit 0, which SVHN calls 10, is 0"
    return Raw(_zeroed(train), test and _zeroed(test), notes=(note,) if tens else ())


def _zeroed(split: Samples) -> Samples:
    return Samples(split.x, np.where(split.y == 10, 0, split.y).astype(split.y.dtype))


def _split(path: Path) -> Samples:
    with limits.reading(path, "MATLAB file"):
        limits.check(path, path.stat().st_size)
        content = path.read_bytes()
        ends = {b"IM": "<", b"MI": ">"}
        order = ends.get(content[126:_HEADER], "")
        if not content.startswith(b"MATLAB 5.0 MAT-file") or not order:
            raise InputError(
                f"data file {path}: expected a file of MATLAB 5 to 7; save it with -v7, or as .npz"
            )
        found: dict[str, Array] = {}
        axes = {"X": 4, "y": 2}
        for kind, start, size in _elements(content, order, _HEADER):
            body = memoryview(content)[start : start + size]
            head, data = _array(path, kind, body, order)
            if head.name in found:
                raise InputError(f"data file {path}: {head.name} is there twice")
            if head.name in axes:
                _check(path, head, axes[head.name])
                found[head.name] = _values(data, head, order)
        for name, count in axes.items():
            if name not in found:
                _check(path, _Head(name, "", "nothing", (), "", 0, 0), count)
    images = np.ascontiguousarray(found["X"].transpose(3, 0, 1, 2))
    return Samples(images, np.ascontiguousarray(found["y"]).reshape(-1))


def _check(path: Path, head: _Head, axes: int) -> None:
    if not head.kind or len(head.shape) != axes:
        raise InputError(
            f"data file {path}: expected {head.name} of {axes} axes of numbers, as SVHN has it, "
            f"received {head.told}{list(head.shape)}"
        )
    # Once as MATLAB has it, and once with the samples first.
    limits.check(path, 2 * head.size)


def _elements(
    content: bytes | memoryview, order: str, start: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each element after another, where its data begin, and how many they are.

    Raises:
        ValueError: If one says so of itself that cannot be.
    """
    while start + _TAG <= len(content):
        kind, size = (int(word) for word in np.frombuffer(content, f"{order}u4", 2, start))
        if kind >> 16:  # a small one has both in a word, and its data in the other
            kind, size, first, after = kind & 0xFFFF, kind >> 16, start + 4, start + _TAG
            if size > 4:
                raise ValueError("a small element is large")
        else:
            first = start + _TAG
            after = first + size + (-size % 8 if kind != _COMPRESSED else 0)
        yield kind, first, size
        start = after


def _array(path: Path, kind: int, body: memoryview, order: str) -> tuple[_Head, bytes | memoryview]:
    """Return the head of an array, and what its data are in; all is unpacked if it is wanted.

    Raises:
        ValueError: If it is no array, or ends before it should.
    """
    if kind == _MATRIX:
        return _head(body, order), body
    if kind != _COMPRESSED:
        raise ValueError(f"an element of type {kind}")
    unpacking = zlib.decompressobj()
    start = unpacking.decompress(body, _HEAD)
    inner, first, size = next(_elements(start, order, 0), (0, 0, 0))
    if inner != _MATRIX:
        raise ValueError(f"an element of type {inner}")
    head = _head(memoryview(start)[first:], order)
    if head.name not in ("X", "y") or not head.kind:
        return head, b""
    limits.check(path, size)
    left = first + head.start + head.size - len(start)
    rest = unpacking.decompress(unpacking.unconsumed_tail, left) if left > 0 else b""
    return head, memoryview(start + rest)[first:]


def _head(body: bytes | memoryview, order: str) -> _Head:
    """Return what an array says of itself.

    Raises:
        ValueError: If that is not what arrays say.
    """
    parts = _elements(body, order, 0)
    flags = _words(body, order, next(parts, (0, 0, 0)), "u4", 6)
    shape = tuple(_words(body, order, next(parts, (0, 0, 0)), "i4", 5))
    _, start, size = next(parts, (0, 0, 0))
    name = bytes(body[start : start + size]).decode("latin-1")
    number = flags[0] & 0xFF if flags else 0
    kind = _CLASSES.get(number, "")
    told = np.dtype(kind).name if kind else _OTHERS.get(number, "an object")
    if not kind or flags[0] & _COMPLEX:
        return _Head(name, "", told if not kind else "complex", shape, "", 0, 0)
    stored, start, size = next(parts, (0, 0, 0))
    if stored not in _STORED or min(shape, default=-1) < 0:
        raise ValueError(f"an array with data of type {stored} and shape {shape}")
    if math.prod(shape) * np.dtype(_STORED[stored]).itemsize != size:
        raise ValueError(f"{size:,} bytes of data for shape {shape}")
    return _Head(name, kind, told, shape, _STORED[stored], start, size)


def _words(
    body: bytes | memoryview, order: str, part: tuple[int, int, int], dtype: str, expected: int
) -> list[int]:
    kind, start, size = part
    if kind != expected or size > 4 * 32 or start + size > len(body):
        raise ValueError(f"an element of type {kind} and {size:,} bytes")
    return list(np.frombuffer(bytes(body[start : start + size]), f"{order}{dtype}").tolist())


def _values(data: bytes | memoryview, head: _Head, order: str) -> Array:
    """Return the data of an array in its shape, of the type that they are stored as.

    The first axis runs fastest. MATLAB stores whole numbers in the smallest type that holds them.
    """
    count = math.prod(head.shape)
    flat = np.frombuffer(data, f"{order}{head.stored}", count, head.start)
    return flat.astype(head.stored, copy=False).reshape(head.shape, order="F")
