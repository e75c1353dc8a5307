"""Keras models, trained by the resident engine: compiled once per architecture."""

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgen.config import plugins
from fedgen.config.sections import Training
from fedgen.config.sections.model import Model
from fedgen.data.dataset import Dataset, Split
from fedgen.engine import engines, models
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Moments, Plan
from fedgen.study.estimators import KerasModel
from fedgen.study.fits.outcome import Trained, stopped_improving
from fedgen.study.samples import Samples
from strategies.streams import rng

TOLERANCE, PATIENCE = 1e-4, 10
"""scikit-learn's defaults: what counts as converged, though it stops no Keras fit."""

# Tracing touches global state of Keras.
_tracing = threading.Lock()


def prepare(
    settings: KerasModel, samples: Samples, seed: int, training: Training, slots: int
) -> Callable[[], Trained]:
    """Return what trains the model from a seed; everything is built and traced before."""
    data = samples.dataset
    engines.start(training)
    with _tracing:
        model = _build(settings.federated(), data, seed)
        code = plugins.code_of(settings.model)
        own = {"optimizer": settings.optimizer, "momentum": settings.momentum}
        engine = _engine(settings.federated(), code, training.model_copy(update=own), data, slots)
        engine.predict(models.get_weights(model), data.x_test[:1])
    split: Split = "train" if len(samples.validation) else "test"
    held_out = (
        samples.validation if split == "train" else np.arange(len(data.y_test), dtype=np.int32)
    )

    if training.engine == engines.JAX:  # which compiles a program when it is first needed
        batch = _plan(settings, samples.train[: settings.batch_size], seed, 0, None)
        first = engine.train(models.get_weights(model), batch, keep=True)
        engine.evaluate(first.weights, held_out, split)

    def train() -> Trained:
        weights, moments = models.get_weights(model), None
        curve: list[tuple[float, float, float, float]] = []
        for epoch in range(settings.epochs):
            plan = _plan(settings, samples.train, seed, epoch, moments)
            trained = engine.train(weights, plan, keep=True)
            weights, moments = trained.weights, trained.moments
            found = engine.evaluate(weights, held_out, split)
            right = trained.accuracies[0] if trained.accuracies else math.nan
            found_right = math.nan if found.accuracy is None else found.accuracy
            curve.append((trained.losses[0], right, found.loss, found_right))
            if not math.isfinite(trained.losses[0]):
                break
        losses = [epoch[0] for epoch in curve]
        return Trained(
            predict=lambda images: np.argmax(engine.predict(weights, images), -1),
            finite=bool(np.isfinite(losses).all() and all(np.isfinite(w).all() for w in weights)),
            parameters=model.count_params(),
            epochs=len(curve),
            converged=stopped_improving(losses, TOLERANCE, PATIENCE),
            curve=tuple(curve),
        )

    return train


def _plan(
    settings: KerasModel, train: NDArray[np.int32], seed: int, epoch: int, moments: Moments | None
) -> Plan:
    return Plan(
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        order=rng(seed, "batch-order", epoch).permutation(train)[None],
        dropout_seed=int(rng(seed, "dropout", epoch).integers(2**31)),
        moments=moments,
    )


def _build(model: Model, data: Dataset, seed: int) -> Any:
    return models.build(model, data.shape, data.outputs, seed, vocabulary=data.vocabulary)


@lru_cache(maxsize=2)
def _engine(model: Model, code: str, training: Training, data: Dataset, slots: int) -> Engine:
    """Build an engine; one of other data, or of other code of the user's, is another one."""
    blank = _build(model, data, 0)
    return engines.build(training, blank, data, workers=slots)
