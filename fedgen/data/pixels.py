"""Images that somebody made: which axis holds the channels, and which scale their values have."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

Array = NDArray[np.generic]

AUTO, CHANNELS_LAST, CHANNELS_FIRST = "auto", "channels-last", "channels-first"

USUAL_CHANNELS = (1, 3, 4)
"""Grey, colour, and colour with transparency."""

ROUNDING = 2.0**-10
"""How far floats may lie outside of [0, 1]: the step of float16 at 1, all that rounding leaves."""

BRIGHT = 128
"""uint8 images that reach this are on a scale to 255."""

APART = 4
"""So many times the other's maximum, training and test images are not on one scale."""

LARGEST = float(np.finfo(np.float32).max)

WHOLE = 2**24
"""Up to this, float32 holds every integer."""


def find_layout(key: str, shape: Sequence[int], layout: str) -> str:
    """Return where the channels of images are: in the last axis, or first after the images' own.

    Args:
        key: What the array is called, for errors.
        shape: Of the array; one of three axes has no channels.
        layout: "channels-last" or "channels-first" as somebody says so, or "auto" to look at the
            sizes: 1, 3 or 4 channels are usual, and square images are.

    Raises:
        InputError: If channels seem to come first, or either may be, and nobody says which.
    """
    if layout != AUTO or len(shape) != 4:
        return CHANNELS_LAST if layout == AUTO else layout
    first, middle, last = shape[1:]
    before, after = first in USUAL_CHANNELS, last in USUAL_CHANNELS
    if before == after:  # then squares decide
        before, after = middle == last != first, first == middle != last
    if after and not before:
        return CHANNELS_LAST
    found = "channels seem to come first" if before else "channels may come first or last"
    raise InputError(
        f"{key}: in shape {tuple(shape)}, {found}; set data.layout to 'channels-first' if images "
        f"are {middle} high and {last} wide with {first} channels, or to 'channels-last' if they "
        f"are {first} high and {middle} wide with {last}"
    )


def arrange(key: str, array: Array, layout: str) -> Array:
    """Return images as (n, height, width, channels).

    Args:
        key: What the array is called, for errors.
        array: (n, height, width), or with channels where the layout has them.
        layout: As ``find_layout`` returns it.

    Raises:
        InputError: If the shape is another, or there is no image.
    """
    if array.ndim not in (3, 4):
        raise InputError(
            f"{key}: expected shape (n, height, width) or (n, height, width, channels), received "
            f"{array.shape}; rows of values can be reshaped to (n, 1, length)"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one image, received shape {array.shape}")
    if array.ndim == 3:
        return array[..., None]
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == CHANNELS_FIRST else array


def as_stored(key: str, images: Array, *, scaled: bool) -> Array:
    """Return images as uint8 or float32, their values unchanged.

    Args:
        key: What the array is called, for errors.
        images: Of any type.
        scaled: Whether somebody says by what values are divided; then floats may have any finite
            value, and integers any that float32 holds. Otherwise floats are from 0 to 1, rounding
            (``ROUNDING``) aside.

    Raises:
        InputError: If they are of another type or range.
    """
    if images.dtype == np.uint8:
        return images
    kind = images.dtype.kind
    if kind not in "iuf" or (kind != "f" and not scaled):
        raise InputError(
            f"{key}: expected uint8 or floats from 0 to 1, received {images.dtype}; save uint8, or "
            "set data.scale to what integers are to be divided by (1 leaves them as they are)"
        )
    low, high = images.min(), images.max()
    if kind == "f":
        _check_floats(key, images, float(low), float(high), scaled)
    elif max(-int(low), int(high)) > WHOLE:
        raise InputError(
            f"{key}: expected integers from -{WHOLE:,} to {WHOLE:,}, which float32 holds exactly, "
            f"received {int(low)} to {int(high)}; save the floats that they stand for"
        )
    return images.astype(np.float32)


def _check_floats(key: str, images: Array, low: float, high: float, scaled: bool) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        counts = {"NaN": np.isnan(images).sum(), "infinite": np.isinf(images).sum()}
        found = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        raise InputError(
            f"{key}: expected finite values, received {found or 'values beyond float64'} among "
            f"{images.size:,}; replace them, or leave those images out"
        )
    if scaled:
        if max(-low, high) > LARGEST:
            raise InputError(f"{key}: expected values of float32, received {low!r} to {high!r}")
    elif low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f"{key}: expected floats from 0 to 1, give or take {ROUNDING:.4f} for rounding, "
            f"received {low!r} to {high!r}; set data.scale to what they are to be divided by (1 "
            "leaves them as they are)"
        )


def divisor(
    train: Array, test: Array, scale: float | str, usual: float | None = None
) -> tuple[float, str]:
    """Return what pixel values are divided by, and what must be said of it, if anything.

    Args:
        train: Training images as ``as_stored`` returns them.
        test: Test images.
        scale: A number that somebody gives, or "auto": 1 for floats; 255 for uint8 that reach
            ``BRIGHT``, and their own maximum for those that do not.
        usual: What "auto" is where images are known.

    Raises:
        InputError: If "auto" finds training and test images on different scales, or quotients
            are beyond float32.
    """
    top, other = (float(max(abs(images.min()), abs(images.max()))) for images in (train, test))
    if not isinstance(scale, str):
        if max(top, other) / scale > LARGEST:
            raise InputError(
                f"data.scale: expected a divisor that leaves values of float32, received {scale!r} "
                f"for values up to {max(top, other)!r}"
            )
        return scale, ""
    if usual is not None:
        return usual, ""
    if max(top, other) > APART * min(top, other):
        raise InputError(
            f"x_test: ends at {other:.9g}, and x_train at {top:.9g}, so they do not seem to be on "
            "one scale; save both alike, or set data.scale to what both are to be divided by"
        )
    beyond = f", and x_test at {other:.9g}" if other > top else ""
    if not top:
        return 1.0, "pixels: all are 0"
    if train.dtype != np.uint8:
        text = f"pixels: floats of x_train end at {top:.9g}{beyond}, and are taken as they are; "
        return 1.0, "" if 2 * top >= 1 else f"{text}data.scale sets what they are divided by"
    if top >= BRIGHT:
        return 255.0, ""
    return top, (
        f"pixels: uint8 of x_train end at {top:.0f}{beyond}, so they are divided by {top:.0f}, not "
        "by 255; data.scale sets another divisor, 1 for none"
    )
