"""Models of a user's own that are built, set and named in ways that are easily missed."""

import keras
import numpy as np
import pytest
from keras import layers, regularizers
from own_models import CLASSES, SHAPE, Make, build, fit, train, tripled

from fedgen.config import plugins
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.engine import own_model, saved_model
from fedgen.errors import InputError


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load(Data(dataset="digits"))


def convolution(**set_on_kernel: object) -> Make:
    """A plain convolution on whose kernel something is set after it was built."""

    def net(shape: tuple[int, int, int], classes: int) -> list[object]:
        layer = layers.Conv2D(4, 3, activation="relu")
        layer.build((None, *shape))
        for name, value in set_on_kernel.items():
            setattr(layer.kernel, name, value)
        return [layer, layers.Flatten(), layers.Dense(classes)]

    return net


def own_parts(shape: tuple[int, int, int], classes: int) -> list[object]:
    return [
        layers.Conv2D(
            4,
            3,
            kernel_regularizer=lambda w: 0.1 * keras.ops.sum(w**2),
            kernel_constraint=lambda w: keras.ops.clip(w, -0.1, 0.1),
            bias_initializer=lambda shape, dtype=None: keras.ops.ones(shape, dtype),
        ),
        layers.Flatten(),
        layers.Dense(classes),
    ]


def tied(shape: tuple[int, int, int], classes: int) -> list[object]:
    layer = layers.Conv2D(1, 3, padding="same")
    return [layer, keras.Sequential([layer, layers.Flatten()]), layers.Dense(classes)]


def residual(shape: tuple[int, int, int], classes: int) -> keras.Model:
    start = keras.Input(shape)
    flat = layers.Flatten()(start)
    wide = layers.Dense(64, activation="relu")(flat)
    return keras.Model(start, layers.Dense(classes)(layers.Add()([flat, wide])))


def attention(shape: tuple[int, int, int], classes: int) -> keras.Model:
    start = keras.Input(shape)
    rows = layers.Reshape(shape[:2])(start)
    seen = layers.LayerNormalization()(rows + layers.MultiHeadAttention(2, 4)(rows, rows))
    return keras.Model(start, layers.Dense(classes)(layers.GlobalAveragePooling1D()(seen)))


def recurrent(shape: tuple[int, int, int], classes: int) -> list[object]:
    return [
        layers.Reshape(shape[:2]),
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.LSTM(5),
        layers.Dense(classes),
    ]


def from_an_input(shape: tuple[int, int, int], classes: int) -> list[object]:
    return [keras.Input(shape), layers.Flatten(), layers.Dense(classes)]


class Activated(keras.Model):  # type: ignore[misc]
    """Has an activation of its own, which is not that of its outputs."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.activation = keras.activations.relu
        self.parts = [layers.Flatten(), layers.Dense(8), layers.Dense(classes)]

    def call(self, inputs: object) -> object:
        flat, hidden, top = self.parts
        return top(self.activation(hidden(flat(inputs))))


HONOURED: dict[str, Make] = {
    "frozen kernel": convolution(trainable=False),
    "kernel's own regulariser": convolution(regularizer=regularizers.L2(0.1)),
    "kernel's own constraint": convolution(constraint=keras.constraints.MaxNorm(0.1)),
    "functions as parts": own_parts,
    "a convolution used twice": tied,
    "residual": residual,
    "attention": attention,
    "recurrent": recurrent,
    "an input of its own": from_an_input,
    "an attribute that is called activation": lambda s, c: Activated(c),
}


@pytest.mark.parametrize("name", HONOURED)
def test_they_train_as_keras_trains_them(name: str, digits: datasets.Dataset) -> None:
    make = HONOURED[name]
    own_model.check(plugins.give(make), SHAPE, CLASSES, 0)
    trained = train(digits, make)
    weights, losses = fit(digits, make, keras.optimizers.SGD(0.05))
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    for mine, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert name != "frozen kernel" or (trained.weights[0] == build(make).get_weights()[0]).all()


def test_what_is_rematerialised_is_refused() -> None:
    def net(shape: tuple[int, int, int], classes: int) -> list[object]:
        with keras.RematScope(mode="full"):
            return [layers.Flatten(), layers.Dense(8), layers.Dense(classes)]

    with pytest.raises(InputError, match="is in a RematScope"):
        own_model.check(plugins.give(net), SHAPE, CLASSES, 0)


@pytest.mark.parametrize(("scale", "entries"), [(1, 5), ("auto", 17)])
def test_an_embedding_inside_of_a_functional_model_is_held_to_the_data(
    scale: float | str, entries: int
) -> None:
    def net(shape: tuple[int, int, int], classes: int) -> keras.Model:
        start = keras.Input(shape)
        found = layers.Flatten()(layers.Embedding(entries, 2)(start))
        return keras.Model(start, layers.Dense(classes)(found))

    data = datasets.load(Data(dataset="digits", scale=scale))
    expected = "has 5 entries, the data ids up to 16" if scale == 1 else "set data.scale = 1"
    with pytest.raises(InputError, match=expected):
        own_model.check_ids("net", build(net), data)


def test_a_global_policy_is_refused_and_one_of_the_function_stays_inside() -> None:
    def net(shape: tuple[int, int, int], classes: int) -> list[object]:
        keras.config.set_dtype_policy("float64")
        return [layers.Flatten(), layers.Dense(classes)]

    with pytest.raises(InputError, match="has dtype 'float64'"):
        own_model.check(plugins.give(net), SHAPE, CLASSES, 0)
    assert keras.config.dtype_policy().name == "float32"
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(InputError, match="global dtype policy is 'mixed_float16'"):
            build(residual)
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_function_that_exits_and_a_model_in_its_place_are_one_line() -> None:
    def leaves(shape: tuple[int, int, int], classes: int) -> list[object]:
        raise SystemExit(3)

    with pytest.raises(InputError, match="SystemExit: 3"):
        build(leaves)
    made = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)])
    with pytest.raises(InputError, match="expected a function .* received Sequential"):
        plugins.model(plugins.give(made))


def test_names_in_other_letters_and_names_that_are_taken_are_others() -> None:
    def modèle(shape: object, classes: int) -> None: ...

    first = plugins.give(modèle)
    assert plugins.is_own(first) and plugins.model(first) is modèle
    second = plugins.give(lambda shape, classes: None, taken=[first, "__main__:lambda"])
    assert second == "__main__:lambda2"


def test_the_form_of_the_file_is_found_with_weights_that_show_it() -> None:
    """With zeros on top, a file that has lost the factor would score alike."""

    def net(shape: tuple[int, int, int], classes: int) -> list[object]:
        (factor,) = tripled()
        flat = layers.Dense(classes, kernel_initializer="zeros")
        return [layers.Flatten(), layers.Dense(8, activation="relu"), factor, flat]

    found = saved_model.format_of(build(net))
    assert found.suffix == saved_model.WEIGHTS and "scores otherwise" in found.reason
