"""Arrays made short for a slow link, each by what both ends have of it: the array that was sent.

``"zstd"`` is lossless: the bits that differ from the sent array's (XOR), their bytes ordered by
place (all first bytes of the numbers, then all second ones), by Zstandard (RFC 8878). Of a model
that a client trained, sign, exponent and the highest bits stay mostly as they were.

``"float16"`` and ``"int8"`` are lossy: the update, what was trained less what was sent, in units
of a scale that an array has to itself, as float16 or as whole numbers up to 127; these then by
Zstandard, too. Federated averaging of updates that are quantised so is FedPAQ (Reisizadeh et al.,
2020, arXiv 1909.13014).

Whole numbers are rounded at random, up or down so that the mean is what it was: QSGD (Alistarh et
al., 2017, arXiv 1610.02132), with the largest entry for the norm. An unbiased code needs no error
feedback. That is for codes whose errors add up (Seide et al., 2014; Karimireddy et al., 2019, arXiv
1901.09847), and it is a memory that every client keeps: one that is seldom asked would add what
was left over from a model of long ago.

float16 is rounded to the nearest, which is biased, but a contraction, |q(x) - x| <= delta |x| with
delta = 2^-11 (entries below 2^-28 of the largest have a larger one, of next to nothing): the kind
that converges without feedback, too, where delta is small (Beznosikov et al., 2020, arXiv
2002.12410). The error is relative to the update, so it vanishes as updates do, and the next update
starts from the model that really came of this one.
"""

from typing import Any, Literal, get_args

import numpy as np
import zstandard
from numpy.typing import NDArray

Lossy = Literal["float16", "int8"]
Code = Literal["zstd", "float16", "int8"]
Compression = Literal["none", "zstd", "float16", "int8"]

LOSSY: tuple[Lossy, ...] = get_args(Lossy)

LEVEL = 1
"""Zstandard's; on the bits of trained weights, higher ones were slower and no better."""

SCALE = np.dtype("<f8")
"""How the scale of a lossy code is written, before all else."""

SMALLEST = float(np.finfo(SCALE).tiny)
"""Smallest scale: what is divided by it stays finite, and zeros stay zeros."""

WORDS: dict[Lossy, np.dtype[Any]] = {"float16": np.dtype("<f2"), "int8": np.dtype("i1")}
"""What entries are written as."""

MOST = 127
"""Largest whole number of the code int8."""

EXPONENT = 15
"""Entries are below 2 to this in float16, which ends at 65504: none overflows, and those from
2^-28 of the largest on are rounded relative to themselves."""


def encode(array: NDArray[Any], sent: NDArray[Any], code: Code, draw: np.random.Generator) -> bytes:
    """Return an array of numbers as bytes, given the one of its shape and type that was sent.

    Args:
        array: Of any shape; of floats, if the code is lossy. One that is not finite stays so.
        sent: What the other end has.
        code: How it is written.
        draw: Rounds whole numbers, and is used for nothing else.
    """
    if code == "zstd":
        return _pack(_bits(array) ^ _bits(sent))
    update = array.astype(np.float64) - sent.astype(np.float64)
    largest = float(np.max(np.abs(update), initial=0.0))
    if not np.isfinite(largest):
        return np.array(largest, SCALE).tobytes()
    if code == "int8":
        scale = max(largest / MOST, SMALLEST)
        whole = np.floor(update / scale + draw.random(update.shape))
        # A quotient may be the smallest bit above what it stands for.
        words = np.clip(whole, -MOST, MOST).astype(WORDS[code])
    else:
        # A power of two: to divide by it is exact.
        scale = max(float(np.ldexp(1.0, int(np.frexp(largest)[1]) - EXPONENT)), SMALLEST)
        words = (update / scale).astype(WORDS[code])
    return np.array(scale, SCALE).tobytes() + _pack(_bits(words))


def decode(data: bytes, sent: NDArray[Any], code: Code) -> NDArray[Any]:
    """Return the array that ``encode`` was given, or what a lossy code leaves of it.

    The bytes may be anything: no more is allocated than so many numbers take. Entries of what
    comes back may be infinite or NaN.

    Args:
        data: The bytes.
        sent: What the other end was sent; the array has its shape and type.
        code: How it was written.

    Raises:
        ValueError: If they are no such array, or stand for one that is not finite; the text
            says so.
    """
    if code == "zstd":
        bits = _unpack(data, sent.dtype, sent.size) ^ _bits(sent)
        return bits.reshape(-1).view(sent.dtype).reshape(sent.shape)
    if len(data) < SCALE.itemsize:
        raise ValueError(f"{len(data)} bytes are no scale of {SCALE.itemsize}")
    scale = float(np.frombuffer(data, SCALE, 1)[0])
    if not np.isfinite(scale):
        raise ValueError("weights are not finite")
    if scale <= 0:
        raise ValueError(f"expected a scale above 0, received {scale:g}")
    words = _unpack(data[SCALE.itemsize :], WORDS[code], sent.size).reshape(-1).view(WORDS[code])
    with np.errstate(over="ignore", invalid="ignore"):  # whoever decodes looks
        update = words.astype(np.float64).reshape(sent.shape) * scale
        return np.asarray(sent.astype(np.float64) + update).astype(sent.dtype)


def _bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of an array, a row per number."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, flat.itemsize)


def _pack(rows: NDArray[np.uint8]) -> bytes:
    """Return rows of bytes, column after column, by Zstandard; nothing of none."""
    if not rows.size:
        return b""
    return zstandard.ZstdCompressor(level=LEVEL).compress(rows.T.tobytes())


def _unpack(data: bytes, kind: np.dtype[Any], count: int) -> NDArray[np.uint8]:
    """Return the rows that were packed, one for each of so many numbers.

    The header of a frame says how much comes out of it, and is held against what must: only
    then is anything allocated.
    """
    size = count * kind.itemsize
    if not size and not data:
        return np.empty((count, kind.itemsize), np.uint8)
    wrong = ValueError(f"payload is not one frame of Zstandard that holds {size:,} bytes")
    try:
        if zstandard.get_frame_parameters(data).content_size != size:
            raise wrong
        flat = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        columns = np.frombuffer(flat, np.uint8).reshape(kind.itemsize, count)
    except (zstandard.ZstdError, ValueError) as error:
        raise wrong from error
    return np.ascontiguousarray(columns.T)
