"""Keras models, trained by the resident engine: compiled once per architecture."""

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedgen.config import plugins
from fedgen.config.model import Model
from fedgen.data.datasets import Dataset
from fedgen.engine import models
from fedgen.engine.plan import Kind, Moments, Plan
from fedgen.engine.tensorflow.engine import Engine, Split
from fedgen.engine.tensorflow.loops import EVALUATION_BATCH
from fedgen.study.estimators import KerasModel
from fedgen.study.fits.outcome import Trained, stopped_improving
from fedgen.study.samples import Samples
from strategies.streams import rng

TOLERANCE, PATIENCE = 1e-4, 10
"""scikit-learn's defaults: what counts as converged, though it stops no Keras fit."""

# Tracing touches global state of Keras.
_tracing = threading.Lock()


def prepare(settings: KerasModel, samples: Samples, seed: int, slots: int) -> Callable[[], Trained]:
    """Return what trains the model from a seed; everything is built and traced before."""
    data = samples.dataset
    with _tracing:
        model = models.build(settings.federated(), data.shape, data.classes, seed)
        code = plugins.code_of(settings.model)
        engine = _engine(
            *(settings.federated(), code, settings.optimizer, settings.momentum), data, slots
        )
        classify = _classifier(model, data.x_test.dtype, data.scale)
    split: Split = "train" if len(samples.validation) else "test"
    held_out = (
        samples.validation if split == "train" else np.arange(len(data.y_test), dtype=np.int32)
    )

    def train() -> Trained:
        weights, moments = models.get_weights(model), None
        curve: list[tuple[float, float, float, float]] = []
        for epoch in range(settings.epochs):
            plan = _plan(settings, samples.train, seed, epoch, moments)
            trained = engine.train(weights, plan, keep=True)
            weights, moments = trained.weights, trained.moments
            found = engine.evaluate(weights, held_out, split)
            curve.append((trained.losses[0], trained.accuracies[0], found.loss, found.accuracy))
            if not math.isfinite(trained.losses[0]):
                break
        model.set_weights(weights)
        losses = [epoch[0] for epoch in curve]
        return Trained(
            predict=classify,
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


@lru_cache(maxsize=2)
def _engine(
    model: Model, code: str, optimizer: Kind, momentum: float, data: Dataset, slots: int
) -> Engine:
    """Build an engine; one of other data, or of other code of the user's, is another one."""
    blank = models.build(model, data.shape, data.classes, 0)
    return Engine(blank, data, optimizer=optimizer, momentum=momentum, workers=slots)


def _classifier(model: Any, dtype: Any, scale: float) -> Callable[[Any], NDArray[np.integer]]:
    """Return a compiled function from images to labels; it reads the weights when called."""
    images = tf.TensorSpec([None, *model.input_shape[1:]], dtype)
    classify = tf.function(
        lambda pixels: tf.argmax(model(tf.cast(pixels, tf.float32) * scale, training=False), -1)
    ).get_concrete_function(images)

    def labels(images: Any) -> NDArray[np.integer]:
        pieces = range(0, len(images), EVALUATION_BATCH)
        return np.concatenate(
            [classify(tf.constant(images[i : i + EVALUATION_BATCH])).numpy() for i in pieces]
        )

    return labels
