"""Layers that change images while a client trains; nothing of them is in a model or its file.

Each sample is changed for itself, by numbers from the client's own stream, as masks of dropout are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.src import backend

from fedgen.config import plugins
from fedgen.data.dataset import Dataset
from fedgen.engine import graphs, own_model
from fedgen.engine.zoo.seeded import IMAGES
from fedgen.errors import InputError, one_line

# Seeds of their own would be set over: every client and round has others.
NAMED: dict[str, Callable[[], keras.Layer]] = {
    "flip": lambda: layers.RandomFlip("horizontal", seed=0),
    # As padding and cropping do; 4 pixels of 32 (He et al. 2016, arXiv:1512.03385).
    "crop": lambda: layers.RandomTranslation(
        0.125, 0.125, fill_mode="constant", interpolation="nearest", seed=0
    ),
    "rotate": lambda: layers.RandomRotation(15 / 360, fill_mode="constant", seed=0),
    "contrast": lambda: layers.RandomContrast(0.2, value_range=(0, 1), seed=0),
}
"""What makes the layers that ``training.augmentation`` names: left and right exchanged for half of
the images; moved by up to an eighth of the sides; turned by up to 15 degrees; contrast times 0.8 to
1.2."""


def before(model: keras.Model, names: Sequence[str], dataset: Dataset) -> keras.Model:
    """Return a model that augments images before it sees them, in training alone.

    Its weights are the model's very variables, in their order.

    Args:
        model: A model of images.
        names: What is done, in this order.
        dataset: The images.

    Raises:
        InputError: If the data are no images, or a layer of a user's own has weights, changes
            shapes, acts outside of training or cannot be traced by the engine's framework.
    """
    shape = dataset.x_train.shape[1:]
    if len(shape) != IMAGES:
        raise InputError(
            "training.augmentation: expected images of shape (height, width, channels), received "
            f"data of shape {shape}"
        )
    parts = [layer for name in names for layer in _layers(name, shape, dataset)]
    return keras.Sequential([keras.Input(shape), *parts, model], name="augmented")


def _layers(name: str, shape: tuple[int, ...], dataset: Dataset) -> list[keras.Layer]:
    if name == "contrast" and not _are_shares(dataset):
        raise InputError(
            "training.augmentation 'contrast': expected pixels from 0 to 1, which it cuts them to; "
            f"the data are scaled by {dataset.scale:g}: set data.scale"
        )
    if not plugins.is_own(name):
        return [NAMED[name]()]
    try:
        made = plugins.augmentation(name)(shape)
        parts = [made] if isinstance(made, keras.Layer) else list(made)
        alone = keras.Sequential([keras.Input(shape), *parts])
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's function does
        raise InputError(
            f"augmentation {name!r}: cannot be built for images of shape {shape} "
            f"({one_line(error)})"
        ) from error
    for text in _refusals(alone, shape):
        raise InputError(f"augmentation {name!r}: {text}")
    return parts


def _are_shares(dataset: Dataset) -> bool:
    images: Any = dataset.x_train
    return bool(images.min() >= 0 and images.max() * dataset.scale <= 1 + 1e-6)


def _refusals(alone: keras.Model, shape: tuple[int, ...]) -> Any:
    """Say what of a user's layers is no augmentation."""
    yield from own_model.refusals(alone)
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    for layer in alone.layers:
        kind = f"layer {layer.name!r} ({type(layer).__name__})"
        if layer.weights:
            yield f"{kind} has weights: expected none, as nothing of it is in the model"
        try:
            start = keras.KerasTensor((2, *shape))
            found = backend.compute_output_spec(_in_training(layer), start)
            same = np.array_equal(graphs.outputs(layer, images), images)
        except Exception as error:  # whatever a layer, or the framework about it, raises
            yield f"{kind} cannot be traced by {backend.backend()} ({one_line(error)})"
            return
        if tuple(found.shape) != (2, *shape):
            yield f"{kind}: expected images of shape {shape}, received {tuple(found.shape[1:])}"
        if not same:
            yield f"{kind} changes images outside of training as well: put it into the model"


def _in_training(layer: Any) -> Callable[[Any], Any]:
    return lambda images: layer(images, training=True)
