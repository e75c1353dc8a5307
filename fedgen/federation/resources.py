"""What one process holds for a run, loaded once by whoever hosts clients, and handed on.

No framework is imported before a model or the engine is asked for: a node that is asked who it
is answers without one.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fedgen.config import plugins
from fedgen.config.model import Model
from fedgen.config.tree import Config
from fedgen.data import datasets, split
from fedgen.data.datasets import Dataset
from fedgen.data.partition import Partition
from fedgen.engine import engines
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Evaluation
from fedgen.federation.run_config import from_run_config
from strategies.core.aggregation import Arrays, Statistic

if TYPE_CHECKING:
    import keras


class Resources:
    """The data, who holds what of them, the model, and the engine, for one config.

    Args:
        config: A checked config.
        slots: Clients that train at once; 0 for as many as the config says.

    Attributes:
        config: The config; its engine is the one that trains here.
        dataset: The data.

    Raises:
        InputError: If the engine, the data, or the code of a model of the user's own cannot be had.
    """

    def __init__(self, config: Config, slots: int = 0) -> None:
        training = engines.settled(config.training)
        self.config = config.model_copy(update={"training": training})
        self._slots = slots or config.run.workers
        self.dataset: Dataset = datasets.load(config.data)
        self._code = plugins.code_of(config.model.name)
        self._partitions: dict[int, Partition] = {}
        self._statistics: dict[int, dict[int, Statistic]] = {}
        self._own: tuple[int, Engine] | None = None

    @property
    def fingerprint(self) -> str:
        """What every node must share: the data, the code of a user's own model, and the engine."""
        training = self.config.training
        engine = f"{training.engine}, {training.precision}"
        return "+".join((self.dataset.fingerprint, self._code, engine))

    def partition(self, seed: int) -> Partition:
        """Return who holds what for a seed.

        Raises:
            InputError: If the data do not fit the settings.
        """
        if seed not in self._partitions:
            self._partitions[seed] = split.split(
                self.dataset.y_train,
                self.config.partition,
                seed,
                validation_fraction=self.config.data.validation_fraction,
            )
        return self._partitions[seed]

    def model(self, seed: int) -> "keras.Sequential":
        """Build the model with the initial weights that every arm of a seed starts from.

        Raises:
            InputError: If it cannot be built for the data.
        """
        models = self._models()
        return models.build(self.config.model, self.dataset.shape, self.dataset.classes, seed)

    def start(self) -> None:
        """Import the engine's framework."""
        engines.start(self.config.training)

    def _models(self) -> Any:
        self.start()  # whose models these are is known from here on
        from fedgen.engine import models

        return models

    def statistics(self, seed: int) -> dict[int, Statistic]:
        """Return which of the model's weights are statistics of the data, not trained."""
        models = self._models()
        seed = seed if self._code else 0  # a user's function may make another model of each
        if seed not in self._statistics:
            self._statistics[seed] = models.statistics(self.model(seed))
        return self._statistics[seed]

    def engine(self, seed: int) -> Engine:
        """Return the engine, which trains so many clients at once.

        That of one of fedgen's models does for all seeds, and stays for the next run on the same
        data with the same settings. A user's function may draw more than weights from a seed, and
        depend on more than its code: it has an engine per seed, of which the latest stays.
        """
        if self._code:
            if self._own is None or self._own[0] != seed:
                self._own = None  # one at a time in memory
                self._own = seed, self._build_engine(seed)
            return self._own[1]
        settings = self.config.training
        kind = settings.optimizer, settings.momentum, settings.engine, settings.precision
        key = self.dataset, self.config.model, kind, self._slots
        if key not in _resident:
            _resident.clear()
            _resident[key] = self._build_engine(seed)
        return _resident[key]

    def _build_engine(self, seed: int) -> Engine:
        engines.start(self.config.training, self._slots)  # before a model is built
        return engines.build(
            self.config.training, self.model(seed), self.dataset, workers=self._slots
        )

    def evaluate(self, weights: Arrays, seed: int) -> tuple[Evaluation, Evaluation]:
        """Return the evaluations on the share that a seed holds out, and on the test set."""
        test = np.arange(len(self.dataset.y_test), dtype=np.int32)
        return (
            self.engine(seed).evaluate_all(weights, self.partition(seed).validation, "train"),
            self.engine(seed).evaluate_all(weights, test, "test"),
        )


_resident: dict[tuple[Dataset, Model, tuple[Any, ...], int], Engine] = {}


def of(run_config: Mapping[str, Any]) -> Resources:
    """Return what this process holds for a run config of Flower's, for one client at once.

    It is kept for the next message, as long as the data and a user's code are the same.

    Raises:
        InputError: If the run config is wrong, or the data cannot be had here.
    """
    config = from_run_config(run_config)
    return _of(config, datasets.load(config.data), plugins.code_of(config.model.name))


@lru_cache(maxsize=1)
def _of(config: Config, dataset: Dataset, code: str) -> Resources:
    return Resources(config, slots=1)
