"""Equals of Keras' layers for lanes, in whose batches there may be places without a sample."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax.numpy as jnp
import keras

from fedgen.engine import graphs
from fedgen.engine.graphs import recast
from fedgen.engine.jax.products import convolve, product
from fedgen.engine.plan import Precision

_valid: ContextVar[Any] = ContextVar("valid", default=None)


@contextmanager
def counting(valid: Any) -> Iterator[None]:
    """Let normalisation in a ``with`` block count these samples of a batch alone.

    Args:
        valid: Bool of shape (n,).
    """
    token = _valid.set(valid)
    try:
        yield
    finally:
        _valid.reset(token)


FEW = 64
"""Pixels up to which a CPU computes a product with patches sooner than a convolution."""


def equal(layer: Any, precision: Precision, side_by_side: bool) -> Any:
    """Return the equal of a layer; the layer itself where there is none.

    Args:
        layer: The layer.
        precision: What products are computed in.
        side_by_side: Whether many lanes are computed at once.
    """
    if type(layer) is keras.layers.Conv2D and _is_plain(layer):
        pixels = math.prod(graphs.input_shape(layer)[1:3])
        strided = layer.strides != (1, 1)
        if not side_by_side and (strided or (precision == "float32" and pixels > FEW)):
            return layer
        return recast(layer, _Convolution, precision=precision)
    if type(layer) is keras.layers.Dense and not layer.lora_enabled:
        return recast(layer, _Dense, precision=precision)
    if type(layer) is keras.layers.BatchNormalization and _can_be_masked(layer):
        return recast(layer, _Normalisation)
    return layer


def _is_plain(layer: Any) -> bool:
    return bool(
        layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and not layer.lora_enabled
        and layer.data_format == "channels_last"
    )


def _can_be_masked(layer: Any) -> bool:
    # Keras' masks have all axes but the last; of one channel it makes none.
    last = layer.axis in (-1, len(layer._reduction_axes))
    return last and not layer.renorm and layer.moving_mean.shape != (1,)


class _Dense(keras.layers.Dense):  # type: ignore[misc]
    """``keras.layers.Dense`` in a precision."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Multiply, add the bias and activate."""
        return _finish(self, product(inputs, jnp.asarray(self.kernel), self.precision))


class _Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    """``keras.layers.Conv2D`` as a product with patches, in a precision."""

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias and activate."""
        kernel = jnp.asarray(self.kernel)
        sides = zip(inputs.shape[1:3], kernel.shape[:2], self.strides, strict=True)
        down, right = (_around(*side) if self.padding == "same" else (0, 0) for side in sides)
        return _finish(self, convolve(inputs, kernel, (down, right), self.strides, self.precision))


class _Normalisation(keras.layers.BatchNormalization):  # type: ignore[misc]
    """``keras.layers.BatchNormalization`` of the samples that there are."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Normalise by the mean and variance of valid samples."""
        valid = _valid.get()
        if training and valid is not None and mask is None:
            ones = (1,) * (inputs.ndim - 2)
            mask = jnp.broadcast_to(valid.reshape(-1, *ones), inputs.shape[:-1])
        return super().call(inputs, training=training, mask=mask)


def _finish(layer: Any, outputs: Any) -> Any:
    if layer.use_bias:
        outputs = outputs + jnp.asarray(layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def _around(pixels: int, size: int, stride: int) -> tuple[int, int]:
    """Return what "same" pads before and after, the smaller half before.

    As much as a kernel of that size needs for one output of every ``stride`` pixels, begun ones
    counted.
    """
    whole = max(0, (-(-pixels // stride) - 1) * stride + size - pixels)
    return whole // 2, whole - whole // 2
