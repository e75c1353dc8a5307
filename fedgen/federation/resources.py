"""What one process holds for a run, loaded once by whoever hosts clients, and handed on.

No framework is imported before a model or the engine is asked for: a node that is asked who it
is answers without one.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedgen.analysis import metrics
from fedgen.config import plugins
from fedgen.config.metrics import ACCURACY, LOSS, own_name
from fedgen.config.tree import Config
from fedgen.data import datasets
from fedgen.data.dataset import Dataset, Split
from fedgen.data.partitions import known, split
from fedgen.data.partitions.partition import Partition
from fedgen.engine import engines
from fedgen.engine.engines import Engine
from fedgen.engine.learning.objective import Objective
from fedgen.engine.plan import Evaluation
from fedgen.engine.transfer import source
from fedgen.errors import InputError
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
        InputError: If the engine, the data, the code of a model of the user's own, or a file of
            weights cannot be had.
    """

    def __init__(self, config: Config, slots: int = 0) -> None:
        training = engines.settled(config.training)
        self.dataset: Dataset = datasets.load(config.data)
        Objective.of(training, self.dataset.kind)  # what does not go together is said at once
        partition = split.settled(
            config.partition, len(self.dataset.y_train), self._owners, config.run.seed
        )
        update = {"training": training, "partition": partition}
        update["data"] = config.data.model_copy(update={"targets": self.dataset.kind})
        config = config.model_copy(update=update)
        run = config.run.model_copy(update={"metric": config.metric.name})
        self.config = config.model_copy(update={"run": run})
        self._check()
        self._slots = slots or config.run.workers
        self._code = plugins.code_of(config.model.name)
        self._weights = source.digest(config.model)
        self._augmentation = _codes(training.augmentation)
        self._partitions: dict[int, Partition] = {}
        self._statistics: dict[int, dict[int, Statistic]] = {}
        self._own: tuple[int, Engine] | None = None

    def _check(self) -> None:
        """Check the settings against what is known of the data now.

        Raises:
            InputError: If there are too few clients, or the metric cannot be measured.
        """
        try:
            self.config.check_cohort()
        except ValueError as error:
            raise InputError(str(error)) from error
        metric, target = self.config.metric, self.config.run.target
        if metric.share and not 0 <= target <= 1:
            raise InputError(
                f"run.target = {target:g}: expected 0 to 1 for {metric.title}, a share"
            )
        name, classes = metric.name, self.dataset.outputs
        if self.dataset.kind != "classes":
            return
        if name == "auc" and classes != 2:
            raise InputError(f"run.metric = 'auc': expected two classes, received {classes:,}")
        if name == "top5_accuracy" and classes <= 2 * metrics.TOP:
            raise InputError(
                f"run.metric = 'top5_accuracy': expected more than {2 * metrics.TOP} classes, "
                f"received {classes:,}"
            )

    @property
    def fingerprint(self) -> str:
        """What every node must share: data, engine, a user's code, and a file of weights."""
        training = self.config.training
        engine = f"{training.engine}, {training.precision}"
        data = self.dataset.fingerprint + known.digest(self.config.partition)
        given = [part for part in (self._weights, self._augmentation) if part]
        return "+".join((data, self._code, engine, *given))

    @property
    def _owners(self) -> NDArray[np.int32] | None:
        clients = self.dataset.clients
        return clients.train if clients else None

    def partition(self, seed: int) -> Partition:
        """Return who holds what for a seed.

        Raises:
            InputError: If the data do not fit the settings.
        """
        if seed not in self._partitions:
            data = self.dataset
            self._partitions[seed] = split.split(
                data.y_train.astype(np.int32, copy=False) if data.kind == "classes" else None,
                self.config.partition,
                seed,
                samples=len(data.y_train),
                validation_fraction=self.config.data.validation_fraction,
                validation=data.validation if len(data.validation) else None,
                owners=self._owners,
            )
        return self._partitions[seed]

    def model(self, seed: int) -> "keras.Model":
        """Build the model with the initial weights that every arm of a seed starts from.

        Raises:
            InputError: If it cannot be built for the data.
        """
        models = self._models()
        data = self.dataset
        return models.build(
            self.config.model, data.shape, data.outputs, seed, vocabulary=data.vocabulary
        )

    def start(self) -> None:
        """Import the engine's framework, which is to run as many operations at once as clients."""
        # Before anything is computed: a model's weights start all threads that there will be.
        engines.start(self.config.training, self._slots)

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
        with _opening:
            if self._code:
                if self._own is None or self._own[0] != seed:
                    self._own = None  # one at a time in memory
                    self._own = seed, self._build_engine(seed)
                return self._own[1]
            training = self.config.training
            changes = training, self._augmentation
            key = self.dataset, self.config.model, changes, self._counted(seed), self._slots
            if key not in _resident:
                _resident.clear()
                _resident[key] = self._build_engine(seed)
            return _resident[key]

    def _counted(self, seed: int) -> bytes:
        """Return which samples balanced class weights are reckoned from; nothing where none are."""
        balanced = self.config.training.class_weights == "balanced"
        return self.partition(seed).training.tobytes() if balanced else b""

    def _build_engine(self, seed: int) -> Engine:
        training = self.config.training
        engines.start(training, self._slots)  # before a model is built
        balanced = training.class_weights == "balanced"
        return engines.build(
            training,
            self.model(seed),
            self.dataset,
            workers=self._slots,
            counted=self.partition(seed).training if balanced else None,
        )

    def evaluate(self, weights: Arrays, seed: int) -> tuple["Measured", "Measured"]:
        """Measure on the share that a seed holds out, and on the test set."""
        test = np.arange(len(self.dataset.y_test), dtype=np.int32)
        return (
            self._measure(weights, seed, self.partition(seed).validation, "train"),
            self._measure(weights, seed, test, "test"),
        )

    def _measure(
        self, weights: Arrays, seed: int, indices: NDArray[np.int32], split: Split
    ) -> "Measured":
        found = self.engine(seed).evaluate_all(weights, indices, split)
        return Measured(found, self.metrics(found, indices, split))

    def individual(self, weights: Arrays, seed: int, client: int) -> tuple[int, Evaluation, float]:
        """Measure on a client's own samples.

        They are its test samples where the data have some of its own, else its validation samples.

        Returns:
            How many samples, the evaluation, and the deciding metric: NaN where there is none.
        """
        split: Split = "train"
        indices = self.partition(seed).clients[client].validation
        owners = self.dataset.clients if self.config.partition.kind == "natural" else None
        if owners and owners.test is not None:
            mine = np.flatnonzero(owners.test == client).astype(np.int32)
            indices, split = (mine, "test") if len(mine) else (indices, split)
        name, engine = self.config.metric.name, self.engine(seed)
        if name in (ACCURACY.name, LOSS.name):
            found = engine.evaluate(weights, indices, split)
            value = found.accuracy if name == ACCURACY.name else found.loss
        else:
            found = engine.evaluate_all(weights, indices, split)
            value = self.metrics(found, indices, split).get(name)
        return len(indices), found, math.nan if value is None else value

    @cached_property
    def own_metrics(self) -> list[tuple[str, metrics.Own]]:
        """Names and functions of a user's own metrics.

        Looked up once, as finding one reads and hashes all its sources.

        Raises:
            InputError: If one cannot be had.
        """
        return [(own_name(name), plugins.metric(name)) for name in self.config.run.metrics]

    def metrics(
        self, found: Evaluation, indices: NDArray[np.int32], split: Split
    ) -> dict[str, float]:
        """Return what is measured of an evaluation's scores beside its accuracy and loss.

        Raises:
            InputError: If a user's own metric fails.
        """
        data = self.dataset
        due = (data.y_train if split == "train" else data.y_test)[indices]
        if found.scores is None:
            return {}
        return metrics.measure(data.kind, due, found.scores, self.own_metrics)


@dataclass(frozen=True)
class Measured:
    """What a model is worth on some samples: its evaluation, and further metrics by name."""

    evaluation: Evaluation
    metrics: Mapping[str, float]


def absolute(config: Config) -> Config:
    """Make all paths of a config absolute: parts of a run may be played in other directories.

    Raises:
        InputError: If there is no file of weights where one is named.
    """
    paths = {
        "data": datasets.absolute(config.data),
        "partition": split.absolute(config.partition),
        "model": source.absolute(config.model),
    }
    return config.model_copy(update=paths)


_resident: dict[tuple[Any, ...], Engine] = {}

SLOTS = 1
"""Clients that this process trains at once for one of Flower's runtimes."""

_opening = threading.RLock()
"""Held by whoever opens what clients of one process share."""


def of(run_config: Mapping[str, Any]) -> Resources:
    """Return what this process holds for a run config of Flower's, for its ``SLOTS`` clients.

    It is kept for the next message, as long as the data, a user's code and given weights are the
    same.

    Raises:
        InputError: If the run config is wrong, or the data cannot be had here.
    """
    config = from_run_config(run_config)
    model = config.model
    with _opening:
        data, code = datasets.load(config.data), plugins.code_of(model.name)
        given = source.digest(model), known.digest(config.partition)
        return _of(config, data, code, given, _codes(config.training.augmentation))


def _codes(names: Sequence[str]) -> str:
    """Return what tells the code behind those names apart that are a user's own."""
    return "+".join(filter(None, map(plugins.code_of, names)))


@lru_cache(maxsize=1)
def _of(
    config: Config, dataset: Dataset, code: str, given: tuple[str, str], changes: str
) -> Resources:
    return Resources(config, slots=SLOTS)
