"""Digits with targets of every kind, and Keras' own training on them."""

from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np

from fedgen.config.sections import Data
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models
from fedgen.engine.learning.objective import Objective, Targets
from fedgen.engine.plan import Plan
from strategies.core.aggregation import Arrays

SHAPE = (8, 8, 1)
OUTPUTS: dict[Targets, int] = {"classes": 10, "labels": 3, "quantities": 2}
SMALL = Model(name="layers", hidden_layers=(12,))

LOSSES = {
    "binary-cross-entropy": keras.losses.BinaryCrossentropy,
    "mean-squared-error": keras.losses.MeanSquaredError,
    "mean-absolute-error": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}


@cache
def dataset_of(kind: Targets) -> Dataset:
    """Digits: which one it is; whether it is odd, over 4 or in 2, 3, 5, 7; or two numbers of it."""
    digits = datasets.load(Data(dataset="digits"))

    def turned(labels: np.ndarray) -> Any:
        if kind == "classes":
            return labels
        if kind == "labels":
            return np.stack([labels % 2, labels > 4, np.isin(labels, (2, 3, 5, 7))], 1)
        return np.stack([labels / 3, np.cos(labels)], 1)

    if kind == "classes":
        return digits
    train, test = (turned(y).astype(np.float32) for y in (digits.y_train, digits.y_test))
    labels = tuple(range(OUTPUTS[kind]))
    return replace(digits, y_train=train, y_test=test, kind=kind, labels=labels)


def made(kind: Targets) -> keras.Sequential:
    return models.build(SMALL, SHAPE, OUTPUTS[kind], 7)


def initial(kind: Targets) -> Arrays:
    return models.get_weights(made(kind))


def plan(rate: float, batch: int = 32, samples: int = 75, epochs: int = 2) -> Plan:
    """Three batches an epoch, the last of them short."""
    draw = np.random.default_rng(batch)
    order = [draw.permutation(1437)[:samples] for _ in range(epochs)]
    return Plan(rate, batch, np.array(order, np.int32))


def keras_loss(objective: Objective) -> Any:
    smoothing = {"label_smoothing": objective.label_smoothing} if objective.label_smoothing else {}
    if objective.loss == "cross-entropy" and smoothing:
        return keras.losses.CategoricalCrossentropy(from_logits=True, **smoothing)
    if objective.loss == "cross-entropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if objective.loss == "binary-cross-entropy":
        return keras.losses.BinaryCrossentropy(from_logits=True, **smoothing)
    return LOSSES[objective.loss]()


def trained_by_keras(
    data: Dataset, job: Plan, objective: Objective, optimizer: keras.optimizers.Optimizer
) -> tuple[Arrays, list[float]]:
    """The readable reference: weights and mean losses by Keras' own ``fit``, a batch a call."""
    model = made(data.kind)
    model.compile(optimizer, keras_loss(objective), jit_compile=False)
    weights = objective.class_weights
    given = None if weights is None else dict(enumerate(weights))
    losses = []
    for order in job.order:
        total = 0.0
        for begin in range(0, len(order), job.batch_size):
            batch = order[begin : begin + job.batch_size]
            pixels = data.x_train[batch].astype(np.float32) * data.scale
            targets = data.y_train[batch]
            if data.kind == "classes" and objective.label_smoothing:
                targets = np.eye(data.outputs, dtype=np.float32)[targets]
            fitted = model.fit(
                *(pixels, targets, len(batch)), class_weight=given, verbose=0, shuffle=False
            )
            total += len(batch) * fitted.history["loss"][0]
        losses.append(total / len(order))
    return models.get_weights(model), losses
