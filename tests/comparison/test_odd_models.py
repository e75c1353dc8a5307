"""Whole runs of models that depend on their seed in more than weights, and of odd weights."""

from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from runs import play, rows

import fedgen
from fedgen.config.plugins import give
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.errors import InputError


def drawn(shape: Any, classes: int) -> list[Any]:
    """Draws what is no weight, and how many weights there are."""
    stretch = layers.Rescaling(float(np.random.uniform(-5, 5)))
    return [
        layers.Flatten(),
        stretch,
        layers.Dense(int(np.random.randint(3, 9)), activation="relu"),
        layers.Dense(classes),
    ]


def test_every_seed_trains_the_model_that_it_draws(tmp_path: Path) -> None:
    """The engine had seed 0's model, the file another one."""
    settings = {"rounds": 1, "seeds": 2, "seed": 1, "strategies": ["fedavg"]}
    run = play(tmp_path / "run", model={"name": give(drawn)}, run=settings)
    digits = datasets.load(run.config.data)
    images = digits.x_test.astype(np.float32) * digits.scale
    widths = set()
    for seed in (1, 2):
        model = keras.models.load_model(run.path / "models" / f"fedavg-seed{seed}.keras")
        widths.add(model.layers[2].units)
        right = np.argmax(model.predict(images, verbose=0), 1) == digits.y_test
        (last,) = (
            row
            for row in rows(run.path / "rounds.csv")
            if (row["seed"], row["round"]) == (str(seed), "1")
        )
        assert float(last["test_accuracy"]) == pytest.approx(right.mean())
    assert len(widths) == 2


def scalars(shape: Any, classes: int) -> list[Any]:
    return [
        layers.Reshape(shape[:2]),
        layers.Dense(8),
        Scale(),
        layers.Flatten(),
        layers.Dense(classes),
    ]


class Scale(layers.Layer):  # type: ignore[misc]
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return self.scale * inputs


@pytest.mark.parametrize("strategy", ["scaffold", "fedadam", "fednova"])
def test_weights_without_a_shape_travel(strategy: str, tmp_path: Path) -> None:
    settings = {"rounds": 2, "strategies": [strategy]}
    run = play(tmp_path / "run", model={"name": give(scalars)}, run=settings)
    assert [row["rejected"] for row in rows(run.path / "rounds.csv")] == ["0"] * 3


def test_weights_without_a_shape_get_noise(tmp_path: Path) -> None:
    run = play(
        tmp_path / "run",
        model={"name": give(scalars)},
        run={"rounds": 1, "strategies": ["fedavg"]},
        privacy={"kind": "central", "noise_multiplier": 0.1},
    )
    assert len(rows(run.path / "rounds.csv")) == 2


def test_arrays_of_a_refused_run_are_not_kept(tmp_path: Path) -> None:
    """A file that lay there later was not read."""
    digits = datasets.load(play(tmp_path / "small", run={"rounds": 1}).config.data)
    few = digits.x_train[:200], digits.y_train[:200], digits.x_test, digits.y_test
    with pytest.raises(InputError, match="unknown model"):
        fedgen.compare(dataset=few, model="nosuch", out=tmp_path / "run")
    more = {"x_train": digits.x_train[:300], "y_train": digits.y_train[:300]}
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "data.npz"
    np.savez(path, **more, x_test=digits.x_test, y_test=digits.y_test)
    assert len(datasets.load(Data(dataset=str(path))).x_train) == 300


def test_two_runs_of_one_second_have_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from fedgen.runs import run as runs

    class Frozen(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)

    monkeypatch.setattr(runs, "datetime", Frozen)
    one = runs.default_path("digits")
    one.mkdir(parents=True)
    assert one.name == "digits-20260102T030405Z"
    assert runs.default_path("digits").name == "digits-20260102T030405Z-2"
