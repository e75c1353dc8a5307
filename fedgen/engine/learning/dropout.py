"""Dropout whose rate is a value that a compiled loop is given, for any model and back end.

Keras' layers compare their rate with 0 in Python, which nothing that is traced allows. So a layer's
own ``call`` is put before its class', and does as that does wherever no rate is given.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any

import keras
from keras import ops
from keras.src.layers.regularization.spatial_dropout import BaseSpatialDropout

from fedgen.config.sections.tuning import NOTHING_DROPS

_rate: ContextVar[Any] = ContextVar("rate", default=None)


@contextmanager
def at_rate(rate: Any) -> Iterator[None]:
    """Let the Dropout layers that are called in a ``with`` block, in training, have this rate.

    Args:
        rate: A float32 scalar in [0, 1); ``None`` for each layer's own.
    """
    token = _rate.set(rate)
    try:
        yield
    finally:
        _rate.reset(token)


def why_not(model: keras.Model) -> str | None:
    """Say why a model's Dropout layers could not be given a rate; ``None`` if they could."""
    found = _layers(model)
    for layer in found:
        if type(layer).call not in (keras.layers.Dropout.call, BaseSpatialDropout.call):
            return f"layer {layer.name!r} drops in a way of its own, not as Keras' Dropout"
    return None if found else NOTHING_DROPS


def listen(model: keras.Model) -> None:
    """Let a model's Dropout layers heed ``at_rate``; without it they compute what they did."""
    for layer in _layers(model):
        layer.call = MethodType(_call, layer)


def _layers(model: keras.Model) -> list[Any]:
    """Return the layers that are or inherit Dropout, those in models and layers as well.

    One that was made with a rate of 0 has no generator and is left out: it is switched off, as
    in every attention layer without dropout.
    """
    found = (part for part in model._flatten_layers() if isinstance(part, keras.layers.Dropout))
    return [layer for layer in found if hasattr(layer, "seed_generator")]


def _call(layer: Any, inputs: Any, training: bool = False) -> Any:
    rate = _rate.get()
    if rate is None or not training:
        return type(layer).call(layer, inputs, training=training)
    spatial = isinstance(layer, BaseSpatialDropout)
    wanted = layer._get_noise_shape(inputs) if spatial else layer.noise_shape
    shape = _filled(wanted, ops.shape(inputs))
    draws = keras.random.uniform(shape, dtype="float32", seed=layer.seed_generator)
    # The very masks of each back end's own dropout.
    keep = draws < 1 - rate if keras.config.backend() == "jax" else draws >= rate
    scaled = inputs / ops.cast(1 - rate, inputs.dtype)
    return ops.where(keep, scaled, ops.zeros_like(inputs))


def _filled(wanted: Sequence[Any] | None, known: Sequence[Any]) -> tuple[Any, ...]:
    """Return a shape of noise, with the inputs' lengths where it names none."""
    if wanted is None:
        return tuple(known)
    return tuple(b if a is None else a for a, b in zip(wanted, known, strict=True))
