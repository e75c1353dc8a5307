"""The model zoo: sizes from the documents, seeds, logits, saving."""

import keras
import numpy as np
import pytest

from fedgen.config.sections.model import MODELS, Model, named_layers
from fedgen.engine import models
from fedgen.errors import InputError

CIFAR, MNIST, DIGITS = (32, 32, 3), (28, 28, 1), (8, 8, 1)
TOKENS = ("lstm", "lstm-small", "transformer")


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("cnn", CIFAR, 550_570),
        ("cnn-small", CIFAR, 39_514),
        ("cnn-mnist", MNIST, 693_962),
        ("mlp", MNIST, 784 * 128 + 128 + 1290),
        ("mlp-324-108", MNIST, 784 * 324 + 324 + 324 * 108 + 108 + 1090),
        ("mlp-324-108-bn", MNIST, 784 * 324 + 324 + 324 * 108 + 108 + 1090 + 4 * (324 + 108)),
        ("resnet18-gn", CIFAR, 11_173_962),
        ("resnet-small-gn", CIFAR, 78_042),
        ("logistic", (30,), 310),
        ("table", (30,), 31 * 64 + 65 * 64 + 650),
    ],
)
def test_parameters(name: str, shape: tuple[int, ...], parameters: int) -> None:
    assert models.build(name, shape, 10, 0).count_params() == parameters


@pytest.mark.parametrize("shape", [DIGITS, MNIST, CIFAR])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in TOKENS])
def test_every_model_builds_and_ends_in_logits(name: str, shape: tuple[int, ...]) -> None:
    model = models.build(name, shape, 7, 0)
    assert model.output_shape == (None, 7)
    assert model.layers[-1].activation is keras.activations.linear


def test_weights_are_a_function_of_the_seed() -> None:
    one, again, other = (models.get_weights(models.build("cnn", DIGITS, 10, s)) for s in (3, 3, 4))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, again, strict=True))
    assert any(a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[2], one[2].transpose(0, 1, 3, 2))


def test_study_stack_has_its_own_initialisers_and_layer_order() -> None:
    model = models.build("mlp-324-108-bn-dropout", MNIST, 10, 0)
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Dense", "BatchNormalization", "Dropout"]
    assert kinds == ["Flatten", *block, *block, "Dense"]
    assert np.std(model.layers[1].kernel) == pytest.approx(0.039, rel=0.02)
    assert np.std(model.layers[4].kernel) == pytest.approx(0.55, rel=0.02)
    plain = models.build("mlp-324-108", MNIST, 10, 0)
    assert np.std(plain.layers[1].kernel) == pytest.approx(0.062, rel=0.02)


def test_a_model_that_does_not_fit_the_images_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"cnn.*\(4, 4, 1\)"):
        models.build("cnn", (4, 4, 1), 10, 0)


def test_moving_statistics_are_told_from_weights() -> None:
    assert models.statistics(models.build("mlp-324-108", (8, 8, 1), 10, 0)) == {}
    normalised = models.build("mlp-324-108-bn-dropout", (8, 8, 1), 10, 0)
    # Dense (2), gamma, beta, moving mean and variance; twice.
    assert models.statistics(normalised) == {4: "mean", 5: "variance", 10: "mean", 11: "variance"}


def test_layers_given_in_place_build_as_those_of_the_zoo() -> None:
    named = models.build("mlp-324-108-bn-dropout", DIGITS, 10, 3)
    layers = named_layers("mlp-324-108-bn-dropout")
    assert layers is not None
    given = models.build(Model(name="layers", **layers.model_dump()), DIGITS, 10, 3)
    pairs = zip(models.get_weights(named), models.get_weights(given), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize(
    ("activation", "keras_word"),
    [("identity", "linear"), ("logistic", "sigmoid"), ("tanh", "tanh"), ("relu", "relu")],
)
def test_activations_have_scikit_learns_names(activation: str, keras_word: str) -> None:
    model = models.build(
        Model(name="layers", hidden_layers=(5,), activation=activation, dropout=0.1), DIGITS, 10, 0
    )
    assert model.layers[1].activation.__name__ == keras_word
    assert [type(layer).__name__ for layer in model.layers] == [
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ]


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert models.build(Model(name="layers"), MNIST, 10, 0).count_params() == 7850
