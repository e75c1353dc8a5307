"""Models as graphs of layers: made of what a function returns, and rebuilt with layers' equals."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src.models import Functional, Sequential
from numpy.typing import NDArray

from fedgen.errors import InputError

Shape = tuple[int, ...]

UNKNOWN = 64
"""What stands for an axis of a nested model that may have any length."""


def of(made: Any, shape: Shape) -> keras.Model:
    """Return the model that a function has returned, as layers or as a model.

    A sequential or functional model is used as it is. What else is called as a layer, as a
    subclassed model, is the only layer of a sequential one.

    Args:
        made: Layers, or a model.
        shape: Of a sample.

    Raises:
        InputError: If a model has several inputs or outputs, or an input of another shape.
    """
    parts = [made] if isinstance(made, keras.Layer) else list(made)
    for part in filter(is_graph, parts):
        _check_ends(part)
    if parts:
        _check_shape(_taken(parts[0]), shape)
    if is_graph(made) and tuple(made.input_shape) == (None, *shape):
        return made
    if type(made) is Sequential and not made.built:
        made.build((None, *shape))
        return made
    if parts and isinstance(parts[0], keras.layers.InputLayer | keras.KerasTensor):
        parts = parts[1:]
    model = keras.Sequential([keras.Input(shape), *parts], name="model")
    if (found := len(model.outputs)) != 1:
        raise InputError(f"expected one output, received {found}")
    return model


def is_graph(layer: Any) -> bool:
    """Whether a layer is a model whose layers Keras knows, and no class of a user's own."""
    return type(layer) is Functional or (type(layer) is Sequential and layer._functional)


def _check_ends(model: Any) -> None:
    graph = model._functional if type(model) is Sequential else model
    ends = ("input", model.inputs, graph.input), ("output", model.outputs, graph.output)
    for what, tensors, structure in ends:
        names = ", ".join(tensor.name for tensor in tensors)
        if len(tensors) != 1:
            raise InputError(
                f"expected one {what}, received {len(tensors)} of model {model.name!r} ({names})"
            )
        if isinstance(structure, dict):
            raise InputError(f"expected one {what}, received a dict of model {model.name!r}")


def _taken(part: Any) -> tuple[int | None, ...] | None:
    """Return the shape, batches included, that a first part is made for, if it says so."""
    if isinstance(part, keras.layers.InputLayer):
        return tuple(part.batch_shape)
    if isinstance(part, keras.KerasTensor):
        return tuple(part.shape)
    return tuple(part.input_shape) if is_graph(part) else None


def _check_shape(taken: tuple[int | None, ...] | None, shape: Shape) -> None:
    if taken is None:
        return
    if taken[0] is not None:
        raise InputError(f"expected an input for batches of any size, received one for {taken[0]}")
    fits = len(taken) == len(shape) + 1 and all(
        one in (None, other) for one, other in zip(taken[1:], shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"expected an input of the data's shape {shape}, received one of {taken[1:]}"
        )


def takes_integers(model: Any) -> bool:
    """Whether a model turns its input to integers before a layer has it."""
    if not is_graph(model):
        return False
    first = model.layers[0] if type(model) is Sequential else None
    return model.inputs[0].dtype.startswith(("int", "uint")) or takes_integers(first)


def outputs(model: keras.Model, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return what a model computes of a batch, not in training."""
    # A functional model whose inputs are a list of one takes a tensor, and warns of an array.
    return np.asarray(model(keras.ops.convert_to_tensor(inputs), training=False))


def is_chain(model: keras.Model) -> bool:
    """Whether a model is layers of Keras' own one after another, so that nothing is joined."""
    if not isinstance(model, keras.Sequential):
        return False
    return all(
        is_chain(layer)
        if isinstance(layer, keras.Model)
        else type(layer).__module__.partition(".")[0] == "keras"
        for layer in model.layers
    )


def last(model: Any) -> Any:
    """Return the layer, or operation, that computes a model's output; of those in it, the last."""
    while is_graph(model):
        model = model.outputs[0]._keras_history.operation
    return model


def input_shape(layer: Any) -> Shape:
    """Return the shape of what a layer of a graph was first called with, batches included."""
    shape = layer._inbound_nodes[0].input_tensors[0].shape
    return tuple(UNKNOWN if length is None else length for length in shape)


def with_equals(model: keras.Model, equal: Callable[[keras.Layer], keras.Layer]) -> keras.Model:
    """Return a model of the same layers, in which some are replaced by equals.

    All weights are the very variables of the model, and so are all other layers. Models that are
    layers of others are rebuilt likewise, but for those whose layers Keras does not know.

    Args:
        model: The model.
        equal: Returns a layer's equal, or the layer itself where there is none.
    """
    known: dict[int, Any] = {}

    def replaced(layer: Any) -> Any:
        if id(layer) not in known:
            known[id(layer)] = _rebuilt(layer, replaced) if is_graph(layer) else equal(layer)
        return known[id(layer)]

    return replaced(model)


def _rebuilt(model: Any, replaced: Callable[[Any], Any]) -> Any:
    """Rebuild a graph, or return it as it is where nothing is replaced or its like is another."""
    if all(replaced(layer) is layer for layer in model.layers):
        return model
    found = keras.models.clone_model(model, clone_function=replaced)
    if not _has_its_weights(found, model):
        return model
    if type(model) is Functional and not _computes_the_same(model):
        return model
    return found


def _has_its_weights(one: Any, other: Any) -> bool:
    """Whether two models have the same variables, in the same order."""
    kinds = ("weights", "trainable_variables", "non_trainable_variables")
    return all(
        [id(variable) for variable in getattr(one, kind)]
        == [id(variable) for variable in getattr(other, kind)]
        for kind in kinds
    )


def _computes_the_same(model: Any) -> bool:
    """Whether a functional model's graph can be built again, by what a copy computes."""
    again = keras.models.clone_model(model, clone_function=lambda layer: layer)
    shape = (UNKNOWN if length is None else length for length in model.input_shape[1:])
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    one, other = (outputs(made, images) for made in (again, model))
    return np.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def recast(layer: keras.Layer, kind: type[Any], **attributes: Any) -> Any:
    """Return a layer as another kind that computes the same, on the same weights."""
    # No config could hold all that was set on a layer and its weights: the object's own state does.
    # Not by copy.copy, for which Keras writes the layer to a file and reads it.
    equal = object.__new__(kind)
    equal.__dict__.update(vars(layer), **attributes)
    equal._inbound_nodes, equal._outbound_nodes = [], []
    return equal
