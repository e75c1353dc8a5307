"""Random data of the size of CIFAR-10 or MNIST: speed does not depend on what the pixels show."""

from pathlib import Path

import numpy as np

from fedgen.data.dataset import Dataset, from_arrays


def cifar10(train: int = 50_000, test: int = 10_000) -> Dataset:
    """Return random uint8 images of 32 x 32 x 3 in ten classes."""
    return _images((32, 32, 3), train, test)


def mnist(train: int = 60_000, test: int = 10_000) -> Dataset:
    """Return random uint8 images of 28 x 28 x 1 in ten classes."""
    return _images((28, 28, 1), train, test)


def write(data: Dataset, file: Path) -> None:
    """Write data as a file that ``data.dataset`` takes."""
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(file, **{name: getattr(data, name) for name in names})


def _images(shape: tuple[int, int, int], train: int, test: int) -> Dataset:
    draw = np.random.default_rng(0)
    arrays = []
    for count in (train, test):
        arrays.append(draw.integers(0, 256, (count, *shape), np.uint8))
        arrays.append(draw.permutation(np.arange(count) % 10))
    return from_arrays("synthetic", *arrays, source="random")
