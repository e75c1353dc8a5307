"""The fast convolution against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedgen.engine import graphs, models
from fedgen.engine.tensorflow.convolution import faster


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cnn", (8, 8, 1)),
        ("cnn", (32, 32, 3)),
        ("cnn-small", (32, 32, 3)),
        ("cnn-mnist", (28, 28, 1)),
    ],
)
def test_gradients_match_keras(name: str, shape: tuple[int, int, int]) -> None:
    model = models.build(name, shape, 10, 0)
    fast = graphs.with_equals(model, faster)
    fast.set_weights(model.get_weights())
    assert type(fast.layers[0]) is not type(model.layers[0])
    images = tf.constant(np.random.default_rng(0).random((6, *shape), np.float32))

    def gradients(of: keras.Sequential) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = of(images)
            loss = tf.reduce_sum(tf.sin(logits * 20))
        *weights, inputs = tape.gradient(loss, [*of.trainable_variables, images])
        return logits, weights, inputs

    (logits, weights, inputs), (fast_logits, fast_weights, fast_inputs) = map(
        gradients, (model, fast)
    )
    np.testing.assert_allclose(fast_logits, logits, atol=1e-5)
    for wanted, received in zip([*weights, inputs], [*fast_weights, fast_inputs], strict=True):
        scale = float(np.abs(wanted).max())
        np.testing.assert_allclose(received, wanted, atol=1e-5 * scale)
        assert scale > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2), (4, 1)])
@pytest.mark.parametrize("window", [(3, 3), (1, 1), (2, 2), (5, 4)])
def test_tiny_images_match_keras(size: tuple[int, int], window: tuple[int, int]) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((*size, 3)), layers.Conv2D(2, window, padding="same")])
    fast = graphs.with_equals(model, faster)
    fast.set_weights([np.random.default_rng(1).random(w.shape) for w in model.get_weights()])
    model.set_weights(fast.get_weights())
    images = tf.constant(np.random.default_rng(0).random((4, *size, 3), np.float32))
    found = []
    for of in (model, fast):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = of(images)
            loss = tf.reduce_sum(tf.sin(outputs))
        found.append([outputs, *tape.gradient(loss, [*of.trainable_variables, images])])
    for wanted, received in zip(*found, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-5, atol=1e-5)


def test_layers_it_does_not_know_are_left_alone() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, strides=2),
            layers.Conv2D(4, 1, groups=2),
            layers.Conv2D(4, 2, activation="tanh"),
        ]
    )
    fast = graphs.with_equals(model, faster)
    assert [type(layer) for layer in fast.layers] == [layers.Conv2D] * 3
