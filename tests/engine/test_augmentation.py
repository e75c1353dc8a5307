"""Images that are changed while a client trains, by the engine and by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from runs import ENGINE, play, rows
from trainings import engine_of, same

from fedgen.config.plugins import give
from fedgen.config.sections import AUGMENTATIONS, Data
from fedgen.config.tree import build
from fedgen.data import datasets
from fedgen.engine import models
from fedgen.engine.plan import Plan
from fedgen.engine.zoo import augmentation
from fedgen.errors import InputError
from fedgen.federation.resources import Resources

SHAPE = (8, 8, 1)
ORDER = np.random.default_rng(0).permutation(1437)[:75].astype(np.int32)[None]


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load(Data(dataset="digits"))


def fresh(name: str = "mlp") -> keras.Model:
    return models.build(name, SHAPE, 10, 0)


def by_hand(digits: datasets.Dataset, name: str, seed: int) -> tuple[list[np.ndarray], float]:
    """Keras' layer from the client's seed, then Keras' own step."""
    layer, model = augmentation.NAMED[name](), fresh()
    (state,) = layer.non_trainable_variables
    state.assign([seed, 0])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy)
    total = 0.0
    for batch in np.split(ORDER[0], [32, 64]):
        images = layer(digits.x_train[batch].astype(np.float32) * digits.scale, training=True)
        model.reset_metrics()
        loss = model.train_on_batch(np.asarray(images), digits.y_train[batch])
        total += len(batch) * float(loss)
    return models.get_weights(model), total / 75


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_clients_train_on_what_keras_layer_makes_of_the_images(
    name: str, digits: datasets.Dataset
) -> None:
    engine = engine_of(fresh(), digits, optimizer="sgd", augmentation=(name,))
    start = models.get_weights(fresh())
    trained = engine.train(start, Plan(0.1, 32, ORDER, dropout_seed=11))
    weights, loss = by_hand(digits, name, 11)
    assert trained.losses == pytest.approx([loss], rel=1e-5)
    for mine, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_other_seeds_draw_other_changes_and_evaluation_makes_none(
    digits: datasets.Dataset,
) -> None:
    plain = engine_of(fresh("cnn-small"), digits, optimizer="sgd")
    engine = engine_of(fresh("cnn-small"), digits, optimizer="sgd", augmentation=AUGMENTATIONS)
    start = models.get_weights(fresh("cnn-small"))
    one, again, other = (
        engine.train(start, Plan(0.1, 20, ORDER, dropout_seed=seed)) for seed in (1, 1, 2)
    )
    assert same(one, again) and one.losses != other.losses
    everything = np.arange(len(digits.y_test), dtype=np.int32)
    assert engine.evaluate(start, everything, "test") == plain.evaluate(start, everything, "test")
    assert engine.trainable == plain.trainable and engine.statistics == plain.statistics


def test_every_sample_is_changed_for_itself() -> None:
    image = np.random.default_rng(0).random((1, 16, 16, 3), np.float32).repeat(64, 0)
    for name, make in augmentation.NAMED.items():
        changed = np.asarray(make()(image, training=True))
        kinds = {sample.tobytes() for sample in changed}
        assert len(kinds) == 2 if name == "flip" else len(kinds) > 10, name
    moved = np.asarray(augmentation.NAMED["crop"]()(np.ones((64, 32, 32, 1)), training=True))
    assert set(np.unique(moved)) == {0.0, 1.0}  # whole pixels
    lost = [32 - int(sample.any(axis=axis).sum()) for sample in moved for axis in ((0, 2), (1, 2))]
    assert max(lost) == 4


def zoomed(shape: tuple[int, ...]) -> keras.Layer:
    return layers.RandomZoom(0.2)


def test_a_run_augments_its_clients_images_alone(tmp_path: Path) -> None:
    name = give(zoomed)
    settings = {"rounds": 1, "strategies": ["fedavg"]}
    runs = [
        play(tmp_path / f"run{len(names)}", run=settings, training={"augmentation": names})
        for names in ([], ["flip", "crop", name])
    ]
    plain, changed = (rows(run.path / "rounds.csv") for run in runs)
    assert plain[0]["test_loss"] == changed[0]["test_loss"]
    assert plain[1]["test_loss"] != changed[1]["test_loss"]
    file = keras.models.load_model(runs[1].path / "models" / "fedavg-seed0.keras")
    assert [type(layer).__name__ for layer in file.layers][0] == "Flatten"
    assert len(runs[1].provenance[f"code of {name}"]) == 64


def of(names: list[str]) -> Resources:
    data = {"dataset": "digits"}
    return Resources(build({"data": data, "training": {"augmentation": names, "engine": ENGINE}}))


def test_nodes_share_the_code_of_an_augmentation() -> None:
    plain, own = of(["flip"]).fingerprint, of(["flip", give(zoomed)]).fingerprint
    assert own.startswith(f"{plain}+") and len(own) == len(plain) + 65


def fails(shape: Any) -> Any:
    raise RuntimeError("no such thing")


REFUSED: dict[str, tuple[Any, str]] = {
    "fails": (fails, "cannot be built for images of shape .*RuntimeError: no such thing"),
    "weights": (lambda shape: [layers.Conv2D(1, 3, padding="same")], "has weights: expected none"),
    "shape": (
        lambda shape: layers.ZeroPadding2D(1),
        r"expected images of shape \(8, 8, 1\), received \(10, 10, 1\)",
    ),
    "outside of training": (lambda shape: layers.Rescaling(0.5), "outside of training as well"),
    "dtype": (lambda shape: layers.GaussianNoise(0.1, dtype="float16"), "'float16': expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_augmentation_is_refused_in_one_line(
    name: str, digits: datasets.Dataset
) -> None:
    make, why = REFUSED[name]
    with pytest.raises(InputError, match=why) as refused:
        augmentation.before(fresh(), [give(make)], digits)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="TensorFlow can trace it")
def test_what_jax_cannot_trace_is_refused_by_name(digits: datasets.Dataset) -> None:
    with pytest.raises(InputError, match=r"\(RandomCrop\) cannot be traced by jax"):
        augmentation.before(fresh(), [give(lambda shape: layers.RandomCrop(6, 6))], digits)


def test_data_that_are_no_images_are_refused(digits: datasets.Dataset) -> None:
    flat = replace(digits, x_train=digits.x_train.reshape(-1, 64))
    with pytest.raises(InputError, match=r"expected images of .*, received data of shape \(64,\)"):
        augmentation.before(fresh(), ["flip"], flat)
    with pytest.raises(InputError, match="'contrast': expected pixels from 0 to 1"):
        augmentation.before(fresh(), ["contrast"], replace(digits, scale=1.0))
    with pytest.raises(InputError, match="unknown augmentation 'flop': did you mean 'flip'"):
        build({"training": {"augmentation": ["flop"]}})
