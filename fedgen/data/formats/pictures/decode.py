"""Encoded images made arrays, many at once: Pillow lets threads run while it decodes."""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fedgen.data.formats import limits
from fedgen.data.raw import Array
from fedgen.errors import InputError

MODES = {
    **{"L": "L", "RGB": "RGB", "RGBA": "RGBA", "F": "F"},
    **{"1": "L", "P": "RGB", "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16"},
}
"""What Pillow calls the images that are read, and what they are read as."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
"""Formats that are read, by Pillow's names; for some others, it starts another program."""

CHUNK = 64
"""Images that a thread takes at a time."""


def pillow() -> Any:
    """Return the library that decodes.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import PIL.Image
    except ImportError as error:
        raise InputError("images: need Pillow; pip install 'fedgen[data]'") from error
    return PIL.Image


def decode(
    path: Path, contents: Sequence[Any], name: Callable[[int], str], *, threads: int = 0
) -> Array:
    """Return encoded images as one array.

    Args:
        path: The file or folder that they are from, for errors.
        contents: Bytes of each, or the file that has them; at least one.
        name: What the one of a number is called, for errors.
        threads: How many decode at once, 0 for one a core.

    Returns:
        Array of shape (n, height, width), or (n, height, width, 3 or 4) of colours, uint8; uint16
        or float32 where images are grey and have so many bits.

    Raises:
        InputError: If one cannot be read or is of none of the ``FORMATS``, or is of another size or
            kind than the first, or all are larger than what is free.
    """
    image = pillow()
    first = _one(image, path, contents[0], name(0))
    limits.check(path, first.nbytes * len(contents))
    images = np.empty((len(contents), *first.shape), first.dtype)

    def fill(start: int) -> None:
        for place in range(start, min(start + CHUNK, len(contents))):
            array = _one(image, path, contents[place], name(place))
            if array.shape != first.shape or array.dtype != first.dtype:
                raise InputError(
                    f"data file {path}: {name(place)}: expected {_told(first)} as {name(0)} is, "
                    f"received {_told(array)}; all images must be of one size and kind"
                )
            images[place] = array

    starts = range(0, len(contents), CHUNK)
    with ThreadPoolExecutor(threads or _cores()) as pool:
        for _ in pool.map(fill, starts):  # in order: the first that is wrong is named
            pass
    return images


def _one(image: Any, path: Path, content: Any, name: str) -> Array:
    """Return one image as an array."""
    try:
        source = content if isinstance(content, Path) else io.BytesIO(content)
        with image.open(source, formats=FORMATS) as opened:
            mode = MODES.get(opened.mode)
            if mode is None or _is_deep(opened):
                raise InputError(
                    f"data file {path}: {name}: expected grey or colour of 8 bits or grey of 16, "
                    f"received {opened.mode}{' of 16 bits' if mode else ''}; save it as PNG"
                )
            read = opened if opened.mode == mode or mode == "I;16" else opened.convert(mode)
            array: Array = np.asarray(read)
    except (*limits.DAMAGE, image.DecompressionBombError, image.DecompressionBombWarning) as error:
        why = ascii(str(error).split("<")[0][:120])[1:-1]  # then follows an address in memory
        raise InputError(f"data file {path}: {name}: not a readable image ({why})") from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _is_deep(opened: Any) -> bool:
    """Whether Pillow would make 8 bits of 16, without a word."""
    if opened.mode not in ("RGB", "RGBA"):
        return False
    parts = [part for tile in opened.tile for part in tile[3:]]
    return any(
        ";16" in str(part[0] if isinstance(part, tuple) and part else part) for part in parts
    )


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(array: Array) -> str:
    height, width, *channels = array.shape
    return f"{height}x{width}{''.join(map('x{}'.format, channels))} {array.dtype}"
