"""A model of a user's own: built by calling the user's function, and held to what can be honoured.

Layers and models are used as the function returns them, never copied through their configs: what
was set or adapted in the function acts. What the engine cannot honour is refused by name
before anything is written; ``docs/models.md`` lists Keras' attributes one by one.
"""

import math
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.config import plugins
from fedgen.data.dataset import Dataset
from fedgen.data.targets import Kind
from fedgen.engine import graphs, initial
from fedgen.errors import InputError, one_line
from strategies.streams import rng

PROBES, SAMPLES = 8, 4
"""How often, and on how many random images, a model is asked whether it computes logits."""


def build(name: str, shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """Build the model that a user's function describes.

    Args:
        name: ``MODULE:NAME`` of the function.
        shape: Of a sample.
        classes: Number of logits.
        seed: Seed of the run. The generators that initialisers without a seed of their own draw
            from (Python's, NumPy's, Keras' and TensorFlow's global ones) start from its stream
            ``"weights"``; those of Python and NumPy are put back afterwards.

    Raises:
        InputError: If the function fails, or what it returns is no model for such data, with one
            input and one output.
    """
    make = plugins.model(name)
    try:
        with _seeded(int(rng(seed, "weights").integers(2**31))), initial.drawn_by_numpy():
            made = make(shape, classes)
            if made is None or (isinstance(made, list | tuple) and not made):
                raise InputError(f"expected Keras layers or a Keras model, received {made!r}")
            model = graphs.of(made, shape)
            received = model.output_shape
    except InputError as error:
        raise InputError(f"model {name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a user's function, or Keras about it, does
        raise InputError(
            f"model {name!r}: cannot be built for data of shape {shape} and {classes} classes "
            f"({one_line(error)}){_no_tensorflow()}"
        ) from error
    if received != (None, classes):
        raise InputError(
            f"model {name!r}: expected {classes} logits as its last layer's output, received shape "
            f"{received[1:] if isinstance(received, tuple) else received}"
        )
    return model


def check(
    name: str, shape: tuple[int, ...], classes: int, seed: int, kind: Kind = "classes"
) -> keras.Model:
    """Build a model, and check that an engine can honour all of it.

    Args:
        name: ``MODULE:NAME`` of the function.
        shape: Of one sample.
        classes: Number of outputs.
        seed: Seed of the run.
        kind: What is learned; of quantities outputs may be anything.

    Raises:
        InputError: Naming the layer, what was received and what to do; also if two builds from
            one seed differ, or share layers.
    """
    model, again = (build(name, shape, classes, seed) for _ in range(2))
    shared = {id(layer) for layer in _leaves(model)} & {id(layer) for layer in _leaves(again)}
    for layer in _leaves(model):
        if id(layer) in shared:
            raise InputError(
                f"model {name!r}: layer {layer.name!r} is the same object in two calls, so what one"
                " run learns would be where the next one starts: create or load it in the function"
            )
    pairs = zip(model.weights, model.get_weights(), again.get_weights(), strict=True)
    for variable, one, other in pairs:
        if one.tobytes() != other.tobytes():
            raise InputError(
                f"model {name!r}: weight {variable.path!r} starts from other values when it is "
                "built again from one seed: its initialiser must draw from Keras', TensorFlow's, "
                "NumPy's or Python's global generator, or have a seed of its own"
            )
    for text in refusals(model):
        raise InputError(f"model {name!r}: {text}")
    try:
        if kind == "quantities":
            _check_free(name, model)
        else:
            _check_logits(name, model)
        terms(model)
    except InputError:
        raise
    except Exception as error:  # whatever a layer of a user's own raises
        raise InputError(
            f"model {name!r}: cannot be called on data of shape {shape} ({one_line(error)})"
        ) from error
    return model


def check_ids(name: str, model: keras.Model, dataset: Dataset) -> None:
    """Check that an embedding that the data go into gets the whole numbers that it looks up.

    Raises:
        InputError: If the data are scaled or not whole numbers, or hold more ids than it has.
    """
    if graphs.takes_integers(model) and not dataset.holds_ids:  # they would be cut off
        raise InputError(
            f"model {name!r}: its input takes whole numbers, the data are scaled by "
            f"{dataset.scale:g} or hold others: set data.scale = 1 for ids"
        )
    embeddings = [layer for layer in _leaves(model) if isinstance(layer, keras.layers.Embedding)]
    for layer in embeddings:
        ids = _looked_up(model, layer, dataset)
        if not (ids == np.rint(ids)).all() or (ids < 0).any():
            raise InputError(
                f"model {name!r}: layer {layer.name!r} looks up whole numbers, the data are scaled "
                f"by {dataset.scale:g} or hold others: set data.scale = 1 for ids"
            )
        if (largest := int(ids.max())) >= layer.input_dim:
            raise InputError(
                f"model {name!r}: layer {layer.name!r} has {layer.input_dim} entries, the data ids "
                f"up to {largest}: expected input_dim of at least {largest + 1}"
            )


def _looked_up(model: keras.Model, layer: Any, dataset: Dataset) -> NDArray[np.float64]:
    """Return the different numbers that an embedding is given, over all images of a data set."""
    seen: set[float] = set()
    call = layer.call

    def watch(inputs: Any) -> Any:
        seen.update(np.unique(np.asarray(inputs, np.float64)).tolist())
        return call(keras.ops.zeros_like(inputs))  # which every embedding has

    layer.call = watch
    try:
        for images in (dataset.x_train, dataset.x_test):
            for begin in range(0, len(images), 500):
                pixels = images[begin : begin + 500].astype(np.float32) * dataset.scale
                graphs.outputs(model, pixels)
    finally:
        layer.call = call
    return np.array(sorted(seen))


def refusals(model: keras.Model) -> Iterator[str]:
    """Say what of a model an engine cannot honour, and what to do."""
    for layer in [model, *_leaves(model)]:
        what = "model" if layer is model else "layer"
        kind = f"{what} {layer.name!r} ({type(layer).__name__})"
        policy = layer.dtype_policy
        dtypes = policy.compute_dtype, policy.variable_dtype
        if dtypes != ("float32", "float32") or policy.quantization_mode:
            yield f"{kind} has dtype {policy.name!r}: expected float32, as engines compute in it"
        if getattr(layer, "_remat_mode", None) is not None:
            yield f"{kind} is in a RematScope: its outputs would not be computed anew; leave it out"
        if getattr(layer, "stateful", False):
            yield f"{kind} is stateful: its state is a client's own and does not travel"
        if layer._metrics:  # layer.metrics holds those of its layers, and a model's loss tracker
            yield f"{kind} has the metric {layer._metrics[0].name!r}: metrics are not collected"
        if any(_is_tensorflows(value) for value in vars(layer).values()):
            yield (
                f"{kind} keeps a tf.Variable, which does not travel between clients: "
                "use self.add_weight"
            )
        if isinstance(layer, keras.Model):
            yield from _trainer_refusals(layer, kind)
        # The layer's own, not those of the layers in it; counters may be integers.
        for variable in [*layer._trainable_variables, *layer._non_trainable_variables]:
            if variable.dtype != "float32" and not variable.dtype.startswith(("int", "uint")):
                yield f"{kind} has a weight of dtype {variable.dtype}: expected float32"
            if variable.overwrite_with_gradient:
                yield f"{kind} has a weight that its gradient overwrites, which engines do not do"


def _no_tensorflow() -> str:
    """Return a hint at what may be wrong with a model where another back end computes."""
    if keras.config.backend() == "tensorflow" or sys.modules.get("tensorflow") is None:
        return ""
    return (
        "; layers that compute with TensorFlow's own operations need training.engine = "
        "'tensorflow', those that compute with keras.ops go with every engine"
    )


def _is_tensorflows(value: Any) -> bool:
    """Whether it is a variable of TensorFlow's own, which is imported where there may be any."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(value, tensorflow.Variable)


def terms(model: keras.Model) -> int:
    """Return how many terms a model adds to the loss: regularisers and ``add_loss``."""
    images = keras.ops.zeros((1, *model.input_shape[1:]))
    trainable = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]
    _, _, added = model.stateless_call(trainable, state, images, training=True, return_losses=True)
    return len(added)


def _trainer_refusals(model: keras.Model, kind: str) -> Iterator[str]:
    if getattr(model, "compiled", False):
        yield (
            f"{kind} is compiled: its optimiser, loss and metrics would not be used: "
            "load it with compile=False"
        )
    for method in ("train_step", "compute_loss", "compute_metrics"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            yield f"{kind} has a {method} of its own, which would not be called: use add_loss"


def _check_free(name: str, model: keras.Model) -> None:
    """Check that a model of quantities does not end in shares of a whole.

    Raises:
        InputError: If it does.
    """
    if getattr(graphs.last(model), "activation", None) is keras.activations.softmax:
        raise InputError(
            f"model {name!r}: expected quantities as its last layer's output, received a softmax, "
            "whose outputs sum up to 1: leave it out"
        )


def _check_logits(name: str, model: keras.Model) -> None:
    """Check by what a model computes, with weights of either sign, that it ends in logits.

    Raises:
        InputError: If it computes something else.
    """
    draw = np.random.default_rng(0)
    first = model.get_weights()
    seen = []
    trained = {id(variable) for variable in model.trainable_variables}
    try:
        for _ in range(PROBES):
            model.set_weights(
                [
                    random_like(draw, value) if id(variable) in trained else value
                    for variable, value in zip(model.weights, first, strict=True)
                ]
            )
            images = draw.random((SAMPLES, *model.input_shape[1:]), np.float32)
            seen.append(graphs.outputs(model, images).astype(np.float64))
    finally:
        model.set_weights(first)
    outputs = np.concatenate(seen)
    outputs = outputs[np.isfinite(outputs).all(axis=1)]
    top = graphs.last(model)
    keras_own = type(top).__module__.partition(".")[0] == "keras"  # in others it may be any layer's
    last: Any = getattr(top, "activation", None) if keras_own else None
    found = ""
    if last not in (None, keras.activations.linear):
        found = f"shape {model.output_shape[1:]} with activation {getattr(last, '__name__', last)}"
    elif len(outputs) and (outputs >= 0).all():
        whole = np.allclose(outputs.sum(axis=1), 1, atol=1e-4)
        found = "probabilities, which sum to 1" if whole else "outputs that are never negative"
    if found:
        raise InputError(
            f"model {name!r}: expected {model.output_shape[-1]} logits as its last layer's output, "
            f"received {found}: leave the last activation out, the loss has it in it"
        )


def random_like(draw: np.random.Generator, like: NDArray[Any]) -> NDArray[np.float32]:
    """Draw weights that keep the size of what goes through them."""
    inputs = math.prod(like.shape[:-1])
    return draw.normal(scale=inputs**-0.5, size=like.shape).astype(np.float32)


def _leaves(model: keras.Model) -> list[Any]:
    """Return all layers of a model, also those inside of others, each once."""
    return list(model._flatten_layers(include_self=False))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = random.getstate(), np.random.get_state()
    policy = keras.config.dtype_policy()
    with runtime.without_tensorflow():  # whose generator is seeded where it is imported
        keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        keras.config.set_dtype_policy(policy)
