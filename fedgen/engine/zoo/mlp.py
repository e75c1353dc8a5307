"""Dense networks for data of any shape, which are flattened."""

from typing import Any

import keras
from keras import layers

from fedgen.config.sections.model import Layers
from fedgen.engine.zoo.seeded import Seeds, Task, stacked

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
"""Keras' words for scikit-learn's activations."""


def mlp(task: Task, hidden: Layers, seeds: Seeds) -> keras.Model:
    """Return an MLP, its layers in the order of MLP study B: dense, normalisation, dropout."""
    stack: list[Any] = [layers.Flatten()]
    for number, units in enumerate(hidden.hidden_layers):
        stack.append(
            layers.Dense(
                units,
                activation=ACTIVATIONS[hidden.activation],
                kernel_initializer=_initialiser(hidden, number, next(seeds)),
            )
        )
        if hidden.batch_norm:
            stack.append(layers.BatchNormalization())
        if hidden.dropout:
            stack.append(layers.Dropout(hidden.dropout, seed=next(seeds)))
    return stacked(task, stack, seeds)


def _initialiser(hidden: Layers, number: int, seed: int) -> Any:
    if hidden.initialiser == "normal":
        return keras.initializers.RandomNormal(stddev=hidden.stddevs[number], seed=seed)
    if hidden.initialiser == "he-normal":
        return keras.initializers.HeNormal(seed=seed)
    return keras.initializers.GlorotUniform(seed=seed)
