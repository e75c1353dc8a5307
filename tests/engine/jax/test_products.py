"""Products and convolutions against JAX's own, gradients included, and their precision."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from fedgen.engine.jax.layers import equal
from fedgen.engine.jax.products import Padding, Strides, convolve, product


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


ONE = (1, 1)


def reference(
    images: jax.Array, kernel: jax.Array, around: Padding, strides: Strides = ONE
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        *(images, kernel, strides, around),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def test_a_convolution_by_hand() -> None:
    image = jnp.arange(9, dtype=jnp.float32).reshape(1, 3, 3, 1)
    kernel = jnp.array([[1, 10], [100, 1000]], jnp.float32).reshape(2, 2, 1, 1)
    valid = convolve(image, kernel, ((0, 0), (0, 0)), ONE, "float32")
    assert valid[0, :, :, 0].tolist() == [[4310, 5421], [7643, 8754]]
    same = convolve(image, kernel, ((0, 1), (0, 1)), ONE, "float32")
    assert same[0, 2].ravel().tolist() == [76, 87, 8]
    wide = convolve(image, kernel, ((0, 1), (0, 1)), (2, 2), "float32")
    assert wide[0, :, :, 0].tolist() == [[4310, 502], [76, 8]]


@pytest.mark.parametrize("strides", [ONE, (2, 2), (2, 3)])
@pytest.mark.parametrize(
    ("size", "around"),
    [
        ((1, 1), ((0, 0), (0, 0))),
        ((3, 3), ((0, 0), (0, 0))),
        ((3, 3), ((1, 1), (1, 1))),
        ((2, 5), ((0, 1), (2, 2))),
        ((4, 1), ((3, 0), (0, 0))),
    ],
)
def test_convolutions_and_their_gradients_are_jaxs_own(
    size: tuple[int, int], around: Padding, strides: Strides
) -> None:
    images, kernel = draw(3, 6, 7, 2), draw(*size, 2, 5)

    def loss(convolution: object, images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(convolution(images, kernel)))  # type: ignore[operator]

    def mine(i: jax.Array, k: jax.Array) -> jax.Array:
        return convolve(i, k, around, strides, "float32")

    found = jax.grad(lambda *a: loss(mine, *a), (0, 1))(images, kernel)

    def due(i: jax.Array, k: jax.Array) -> jax.Array:
        return reference(i, k, around, strides)

    wanted = jax.grad(lambda *a: loss(due, *a), (0, 1))(images, kernel)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [2, (3, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, (4, 5)])
def test_a_layer_is_computed_as_keras_does(padding: str, strides: object, size: object) -> None:
    images = draw(2, 9, 12, 3)
    layer = keras.layers.Conv2D(4, size, strides=strides, padding=padding, activation="relu")
    model = keras.Sequential([keras.layers.Input(images.shape[1:]), layer])
    mine = equal(layer, "float32", side_by_side=True)
    assert type(mine) is not keras.layers.Conv2D
    assert equal(layer, "float32", side_by_side=False) is layer
    model_of_mine = keras.Sequential([keras.layers.Input(images.shape[1:]), mine])
    model_of_mine.set_weights(model.get_weights())
    np.testing.assert_allclose(model_of_mine(images), model(images), atol=1e-5)


def test_many_kernels_at_once_are_one_after_another() -> None:
    images, kernels = draw(4, 3, 5, 5, 2), draw(4, 3, 3, 2, 6)
    around = ((1, 1), (1, 1))
    together = jax.vmap(lambda i, k: convolve(i, k, around, ONE, "float32"))(images, kernels)
    for i, k, found in zip(images, kernels, together, strict=True):
        np.testing.assert_allclose(found, reference(i, k, around), atol=1e-5)


def test_bfloat16_rounds_what_is_multiplied_and_adds_in_float32() -> None:
    one, other = draw(64, 300), draw(300, 8)
    rounded = [np.asarray(part.astype(jnp.bfloat16), np.float64) for part in (one, other)]
    found = product(one, other, "bfloat16")
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, rounded[0] @ rounded[1], atol=2e-4)
    exact = np.asarray(one, np.float64) @ np.asarray(other, np.float64)
    assert np.abs(found - exact).max() > 1e-2
    np.testing.assert_allclose(product(one, other, "float32"), exact, atol=2e-4)
    gradients = jax.grad(lambda a, b: jnp.sum(product(a, b, "bfloat16")), (0, 1))(one, other)
    assert [part.dtype for part in gradients] == [jnp.float32] * 2
