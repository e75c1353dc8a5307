"""The file of a final model: a ``.keras`` file where one can hold it, its weights elsewhere."""

import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.data.targets import Kind
from fedgen.engine import graphs
from fedgen.engine.own_model import random_like
from fedgen.errors import RunError

KERAS, WEIGHTS = ".keras", ".weights.h5"

Top = Literal["softmax", "sigmoid", "none"]
"""What goes on top of a model."""

TOPS: dict[Kind, Top] = {"classes": "softmax", "labels": "sigmoid", "quantities": "none"}
"""What does, by what is learned."""


@dataclass(frozen=True)
class Format:
    """How a model is written.

    Attributes:
        suffix: ``.keras``, or ``.weights.h5`` where such a file would not be the model.
        custom_objects: Names of what ``load_model`` needs beside Keras, as ``module:name``.
        reason: Why there is no ``.keras`` file.
        made: How what reads the weights is made.
    """

    suffix: str = KERAS
    custom_objects: tuple[str, ...] = ()
    reason: str = ""
    made: str = ""

    @property
    def note(self) -> str:
        """Say how the file is read, if not by ``keras.models.load_model(path)``."""
        if self.reason:
            return (
                f"models are written as weights ({WEIGHTS}), as {self.reason}; read them with "
                f"{self.made}.load_weights"
            )
        if not self.custom_objects:
            return ""
        named = ", ".join(
            f"{name.partition(':')[2]!r}: {name.replace(':', '.')}" for name in self.custom_objects
        )
        return f"models are read with keras.models.load_model(path, custom_objects={{{named}}})"


def with_softmax(model: keras.Model, top: Top = "softmax") -> keras.Model:
    """Return the same layers with an activation on top, to save and to predict with.

    Args:
        model: A model that ends in logits.
        top: The activation; none for quantities.
    """
    if top == "none":
        return model
    names = {layer.name for layer in model.layers}
    name = next(name for name in _names(top) if name not in names)
    last = (
        keras.layers.Softmax(name=name)
        if top == "softmax"
        else keras.layers.Activation(top, name=name)
    )
    if not isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], last(model.outputs[0]))
    parts = [*model.layers, last]
    start = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    if len({id(layer) for layer in parts}) == len(parts):
        return keras.Sequential([start, *parts])
    # A file of a sequential model would list a layer that is used twice as two.
    outputs = start
    for layer in parts:
        outputs = layer(outputs)
    return keras.Model(start, outputs)


def format_of(model: keras.Model, top: Top = "softmax") -> Format:
    """Return how a model can be written so that what is read scores as the model does.

    Found by writing a file, reading it back and holding the outputs against each other.
    """
    found = _found(model, top)
    return replace(found, made=_made(model)) if found.suffix == WEIGHTS else found


def _made(model: keras.Model) -> str:
    """Return the code that makes what reads a model's weights, from a user's function."""
    if not isinstance(model, keras.Sequential):
        return "function(shape, classes)"
    alone = len(model.layers) == 1 and isinstance(model.layers[0], keras.Model)
    return f"keras.Sequential([keras.Input(shape), {'' if alone else '*'}function(shape, classes)])"


def _found(model: keras.Model, top: Top) -> Format:
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
        return _tried(with_softmax(model, top), images)
    finally:
        model.set_weights(before)


def _tried(whole: keras.Model, images: NDArray[np.float32]) -> Format:
    hiding = runtime.without_tensorflow()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), hiding:
        warnings.simplefilter("ignore")  # of what the reason tells
        path = Path(folder) / "model.keras"
        doing = "write"
        try:
            whole.save(path)
            doing = "read back"
            objects = custom_objects(path)
            found = keras.models.load_model(
                path, compile=False, custom_objects={o.partition(":")[2]: _get(o) for o in objects}
            )
            scores = graphs.outputs(found, images)
        except Exception as error:  # whatever Keras, or a layer of the user's, raises
            reason = f"Keras cannot {doing} a .keras file of it ({type(error).__name__})"
            return Format(WEIGHTS, reason=reason)
    if not np.allclose(scores, graphs.outputs(whole, images), atol=1e-6, equal_nan=True):
        return Format(
            WEIGHTS, reason="a .keras file of it scores otherwise: it holds configs, not attributes"
        )
    return Format(custom_objects=objects)


def to_bytes(model: keras.Model, suffix: str, top: Top = "softmax") -> bytes:
    """Return a model's file as bytes: ``.keras`` with an activation on top, or its weights.

    Raises:
        RunError: If it does not fit where temporary files go; Keras writes to a path only.
    """
    write: Callable[[Path], Any] = (
        with_softmax(model, top).save if suffix == KERAS else model.save_weights
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


def custom_objects(path: Path) -> tuple[str, ...]:
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
