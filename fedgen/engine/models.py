"""The model zoo: ``keras.Sequential`` models by name, all ending in logits."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from fedgen import runtime
from fedgen.config import plugins
from fedgen.config.model import Layers, Model
from fedgen.engine import initial, own_model
from fedgen.errors import InputError
from strategies.core.aggregation import Statistic
from strategies.streams import rng

Seeds = Iterator[int]


ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
"""Keras' words for scikit-learn's activations."""


def build(
    model: str | Model, shape: tuple[int, int, int], classes: int, seed: int
) -> keras.Sequential:
    """Build a model whose initial weights depend on its settings, shape and seed alone.

    Args:
        model: Its settings, or one of ``fedgen.config.sections.MODELS``.
        shape: Height, width and channels of an image.
        classes: Number of logits.
        seed: Seed of the run; initialisers draw from its stream ``"weights"``.

    Raises:
        InputError: If the model cannot be built for images of that shape.
    """
    settings = Model(name=model) if isinstance(model, str) else model
    runtime.settle_keras()
    if plugins.is_own(settings.name):
        return own_model.build(settings.name, shape, classes, seed)
    stream = rng(seed, "weights")
    seeds = iter(lambda: int(stream.integers(2**31)), -1)
    try:
        hidden = _hidden(settings, seeds)
        with initial.drawn_by_numpy():
            return keras.Sequential(
                [keras.Input(shape), *hidden, _dense(classes, seeds)], name="model"
            )
    except ValueError as error:
        raise InputError(
            f"model {settings.title}: cannot be built for images of shape {shape}"
        ) from error


def _hidden(model: Model, seeds: Seeds) -> list[Any]:
    if model.layers is not None:
        return _stack(model.layers, seeds)
    return {"cnn": _cnn, "cnn-small": _cnn_small, "cnn-mnist": _cnn_mnist}[model.name](seeds)


def _cnn(seeds: Seeds) -> list[Any]:
    """The CNN of the reference experiment (550,570 parameters on CIFAR-10)."""
    blocks: list[Any] = []
    for filters in (32, 64, 128):
        blocks += [_conv(filters, seeds), _conv(filters, seeds), layers.MaxPooling2D()]
    return [*blocks, layers.Flatten(), _dense(128, seeds, activation="relu")]


def _cnn_small(seeds: Seeds) -> list[Any]:
    """A CNN for many runs on a CPU: 39,514 parameters and 5.1 MFLOP a sample on CIFAR-10.

    A sample trained counts three forward passes, and a multiply-add two operations: 46 times less
    than the reference CNN's.
    """
    blocks: list[Any] = []
    for filters in (8, 16, 32):
        blocks += [_conv(filters, seeds), layers.MaxPooling2D()]
    return [*blocks, layers.Flatten(), _dense(64, seeds, activation="relu")]


def _cnn_mnist(seeds: Seeds) -> list[Any]:
    """The CNN of the reference's MNIST code (693,962 parameters on MNIST)."""
    return [
        _conv(32, seeds, padding="valid", activation=None),
        layers.MaxPooling2D(),
        layers.Flatten(),
        _dense(128, seeds, activation="relu"),
    ]


def _stack(hidden: Layers, seeds: Seeds) -> list[Any]:
    """An MLP's hidden layers, in the order of MLP study B: dense, normalisation, dropout."""
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
    return stack


def _initialiser(hidden: Layers, number: int, seed: int) -> Any:
    if hidden.initialiser == "normal":
        return keras.initializers.RandomNormal(stddev=hidden.stddevs[number], seed=seed)
    if hidden.initialiser == "he-normal":
        return keras.initializers.HeNormal(seed=seed)
    return keras.initializers.GlorotUniform(seed=seed)


def _conv(
    filters: int, seeds: Seeds, padding: str = "same", activation: str | None = "relu"
) -> Any:
    weights = keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Conv2D(
        filters, 3, padding=padding, activation=activation, kernel_initializer=weights
    )


def _dense(units: int, seeds: Seeds, activation: str | None = None) -> Any:
    weights = keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Dense(units, activation=activation, kernel_initializer=weights)


def with_equals(
    model: keras.Sequential, equal: Callable[[keras.Layer], keras.Layer]
) -> keras.Sequential:
    """Return a model of the same layers, in which some are replaced by equals.

    All weights are the very variables of the model, and so are all other layers.

    Args:
        model: The model.
        equal: Returns a layer's equal, or the layer itself where there is none.
    """
    equals = {id(layer): equal(layer) for layer in model.layers}
    return keras.Sequential(
        [keras.Input(model.input_shape[1:]), *(equals[id(layer)] for layer in model.layers)]
    )


def recast(layer: keras.Layer, kind: type[Any], **attributes: Any) -> Any:
    """Return a layer as another kind that computes the same, on the same weights."""
    # No config could hold all that was set on a layer and its weights: the object's own state does.
    # Not by copy.copy, for which Keras writes the layer to a file and reads it.
    equal = object.__new__(kind)
    equal.__dict__.update(vars(layer), **attributes)
    equal._inbound_nodes, equal._outbound_nodes = [], []
    return equal


def statistics(model: keras.Sequential) -> dict[int, Statistic]:
    """Return the positions of weights that training does not step on: statistics of the data.

    Those of batch normalisation move; others, as of an adapted normalisation, stay as they are.
    """
    trainable = {id(weight) for weight in model.trainable_weights}
    return {
        i: "variance" if weight.path.rsplit("/", 1)[-1] == "moving_variance" else "mean"
        for i, weight in enumerate(model.weights)
        if id(weight) not in trainable
    }


def digest(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 of weights."""
    total = hashlib.sha256()
    for weight in weights:
        total.update(np.ascontiguousarray(weight).data)
    return total.hexdigest()


def get_weights(model: keras.Sequential) -> list[np.ndarray]:
    """Return all weights, moving statistics included, in the model's order."""
    return [np.asarray(weight) for weight in model.get_weights()]
