"""The file of a final model: a ``.keras`` file where one can hold it, its weights elsewhere."""

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.engine.own_model import random_like
from fedgen.errors import RunError

KERAS, WEIGHTS = ".keras", ".weights.h5"


@dataclass(frozen=True)
class Format:
    """How a model is written.

    Attributes:
        suffix: ``.keras``, or ``.weights.h5`` where such a file would not be the model.
        custom_objects: Names of what ``load_model`` needs beside Keras, as ``module:name``.
        reason: Why there is no ``.keras`` file.
    """

    suffix: str = KERAS
    custom_objects: tuple[str, ...] = ()
    reason: str = ""

    @property
    def note(self) -> str:
        """Say how the file is read, if not by ``keras.models.load_model(path)``."""
        if self.reason:
            return (
                f"models are written as weights ({WEIGHTS}), as {self.reason}; read them with "
                "keras.Sequential([keras.Input(shape), *function(shape, classes)]).load_weights"
            )
        if not self.custom_objects:
            return ""
        named = ", ".join(
            f"{name.partition(':')[2]!r}: {name.replace(':', '.')}" for name in self.custom_objects
        )
        return f"models are read with keras.models.load_model(path, custom_objects={{{named}}})"


def with_softmax(model: keras.Sequential) -> keras.Model:
    """Return the same layers with a softmax on top, to save and to predict with."""
    names = {layer.name for layer in model.layers}
    top = next(name for name in _names("softmax") if name not in names)
    parts = [*model.layers, keras.layers.Softmax(name=top)]
    start = keras.Input(model.input_shape[1:])
    if len({id(layer) for layer in parts}) == len(parts):
        return keras.Sequential([start, *parts])
    # A file of a sequential model would list a layer that is used twice as two.
    outputs = start
    for layer in parts:
        outputs = layer(outputs)
    return keras.Model(start, outputs)


def format_of(model: keras.Sequential) -> Format:
    """Return how a model can be written so that what is read scores as the model does.

    Found by writing a file, reading it back and holding the outputs against each other.
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Lambda):
            return Format(WEIGHTS, reason=f"layer {layer.name!r} holds code, which is not loaded")
    draw = np.random.default_rng(0)
    images = draw.random((3, *model.input_shape[1:]), np.float32)
    # As they start, weights may hide what a file has lost, as zeros on top do.
    before, trained = model.get_weights(), {id(weight) for weight in model.trainable_weights}
    pairs = zip(model.weights, before, strict=True)
    model.set_weights([random_like(draw, w) if id(v) in trained else w for v, w in pairs])
    try:
        return _tried(with_softmax(model), images)
    finally:
        model.set_weights(before)


def _tried(top: keras.Model, images: NDArray[np.float32]) -> Format:
    hiding = runtime.without_tensorflow()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), hiding:
        warnings.simplefilter("ignore")  # of what the reason tells
        path = Path(folder) / "model.keras"
        doing = "write"
        try:
            top.save(path)
            doing = "read back"
            objects = _custom_objects(path)
            found = keras.models.load_model(
                path, compile=False, custom_objects={o.partition(":")[2]: _get(o) for o in objects}
            )
            scores = np.asarray(found(images, training=False))
        except Exception as error:  # whatever Keras, or a layer of the user's, raises
            reason = f"Keras cannot {doing} a .keras file of it ({type(error).__name__})"
            return Format(WEIGHTS, reason=reason)
    if not np.allclose(scores, np.asarray(top(images, training=False)), atol=1e-6, equal_nan=True):
        return Format(
            WEIGHTS, reason="a .keras file of it scores otherwise: it holds configs, not attributes"
        )
    return Format(custom_objects=objects)


def to_bytes(model: keras.Sequential, suffix: str) -> bytes:
    """Return a model's file as bytes: ``.keras`` with a softmax on top, or its weights.

    Raises:
        RunError: If it does not fit where temporary files go; Keras writes to a path only.
    """
    write: Callable[[Path], Any] = (
        with_softmax(model).save if suffix == KERAS else model.save_weights
    )
    try:
        with tempfile.TemporaryDirectory() as folder, runtime.without_tensorflow():
            path = Path(folder) / f"model{suffix}"
            write(path)
            return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"a temporary file of {4 * model.count_params():,} bytes or more cannot be written to "
            f"{tempfile.gettempdir()} ({error.strerror}); TMPDIR names another place"
        ) from error


def _names(first: str) -> Iterator[str]:
    yield first
    number = 0
    while True:
        number += 1
        yield f"{first}_{number}"


def _custom_objects(path: Path) -> tuple[str, ...]:
    """Return what a ``.keras`` file names beside Keras' own, as ``module:name``, sorted."""
    with zipfile.ZipFile(path) as archive:
        tree = json.loads(archive.read("config.json"))
    return tuple(sorted(set(_foreign(tree))))


def _foreign(tree: Any) -> Iterator[str]:
    if isinstance(tree, list):
        for part in tree:
            yield from _foreign(part)
    if not isinstance(tree, dict):
        return
    module, kind = tree.get("module"), tree.get("class_name")
    name = tree.get("config") if kind == "function" else kind
    if isinstance(module, str) and isinstance(name, str):
        if module.split(".")[0] not in ("keras", "builtins"):
            yield f"{module}:{name}"
    for part in tree.values():
        yield from _foreign(part)


def _get(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
