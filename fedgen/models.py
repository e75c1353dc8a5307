"""The model zoo: ``keras.Sequential`` models by name, all ending in logits."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from fedgen.errors import InputError, RunError
from strategies.aggregation import Statistic
from strategies.streams import rng

Seeds = Iterator[int]


def build(name: str, shape: tuple[int, int, int], classes: int, seed: int) -> keras.Sequential:
    """Build a model whose initial weights depend on its name, shape and seed alone.

    Args:
        name: One of ``fedgen.config.MODELS``.
        shape: Height, width and channels of an image.
        classes: Number of logits.
        seed: Seed of the run; initialisers draw from its stream ``"weights"``.

    Raises:
        InputError: If the model cannot be built for images of that shape.
    """
    stream = rng(seed, "weights")
    seeds = iter(lambda: int(stream.integers(2**31)), -1)
    try:
        hidden = _hidden(name)(seeds)
        model = keras.Sequential(
            [keras.Input(shape), *hidden, _dense(classes, seeds)], name="model"
        )
    except ValueError as error:
        raise InputError(f"model {name}: cannot be built for images of shape {shape}") from error
    return model


def with_softmax(model: keras.Sequential) -> keras.Sequential:
    """Return the same layers with a softmax on top, to save and to predict with."""
    return keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers, layers.Softmax()])


def to_keras_file(model: keras.Sequential) -> bytes:
    """Return what ``keras.models.load_model`` reads, a ``.keras`` file, as bytes.

    Raises:
        RunError: If it does not fit where temporary files go; Keras writes to a path only.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"a temporary file of {4 * model.count_params():,} bytes or more cannot be written to "
            f"{tempfile.gettempdir()} ({error.strerror}); TMPDIR names another place"
        ) from error


def _hidden(name: str) -> Callable[[Seeds], list[Any]]:
    if name == "cnn":
        return _cnn
    if name == "cnn-mnist":
        return _cnn_mnist
    if name == "mlp":
        return lambda seeds: [layers.Flatten(), _dense(128, seeds, activation="relu")]
    return lambda seeds: _stack(name, seeds)


def _cnn(seeds: Seeds) -> list[Any]:
    """The CNN of the reference experiment (550,570 parameters on CIFAR-10)."""
    blocks: list[Any] = []
    for filters in (32, 64, 128):
        blocks += [_conv(filters, seeds), _conv(filters, seeds), layers.MaxPooling2D()]
    return [*blocks, layers.Flatten(), _dense(128, seeds, activation="relu")]


def _cnn_mnist(seeds: Seeds) -> list[Any]:
    """The CNN of the reference's MNIST code (693,962 parameters on MNIST)."""
    return [
        _conv(32, seeds, padding="valid", activation=None),
        layers.MaxPooling2D(),
        layers.Flatten(),
        _dense(128, seeds, activation="relu"),
    ]


def _stack(name: str, seeds: Seeds) -> list[Any]:
    """A stack of MLP study B: dense-ReLU, then batch normalisation, then dropout 0.5.

    He-normal weights; the 324-108 stack has normal ones with the study's own
    standard deviations.
    """
    parts = name.removeprefix("mlp-").split("-")
    units = [int(part) for part in parts if part.isdigit()]
    normalised, dropout = "bn" in parts, "dropout" in parts
    deviations: list[float | None] = [None] * len(units)
    if units == [324, 108]:
        deviations = [0.039, 0.55] if normalised else [0.062, 0.125]
    stack: list[Any] = [layers.Flatten()]
    for width, deviation in zip(units, deviations, strict=True):
        weights = (
            keras.initializers.HeNormal(seed=next(seeds))
            if deviation is None
            else keras.initializers.RandomNormal(stddev=deviation, seed=next(seeds))
        )
        stack.append(layers.Dense(width, activation="relu", kernel_initializer=weights))
        if normalised:
            stack.append(layers.BatchNormalization())
        if dropout:
            stack.append(layers.Dropout(0.5, seed=next(seeds)))
    return stack


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


def statistics(model: keras.Sequential) -> dict[int, Statistic]:
    """Return the positions of weights that are moving statistics of batch normalisation."""
    kinds: dict[str, Statistic] = {"moving_mean": "mean", "moving_variance": "variance"}
    names = [weight.path.rsplit("/", 1)[-1] for weight in model.weights]
    return {i: kinds[name] for i, name in enumerate(names) if name in kinds}


def get_weights(model: keras.Sequential) -> list[np.ndarray]:
    """Return all weights, moving statistics included, in the model's order."""
    return [np.asarray(weight) for weight in model.get_weights()]
