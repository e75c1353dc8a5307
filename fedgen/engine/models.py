"""Models by name, of the zoo or a user's own, and what there is to know of their weights."""

import hashlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from fedgen import runtime
from fedgen.config import plugins
from fedgen.config.sections.model import Model
from fedgen.engine import initial, own_model
from fedgen.engine.transfer import frozen, start
from fedgen.engine.zoo import cnn, mlp, resnet, tokens
from fedgen.engine.zoo.seeded import Seeds, Task
from fedgen.errors import InputError
from strategies.core.aggregation import Statistic
from strategies.streams import rng

ZOO: dict[str, Callable[[Task, Seeds], keras.Model]] = {
    "cnn": cnn.cnn,
    "cnn-small": cnn.cnn_small,
    "cnn-mnist": cnn.cnn_mnist,
    "resnet18-gn": resnet.resnet18_gn,
    "resnet-small-gn": resnet.resnet_small_gn,
    "lstm": tokens.lstm,
    "lstm-small": tokens.lstm_small,
    "transformer": tokens.transformer,
}
"""What makes the models that are no MLPs."""


def build(
    model: str | Model, shape: tuple[int, ...], classes: int, seed: int, vocabulary: int = 0
) -> keras.Model:
    """Build a model whose initial weights depend on its settings, shape and seed alone.

    Those of a file (``model.weights``) are the same for every seed.

    Args:
        model: Its settings, or one of ``fedgen.config.sections.model.MODELS``.
        shape: Of a sample.
        classes: Number of logits.
        seed: Seed of the run; initialisers draw from its stream ``"weights"``.
        vocabulary: Different ids that tokens may have; 0 where data are none.

    Raises:
        InputError: If the model cannot be built for data of that shape, or does not fit the file
            or the layers that its settings name.
    """
    settings = Model(name=model) if isinstance(model, str) else model
    found = _drawn(settings, shape, classes, seed, vocabulary)
    if settings.weights:
        start.read(found, settings.weights)
    if settings.freeze:
        again = _drawn(settings, shape, classes, seed, vocabulary)
        frozen.freeze(found, again, settings.freeze)
    return found


def _drawn(
    settings: Model, shape: tuple[int, ...], classes: int, seed: int, vocabulary: int
) -> keras.Model:
    """Return the model with weights from the seed's stream."""
    runtime.settle_keras()
    if plugins.is_own(settings.name):
        return own_model.build(settings.name, shape, classes, seed)
    stream = rng(seed, "weights")
    seeds = iter(lambda: int(stream.integers(2**31)), -1)
    task = Task(shape, classes, vocabulary)
    try:
        with initial.drawn_by_numpy():
            if settings.layers is not None:
                return mlp.mlp(task, settings.layers, seeds)
            return ZOO[settings.name](task, seeds)
    except InputError as error:
        raise InputError(f"model {settings.title}: {error}") from error
    except ValueError as error:
        raise InputError(
            f"model {settings.title}: cannot be built for data of shape {shape}"
        ) from error


def statistics(model: keras.Model) -> dict[int, Statistic]:
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


def get_weights(model: keras.Model) -> list[np.ndarray]:
    """Return all weights, moving statistics included, in the model's order."""
    return [np.asarray(weight) for weight in model.get_weights()]
