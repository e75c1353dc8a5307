"""The rate of dropout as a value: in every place where a model may have such layers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from own_models import build
from targets import SHAPE, dataset_of, plan
from trainings import engine_of, same

from fedgen.config.sections import Training
from fedgen.config.sections.model import MODELS, Model
from fedgen.config.sections.tuning import NOTHING_DROPS, inapplicable
from fedgen.engine import models
from fedgen.engine.learning import dropout
from fedgen.engine.plan import Plan, Trained


def near(one: Trained, other: Trained) -> None:
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)


def mlp(rate: float) -> keras.Model:
    settings = Model(name="layers", hidden_layers=(32, 16), batch_norm=True, dropout=rate)
    return models.build(settings, SHAPE, 10, 0)


def job(**given: float) -> Plan:
    return replace(plan(0.05, samples=64), dropout_seed=5, further=given)


class Attends(layers.Layer):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 4, dropout=rate, seed=3)
        self.without = layers.MultiHeadAttention(2, 4, seed=4)

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)
        self.without.build(shape, shape)

    def call(self, inputs: Any, training: Any = None) -> Any:
        inputs = self.without(inputs, inputs, training=training)
        return self.attention(inputs, inputs, training=training)


class Block(keras.Model):  # type: ignore[misc]
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.first, self.drops = layers.Dense(16, activation="relu"), layers.Dropout(rate, seed=2)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.drops(self.first(inputs), training=training)


def nested(rate: float) -> list[Any]:
    inner = keras.Sequential([keras.Input((16,)), layers.Dropout(rate, seed=2), layers.Dense(8)])
    return [layers.Flatten(), layers.Dense(16), inner, layers.Dropout(rate, seed=3)]


MAKES: dict[str, Callable[[float], list[Any]]] = {
    "spatial": lambda r: [layers.Conv2D(4, 3), layers.SpatialDropout2D(r, seed=1)],
    "one mask for all": lambda r: [layers.Flatten(), layers.Dropout(r, (None, 1), seed=1)],
    "nested": nested,
    "attention": lambda r: [layers.Reshape((8, 8)), Attends(r)],
    "subclassed": lambda r: [layers.Flatten(), Block(r)],
}


@pytest.mark.parametrize("name", MAKES)
def test_all_dropout_layers_of_a_model_have_the_rate(name: str) -> None:
    def of(rate: float) -> keras.Model:
        kind = MAKES[name]
        return build(lambda _, outputs: [*kind(rate), layers.Flatten(), layers.Dense(outputs)])

    data, weights = dataset_of("classes"), models.get_weights(of(0.2))
    engine = engine_of(of(0.2), data, optimizer="sgd")
    own = engine.train(weights, job())
    near(engine.train(weights, job(dropout=0.2)), own)
    found = engine.train(weights, job(dropout=0.5))
    near(found, engine_of(of(0.5), data, optimizer="sgd").train(weights, job()))
    assert not same(found, own) and same(engine.train(weights, job()), own)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_a_rate_is_as_if_the_model_was_made_with_it(rate: float) -> None:
    data, weights = dataset_of("classes"), models.get_weights(mlp(0.5))
    engine = engine_of(mlp(0.5), data, optimizer="sgd")
    found = engine.train(weights, job(dropout=rate))
    wanted = engine_of(mlp(rate), data, optimizer="sgd").train(weights, job())
    for one, other in zip(found.weights, wanted.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-6)  # normalised by few samples
    assert found.applied == {"dropout": float(np.float32(rate))}


def test_it_is_what_keras_trains_on_batches() -> None:
    data, model = dataset_of("classes"), mlp(0.3)
    weights = models.get_weights(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, run_eagerly=True)
    batches = job().order.reshape(-1, 32)
    for some in (batches[:1], batches):  # the first call draws masks only to know their shapes
        model.set_weights(weights)
        for number, variable in enumerate(model.non_trainable_variables):
            if "seed_generator" in variable.path:
                variable.assign([5 + number, 0])
        for batch in some:
            pixels = data.x_train[batch].astype(np.float32) * data.scale
            model.train_on_batch(pixels, data.y_train[batch])
    found = engine_of(mlp(0.6), data, optimizer="sgd").train(weights, job(dropout=0.3))
    for mine, theirs in zip(found.weights, models.get_weights(model), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_what_is_kept_is_scaled() -> None:
    inputs, rate = np.ones((200, 50), np.float32), np.float32(0.2)
    layer, other = layers.Dropout(0.5, seed=1), layers.Dropout(0.2, seed=1)
    dropout.listen(keras.Sequential([keras.Input((50,)), layer]))
    with dropout.at_rate(keras.ops.convert_to_tensor(rate)):
        found = np.asarray(layer(inputs, training=True))
        assert np.array_equal(layer(inputs, training=False), inputs)
    assert {*np.unique(found)} == {0.0, np.float32(1) / (1 - rate)}
    assert found.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(found, other(inputs, training=True), rtol=1e-6)
    half = np.asarray(layer(inputs, training=True))  # its own rate
    assert {*np.unique(half)} == {0.0, 2.0}
    with dropout.at_rate(keras.ops.convert_to_tensor(np.float32(0))):
        assert np.array_equal(layer(inputs, training=True), inputs)


class Odd(layers.Dropout):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = False) -> Any:
        return inputs


def test_a_model_s_layers_say_whether_they_can_have_a_rate() -> None:
    def of(*parts: Any) -> str | None:
        return dropout.why_not(keras.Sequential([keras.Input((4,)), *parts]))

    assert of(layers.Dropout(0.1)) is of(layers.Dropout(0.0), layers.Dropout(0.1)) is None
    assert of(layers.Dense(3)) == of(layers.Dropout(0.0)) == NOTHING_DROPS
    assert of(layers.GaussianDropout(0.1)) == NOTHING_DROPS
    line = "layer 'odd' drops in a way of its own, not as Keras' Dropout"
    assert of(layers.Dropout(0.1), Odd(0.1, name="odd")) == line


@pytest.mark.parametrize("name", [name for name in MODELS if "resnet18" not in name])
def test_settings_tell_the_same_of_the_models_that_there_are(name: str) -> None:
    tokens = name in ("lstm", "lstm-small", "transformer")
    shape, vocabulary = ((20,), 30) if tokens else ((28, 28, 1), 0)
    model = models.build(name, shape, 10, 0, vocabulary)
    told = inapplicable(Training(), "classes", Model(name=name)).get("dropout")
    assert dropout.why_not(model) == told
