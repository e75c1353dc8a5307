"""Initial weights that are read from a file instead of drawn."""

import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.engine import saved_model
from fedgen.engine.transfer.frozen import named
from fedgen.engine.transfer.source import find
from fedgen.errors import InputError, one_line

CODE = ("Lambda", "__lambda__")
"""What a Keras file calls layers that hold code."""


def read(model: keras.Model, text: str) -> None:
    """Give a model the weights of a file.

    A ``.keras`` file holds a model, as fedgen writes it or any of as many weights of equal shapes
    in order; its layers are Keras' own, no code is loaded. A ``.weights.h5`` file is of the very
    layers.

    Args:
        model: The model; its weights are set.
        text: The setting ``model.weights``.

    Raises:
        InputError: If the file is missing, damaged, holds code, or is of another model.
    """
    path = find(text)
    try:
        if path.suffix == saved_model.KERAS:
            _set(model, _of_model(path))
        else:
            _load(model, path)
    except InputError as error:
        raise InputError(f"model.weights = {str(path)!r}: {error}") from error


def _of_model(path: Path) -> list[NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            tree = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"not a readable .keras file ({one_line(error)})") from error
    if any(name in CODE for name in _classes(tree)):
        raise InputError("it has a Lambda layer, which holds code: no code is loaded")
    if foreign := saved_model.custom_objects(path):
        raise InputError(
            f"it needs code beside Keras' own ({', '.join(foreign)}), which is not loaded: write "
            "its weights with save_weights to a .weights.h5 file"
        )
    try:
        with runtime.without_tensorflow():
            found = keras.models.load_model(path, compile=False, safe_mode=True)
        return [np.asarray(weight) for weight in found.get_weights()]
    except Exception as error:  # whatever Keras raises about a file
        raise InputError(f"Keras cannot read it ({one_line(error)})") from error


def _classes(tree: Any) -> Iterator[object]:
    """Yield all names of classes in a config."""
    if isinstance(tree, list):
        for part in tree:
            yield from _classes(part)
    elif isinstance(tree, dict):
        yield tree.get("class_name")
        yield from _classes([*tree.values()])


def _set(model: keras.Model, found: Sequence[NDArray[Any]]) -> None:
    mine = model.weights
    # Those of layers in layers come after them.
    names = {id(weight): name for name, layer in named(model) for weight in layer.weights}
    for number, (weight, values) in enumerate(zip(mine, found, strict=False), 1):
        if values.shape != (shape := tuple(weight.shape)):
            name = f"{names[id(weight)]}/{weight.name}"
            raise InputError(
                f"weight {number} of {len(mine)}, {name!r}: expected shape {shape}, received "
                f"{values.shape}"
            )
    if len(found) != len(mine):
        raise InputError(f"expected {len(mine)} weights, received {len(found)}")
    model.set_weights(found)


def _load(model: keras.Model, path: Path) -> None:
    try:
        with runtime.without_tensorflow():
            model.load_weights(path)
        # Keras reads what it looks for, and passes over layers that the model lacks.
        with tempfile.TemporaryDirectory() as folder, runtime.without_tensorflow():
            own = Path(folder) / "own.weights.h5"
            model.save_weights(own)
            expected, received = _arrays(own), _arrays(path)
    except Exception as error:  # whatever Keras, or h5py, raises about a file
        raise InputError(f"it is not of this model ({one_line(error)})") from error
    if expected != received:
        raise InputError(f"it is not of this model (expected {expected} arrays, has {received})")


def _arrays(path: Path) -> int:
    """Return how many arrays a file of weights has."""
    found = 0

    def count(_: str, part: Any) -> None:
        nonlocal found
        found += isinstance(part, h5py.Dataset)

    with h5py.File(path) as file:
        file.visititems(count)
    return found
