"""HDF5 files of TensorFlow Federated, ``*_train.h5`` and ``*_test.h5``: ``examples/CLIENT/NAME``.

As ``tff.simulation.datasets`` downloads them: EMNIST (``pixels``, ``label``), CIFAR-100
(``image``, ``label``, ``coarse_label``) and Shakespeare (``snippets``).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError, unknown

LABELS = ("fine", "coarse")

VOCABULARY = (
    "dhlptx@DHLPTX $(,048cgkoswCGKOSW[_#'/37;?bfjnrvzBFJNRVZ\"&*.26:\naeimquyAEIMQUY]!%)-159\r"
)
"""The 86 characters of "Federated Learning for Text Generation", in its order, numbered from 1."""

PAD, OTHER, START, END = 0, len(VOCABULARY) + 1, len(VOCABULARY) + 2, len(VOCABULARY) + 3
"""What stands for no character, any other one, and the ends of a snippet."""

LENGTH = 80
"""Tokens of a sample: McMahan et al., AISTATS 2017 (arXiv 1602.05629)."""

NAMES = ("after the end", *VOCABULARY, "other", "start", "end")
"""What tokens are called as classes."""

PART = 64
"""Snippets that are read at a time: many may be one text of the file."""

_HEAP = b"GCOL\x01\0\0\0"


def is_folder(path: Path) -> bool:
    """Whether a folder has a training file."""
    return any(path.glob("*_train.h5"))


def read(path: Path, *, labels: str = "fine") -> Raw:
    """Read a training file and the test file beside it, client after client.

    Args:
        path: The folder of both, or the training file.
        labels: "fine" or, in CIFAR-100, "coarse".

    Returns:
        Images as they are stored; of Shakespeare, 80 tokens each, int32, and the one after them, as
        LEAF's task has it (Caldas et al., arXiv 1812.01097), of every part of 81 that has one.

    Raises:
        InputError: If a file is missing, unreadable, holds no plain arrays or links elsewhere, or
            more than fits into the memory that is free.
    """
    if labels not in LABELS:
        raise unknown("labels", labels, LABELS)
    train, test = _files(path)
    found = _read(train, labels)
    tested = None if test is None else _read(test, labels)
    if found.x.shape[1:] != (LENGTH,):
        return Raw(found, tested)
    notes = (
        f"tokens: characters are numbered from 1 by TensorFlow Federated's vocabulary of "
        f"{len(VOCABULARY)}; {OTHER} is any other character, {START} and {END} the ends of a "
        "snippet",
        f"labels: the character after {LENGTH}, as LEAF's task has it; snippets are cut into parts "
        f"of {LENGTH + 1}, and what is left of one is not used",
    )
    return Raw(found, tested, names=NAMES, notes=notes)


def encode(snippets: list[bytes]) -> tuple[NDArray[np.int32], list[int]]:
    """Return snippets as tokens, cut into samples of one more than ``LENGTH``.

    Args:
        snippets: Text in UTF-8.

    Returns:
        Array of shape (n, 81), and how many rows each snippet has.
    """
    table = np.full(129, OTHER, np.int32)
    table[[ord(letter) for letter in VOCABULARY]] = np.arange(1, len(VOCABULARY) + 1)
    rows, counts = [], []
    for snippet in snippets:
        text = snippet.decode("utf-8", "replace").encode("utf-32-le")
        letters = table[np.minimum(np.frombuffer(text, "<u4"), 128)]
        tokens = np.full(-(-(len(letters) + 2) // (LENGTH + 1)) * (LENGTH + 1), PAD, np.int32)
        tokens[0], tokens[1 : len(letters) + 1], tokens[len(letters) + 1] = START, letters, END
        rows.append(tokens.reshape(-1, LENGTH + 1))
        counts.append(len(rows[-1]))
    return np.concatenate(rows), counts


def _files(path: Path) -> tuple[Path, Path | None]:
    if path.is_dir():
        found = sorted(path.glob("*_train.h5"))
        if len(found) != 1:
            raise InputError(
                f"data file {path}: expected one file *_train.h5, received "
                f"{limits.few(file.name for file in found) or 'none'}"
            )
        (path,) = found
    test = path.with_name(path.name.removesuffix("_train.h5") + "_test.h5")
    return path, test if path.name.endswith("_train.h5") and test.exists() else None


def _read(file: Path, labels: str) -> Samples:
    import h5py  # 0.1 s, and there with Keras

    with limits.reading(file, "HDF5 file of TensorFlow Federated"), h5py.File(file, "r") as content:
        examples = _inside(h5py, file, content, "examples", h5py.Group)
        clients = {name: _inside(h5py, file, examples, name, h5py.Group) for name in examples}
        if not clients:
            raise InputError(f"data file {file}: expected clients under examples, received none")
        first = next(iter(clients.values()))
        if "snippets" in first:
            return _lines(h5py, file, clients)
        images = "pixels" if "pixels" in first else "image"
        label = "coarse_label" if labels == "coarse" else "label"
        for name in (images, label):
            if name not in first:
                raise InputError(
                    f"data file {file}: expected {name} of every client, received "
                    f"{limits.few(first)}"
                )
        x = _joined(h5py, file, clients, images)
        y = _joined(h5py, file, clients, label)
        counts = [len(mine[images]) for mine in clients.values()]
        if counts != [len(mine[label]) for mine in clients.values()]:
            raise InputError(f"data file {file}: a client has not as many labels as images")
    owners = np.repeat(np.array(list(clients), np.str_), counts)
    return Samples(x, y[:, 0] if y.shape[1:] == (1,) else y, owners)


def _joined(h5py: Any, file: Path, clients: dict[str, Any], name: str) -> Array:
    """Return the arrays of all clients after one another, each read to its place."""
    parts = [_inside(h5py, file, mine, name, h5py.Dataset) for mine in clients.values()]
    shapes = {(part.shape[1:], part.dtype) for part in parts}
    if len(shapes) != 1 or parts[0].dtype.kind not in "biuf" or not parts[0].shape:
        raise InputError(
            f"data file {file}: expected {name} of one shape and of numbers, received "
            f"{limits.few(f'{dtype}{list(shape)}' for shape, dtype in shapes)}"
        )
    length, (shape, dtype) = sum(len(part) for part in parts), shapes.pop()
    limits.check(file, length * math.prod(shape) * dtype.itemsize)
    array = np.empty((length, *shape), dtype)
    start = 0
    for part in parts:
        if len(part):
            part.read_direct(array, dest_sel=np.s_[start : start + len(part)])
        start += len(part)
    return array


def _check_heaps(file: Path) -> None:
    """Refuse a file whose text is not whole, before HDF5 looks for it.

    Text lies in global heaps: ``GCOL``, a version, a size, and objects of an index and a size each,
    their own heads included ("HDF5 File Format Specification" 3.0, III.E). HDF5 1.14 may look for
    damaged text without an end, and nothing interrupts it.
    """
    limits.check(file, file.stat().st_size)
    content = file.read_bytes()
    versions = {0: 13, 1: 13, 2: 9, 3: 9}
    sizes = versions.get(content[8], 0)
    damaged = not sizes or content[sizes : sizes + 2] != b"\x08\x08"
    start = content.find(_HEAP)
    while start >= 0 and not damaged:
        end = start + int.from_bytes(content[start + 8 : start + 16], "little")
        place = start + 16
        while place + 16 <= end and not damaged:
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            place += size if index == 0 else 16 + size + -size % 8
            damaged = place > end or (index == 0 and size < 16)
        damaged = damaged or end > len(content)
        start = content.find(_HEAP, start + 1)
    if damaged:
        raise InputError(f"data file {file}: its text is damaged; fetch the file again")


def _lines(h5py: Any, file: Path, clients: dict[str, Any]) -> Samples:
    _check_heaps(file)
    most, taken = limits.free(), 0
    parts = {
        name: _snippets(h5py, file, _inside(h5py, file, mine, "snippets", h5py.Dataset))
        for name, mine in clients.items()
    }
    if (count := sum(part.size for part in parts.values())) > file.stat().st_size:
        raise InputError(f"data file {file}: says it has {count:,} snippets, more than its bytes")
    windows, owners = [np.empty((0, LENGTH + 1), np.int32)], []
    for name, part in parts.items():
        for start in range(0, part.size, PART):
            tokens, _ = encode([bytes(line) for line in part[start : start + PART]])
            windows.append(tokens[tokens[:, -1] != PAD])
            owners += [name] * len(windows[-1])
            taken += windows[-1].nbytes
            limits.check(file, taken, most)
    if not owners:
        raise InputError(
            f"data file {file}: expected snippets of {LENGTH} characters or more, received none"
        )
    tokens = np.concatenate(windows)
    return Samples(tokens[:, :-1], tokens[:, -1], np.array(owners, np.str_))


def _snippets(h5py: Any, file: Path, part: Any) -> Any:
    """Return snippets that may be read: texts of any length each, and not too many."""
    text = h5py.check_string_dtype(part.dtype)
    if part.ndim != 1 or text is None or text.length is not None:
        raise InputError(
            f"data file {file}: expected snippets of text, received {part.dtype}{list(part.shape)}"
        )
    limits.check(file, part.size * part.dtype.itemsize)
    return part


def _inside(h5py: Any, file: Path, group: Any, name: str, kind: type) -> Any:
    """Return a member that is in the file itself, and nothing that it may name elsewhere."""
    link = (
        group.get(name, getlink=True) if isinstance(group, h5py.Group) and name in group else None
    )
    found = group[name] if isinstance(link, h5py.HardLink) else None
    outside = isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)
    if not isinstance(found, kind) or outside:
        raise InputError(
            f"data file {file}: expected {ascii(name)[1:-1]} in the file itself, as TensorFlow "
            f"Federated has it, received {'a link or another file' if link or outside else 'none'}"
        )
    return found
