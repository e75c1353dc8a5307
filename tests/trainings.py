"""Engines made by their settings, and trainings held against one another."""

from typing import Any

import keras

from fedgen.config.sections import Training
from fedgen.data.dataset import Dataset
from fedgen.engine import engines
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Trained


def engine_of(
    model: keras.Sequential, dataset: Dataset, workers: int = 1, **training: Any
) -> Engine:
    """The engine on the back end that Keras has in this process."""
    settings = Training(engine=keras.config.backend(), **training)
    return engines.build(settings, model, dataset, workers=workers)


def same(one: Trained, other: Trained) -> bool:
    pairs = zip(one.weights, other.weights, strict=True)
    return one.losses == other.losses and all(a.tobytes() == b.tobytes() for a, b in pairs)
