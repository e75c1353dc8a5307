"""What one process holds for a run: data, partition, model and engine.

Everything is loaded once and shared by the arms of a comparison, by the server's
evaluation and by all clients that the process runs.
"""

from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
from numpy.typing import NDArray

from fedgen import datasets, models, runtime, splits
from fedgen.architectures import Model
from fedgen.config import Config
from fedgen.datasets import Dataset
from fedgen.optimizers import Kind, Weights
from fedgen.partition import Partition
from fedgen.plan import Evaluation
from fedgen.sections import Data
from fedgen.sections import Partition as PartitionSettings
from fedgen.training import Engine
from strategies.aggregation import Statistic


@dataclass(frozen=True, eq=False)
class World:
    """The data, the clients' shares of it for one seed, and the engine."""

    dataset: Dataset
    partition: Partition
    engine: Engine

    def evaluate(self, weights: Weights) -> tuple[Evaluation, Evaluation]:
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
    dataset, training = datasets.load(config.data), config.training
    return World(
        dataset=dataset,
        partition=load_partition(config, seed),
        engine=_engine((config.data, config.model, training.optimizer, training.momentum), slots),
    )


def load_partition(config: Config, seed: int) -> Partition:
    """Return who holds what for a seed, without building an engine."""
    return _partition(config.data, config.partition, seed)


def workers(config: Config) -> int:
    """Return how many clients train at once."""
    return config.run.workers or runtime.available_cores()


def initial_model(config: Config, seed: int) -> keras.Sequential:
    """Build the model with the initial weights that every arm of a seed starts from."""
    dataset = datasets.load(config.data)
    return models.build(config.model, dataset.shape, dataset.classes, seed)


def statistics(config: Config) -> dict[int, Statistic]:
    """Return which of a model's weights are moving statistics of batch normalisation."""
    return dict(_statistics(config.data, config.model))


@lru_cache(maxsize=4)
def _statistics(data: Data, model: Model) -> tuple[tuple[int, Statistic], ...]:
    dataset = datasets.load(data)
    built = models.build(model, dataset.shape, dataset.classes, 0)
    return tuple(models.statistics(built).items())


def batch_order(
    train: NDArray[np.int32], draw: np.random.Generator, epochs: int
) -> NDArray[np.int32]:
    """Return an array of shape (epochs, n): a fresh permutation of the samples per epoch."""
    return np.stack([draw.permutation(train) for _ in range(epochs)])


@lru_cache(maxsize=4)
def _partition(data: Data, settings: PartitionSettings, seed: int) -> Partition:
    labels = datasets.load(data).y_train
    return splits.split(labels, settings, seed, validation_fraction=data.validation_fraction)


EngineKey = tuple[Data, Model, Kind, float]

_engines: dict[EngineKey, Engine] = {}


def _engine(key: EngineKey, slots: int) -> Engine:
    resident = _engines.get(key)
    if resident is None or resident.workers < slots:
        runtime.limit_threads(slots)
        data, model, optimizer, momentum = key
        dataset = datasets.load(data)
        _engines.clear()
        _engines[key] = resident = Engine(
            models.build(model, dataset.shape, dataset.classes, 0),
            dataset,
            optimizer=optimizer,
            momentum=momentum,
            workers=slots,
        )
    return resident
