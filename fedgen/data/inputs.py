"""What models see: which shape samples have, which type they are kept in, and what scales them.

Images, grey or in colour; rows of features; signals over time; ids of tokens.
"""

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

Array = NDArray[np.generic]

AUTO, CHANNELS_LAST, CHANNELS_FIRST = "auto", "channels-last", "channels-first"
AS_GIVEN = "as-given"

USUAL_CHANNELS = (1, 3, 4)
"""Grey, colour, and colour with transparency."""

ROUNDING = 2.0**-10
"""How far floats may lie outside of [0, 1]: the step of float16 at 1, all that rounding leaves."""

FULL = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65_535}
"""What pixels of these types end at."""

APART = 4
"""So many times the other's maximum, training and test images are not on one scale."""

LARGEST = float(np.finfo(np.float32).max)

WHOLE = 2**24
"""Up to this, float32 holds every integer."""


def find_layout(key: str, array: Array, layout: str) -> str:
    """Return where the channels of samples are: last, right after the samples' axis, or nowhere.

    Args:
        key: What the array is called, for errors.
        array: All samples.
        layout: "channels-last" or "channels-first" of images, "as-given" for samples of any shape,
            as somebody says so; or "auto" to look at the array. Then four axes are images, and so
            are three of unsigned pixels, or of floats from 0 to 1; other floats of three axes are
            signals, which stay as they are.

    Raises:
        InputError: If channels of images seem to come first, or either may be, and nobody says
            which.
    """
    if layout != AUTO:
        return layout
    if array.ndim == 3 and array.dtype not in FULL and not _within_one(array):
        return AS_GIVEN
    if array.ndim not in (3, 4):
        return AS_GIVEN
    if array.ndim == 3:
        return CHANNELS_LAST
    first, middle, last = array.shape[1:]
    before, after = first in USUAL_CHANNELS, last in USUAL_CHANNELS
    if before == after:  # then squares decide
        before, after = middle == last != first, first == middle != last
    if after and not before:
        return CHANNELS_LAST
    found = "channels seem to come first" if before else "channels may come first or last"
    raise InputError(
        f"{key}: in shape {array.shape}, {found}; set data.layout to 'channels-first' if images "
        f"are {middle} high and {last} wide with {first} channels, or to 'channels-last' if they "
        f"are {first} high and {middle} wide with {last}"
    )


def layout_note(array: Array, layout: str) -> str:
    """Return what must be said of a layout that was told by the values of an array, if it was.

    Args:
        array: All samples.
        layout: What ``find_layout`` found for "auto".
    """
    if array.ndim != 3 or array.dtype.kind != "f":
        return ""
    if layout == AS_GIVEN:
        return (
            f"data: floats of shape {array.shape} that leave [0, 1] are read as signals, (length, "
            "channels) each; data.layout = 'channels-last' reads grey images"
        )
    return (
        f"data: floats of shape {array.shape} from 0 to 1 are read as grey images; data.layout = "
        "'as-given' reads signals, (length, channels) each"
    )


def _within_one(array: Array) -> bool:
    if array.dtype.kind != "f" or not array.size:
        return False
    return bool(array.min() >= -ROUNDING and array.max() <= 1 + ROUNDING)


def arrange(key: str, array: Array, layout: str) -> Array:
    """Return samples as models see them: images as (n, height, width, channels).

    Args:
        key: What the array is called, for errors.
        array: (n, height, width) or with channels where the layout has them; (n, ...) of any shape
            where it is as given.
        layout: As ``find_layout`` returns it.

    Raises:
        InputError: If the shape is another, or there is no sample.
    """
    if array.ndim < 2:
        raise InputError(
            f"{key}: expected shape (n, ...), received {array.shape}; a single feature is (n, 1)"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one sample, received shape {array.shape}")
    if layout == AS_GIVEN:
        return array
    if array.ndim not in (3, 4):
        raise InputError(
            f"{key}: expected images of shape (n, height, width) or (n, height, width, channels), "
            f"as data.layout = {layout!r} says, received {array.shape}; 'as-given' takes any shape"
        )
    if array.ndim == 3:
        return array[..., None]
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == CHANNELS_FIRST else array


def as_stored(key: str, samples: Array, *, scaled: bool) -> Array:
    """Return samples as uint8, uint16, int32 or float32, their values unchanged; bits are 0 and 1.

    Integers of rows, (n, length), may be ids of tokens: they stay integers. Others are pixels of
    some scale.

    Args:
        key: What the array is called, for errors.
        samples: Of any type.
        scaled: Whether somebody says by what values are divided; else integers of images must be
            uint8 or uint16, whose scale is known.

    Raises:
        InputError: If they are of another type, not finite, or no values of float32.
    """
    if samples.dtype in FULL:
        return samples
    kind = samples.dtype.kind
    if is_mapped(samples) and samples.dtype != (np.float32 if kind == "f" else np.int32):
        raise InputError(
            f"{key}: expected uint8, uint16, float32, or int32 of rows, as what stays on disk is "
            f"not converted, received {samples.dtype}"
        )
    if kind == "b":
        return samples.astype(np.float32)
    if kind not in "iuf" or (kind != "f" and samples.ndim > 2 and not scaled):
        raise InputError(
            f"{key}: expected uint8, uint16 or floats, received {samples.dtype}; save one of those,"
            " or set data.scale to what integers are to be divided by (1 leaves them as they are)"
        )
    low, high = samples.min(), samples.max()
    if kind == "f":
        _check_floats(key, samples, float(low), float(high))
    elif max(-int(low), int(high)) > WHOLE:
        raise InputError(
            f"{key}: expected integers from -{WHOLE:,} to {WHOLE:,}, which float32 holds exactly, "
            f"received {int(low)} to {int(high)}; save the floats that they stand for"
        )
    elif samples.ndim == 2 and not scaled:
        return samples.astype(np.int32, copy=not is_mapped(samples))
    return samples.astype(np.float32, copy=not is_mapped(samples))


def is_mapped(array: Array) -> bool:
    """Whether an array stays on disk, and is read where it is looked at."""
    return isinstance(array, np.memmap)


def _check_floats(key: str, samples: Array, low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        counts = {"NaN": np.isnan(samples).sum(), "infinite": np.isinf(samples).sum()}
        found = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        raise InputError(
            f"{key}: expected finite values, received {found or 'values beyond float64'} among "
            f"{samples.size:,}; replace them, or leave those samples out"
        )
    if max(-low, high) > LARGEST:
        raise InputError(f"{key}: expected values of float32, received {low!r} to {high!r}")


def divisor(
    train: Array, test: Array, scale: float | str, usual: float | None = None
) -> tuple[float, str]:
    """Return what values are divided by, and what must be said of it, if anything.

    Args:
        train: Training samples as ``as_stored`` returns them.
        test: Test samples.
        scale: A number that somebody gives, or "auto": 1 for floats and ids; 255 for uint8 and
            65,535 for uint16 that reach half of that, and their own maximum for those that do not.
        usual: What "auto" is where the data are known.

    Raises:
        InputError: If "auto" finds pixels of training and test set on different scales, or
            quotients are beyond float32.
    """
    top, other = (float(max(abs(found.min()), abs(found.max()))) for found in (train, test))
    if not isinstance(scale, str):
        if max(top, other) / scale > LARGEST:
            raise InputError(
                f"data.scale: expected a divisor that leaves values of float32, received {scale!r} "
                f"for values up to {max(top, other)!r}"
            )
        return scale, ""
    if usual is not None:
        return usual, ""
    pixels = train.dtype in FULL or train.ndim == 4
    if pixels and max(top, other) > APART * min(top, other):
        raise InputError(
            f"x_test: ends at {other:.9g}, and x_train at {top:.9g}, so they do not seem to be on "
            "one scale; save both alike, or set data.scale to what both are to be divided by"
        )
    if not pixels:
        return 1.0, ""
    beyond = f", and x_test at {other:.9g}" if other > top else ""
    if not top:
        return 1.0, "pixels: all are 0"
    if train.dtype not in FULL:
        text = f"pixels: floats of x_train end at {top:.9g}{beyond}, and are taken as they are; "
        usual_range = 2 * top >= 1 and top <= 1 + ROUNDING
        return 1.0, "" if usual_range else f"{text}data.scale sets what they are divided by"
    full = FULL[train.dtype]
    if 2 * top > full:
        return float(full), ""
    return top, (
        f"pixels: {train.dtype} of x_train end at {top:.0f}{beyond}, so they are divided by "
        f"{top:.0f}, not by {full:,}; data.scale sets another divisor, 1 for none"
    )


def standardised(train: Array, test: Array) -> tuple[Array, Array]:
    """Return samples less the training set's mean, in units of its standard deviation.

    Of every feature or channel, along the last axis, by sums in float64; one that does not vary
    becomes 0.

    Args:
        train: Training samples, (n, ..., features).
        test: Test samples, which get the training set's figures.

    Returns:
        Both as float32.
    """
    axes = tuple(range(train.ndim - 1))
    mean = train.mean(axes, dtype=np.float64)
    deviation = train.std(axes, dtype=np.float64)
    unit = np.where(deviation > 0, deviation, 1.0)
    moved = ((found - mean) / unit for found in (train, test))
    one, other = (found.astype(np.float32) for found in moved)
    return one, other
