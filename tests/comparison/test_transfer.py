"""Runs that begin from the model of another, with layers that stay as they are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from runs import FLAGS, finish, play, rows, start

from fedgen.config.plugins import give
from fedgen.config.tree import build, dump
from fedgen.engine import models
from fedgen.engine.transfer import frozen
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import from_run_config, to_run_config


def weights_of(path: Path) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in keras.models.load_model(path).get_weights()]


ONE = {"rounds": 2, "strategies": ["fedavg"]}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("first") / "run", run=ONE).path


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"aggregation": {"kind": "median"}},
        {"aggregation": {"kind": "trimmed-mean"}},
        {"aggregation": {"kind": "clipped-mean", "clip_norm": 0.1}},
        {"privacy": {"kind": "central"}},
        {"privacy": {"kind": "local"}},
    ],
    ids=str,
)
def test_frozen_weights_keep_their_bytes_through_every_aggregation(
    sections: dict[str, Any], first: Path, tmp_path: Path
) -> None:
    names = ["fedavg", "fednova", "fedadam", "scaffold", "genetic-cfl"]
    if sections:
        names = ["fedavg"]
    model = {"weights": str(first), "freeze": ["dense"]}
    run = play(tmp_path / "run", model=model, run={"rounds": 2, "strategies": names}, **sections)
    began = weights_of(first / "models" / "fedavg-seed0.keras")
    for name in names:
        ended = weights_of(run.path / "models" / f"{name}-seed0.keras")
        same = [a.tobytes() == b.tobytes() for a, b in zip(began, ended, strict=True)]
        assert same == [True, True, False, False], name


def test_round_0_is_where_the_other_run_ended(first: Path, tmp_path: Path) -> None:
    run = play(tmp_path / "run", model={"weights": str(first)}, run=ONE)
    before, after = (
        [row["test_loss"] for row in rows(path / "rounds.csv")] for path in (first, run.path)
    )
    assert after[0] == before[-1] and after[0] != before[0]


def test_other_content_of_the_file_ends_a_resume(first: Path, tmp_path: Path) -> None:
    file = tmp_path / "first.keras"
    file.write_bytes((first / "models" / "fedavg-seed0.keras").read_bytes())
    flags = [*FLAGS, "--strategies=fedavg", "--quiet"]
    code, _, err = finish(
        start(
            ["compare", *flags, "--rounds=1", "--out=run", "--set=model.weights=first.keras"],
            tmp_path,
        )
    )
    assert (code, err) == (0, "")
    config = (tmp_path / "run" / "config.toml").read_text()
    assert f'weights = "{file}"' in config
    moved = tmp_path / "moved.keras"  # it is the content that counts
    file.rename(moved)
    (tmp_path / "run" / "config.toml").write_text(config.replace(str(file), str(moved)))
    assert finish(start(["resume", "run", "--rounds=2", "--quiet"], tmp_path))[0] == 0
    other = models.build("mlp", (8, 8, 1), 10, 3)
    other.save(moved)
    code, _, err = finish(start(["resume", "run", "--rounds=3"], tmp_path))
    assert (code, len(err.splitlines())) == (2, 1) and "provenance.initial weights was" in err


def test_every_node_must_have_the_file(first: Path, tmp_path: Path) -> None:
    tree = {"data": {"dataset": "digits"}, "model": {"name": "mlp"}}
    plain = Resources(build(tree)).fingerprint
    given = build({**tree, "model": {"name": "mlp", "weights": str(first), "freeze": ["dense"]}})
    assert Resources(given).fingerprint.startswith(f"{plain}+")
    assert from_run_config(to_run_config(given)) == given
    assert dump(given)["model"] == {"name": "mlp", "weights": str(first), "freeze": ["dense"]}


def small(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape)
    found = layers.Conv2D(4, 3, activation="relu", name="seen")(start)
    found = layers.Add()([found, layers.Conv2D(4, 3, padding="same")(found)])
    return keras.Model(start, layers.Dense(classes)(layers.Flatten()(found)))


def test_strategies_compare_a_functional_model_of_a_user_s(tmp_path: Path) -> None:
    name = give(small)
    settings = {"rounds": 2, "strategies": ["genetic-cfl", "fedavg"]}
    run = play(tmp_path / "run", model={"name": name, "freeze": ["seen"]}, run=settings)
    held = Resources(run.config)
    images = held.dataset.x_test.astype(np.float32) * held.dataset.scale
    names = [name for name, _ in frozen.named(held.model(0))]
    assert names == ["seen", "conv2d", "dense"]
    start = models.get_weights(held.model(0))
    for strategy in settings["strategies"]:
        model = keras.models.load_model(run.path / "models" / f"{strategy}-seed0.keras")
        assert models.get_weights(model)[0].tobytes() == start[0].tobytes()
        right = np.argmax(model(images), 1) == held.dataset.y_test
        last = [row for row in rows(run.path / "rounds.csv") if row["strategy"] == strategy][-1]
        assert float(last["test_accuracy"]) == pytest.approx(float(np.mean(right)), abs=1e-6)
