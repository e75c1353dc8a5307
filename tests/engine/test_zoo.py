"""Models of the zoo that are no stacks: trained as Keras trains them, saved, or refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import parity
import pytest
from trainings import engine_of

from fedgen.config.sections.model import Model
from fedgen.engine import models, saved_model
from fedgen.engine.plan import Plan
from fedgen.errors import InputError

IMAGES = (8, 8, 1)
KINDS = {name: parity.CASES[name] for name in ("resnet-small-gn", "logistic", "lstm-small")}
KINDS |= {name: parity.CASES[name] for name in ("table", "transformer")}


@pytest.mark.parametrize("name", KINDS)
def test_they_train_as_keras_trains_them(name: str) -> None:
    case, data, model = KINDS[name], parity.data_of(KINDS[name]), parity.built(KINDS[name])
    order = np.random.default_rng(0).permutation(1437)[:80].astype(np.int32)
    weights = models.get_weights(model)
    engine = engine_of(parity.built(case), data, optimizer="sgd")
    trained = engine.train(weights, Plan(0.05, 32, order[None]))
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), cross_entropy)
    loss = 0.0
    for batch in np.split(order, [32, 64]):
        pixels = data.x_train[batch].astype(np.float32) * data.scale
        model.reset_metrics()
        loss += len(batch) * float(model.train_on_batch(pixels, data.y_train[batch]))
    assert trained.losses == pytest.approx([loss / 80], rel=1e-5)
    for mine, theirs, first in zip(trained.weights, model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-6)
        assert not np.array_equal(mine, first)


@pytest.mark.parametrize("name", KINDS)
def test_their_files_need_nothing_beside_keras(name: str, tmp_path: Path) -> None:
    model = parity.built(KINDS[name])
    assert saved_model.format_of(model) == saved_model.Format()
    path = tmp_path / "model.keras"
    path.write_bytes(saved_model.to_bytes(model, saved_model.KERAS))
    data = parity.data_of(KINDS[name])
    samples = data.x_test[:5].astype(np.float32) * data.scale
    wanted = keras.ops.softmax(model(samples))
    np.testing.assert_allclose(keras.models.load_model(path)(samples), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters"), [("lstm", 817_872), ("lstm-small", 24_528), ("transformer", 82_512)]
)
def test_parameters_of_what_reads_tokens(name: str, parameters: int) -> None:
    """With the 80 characters, and the 80 of a sample, of LEAF's Shakespeare."""
    assert models.build(name, (80,), 80, 0, vocabulary=80).count_params() == parameters


def test_a_transformer_sees_where_a_token_stands_and_starts_from_four_matrices() -> None:
    model = models.build("transformer", (6,), 3, 0, vocabulary=9)
    tokens = np.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]], np.float32)
    one, other = np.asarray(model(tokens))
    assert np.abs(one - other).max() > 1e-4
    kernels = {w.path: np.asarray(w).ravel() for w in model.weights if w.path.endswith("kernel")}
    attention = [value for path, value in kernels.items() if "attention" in path]
    assert len(attention) == 8
    assert len({value.tobytes() for value in attention}) == 8
    # Glorot's, of 64 inputs and 64 outputs
    assert np.std(attention) == pytest.approx(np.sqrt(2 / 128), rel=0.02)


@pytest.mark.parametrize("name", ["resnet18-gn", "resnet-small-gn"])
def test_residual_networks_normalise_two_groups_of_channels(name: str) -> None:
    model = models.build(name, IMAGES, 10, 0)
    normal = [part for part in model.layers if isinstance(part, keras.layers.GroupNormalization)]
    assert {part.groups for part in normal} == {2}
    assert models.statistics(model) == {}
    depth = sum(isinstance(part, keras.layers.Conv2D) for part in model.layers)
    shortcuts = sum(getattr(part, "kernel_size", None) == (1, 1) for part in model.layers)
    assert depth - shortcuts + 1 == {"resnet18-gn": 18, "resnet-small-gn": 8}[name]


REFUSED: list[tuple[str, tuple[int, ...], int, str]] = [
    ("cnn", (30,), 0, r"model cnn: expected images of shape \(height, width, channels\), received"),
    ("cnn-small", (8, 8), 0, r"received data of shape \(8, 8\)"),
    ("resnet18-gn", (80,), 80, r"model resnet18-gn: expected images"),
    (
        "lstm",
        (80,),
        0,
        r"expected ids of tokens of shape \(length,\), received numbers that are no",
    ),
    ("lstm-small", (80, 2), 9, r"received ids of shape \(80, 2\)"),
    ("transformer", (8, 8, 1), 0, r"received numbers that are no ids of shape \(8, 8, 1\)"),
]


@pytest.mark.parametrize(("name", "shape", "vocabulary", "why"), REFUSED)
def test_other_data_are_refused_in_one_line(
    name: str, shape: tuple[int, ...], vocabulary: int, why: str
) -> None:
    with pytest.raises(InputError, match=why) as refused:
        models.build(name, shape, 10, 0, vocabulary=vocabulary)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(5,), (6, 2), (7, 6, 2)])
@pytest.mark.parametrize("name", ["logistic", "table", "mlp"])
def test_dense_networks_take_any_data(name: str, shape: tuple[int, ...]) -> None:
    model: Any = models.build(name, shape, 4, 0)
    assert model(np.zeros((3, *shape), np.float32)).shape == (3, 4)
    assert Model(name=name).layers is not None
