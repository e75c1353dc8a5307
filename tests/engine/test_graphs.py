"""Models that a function returns instead of layers: trained, rebuilt and saved, or refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from own_models import CLASSES, SHAPE, Block, Make, build, fit, order, train

from fedgen.config import plugins
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.engine import graphs, own_model, saved_model
from fedgen.errors import InputError


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load(Data(dataset="digits"))


@pytest.fixture(scope="module")
def ids() -> datasets.Dataset:
    """Pixels from 0 to 16 as they are: whole numbers."""
    return datasets.load(Data(dataset="digits", scale=1))


def unbuilt(shape: Any, classes: int) -> keras.Model:
    return keras.Sequential([layers.Flatten(), layers.Dense(8), layers.Dense(classes)])


def sequential(shape: Any, classes: int) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(classes)]
    )


def skips(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape)
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(start)
    second = layers.Conv2D(4, 3, padding="same")(first)
    joined = keras.activations.relu(layers.Add()([first, second]))
    return keras.Model(start, layers.Dense(classes)(layers.Flatten()(joined)))


def branches(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape)
    parts = [layers.Conv2D(3, size, padding="same")(start) for size in (1, 3, 5)]
    normal = layers.BatchNormalization()(layers.Concatenate()(parts))
    return keras.Model(start, layers.Dense(classes)(layers.GlobalAveragePooling2D()(normal)))


def shared(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape)
    conv = layers.Conv2D(1, 3, padding="same", activation="relu")
    return keras.Model([start], [layers.Dense(classes)(layers.Flatten()(conv(conv(start))))])


def nested(shape: Any, classes: int) -> keras.Model:
    """A graph in a graph in a sequential model, with axes of any length inside."""
    inside = keras.Input((None, None, 4))
    conv = layers.Conv2D(4, 3, padding="same", activation="relu")(inside)
    block = keras.Model(inside, layers.Add()([inside, conv]))
    start = keras.Input(shape)
    outputs = block(block(layers.Conv2D(4, 3)(start)))
    body = keras.Model(start, layers.GlobalMaxPooling2D()(outputs))
    return keras.Sequential([body, layers.Dense(classes)])


def normalised_without_training(shape: Any, classes: int) -> keras.Model:
    """What a layer was told when the graph was made is what it is told."""
    start = keras.Input(shape)
    normal = layers.BatchNormalization()(layers.Conv2D(4, 3)(start), training=False)
    return keras.Model(start, layers.Dense(classes)(layers.Flatten()(normal)))


class Pair(keras.Model):  # type: ignore[misc]
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.flat, self.block, self.top = layers.Flatten(), Block(), layers.Dense(classes)

    def call(self, inputs: Any) -> Any:
        return self.top(self.block(self.flat(inputs)))


HONOURED: dict[str, Make] = {
    "a sequential model": sequential,
    "a sequential model that is not built": unbuilt,
    "skips": skips,
    "branches": branches,
    "a layer used twice": shared,
    "nested": nested,
    "told not to train": normalised_without_training,
    "subclassed": lambda s, c: Pair(c),
}


@pytest.mark.filterwarnings("ignore:.*The structure of `inputs`")  # says train_on_batch of a list
@pytest.mark.parametrize("name", HONOURED)
def test_models_train_as_keras_trains_them(name: str, digits: datasets.Dataset) -> None:
    make = HONOURED[name]
    own_model.check(plugins.give(make), SHAPE, CLASSES, 0)
    trained = train(digits, make)
    weights, losses = fit(digits, make, keras.optimizers.SGD(0.05))
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    for mine, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


@pytest.mark.parametrize("name", HONOURED)
def test_files_of_models_score_as_they_do(name: str, tmp_path: Path) -> None:
    model = build(HONOURED[name])
    found = saved_model.format_of(model)
    images = np.random.default_rng(1).random((3, *SHAPE), np.float32)
    scores = np.asarray(keras.ops.softmax(graphs.outputs(model, images)))
    path = tmp_path / f"model{found.suffix}"
    path.write_bytes(saved_model.to_bytes(model, found.suffix))
    if name == "subclassed":  # whose config has no number of classes
        assert found.suffix == saved_model.WEIGHTS
        assert found.made == "keras.Sequential([keras.Input(shape), function(shape, classes)])"
        again = keras.Sequential([keras.Input(SHAPE), HONOURED[name](SHAPE, CLASSES)])
        again.load_weights(path)
        scores_again = np.asarray(keras.ops.softmax(again(images)))
    else:
        assert found.suffix == saved_model.KERAS
        scores_again = np.asarray(keras.models.load_model(path)(images))
    np.testing.assert_allclose(scores_again, scores, atol=1e-6)


def test_weights_of_a_functional_model_are_read_into_what_the_function_makes(
    tmp_path: Path,
) -> None:
    def net(shape: Any, classes: int) -> keras.Model:
        start = keras.Input(shape)
        twice = layers.Lambda(lambda x: 2 * x)(layers.Flatten()(start))
        return keras.Model(start, layers.Dense(classes)(twice))

    model, other = build(net), net(SHAPE, CLASSES)
    found = saved_model.format_of(model)
    assert "holds code" in found.reason and "function(shape, classes).load_weights" in found.note
    path = tmp_path / f"model{found.suffix}"
    path.write_bytes(saved_model.to_bytes(model, found.suffix))
    other.load_weights(path)
    assert all(
        np.array_equal(*pair) for pair in zip(model.get_weights(), other.get_weights(), strict=True)
    )


@pytest.mark.parametrize(("top", "wanted"), [("sigmoid", keras.ops.sigmoid), ("none", lambda x: x)])
@pytest.mark.parametrize("make", [sequential, skips])
def test_what_goes_on_top_is_chosen(make: Make, top: Any, wanted: Any, tmp_path: Path) -> None:
    model = build(make)
    assert saved_model.format_of(model, top).suffix == saved_model.KERAS
    path = tmp_path / "model.keras"
    path.write_bytes(saved_model.to_bytes(model, saved_model.KERAS, top))
    images = np.random.default_rng(1).random((3, *SHAPE), np.float32)
    scores = keras.models.load_model(path)(images)
    np.testing.assert_allclose(scores, wanted(model(images)), atol=1e-6)


def replaced(model: keras.Model) -> tuple[keras.Model, list[str]]:
    """The model with marked convolutions, and the names of those that were called."""
    called: list[str] = []

    class Marked(keras.layers.Conv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            called.append(self.name)
            return super().call(inputs)

    def equal(layer: Any) -> Any:
        return graphs.recast(layer, Marked) if type(layer) is layers.Conv2D else layer

    found = graphs.with_equals(model, equal)
    called.clear()
    return found, called


@pytest.mark.skipif(keras.config.backend() == "jax", reason="takes minutes, operation by operation")
def test_a_model_of_keras_applications_trains_as_keras_trains_it(
    digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 52 normalisations, nested in a list of layers; from a second step on rounding grows."""

    def net(shape: Any, classes: int) -> list[Any]:
        body = keras.applications.MobileNetV2(
            (32, 32, 3), alpha=0.35, weights=None, classes=classes, classifier_activation=None
        )
        return [layers.Conv2D(3, 1), layers.UpSampling2D(4), body]

    batch = order(1)[:, :32]
    monkeypatch.setattr("own_models.order", lambda epochs=1: batch)
    trained = train(digits, net)
    weights, losses = fit(digits, net, keras.optimizers.SGD(0.05), 1)
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    for mine, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in HONOURED if name not in ("subclassed",)])
def test_layers_are_replaced_wherever_they_are(name: str) -> None:
    model = build(HONOURED[name])
    images = np.random.default_rng(1).random((3, *SHAPE), np.float32)
    found, called = replaced(model)
    scores = graphs.outputs(model, images)
    np.testing.assert_allclose(graphs.outputs(found, images), scores, rtol=1e-5, atol=1e-6)
    times = {"branches": 3, "nested": 3, "a layer used twice": 2, "skips": 2}
    assert len(called) == times.get(name, 0 if name.endswith("not built") else 1)
    assert [id(w) for w in found.weights] == [id(w) for w in model.weights]
    assert (found is model) == (not called)


def test_a_graph_that_is_another_when_rebuilt_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(skips)
    clone = keras.models.clone_model

    def halved(model: Any, clone_function: Any) -> Any:
        found = clone(model, clone_function=clone_function)
        return keras.Model(found.inputs[0], found.outputs[0] / 2)

    monkeypatch.setattr(keras.models, "clone_model", halved)
    assert replaced(model)[0] is model


def test_a_graph_of_other_variables_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(skips)
    clone = keras.models.clone_model

    def copied(model: Any, clone_function: Any) -> Any:
        found = clone(model)
        found.set_weights(model.get_weights())
        return found

    monkeypatch.setattr(keras.models, "clone_model", copied)
    assert replaced(model)[0] is model


def looked_up(entries: int, dtype: str = "int32") -> Make:
    def net(shape: Any, classes: int) -> keras.Model:
        start = keras.Input(shape, dtype=dtype)
        found = layers.Embedding(entries, 3)(layers.Reshape((64,))(start))
        return keras.Model(start, layers.Dense(classes)(layers.GlobalAveragePooling1D()(found)))

    return net


@pytest.mark.filterwarnings("ignore:.*Explicitly requested dtype int64")  # JAX has int32 alone
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
def test_integers_are_looked_up_as_keras_looks_them_up(dtype: str, ids: datasets.Dataset) -> None:
    make = looked_up(17, dtype)
    own_model.check(plugins.give(make), SHAPE, CLASSES, 0)
    own_model.check_ids("net", build(make), ids)
    trained = train(ids, make)
    weights, losses = fit(ids, make, keras.optimizers.SGD(0.05))
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    moved = np.abs(trained.weights[0] - build(make).get_weights()[0]).max(-1)
    assert (moved > 0).all()  # all 17 ids were looked up
    for mine, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert saved_model.format_of(build(make)).suffix == saved_model.KERAS


def test_integers_are_held_to_the_data(digits: datasets.Dataset, ids: datasets.Dataset) -> None:
    with pytest.raises(InputError, match="has 16 entries, the data ids up to 16"):
        own_model.check_ids("net", build(looked_up(16)), ids)
    for make in (looked_up(17), lambda s, c: keras.Sequential([looked_up(17)(s, c)])):
        with pytest.raises(InputError, match="takes whole numbers, the data are scaled by 0.0625"):
            own_model.check_ids("net", build(make), digits)


def two_inputs(shape: Any, classes: int) -> keras.Model:
    one, other = keras.Input(shape, name="left"), keras.Input(shape, name="right")
    return keras.Model([one, other], layers.Dense(classes)(layers.Flatten()(one + other)))


def two_heads(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape)
    flat = layers.Flatten()(start)
    return keras.Model(start, [layers.Dense(classes, name=name)(flat) for name in ("a", "b")])


def named(which: str) -> Make:
    def net(shape: Any, classes: int) -> keras.Model:
        start = keras.Input(shape, name="pixels")
        top = layers.Dense(classes)(layers.Flatten()(start))
        return keras.Model(*({"pixels": start}, top) if which == "in" else (start, {"top": top}))

    return net


class TwoHeads(Pair):
    def call(self, inputs: Any) -> Any:
        outputs = super().call(inputs)
        return outputs, 2 * outputs


def of_shape(*shape: int, first: bool = False) -> Make:
    def net(_: Any, classes: int) -> Any:
        start = keras.Input(shape)
        if first:
            return [start, layers.Flatten(), layers.Dense(classes)]
        return keras.Model(start, layers.Dense(classes)(layers.Flatten()(start)))

    return net


def of_eight(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(batch_shape=(8, *shape))
    return keras.Model(start, layers.Dense(classes)(layers.Flatten()(start)))


def compiled(shape: Any, classes: int) -> keras.Model:
    model = skips(shape, classes)
    model.compile("sgd", "mse")
    return model


def log_inside(shape: Any, classes: int) -> list[Any]:
    start = keras.Input(shape)
    top = layers.Dense(classes, activation="log_softmax")(layers.Flatten()(start))
    return [keras.Model(start, top)]


REFUSED: dict[str, tuple[Make, str]] = {
    "two inputs": (two_inputs, r"expected one input, received 2 of model '.*' \(left, right\)"),
    "two heads": (two_heads, "expected one output, received 2 of model"),
    "two heads in a list": (
        lambda s, c: [two_heads(s, c)],
        "expected one output, received 2 of model",
    ),
    "two heads, subclassed": (lambda s, c: TwoHeads(c), "expected one output, received 2$"),
    "a dict of inputs": (named("in"), "expected one input, received a dict of model"),
    "a dict of outputs": (named("out"), "expected one output, received a dict of model"),
    "another shape": (
        of_shape(28, 28, 1),
        r"expected an input of the data's shape \(8, 8, 1\), received one of \(28, 28, 1\)$",
    ),
    "another rank": (of_shape(8, 8), r"data's shape \(8, 8, 1\), received one of \(8, 8\)$"),
    "another shape in a list": (
        of_shape(8, 8, 3, first=True),
        r"data's shape \(8, 8, 1\), received one of \(8, 8, 3\)$",
    ),
    "batches of one size": (of_eight, "batches of any size, received one for 8$"),
    "compiled": (compiled, r"model 'functional.*' \(Functional\) is compiled"),
    "log-probabilities inside": (log_inside, "with activation log_softmax"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_of_the_data_is_refused_in_one_line(name: str) -> None:
    make, why = REFUSED[name]
    with pytest.raises(InputError, match=why) as refused:
        own_model.check(plugins.give(make), SHAPE, CLASSES, 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(5,), (6, 2), (7, 6, 2)])
def test_the_function_has_the_shape_of_any_data(shape: tuple[int, ...]) -> None:
    seen = []

    def net(shape: tuple[int, ...], classes: int) -> keras.Model:
        seen.append(shape)
        start = keras.Input(shape)
        return keras.Model(start, layers.Dense(classes)(layers.Flatten()(start)))

    model = own_model.check(plugins.give(net), shape, 4, 0)
    assert set(seen) == {shape} and model.input_shape == (None, *shape)


def test_only_layers_one_after_another_are_a_chain() -> None:
    start = keras.Input(SHAPE)
    found = layers.Conv2D(2, 3, padding="same")(start)
    graph = keras.Model(start, layers.Flatten()(layers.Add()([found, found])))

    class Own(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs + inputs

    inside = keras.Sequential([layers.Flatten(), layers.Dense(3)])
    assert graphs.is_chain(keras.Sequential([start, layers.Conv2D(2, 3), inside]))
    assert not graphs.is_chain(graph)
    assert not graphs.is_chain(keras.Sequential([start, graph]))
    assert not graphs.is_chain(keras.Sequential([start, Own()]))
