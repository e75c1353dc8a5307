"""What one process holds for a run: data, partition, model and engine.

Everything is loaded once and shared by the arms of a comparison, by the server's
evaluation and by all clients that the process runs.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np

from fedgen import runtime
from fedgen.config import plugins
from fedgen.config.model import Model
from fedgen.config.tree import Config
from fedgen.data import datasets
from fedgen.data.datasets import Dataset
from fedgen.data.partition import Partition
from fedgen.engine import models, own_model, saved_model
from fedgen.engine.plan import Evaluation, Kind
from fedgen.engine.tensorflow.engine import Engine
from fedgen.federation import agreement
from strategies.core.aggregation import Arrays, Statistic


@dataclass(frozen=True, eq=False)
class World:
    """The data, the clients' shares of it for one seed, and the engine."""

    dataset: Dataset
    partition: Partition
    engine: Engine

    def evaluate(self, weights: Arrays) -> tuple[Evaluation, Evaluation]:
        """Return the evaluations on the held-out share and on the test set."""
        test = np.arange(len(self.dataset.y_test), dtype=np.int32)
        return (
            self.engine.evaluate_all(weights, self.partition.validation, "train"),
            self.engine.evaluate_all(weights, test, "test"),
        )


def load(config: Config, seed: int, slots: int = 1) -> World:
    """Return the world of a config and seed, loading only what is not there yet.

    An engine that is there is used as it is, if it has enough slots: a process
    that hosts many clients asks for as many as it runs at once, and its clients
    find them; a worker of Flower's runtimes runs one client at a time.
    """
    dataset = datasets.load(config.data)
    return World(
        dataset=dataset,
        partition=agreement.load_partition(config, seed),
        engine=_engine(config, dataset, slots),
    )


def workers(config: Config) -> int:
    """Return how many clients train at once."""
    return config.run.workers or runtime.available_cores()


def initial_model(config: Config, seed: int) -> keras.Sequential:
    """Build the model with the initial weights that every arm of a seed starts from."""
    dataset = datasets.load(config.data)
    return models.build(config.model, dataset.shape, dataset.classes, seed)


def digest(weights: Arrays) -> str:
    """Return the SHA-256 of weights."""
    total = hashlib.sha256()
    for weight in weights:
        total.update(np.ascontiguousarray(weight).data)
    return total.hexdigest()


def check_model(config: Config) -> list[str]:
    """Check that the model can be had and honoured, and say what its user should know.

    An engine of a model of the user's own that this process still has is given up: what the
    function depends on may have changed.

    Raises:
        InputError: If it cannot.
    """
    dataset, name, seed = datasets.load(config.data), config.model.name, config.run.seed
    if not plugins.is_own(name):
        initial_model(config, seed)
        return []
    _statistics.cache_clear()
    for key in [key for key in _engines if key[1] == config.model]:
        del _engines[key]
    model = own_model.check(name, dataset.shape, dataset.classes, seed)
    own_model.check_ids(name, model, dataset)
    added = own_model.terms(model)
    told = (
        f"train_loss is the cross-entropy and the {added} term(s) that the model adds to it; "
        "validation and test loss are the cross-entropy alone"
    )
    notes = [told if added else "", saved_model.format_of(model).note]
    return [f"model {name!r}: {note}" for note in notes if note]


def statistics(config: Config) -> dict[int, Statistic]:
    """Return which of a model's weights are statistics of the data, not trained."""
    dataset, code = datasets.load(config.data), plugins.code_of(config.model.name)
    return dict(_statistics(config.model, code, dataset.shape, dataset.classes))


@lru_cache(maxsize=4)
def _statistics(
    model: Model, code: str, shape: tuple[int, int, int], classes: int
) -> dict[int, Statistic]:
    return models.statistics(models.build(model, shape, classes, 0))


EngineKey = tuple[str, Model, str, Kind, float]
"""The data's fingerprint, the model, the digest of its code if it is a user's, the optimiser."""

_engines: dict[EngineKey, Engine] = {}


def _engine(config: Config, dataset: Dataset, slots: int) -> Engine:
    model, training = config.model, config.training
    code = plugins.code_of(model.name)
    key = (dataset.fingerprint, model, code, training.optimizer, training.momentum)
    resident = _engines.get(key)
    if resident is None or resident.workers < slots:
        runtime.limit_threads(slots)
        _engines.clear()
        _engines[key] = resident = Engine(
            models.build(model, dataset.shape, dataset.classes, 0),
            dataset,
            optimizer=training.optimizer,
            momentum=training.momentum,
            workers=slots,
        )
    return resident
