"""What every family of models is made of: layers whose weights are drawn from the run's stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from fedgen.errors import InputError

Seeds = Iterator[int]
"""Seeds of initialisers and of dropout, from the run's stream."""

IMAGES, TOKENS = 3, 1
"""Axes of a sample: height, width and channels of an image; the length of a text."""


@dataclass(frozen=True)
class Task:
    """What a model has to fit.

    Attributes:
        shape: Of a sample.
        outputs: Logits.
        vocabulary: Different ids that tokens may have, 0 where data are none.
    """

    shape: tuple[int, ...]
    outputs: int
    vocabulary: int = 0

    def require_images(self) -> None:
        """Refuse what are no images.

        Raises:
            InputError: If samples have another shape.
        """
        if len(self.shape) != IMAGES:
            raise InputError(
                "expected images of shape (height, width, channels), received data of shape "
                f"{self.shape}"
            )

    def require_tokens(self) -> None:
        """Refuse what are no sequences of ids.

        Raises:
            InputError: If samples have another shape, or are not said to be ids.
        """
        if len(self.shape) != TOKENS or not self.vocabulary:
            kind = "ids" if self.vocabulary else "numbers that are no ids"
            raise InputError(
                f"expected ids of tokens of shape (length,), received {kind} of shape {self.shape}"
            )


def glorot(seeds: Seeds) -> Any:
    """Return Keras' usual initialiser."""
    return keras.initializers.GlorotUniform(seed=next(seeds))


def conv(filters: int, seeds: Seeds, padding: str = "same", activation: str | None = "relu") -> Any:
    """Return a convolution of 3 x 3."""
    weights = glorot(seeds)
    return layers.Conv2D(
        filters, 3, padding=padding, activation=activation, kernel_initializer=weights
    )


def dense(units: int, seeds: Seeds, activation: str | None = None) -> Any:
    """Return a dense layer."""
    return layers.Dense(units, activation=activation, kernel_initializer=glorot(seeds))


def embedding(entries: int, width: int, seeds: Seeds) -> Any:
    """Return a table of so many rows, drawn as Keras does: uniform in [-0.05, 0.05)."""
    rows = keras.initializers.RandomUniform(seed=next(seeds))
    return layers.Embedding(entries, width, embeddings_initializer=rows)


def stacked(task: Task, hidden: list[Any], seeds: Seeds) -> keras.Model:
    """Return hidden layers with logits on top."""
    return keras.Sequential(
        [keras.Input(task.shape), *hidden, dense(task.outputs, seeds)], name="model"
    )
