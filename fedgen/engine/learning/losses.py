"""What an objective measures, by Keras' own functions, which go with every back end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from fedgen.engine.learning.objective import Objective

Measure = Callable[[Any, Any], Any]
"""Targets and raw outputs, of the same n samples, to a float32 of shape (n,)."""

REGRESSION: dict[str, Measure] = {
    "mean-squared-error": keras.losses.mean_squared_error,
    "mean-absolute-error": keras.losses.mean_absolute_error,
    "huber": keras.losses.huber,
}


@dataclass(frozen=True)
class Measures:
    """What engines trace.

    Attributes:
        training: Loss of every sample in training.
        smoothed: The same with a share of smoothing as third argument; ``None`` for quantities.
        plain: Its loss in evaluation.
        hits: How much of it is right, in [0, 1]: whether its class has the highest output, or the
            share of its labels whose outputs are on their side of 0; 0 for quantities.
    """

    training: Measure
    smoothed: Callable[[Any, Any, Any], Any] | None
    plain: Measure
    hits: Measure

    def loss(self, targets: Any, outputs: Any, further: Mapping[str, Any]) -> Any:
        """Return the loss of every sample in training, smoothed as ``further`` may say."""
        if self.smoothed is None or "label_smoothing" not in further:
            return self.training(targets, outputs)
        return self.smoothed(targets, outputs, further["label_smoothing"])


def measures(objective: Objective, cross_entropy: Measure, right: Measure) -> Measures:
    """Return what an objective measures.

    Args:
        objective: What is minimised.
        cross_entropy: The back end's own cross-entropy of classes: it is what most runs spend
            their time in, and their bytes depend on it.
        right: Whether a class has the highest output, 0 or 1; the back end's own, likewise.
    """
    hits = {"classes": right, "labels": _right_labels, "quantities": _nothing}
    smoothed = _SMOOTHED.get(objective.targets)
    return Measures(
        training=_weighted(objective, _loss(objective, cross_entropy)),
        smoothed=smoothed and _weighted(objective, smoothed),
        plain=_loss(objective.plain, cross_entropy),
        hits=hits[objective.targets],
    )


def _loss(objective: Objective, cross_entropy: Measure) -> Measure:
    smoothing = objective.label_smoothing
    if objective.loss in REGRESSION:
        return REGRESSION[objective.loss]
    if objective.loss == "binary-cross-entropy":
        of_labels = keras.losses.binary_crossentropy
        return partial(of_labels, from_logits=True, label_smoothing=smoothing)
    return partial(_smoothed, smoothing) if smoothing else cross_entropy


def _smoothed(smoothing: float, targets: Any, outputs: Any) -> Any:
    whole = ops.one_hot(targets, outputs.shape[-1], dtype="float32")
    return keras.losses.categorical_crossentropy(
        whole, outputs, from_logits=True, label_smoothing=smoothing
    )


# Keras asks in Python whether there is smoothing, which of a traced share cannot be answered.


def _by_classes(targets: Any, outputs: Any, smoothing: Any) -> Any:
    classes = outputs.shape[-1]
    whole = ops.one_hot(targets, classes, dtype="float32") * (1 - smoothing) + smoothing / classes
    return keras.losses.categorical_crossentropy(whole, outputs, from_logits=True)


def _by_labels(targets: Any, outputs: Any, smoothing: Any) -> Any:
    whole = targets * (1 - smoothing) + 0.5 * smoothing
    return keras.losses.binary_crossentropy(whole, outputs, from_logits=True)


_SMOOTHED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "classes": _by_classes,
    "labels": _by_labels,
}


def _weighted(objective: Objective, loss: Callable[..., Any]) -> Callable[..., Any]:
    if objective.class_weights is None:
        return loss
    weights = np.array(objective.class_weights, np.float32)

    def weighted(targets: Any, *others: Any) -> Any:
        return ops.take(weights, targets, axis=0) * loss(targets, *others)

    return weighted


def _right_labels(targets: Any, outputs: Any) -> Any:
    return ops.mean(ops.cast(ops.equal(outputs > 0, targets > 0.5), "float32"), axis=-1)


def _nothing(targets: Any, outputs: Any) -> Any:
    return ops.zeros(ops.shape(outputs)[:1])
