"""Models of a user's own: trained as Keras' ``fit`` trains them, or refused by name."""

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from own_models import (
    CLASSES,
    FUNCTIONS,
    SHAPE,
    Counter,
    FromThe,
    Make,
    Stepping,
    Watched,
    build,
    convolution,
    dense,
    fit,
    function,
    train,
)
from trainings import engine_of

from fedgen.config import plugins
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.engine import models, own_model
from fedgen.engine.rules import AutoTuned, Corrected, Proximal
from fedgen.engine.rules.rule import Rule
from fedgen.errors import InputError


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load(Data(dataset="digits"))


# On JAX, Keras' fit drops what layers assign to trained weights; fedgen holds to TensorFlow's way.
LIKE_FIT = [n for n in FUNCTIONS if keras.config.backend() != "jax" or not n.startswith("spectral")]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # says Keras of the unused weight
@pytest.mark.parametrize("name", LIKE_FIT)
def test_what_keras_fit_minimises_is_what_clients_minimise(
    name: str, digits: datasets.Dataset
) -> None:
    make = FUNCTIONS[name]
    own_model.check(plugins.give(make), SHAPE, CLASSES, 0)
    trained = train(digits, make)
    wanted, losses = fit(digits, make, keras.optimizers.SGD(0.05))
    assert any(not np.array_equal(a, b) for a, b in zip(wanted, build(make).get_weights()))  # noqa: B905
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)


def test_adam_minimises_a_model_s_terms_as_well(digits: datasets.Dataset) -> None:
    make = FUNCTIONS["kernel regulariser"]
    trained = train(digits, make, optimizer="adam")
    wanted, losses = fit(digits, make, keras.optimizers.Adam(0.05))
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-3)
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)


def constrained(shape: Any, classes: int) -> list[Any]:
    settings = {"kernel_regularizer": "l2", "kernel_constraint": keras.constraints.MaxNorm(0.3)}
    return [layers.Flatten(), layers.Dense(16, **settings), layers.Dense(classes)]


def plain(shape: Any, classes: int) -> list[Any]:
    return [layers.Flatten(), layers.Dense(16), layers.Dense(classes)]


def rules() -> list[Rule | None]:
    zeros = [np.zeros_like(weight) for weight in build(plain).get_weights()]
    return [None, Proximal(0.1), Corrected(zeros), AutoTuned(2.0, 0.1, 1.0)]


@pytest.mark.parametrize("which", range(4))
def test_terms_and_constraints_act_under_every_rule(which: int, digits: datasets.Dataset) -> None:
    rule = rules()[which]
    mine, other = train(digits, constrained, rule), train(digits, plain, rule)
    assert mine.losses[0] > other.losses[0]
    norms = np.linalg.norm(mine.weights[0], axis=0)
    assert norms.max() == pytest.approx(0.3, rel=1e-4)
    assert np.linalg.norm(other.weights[0], axis=0).min() > 0.5


def test_terms_are_counted() -> None:
    assert own_model.terms(build(plain)) == 0
    assert own_model.terms(build(constrained)) == 1
    assert own_model.terms(build(FUNCTIONS["add_loss"])) == 1


def softmax_inside(shape: Any, classes: int) -> list[Any]:
    inner = [layers.Flatten(), layers.Dense(classes, activation="softmax")]
    return [keras.Sequential([keras.Input(shape), *inner])]


def compiled(shape: Any, classes: int) -> list[Any]:
    model = keras.Sequential([layers.Flatten(), layers.Dense(classes)])
    model.compile("sgd", loss="mse")
    return [model]


once = [layers.Flatten(), layers.Dense(CLASSES)]

# A variable of TensorFlow's does not travel; where JAX computes, nothing of TensorFlow's does.
COUNTER = {
    "tensorflow": r"'counter.*' \(Counter\) keeps a tf.Variable",
    "jax": r"Counter\.call.*with TensorFlow's own operations need training\.engine = 'tensorflow'",
}[keras.config.backend()]

REFUSED: list[tuple[Make, str]] = [
    (lambda s, c: [layers.Flatten(), layers.Dense(c), layers.Softmax()], "received probabilities"),
    (softmax_inside, "with activation softmax"),
    (function(lambda: [layers.Dense(8, dtype="float16")]), "'float16': expected float32"),
    (function(lambda: [layers.Dense(8, dtype="bfloat16")]), "'bfloat16': expected float32"),
    (function(lambda: [layers.Dense(8, dtype="float64")]), "'float64': expected float32"),
    (function(lambda: [layers.Dense(8, dtype="mixed_float16")]), "'mixed_float16'"),
    (lambda s, c: [layers.Flatten(), layers.Dense(c), layers.ReLU()], "never negative"),
    (function(lambda: [Counter()]), COUNTER),
    (function(lambda: [Watched()]), "has the metric 'size'"),
    (function(lambda: [Stepping()]), "has a train_step of its own"),
    (compiled, "is compiled: its optimiser, loss and metrics would not be used"),
    (lambda s, c: once, "is the same object in two calls"),
    (function(dense(kernel_initializer=FromThe())), "kernel' starts from other values"),
    (lambda s, c: [layers.Flatten(), layers.Dense(c - 1)], r"received shape \(9,\)"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_an_engine_cannot_honour_is_refused_by_name(number: int) -> None:
    make, why = REFUSED[number]
    with pytest.raises(InputError, match=why):
        own_model.check(plugins.give(make), SHAPE, CLASSES, 0)


def test_log_probabilities_are_logits() -> None:
    def make(shape: Any, classes: int) -> list[Any]:
        return [layers.Flatten(), layers.Dense(classes), layers.Activation("log_softmax")]

    with pytest.raises(InputError, match="with activation log_softmax"):
        own_model.check(plugins.give(make), SHAPE, CLASSES, 0)


def test_keras_json_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.config.set_floatx("float64")
    keras.config.set_image_data_format("channels_first")
    model = models.build("cnn", SHAPE, CLASSES, 0)
    assert keras.config.image_data_format() == "channels_last"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert build(convolution).layers[0].data_format == "channels_last"


def test_generators_of_python_and_numpy_are_left_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    build(FUNCTIONS["from NumPy"])
    assert (random.random(), np.random.random()) == wanted


def test_weights_that_training_does_not_step_on_are_told(digits: datasets.Dataset) -> None:
    model = build(FUNCTIONS["adapted"])
    paths = [weight.path.rsplit("/", 1)[-1] for weight in model.weights]
    assert paths[:3] == ["mean", "variance", "count"]
    assert models.statistics(model) == {0: "mean", 1: "mean", 2: "mean"}
    assert models.statistics(build(FUNCTIONS["frozen"])) == {0: "mean", 1: "mean"}


def test_a_spectrally_normalised_kernel_stays_normalised(digits: datasets.Dataset) -> None:
    trained = train(digits, FUNCTIONS["spectral normalisation"])
    kernel = next(weight for weight in trained.weights if weight.shape == (64, 16))
    assert np.linalg.norm(kernel, 2) == pytest.approx(1, abs=0.1)


def test_a_saved_model_file_is_of_what_was_evaluated(
    tmp_path: Path, digits: datasets.Dataset
) -> None:
    from fedgen.engine import saved_model

    make = FUNCTIONS["adapted"]
    trained = train(digits, make)
    engine = engine_of(build(make), digits)
    everything = np.arange(len(digits.y_test), dtype=np.int32)
    found = engine.evaluate(trained.weights, everything, "test")
    model = build(make)
    model.set_weights(trained.weights)
    path = tmp_path / "m.keras"
    path.write_bytes(saved_model.to_bytes(model, saved_model.KERAS))
    scores = keras.models.load_model(path)(digits.x_test.astype(np.float32) * digits.scale)
    hits = np.argmax(scores, -1) == digits.y_test
    assert found.accuracy == pytest.approx(float(np.mean(hits)))


def looked_up(size: int) -> Make:
    hidden = [layers.Flatten(), layers.Embedding(size, 2), layers.Flatten()]
    return lambda shape, classes: [keras.Sequential(hidden), layers.Dense(classes)]


def test_an_embedding_gets_ids_or_is_refused(digits: datasets.Dataset) -> None:
    ids = datasets.load(Data(dataset="digits", scale=1))
    model = build(looked_up(17))
    own_model.check_ids("net", model, ids)
    own_model.check_ids("net", build(plain), digits)
    with pytest.raises(InputError, match="looks up whole numbers, .* set data.scale = 1"):
        own_model.check_ids("net", model, digits)
    with pytest.raises(InputError, match="has 16 entries, .* ids up to 16: expected input_dim of"):
        own_model.check_ids("net", build(looked_up(16)), ids)


def test_every_attribute_of_keras_is_decided_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    dense, variable = layers.Dense(1), keras.Variable(1.0)
    own = {"units", "activation", "use_bias"}  # of Dense
    own |= {f"{w}_{k}" for w in ("kernel", "bias") for k in ("initializer", "regularizer")}
    own |= {"kernel_constraint", "bias_constraint"}
    names = {*dir(keras.Sequential), *vars(dense), *dir(variable)} - own
    missing = {n for n in names if not n.startswith("_") and f"`{n}`" not in text}
    assert not missing
