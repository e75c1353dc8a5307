"""Files of final models: read back, they score as the models do, or say how they are read."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from fedgen.engine import models, saved_model
from fedgen.engine.saved_model import KERAS, WEIGHTS, Format
from fedgen.errors import RunError

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).random((3, *SHAPE), np.float32)


class Scale(layers.Layer):
    def __init__(self, factor: float = 1.0, **rest: object) -> None:
        super().__init__(**rest)
        self.factor = factor

    def call(self, inputs):  # type: ignore[no-untyped-def]
        return inputs * self.factor

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": 1.0}


class Unsaid(layers.Layer):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs):  # type: ignore[no-untyped-def]
        return self.function(inputs)


def sequential(*hidden: object) -> keras.Sequential:
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), *hidden, layers.Dense(10)])


def probabilities(model: keras.Sequential) -> np.ndarray:
    return np.asarray(keras.ops.softmax(model(IMAGES)))


def read(model: keras.Sequential, folder: Path, **more: object) -> np.ndarray:
    path = folder / "model.keras"
    path.write_bytes(saved_model.to_bytes(model, KERAS))
    return np.asarray(keras.models.load_model(path, **more)(IMAGES))


def test_a_saved_model_predicts_probabilities(tmp_path: Path) -> None:
    model = models.build("cnn", SHAPE, 10, 0)
    assert saved_model.format_of(model) == Format()
    found = read(model, tmp_path)
    np.testing.assert_allclose(found, probabilities(model), atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_layer_named_as_the_softmax_on_top_is_in_nobody_s_way(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(name="softmax_1"), layers.Dense(10, name="softmax")]
    )
    np.testing.assert_allclose(read(model, tmp_path), probabilities(model), atol=1e-6)


def test_a_saved_model_s_layers_can_be_saved_again(tmp_path: Path) -> None:
    first = models.build("mlp", SHAPE, 10, 0)
    read(first, tmp_path)
    taken = keras.models.load_model(tmp_path / "model.keras").layers[:-1]
    model = keras.Sequential([keras.Input(SHAPE), *taken])
    np.testing.assert_allclose(read(model, tmp_path), probabilities(first), atol=1e-6)


def test_a_layer_used_twice_is_one_layer_in_the_file(tmp_path: Path) -> None:
    twice = layers.Dense(64, activation="tanh")
    model = sequential(twice, layers.Dropout(0.5), twice)
    assert saved_model.format_of(model) == Format()
    np.testing.assert_allclose(read(model, tmp_path), probabilities(model), atol=1e-6)
    found = keras.models.load_model(tmp_path / "model.keras")
    assert found.count_params() == model.count_params()


def test_what_loading_needs_beside_keras_is_named(tmp_path: Path) -> None:
    model = sequential(Scale(1.0))
    found = saved_model.format_of(model)
    assert found == Format(custom_objects=(f"{__name__}:Scale",))
    assert f"custom_objects={{'Scale': {__name__}.Scale}})" in found.note
    scores = read(model, tmp_path, custom_objects={"Scale": Scale})
    np.testing.assert_allclose(scores, probabilities(model), atol=1e-6)
    with pytest.raises(TypeError, match="Scale"):
        read(model, tmp_path)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda: Scale(3.0), "scores otherwise"),  # its config says 1
        (lambda: Unsaid(keras.ops.tanh), "Keras cannot"),
        (lambda: layers.Lambda(lambda x: 2 * x), "holds code"),
    ],
)
def test_what_no_keras_file_can_hold_is_written_as_weights(
    layer: object, why: str, tmp_path: Path
) -> None:
    make = lambda: sequential(layers.Dense(5), layer())  # type: ignore[operator] # noqa: E731
    model, other = make(), make()
    found = saved_model.format_of(model)
    assert found.suffix == WEIGHTS and why in found.note and "load_weights" in found.note
    path = tmp_path / f"model{WEIGHTS}"
    path.write_bytes(saved_model.to_bytes(model, WEIGHTS))
    other.load_weights(path)
    np.testing.assert_array_equal(other(IMAGES), model(IMAGES))


def test_no_room_for_a_temporary_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunError, match=r"a temporary file of 38,440 bytes or more .*TMPDIR"):
        saved_model.to_bytes(models.build("mlp", SHAPE, 10, 0), KERAS)
