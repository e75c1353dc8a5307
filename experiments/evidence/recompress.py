"""Compress the images of a data file once more, to see what a lossy copy costs.

    python experiments/evidence/recompress.py DIR/cifar10.npz ELSEWHERE/cifar10.npz

JPEG at quality 75 with halved chroma, as the copy of CIFAR-10 at hand was made, on a grid of
blocks that lies 5 pixels off: on the old grid a second pass finds everything rounded already.
Prints the mean squared error of luma that this pass makes, and an estimate of the first pass's.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

QUALITY, OFFSET, GROUP = 75, 5, 16
"""Of the encoder; pixels that the grid is moved by; side of what it encodes together."""

SAMPLE = 1000
"""Images that errors are measured on."""

Floats = NDArray[np.float64]

# Luma's quantisation table at quality 75: half of the standard's (ITU-T T.81, table K.1).
STEPS: Floats = np.array(
    [
        [8, 6, 5, 8, 12, 20, 26, 31],
        [6, 6, 7, 10, 13, 29, 30, 28],
        [7, 7, 8, 12, 20, 29, 35, 28],
        [7, 9, 11, 15, 26, 44, 40, 31],
        [9, 11, 19, 28, 34, 55, 52, 39],
        [12, 18, 28, 32, 41, 52, 57, 46],
        [25, 32, 39, 44, 52, 61, 60, 51],
        [36, 46, 48, 49, 56, 50, 52, 50],
    ],
    np.float64,
)

_PLACES = np.arange(8)
DCT: Floats = 0.5 * np.cos((2 * _PLACES + 1) * _PLACES[:, None] * np.pi / 16)
DCT[0] /= np.sqrt(2)


def recompressed(image: NDArray[np.uint8], offset: int = OFFSET) -> NDArray[np.uint8]:
    """Return an image as it looks after one more pass of JPEG.

    Args:
        image: Array of shape (height, width, 3).
        offset: Pixels from 0 to 15 that the grid of blocks is moved by, down and to the right.
    """
    height, width, _ = image.shape
    margin = (offset, GROUP - offset)
    padded = np.pad(image, (margin, margin, (0, 0)), mode="edge")
    encoded = tf.io.encode_jpeg(padded, quality=QUALITY, chroma_downsampling=True)
    decoded = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE").numpy()
    again: NDArray[np.uint8] = decoded[offset : offset + height, offset : offset + width]
    return again


def luma(images: NDArray[np.uint8]) -> Floats:
    """Return the brightness of pixels, 0 to 255, as JPEG has it (ITU-R BT.601)."""
    brightness: Floats = images @ np.array([0.299, 0.587, 0.114])
    return brightness


def estimated_error(brightness: Floats, steps: Floats = STEPS) -> float:
    """Estimate the mean squared error of a pass of JPEG from what it has left.

    Each coefficient of the cosine transform is taken to be Laplacian, with the scale at which
    rounding gives the mean size that is found; the mean of blocks to be uniform.

    Args:
        brightness: Array of shape (images, height, width), compressed on the grid that starts at
            its corner; sides are multiples of 8.
        steps: Array of shape (8, 8): what the coefficients were rounded to multiples of.
    """
    images, height, width = brightness.shape
    cut = brightness.reshape(images, height // 8, 8, width // 8, 8).swapaxes(2, 3)
    sizes = np.abs(np.round(DCT @ (cut - 128) @ DCT.T / steps)).mean((0, 1, 2))
    errors = [
        _laplacian_error(size) if place else 1 / 12 for place, size in enumerate(sizes.ravel())
    ]
    return float(np.mean(np.array(errors) * steps.ravel() ** 2))


def _laplacian_error(size: float) -> float:
    """Return the error of rounding a Laplacian variable whose rounded size has this mean.

    That mean is 1 / (2 sinh(1 / 2b)) at scale b.
    """
    if not size:
        return 0.0
    scale = 1 / (2 * np.arcsinh(1 / (2 * size)))
    x = np.linspace(0, 40 * max(scale, 0.1), 200_001)
    density = np.exp(-x / scale) / scale
    return float(np.trapezoid((x - np.round(x)) ** 2 * density, x))


def main(source: Path, target: Path) -> None:
    """Write a data file with the same labels and both sets of images compressed once more."""
    with np.load(source) as data:
        arrays = {name: data[name] for name in data.files}
    before = luma(arrays["x_train"][:SAMPLE])
    for name in ("x_train", "x_test"):
        arrays[name] = np.stack([recompressed(image) for image in arrays[name]])
    np.savez(target, **arrays)
    made = np.mean((luma(arrays["x_train"][:SAMPLE]) - before) ** 2)
    print(f"luma, mean squared error: {made:.1f}; first pass, estimated: ", end="")
    print(f"{estimated_error(before):.1f}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
