"""IDX files, as MNIST and its family are published: https://yann.lecun.com/exdb/mnist.

Two zero bytes, the type, the number of axes, their lengths, and the values, all big-endian. A data
set is four such files, in a folder or a zip file, gzipped or not.
"""

import gzip
import math
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.raw import Array, Raw, Samples
from fedgen.errors import InputError, unknown

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_NAME = re.compile(
    r"(?:(?P<kind>.+)-)?(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx[1-4]-\w+(\.gz)?"
)


@dataclass(frozen=True)
class _File:
    """A file of a folder or of a zip file."""

    kind: str
    split: str
    what: str
    packed: bool
    open: Callable[[], IO[bytes]]


def names_one(name: str) -> bool:
    """Whether a file is called as those of MNIST or EMNIST are."""
    return _NAME.fullmatch(name) is not None


def read(path: Path, *, kind: str = "") -> Raw:
    """Read the images and labels of a folder or a zip file of IDX files.

    EMNIST's images lie on their sides (Cohen et al., arXiv 1702.05373), and are turned.

    Args:
        path: The folder or zip file.
        kind: Which data set, where there are several: "balanced" of
            ``emnist-balanced-train-images-idx3-ubyte``.

    Raises:
        InputError: If a file is missing, truncated, of another size than it says, or of more than
            fits into the memory that is free, or there are several data sets and none is named.
    """
    with limits.reading(path, "set of IDX files"):
        if path.is_dir():
            return _read(path, _in_folder(path), kind)
        with zipfile.ZipFile(path) as archive:
            return _read(path, _in_zip(archive), kind)


def _read(path: Path, files: list[_File], kind: str) -> Raw:
    kinds = sorted({file.kind for file in files})
    chosen = [name for name in kinds if kind in (name, name.removeprefix("emnist-"))]
    if kind and not chosen:
        raise unknown(f"kind of data in {path}:", kind, [name for name in kinds if name])
    if not kind and len(kinds) > 1:
        names = ", ".join(name.removeprefix("emnist-") or "one without a name" for name in kinds)
        raise InputError(f"data file {path}: holds several data sets; name one as kind: {names}")
    (name,) = chosen if kind else kinds
    turned = name.startswith("emnist")
    train = _split(path, name, files, ("train",), turned)
    test = _split(path, name, files, ("t10k", "test"), turned)
    note = "images: EMNIST's are stored on their sides, and are turned upright"
    return Raw(train, test, notes=(note,) if turned else ())


def _split(
    path: Path, kind: str, files: list[_File], splits: tuple[str, ...], turned: bool
) -> Samples:
    arrays = []
    for what in ("images", "labels"):
        found = [f for f in files if (f.kind, f.what) == (kind, what) and f.split in splits]
        if not found:
            name = f"{kind}-" * bool(kind) + f"{splits[-1 if kind else 0]}-{what}"
            axes = 3 if what == "images" else 1
            raise InputError(
                f"data file {path}: expected {name}-idx{axes}-ubyte, which is not there"
            )
        # The same file may be there unpacked, too.
        (file, *_) = sorted(found, key=lambda f: f.packed)
        with file.open() as stream:
            arrays.append(_array(path, f"{file.split}-{what}", stream, file.packed))
    images, labels = arrays
    if turned:
        if images.ndim != 3:
            raise InputError(
                f"data file {path}: expected images of 2 axes, received {images.ndim - 1}"
            )
        images = np.ascontiguousarray(images.swapaxes(1, 2))
    return Samples(images, labels)


def _array(path: Path, name: str, stream: IO[bytes], packed: bool) -> Array:
    content: IO[bytes] = gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[assignment]
    zeros, code, axes = content.read(2), content.read(1), content.read(1)
    if zeros != b"\0\0" or not code or code[0] not in TYPES or not axes or axes[0] > 4:
        raise InputError(f"data file {path}: {name} is no IDX file, by its first four bytes")
    dtype = np.dtype(TYPES[code[0]])
    lengths = content.read(4 * axes[0])
    if len(lengths) != 4 * axes[0]:
        raise InputError(f"data file {path}: {name} ends within its header")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    size = math.prod(shape) * dtype.itemsize
    limits.check(path, size)
    values = content.read(size)
    if len(values) != size or content.read(1):
        raise InputError(
            f"data file {path}: {name} says that it has {list(shape)} values of {dtype.itemsize} "
            f"bytes, received {'more' if len(values) == size else f'{len(values):,} bytes'}"
        )
    array: Array = np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    return array


def _in_folder(path: Path) -> list[_File]:
    def opener(file: Path) -> Callable[[], IO[bytes]]:
        return lambda: file.open("rb")

    return _known((file.name, opener(file)) for file in sorted(path.iterdir()))


def _in_zip(archive: zipfile.ZipFile) -> list[_File]:
    def opener(name: str) -> Callable[[], IO[bytes]]:
        return lambda: archive.open(name)

    return _known((name.rsplit("/", 1)[-1], opener(name)) for name in sorted(archive.namelist()))


def _known(files: Iterable[tuple[str, Callable[[], IO[bytes]]]]) -> list[_File]:
    named = ((name, _NAME.fullmatch(name), opener) for name, opener in files)
    return [
        _File(
            kind=parts["kind"] or "",
            split=parts["split"],
            what=parts["what"],
            packed=name.endswith(".gz"),
            open=opener,
        )
        for name, parts, opener in named
        if parts is not None
    ]
