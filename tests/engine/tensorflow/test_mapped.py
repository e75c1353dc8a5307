"""Samples that stay on disk: gathered when they are trained on, to the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from trainings import engine_of

from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.inputs import is_mapped
from fedgen.engine import models
from fedgen.engine.plan import Plan
from fedgen.engine.tensorflow.samples import Samples
from fedgen.errors import InputError


def folder(path: Path, **changed: np.ndarray) -> Path:
    digits = datasets.load(Data(dataset="digits"))
    arrays = {"x_train": digits.x_train, "y_train": digits.y_train}
    arrays |= {"x_test": digits.x_test, "y_test": digits.y_test} | changed
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def test_training_and_evaluation_are_those_of_memory(tmp_path: Path) -> None:
    digits = datasets.load(Data(dataset="digits", scale=16.0))
    mapped = datasets.load(Data(dataset=str(folder(tmp_path / "own")), scale=16.0))
    assert is_mapped(mapped.x_train) and not is_mapped(digits.x_train)
    assert mapped.fingerprint == datasets.load(mapped_as_file(tmp_path)).fingerprint
    model = models.build("mlp", digits.shape, 10, 0)
    weights = models.get_weights(model)
    draw = np.random.default_rng(0)
    order = np.array([draw.permutation(1437)[:75] for _ in range(2)], np.int32)
    here, there = (engine_of(model, data) for data in (digits, mapped))
    one, other = (engine.train(weights, Plan(0.01, 16, order)) for engine in (here, there))
    for a, b in zip(one.weights, other.weights, strict=True):
        assert a.tobytes() == b.tobytes()
    everything = np.arange(360, dtype=np.int32)
    for split in ("train", "test"):
        found = [engine.evaluate_all(weights, everything, split) for engine in (here, there)]
        assert (found[0].loss, found[0].accuracy) == (found[1].loss, found[1].accuracy)


def mapped_as_file(tmp_path: Path) -> Data:
    digits = datasets.load(Data(dataset="digits"))
    arrays = (digits.x_train, digits.y_train, digits.x_test, digits.y_test)
    np.savez(tmp_path / "own.npz", **dict(zip(datasets.NPZ_KEYS, arrays, strict=True)))
    return Data(dataset=str(tmp_path / "own.npz"), scale=16.0)


def test_only_what_is_wanted_is_gathered() -> None:
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    held = rows.view(np.memmap)
    x, y, places = Samples(held, np.arange(10)).of(np.array([[7, 2, 7], [3, 2, 7]], np.int32))
    assert x.numpy().tolist() == rows[[2, 3, 7]].tolist() and y.numpy().tolist() == [2, 3, 7]
    assert places.numpy().tolist() == [[2, 0, 2], [1, 0, 2]]


def test_what_would_have_to_be_converted_is_refused(tmp_path: Path) -> None:
    digits = datasets.load(Data(dataset="digits"))
    wide = folder(tmp_path / "wide", x_train=digits.x_train / 16, x_test=digits.x_test / 16)
    with pytest.raises(InputError, match="x_train: expected uint8, .* received float64"):
        datasets.load(Data(dataset=str(wide)))
