"""The model and the data."""

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

Images, Labels = NDArray[np.float32], NDArray[np.int32]


def load_model(shape: tuple[int, ...], learning_rate: float) -> keras.Sequential:
    """Build and compile the CNN that fedgen calls `cnn`."""
    blocks = []
    for filters in (32, 64, 128):
        for _ in range(2):
            blocks.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        blocks.append(layers.MaxPooling2D())
    model = keras.Sequential(
        [
            keras.Input(shape),
            *blocks,
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def load_data(path: str, partition: int) -> tuple[Images, Labels, Images, Labels]:
    """Return the samples that a client trains on, and those that it evaluates on."""
    arrays = _read(path)
    x, y = arrays["x_train"], arrays["y_train"]
    train, held_out = arrays[f"train_{partition}"], arrays[f"validation_{partition}"]
    return x[train], y[train], x[held_out], y[held_out]


@cache
def _read(path: str) -> dict[str, NDArray[Any]]:
    # Once per process, as the quickstart keeps its data set.
    with np.load(path) as file:
        return dict(file)
