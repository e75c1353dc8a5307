"""A model of your own: a function that returns Keras layers."""

import keras
from keras import layers


def small(shape: tuple[int, ...], classes: int) -> list[keras.layers.Layer]:
    """Return the layers for samples of a shape; the last has an output per class, no softmax."""
    return [
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.1),
        layers.Dense(classes),
    ]
