"""Models of a user's own of many kinds, trained by the engine and by Keras."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, regularizers
from trainings import engine_of

from fedgen.config import plugins
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.engine import models
from fedgen.engine.plan import Plan, Trained
from fedgen.engine.rules.rule import Rule
from strategies.core.aggregation import Arrays

SHAPE, CLASSES = (8, 8, 1), 10


Make = Callable[[tuple[int, ...], int], Any]


class Penalty(layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_loss(0.1 * keras.ops.mean(inputs**2))
        return inputs


class Needs(layers.Layer):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


class Factor(layers.Layer):
    factor = 1.0

    def call(self, inputs: Any) -> Any:
        return self.factor * inputs


class Unused(layers.Layer):
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.idle = self.add_weight(shape=(3,))

    def call(self, inputs: Any) -> Any:
        return self.scale * inputs


class Block(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(16, activation="relu"), layers.Dense(8)

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


class Stepping(Block):
    def train_step(self, data: Any) -> Any:
        return {}


class Counter(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        import tensorflow as tf

        self.calls = tf.Variable(0.0)

    def call(self, inputs: Any) -> Any:
        return inputs + 0 * self.calls


class Watched(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.mean = keras.metrics.Mean(name="size")

    def call(self, inputs: Any) -> Any:
        self.mean.update_state(inputs)
        return inputs


class FromNumPy(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return np.random.normal(0, 0.1, shape).astype(np.float32)


class FromThe(keras.initializers.Initializer):
    """Draws from a generator that nobody can seed."""

    draw = np.random.default_rng()

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self.draw.normal(0, 0.1, shape).astype(np.float32)


def dense(**settings: Any) -> Callable[[], list[Any]]:
    return lambda: [layers.Dense(16, **settings)]


def adapted() -> list[Any]:
    normalise = layers.Normalization(axis=None)
    normalise.adapt(np.random.default_rng(0).normal(0.5, 0.1, (200, 64)).astype(np.float32))
    return [normalise]


def tripled() -> list[Any]:
    factor = Factor()
    factor.factor = 3.0
    return [factor]


def twice() -> list[Any]:
    layer = layers.Dense(64, activation="tanh")
    return [layer, layer]


def frozen() -> list[Any]:
    layer = layers.Dense(16)
    layer.trainable = False
    return [layer]


HONOURED: dict[str, Callable[[], list[Any]]] = {
    "kernel regulariser": dense(kernel_regularizer=regularizers.L2(0.1), activation="relu"),
    "bias regulariser": dense(bias_regularizer="l1", bias_initializer="ones"),
    "activity regulariser": dense(activity_regularizer=regularizers.L1(0.01)),
    "kernel constraint": dense(kernel_constraint=keras.constraints.MaxNorm(0.01)),
    "constraints": dense(kernel_constraint="unit_norm", bias_constraint="non_neg"),
    "add_loss": lambda: [layers.Dense(16), Penalty()],
    "adapted": adapted,
    "attribute set afterwards": tripled,
    "lambda": lambda: [layers.Lambda(lambda x: 2 * x - 1)],
    "argument without config": lambda: [Needs(keras.ops.tanh)],
    "subclassed model": lambda: [Block()],
    "unused weight": lambda: [Unused()],
    "spectral normalisation": lambda: [layers.SpectralNormalization(layers.Dense(16))],
    "used twice": twice,
    "frozen": frozen,
    "embedding": lambda: [layers.Embedding(2, 3), layers.Flatten()],
    "normalised": lambda: [layers.Dense(16, kernel_regularizer="l2"), layers.BatchNormalization()],
    "from NumPy": dense(kernel_initializer=FromNumPy()),
    "from Keras": dense(kernel_initializer=lambda s, dtype=None: 0.1 * keras.random.normal(s)),
}


def function(hidden: Callable[[], list[Any]]) -> Make:
    return lambda shape, classes: [layers.Flatten(), *hidden(), layers.Dense(classes)]


def convolution(shape: Any, classes: int) -> list[Any]:
    conv = layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm")
    return [conv, layers.Flatten(), layers.Dense(classes)]


def from_tensorflow(shape: Any, dtype: Any = None) -> Any:
    import tensorflow as tf

    return 0.1 * tf.random.normal(shape)


if keras.config.backend() == "tensorflow":
    HONOURED["from TensorFlow"] = dense(kernel_initializer=from_tensorflow)

FUNCTIONS = {name: function(hidden) for name, hidden in HONOURED.items()} | {
    "convolution": convolution,
    "a model instead of layers": lambda s, c: keras.Sequential([layers.Flatten(), layers.Dense(c)]),
}


def order(epochs: int = 2) -> np.ndarray:
    draws = [np.random.default_rng(i).permutation(75) for i in range(epochs)]
    return np.array(draws, np.int32)


def build(make: Make, shape: tuple[int, ...] = SHAPE) -> keras.Model:
    return models.build(Model(name=plugins.give(make)), shape, CLASSES, 0)


def train(digits: datasets.Dataset, make: Make, rule: Rule | None = None, **kind: Any) -> Trained:
    engine = engine_of(build(make), digits, **({"optimizer": "sgd"} | kind))
    plan = Plan(0.05, 32, order(), rule=rule)
    return engine.train(models.get_weights(build(make)), plan, keep=True)


def fit(
    digits: datasets.Dataset, make: Make, optimizer: Any, epochs: int = 2
) -> tuple[Arrays, list[float]]:
    """The readable reference: Keras' own step, one batch after another."""
    model, losses = build(make), []
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, cross_entropy, run_eagerly=True)
    for epoch in order(epochs):
        total = 0.0
        for batch in np.split(epoch, range(32, len(epoch), 32)):
            pixels = digits.x_train[batch].astype(np.float32) * digits.scale
            model.reset_metrics()
            total += len(batch) * float(model.train_on_batch(pixels, digits.y_train[batch]))
        losses.append(total / len(epoch))
    return models.get_weights(model), losses
