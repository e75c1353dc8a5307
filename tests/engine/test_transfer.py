"""Models that begin from a file's weights, and layers that stay as they are."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from own_models import CLASSES, SHAPE, order
from trainings import engine_of

from fedgen.config.plugins import give
from fedgen.config.sections import Data
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.engine import models, saved_model
from fedgen.engine.plan import Plan
from fedgen.engine.transfer import frozen, source
from fedgen.errors import InputError

DRAW = np.random.default_rng(4)


def build(seed: int = 0, **settings: Any) -> keras.Model:
    return models.build(Model(**{"name": "cnn-small", **settings}), SHAPE, CLASSES, seed)


def written(path: Path, model: keras.Model) -> str:
    """The file of a model, as a run writes it."""
    suffix = next(suffix for suffix in source.SUFFIXES if path.name.endswith(suffix))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved_model.to_bytes(model, suffix))
    return str(path)


def equal(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(models.get_weights(one), models.get_weights(other), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("name", ["cnn-small", "resnet-small-gn", "mlp-324-108-bn-dropout"])
@pytest.mark.parametrize("suffix", source.SUFFIXES)
def test_a_model_begins_from_what_another_was(name: str, suffix: str, tmp_path: Path) -> None:
    first = build(5, name=name)
    file = written(tmp_path / f"m{suffix}", first)
    for seed in (0, 1):
        assert equal(build(seed, name=name, weights=file), first)
    assert not equal(build(0, name=name), first)


def test_a_run_directory_of_one_model_is_its_file(tmp_path: Path) -> None:
    first = build(5)
    written(tmp_path / "run" / "models" / "fedavg-seed0.keras", first)
    assert equal(build(weights=str(tmp_path / "run")), first)
    written(tmp_path / "run" / "models" / "fedavg-seed1.keras", first)
    with pytest.raises(InputError, match=r"one model, .* fedavg-seed0.keras, fedavg-seed1.keras"):
        build(weights=str(tmp_path / "run"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected a model in .*, there is none"):
        build(weights=str(tmp_path / "empty"))


def test_any_model_of_equal_weights_in_order_will_do(tmp_path: Path) -> None:
    start = keras.Input((64,), name="another")
    hidden = layers.Dense(128, activation="tanh")(start)
    other = keras.Model(start, layers.Dense(10, activation="softmax")(hidden))
    other.compile("adam", "sparse_categorical_crossentropy")
    other.save(tmp_path / "m.keras")
    assert equal(build(name="mlp", weights=str(tmp_path / "m.keras")), other)


def own(shape: Any, classes: int) -> list[Any]:
    return [layers.Flatten(), layers.Dense(4), layers.Dense(classes)]


def test_weights_of_a_function_s_model_are_given_as_well(tmp_path: Path) -> None:
    name = give(own)
    first = build(5, name=name)
    assert equal(build(0, name=name, weights=written(tmp_path / "m.weights.h5", first)), first)


class Twice(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def broken(path: Path) -> None:
    path.write_bytes(b"not a zip")


def without_config(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "{}")


def sequential(*parts: Any) -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *parts])


REFUSED: dict[str, tuple[Any, str]] = {
    "broken": (broken, "not a readable .keras file"),
    "without a config": (without_config, "not a readable .keras file"),
    "code": (
        lambda path: sequential(layers.Lambda(lambda x: 2 * x)).save(path),
        "it has a Lambda layer, which holds code: no code is loaded",
    ),
    "a layer of one's own": (
        lambda path: sequential(Twice()).save(path),
        r"needs code beside Keras' own \(.*test_transfer:Twice\)",
    ),
    "other classes": (
        lambda path: written(path, models.build("mlp", SHAPE, 7, 0)),
        r"weight 3 of 4, 'dense_1/kernel': expected shape \(128, 10\), received \(128, 7\)",
    ),
    "fewer weights": (
        lambda path: sequential(layers.Flatten(), layers.Dense(128)).save(path),
        "expected 4 weights, received 2",
    ),
    "no such file": (lambda path: None, "there is no such file or directory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_weights_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, why = REFUSED[name]
    make(tmp_path / "m.keras")
    with pytest.raises(InputError, match=why) as refused:
        build(name="mlp", weights=str(tmp_path / "m.keras"))
    text = str(refused.value)
    assert text.startswith("model.weights = ") and "\n" not in text and len(text) < 700


def test_weights_of_other_layers_and_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "m.weights.h5", build())
    with pytest.raises(InputError, match="it is not of this model"):
        build(name="mlp", weights=file)
    (tmp_path / "m.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected FILE.keras, .*no file of that kind"):
        build(weights=str(tmp_path / "m.npz"))


def test_the_file_is_named_by_its_path_and_known_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "run" / "models" / "m.keras", build())
    monkeypatch.chdir(tmp_path)
    found = source.absolute(Model(weights="run"))
    assert found.weights == str(tmp_path / "run" / "models" / "m.keras")
    first = source.digest(found)
    assert first == source.digest(Model(weights="run")) and len(first) == 64
    written(tmp_path / "run" / "models" / "m.keras", build(1))
    assert source.digest(found) != first
    assert source.digest(Model()) == "" and source.absolute(Model()) == Model()


def digits() -> datasets.Dataset:
    return datasets.load(Data(dataset="digits"))


@pytest.mark.parametrize(
    ("name", "patterns", "stay"),
    [
        ("cnn-small", ("conv2d*",), range(6)),
        ("cnn-small", ("conv2d", "dense"), (0, 1, 6, 7)),
        ("mlp-324-108-bn-dropout", ("batch_normalization",), (2, 3, 4, 5)),
        ("resnet-small-gn", ("conv2d", "group_normalization"), (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_frozen_layers_keep_their_bytes(
    name: str, patterns: tuple[str, ...], stay: Any, optimizer: str
) -> None:
    model = build(name=name, freeze=patterns)
    start = [DRAW.normal(0, 0.1, w.shape).astype(np.float32) for w in models.get_weights(model)]
    start = [np.abs(w) if "variance" in v.path else w for w, v in zip(start, model.weights)]  # noqa: B905
    engine = engine_of(model, digits(), optimizer=optimizer)
    trained = engine.train(start, Plan(0.05, 32, order()))
    same = [
        i
        for i, (a, b) in enumerate(zip(start, trained.weights, strict=True))
        if a.tobytes() == b.tobytes()
    ]
    assert same == [*stay]
    assert set(stay) <= set(engine.statistics)


def test_layers_without_a_name_are_numbered_in_each_model_anew() -> None:
    for _ in range(2):  # Keras numbers them on
        names = [name for name, _ in frozen.named(build(name="cnn-small"))]
        assert names == ["conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1"]

    def net(shape: Any, classes: int) -> list[Any]:
        inner = keras.Sequential([layers.Flatten(), layers.Dense(4, name="first")], name="body")
        return [inner, layers.Dropout(0.1, name="drop"), layers.Dense(classes)]

    model = build(name=give(net))
    assert [name for name, _ in frozen.named(model)] == ["body", "first", "dense"]
    frozen.freeze(model, build(name=give(net)), ["bod?"])
    assert len(model.trainable_weights) == 2


class Nested(keras.Model):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.flat = layers.Flatten()
        self.first, self.second = layers.Dense(5), layers.Dense(6)
        self.head = layers.Dense(classes)

    def call(self, inputs: Any) -> Any:
        return self.head(self.second(self.first(self.flat(inputs))))


def test_layers_in_layers_are_numbered_in_their_order() -> None:
    def sequential(shape: Any, classes: int) -> list[Any]:
        inner = keras.Sequential([layers.Flatten(), layers.Dense(5), layers.Dense(6)], name="body")
        return [inner, layers.Dense(classes)]

    for make in (sequential, lambda shape, classes: Nested(classes)):
        model = build(name=give(make), freeze=("dense",))
        stay = {tuple(w.shape) for w in model.weights if not w.trainable}
        assert stay == {(SHAPE[0] * SHAPE[1] * SHAPE[2], 5), (5,)}


def test_names_that_somebody_gave_win_over_numbers() -> None:
    def net(shape: Any, classes: int) -> list[Any]:
        named = [layers.Dense(n, name=f"dense_{n}") for n in (1, 2, 3)]
        return [layers.Flatten(), *named, layers.Dense(classes)]

    model = build(name=give(net), freeze=("dense_1",))
    assert [w.shape[-1] for w in model.weights if not w.trainable] == [1, 1]
    last = build(name=give(net), freeze=("dense",))
    assert [w.shape[-1] for w in last.weights if not w.trainable] == [CLASSES, CLASSES]


def test_names_that_are_none_and_nothing_left_to_train_are_refused() -> None:
    with pytest.raises(InputError, match="is called 'conv9'; there are conv2d, conv2d_1, conv2d_2"):
        build(freeze=("conv9",))
    with pytest.raises(InputError, match="is called 'flatten'"):  # it has no weights
        build(freeze=("flatten",))
    with pytest.raises(InputError, match="expected something left to train, there is nothing"):
        build(freeze=("*",))


def test_weights_of_a_larger_model_are_not_those_of_a_smaller_one(tmp_path: Path) -> None:
    def stack(count: int) -> Any:
        def net(shape: Any, classes: int) -> list[Any]:
            return [layers.Flatten(), *(layers.Dense(CLASSES) for _ in range(count))]

        return give(net)

    file = written(tmp_path / "m.weights.h5", build(name=stack(4)))
    with pytest.raises(InputError, match="not of this model .expected 4 arrays, has 8"):
        build(name=stack(2), weights=file)
