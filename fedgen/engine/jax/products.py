"""Matrix products and convolutions in a precision, which many lanes compute as one product.

XLA makes one grouped convolution of a convolution whose kernels differ from lane to lane, which
GPUs compute slowly. Here it is a product with patches, which becomes one batched product. The
patches are ``kernel rows x kernel columns`` times as large as the images, so they are not kept for
the backward pass but made again.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fedgen.engine.plan import Precision

Padding = tuple[tuple[int, int], tuple[int, int]]
Strides = tuple[int, int]

MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "tensorfloat32"}
"""JAX's words for precisions; of products that are not below, bfloat16 is TF32 too."""


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(one: Any, other: Any, precision: Precision) -> Any:
    """Return ``one @ other``, of shapes (..., k) and (k, n).

    It is computed in ``precision`` with float32 sums, and so are the products of its gradients.
    """
    return _product(one, other, precision)


def _product(one: Any, other: Any, precision: Precision) -> Any:
    flat = one.reshape(-1, one.shape[-1])
    if precision == "bfloat16":
        flat, other = flat.astype(jnp.bfloat16), other.astype(jnp.bfloat16)
        found = jnp.matmul(flat, other, preferred_element_type=jnp.float32)
    else:
        found = jnp.matmul(flat, other, precision=MATMUL[precision])
    return found.reshape(*one.shape[:-1], other.shape[-1])


def _product_forward(one: Any, other: Any, precision: Precision) -> Any:
    return _product(one, other, precision), (one, other)


def _product_backward(precision: Precision, kept: Any, upstream: Any) -> Any:
    one, other = kept
    flat = upstream.reshape(-1, upstream.shape[-1])
    rows = one.reshape(-1, one.shape[-1])
    return _product(upstream, other.T, precision), _product(rows.T, flat, precision)


product.defvjp(_product_forward, _product_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(
    images: Any, kernel: Any, around: Padding, strides: Strides, precision: Precision
) -> Any:
    """Return the convolution of images with a kernel, as a product with patches.

    Args:
        images: Float32 of shape (n, height, width, channels).
        kernel: Float32 of shape (rows, columns, channels, filters).
        around: Zeros before and after, of height and of width; fewer than the kernel is long.
        strides: Steps of the kernel, down and to the right.
        precision: Of the products.

    Returns:
        Float32 of shape (n, height', width', filters).
    """
    return _convolve(images, kernel, around, strides, precision)


def _convolve(
    images: Any, kernel: Any, around: Padding, strides: Strides, precision: Precision
) -> Any:
    rows, columns, channels, filters = kernel.shape
    patches = _patches(images, (rows, columns), around, strides, precision)
    return _product(patches, kernel.reshape(rows * columns * channels, filters), precision)


def _patches(
    images: Any, size: tuple[int, int], around: Padding, strides: Strides, precision: Precision
) -> Any:
    """Return the pixels under a kernel at every place, its taps in the kernel's order."""
    if precision == "bfloat16":  # half the memory to move
        images = images.astype(jnp.bfloat16)
    padded = jnp.pad(images, ((0, 0), *around, (0, 0)))
    down, right = (n - k + 1 for n, k in zip(padded.shape[1:3], size, strict=True))
    return jnp.concatenate(
        [
            padded[:, y : y + down : strides[0], x : x + right : strides[1]]
            for y in range(size[0])
            for x in range(size[1])
        ],
        -1,
    )


def _convolve_forward(
    images: Any, kernel: Any, around: Padding, strides: Strides, precision: Precision
) -> Any:
    return _convolve(images, kernel, around, strides, precision), (images, kernel)


def _convolve_backward(
    around: Padding, strides: Strides, precision: Precision, kept: Any, upstream: Any
) -> Any:
    images, kernel = kept
    rows, columns, channels, filters = kernel.shape
    (top, bottom), (left, right) = around
    # What a pixel got is what its outputs got, through the kernel turned round; the places that
    # strides leave out got nothing.
    places = (images.shape[1] + top + bottom - rows, images.shape[2] + left + right - columns)
    out = [(0, n % s, s - 1) for n, s in zip(places, strides, strict=True)]
    everywhere = jax.lax.pad(upstream, jnp.float32(0), ((0, 0, 0), *out, (0, 0, 0)))
    back = ((rows - 1 - top, rows - 1 - bottom), (columns - 1 - left, columns - 1 - right))
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    to_images = _convolve(everywhere, turned, back, (1, 1), precision)
    patches = _patches(images, (rows, columns), around, strides, precision)
    flat = patches.reshape(-1, patches.shape[-1])
    to_kernel = _product(flat.T, upstream.reshape(-1, filters), precision)
    return to_images, to_kernel.reshape(rows, columns, channels, filters)


convolve.defvjp(_convolve_forward, _convolve_backward)
