"""What an engine is asked for, and what it answers; no framework is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgen.engine.rules.rule import Rule
from strategies.core.aggregation import Arrays

Precision = Literal["float32", "tf32", "bfloat16"]
"""What products are computed in; sums, weights and moments are float32 always."""

LANES = 32
"""Clients at once on a GPU, by JAX, unless it is said how many."""


@dataclass(frozen=True)
class Moments:
    """State of an optimiser between two calls of ``Engine.train``.

    Zeros and no steps are a fresh optimiser, whatever its kind, and all are sums or means of what
    came before: a mean of several is an optimiser's state, too.

    Attributes:
        first: First moments of Adam and AdamW, or SGD's velocities, per trainable weight; zeros for
            the others.
        second: Second moments of Adam and AdamW, RMSprop's mean squares, or the sums of squares
            that Adagrad has added to what it starts from; zeros for SGD. Never negative.
        steps: Steps taken so far.
    """

    first: Arrays
    second: Arrays
    steps: int


class Stopped(RuntimeError):
    """Training or evaluation ended early: time was up, or ``Engine.interruptible`` was left."""


@dataclass(frozen=True)
class Plan:
    """One local training.

    Attributes:
        learning_rate: Step size, greater than 0.
        batch_size: Samples in a full batch; the last one of an epoch may be short.
        order: Array of shape (epochs, n): per epoch, the training-set indices in
            the order in which they are visited.
        dropout_seed: Seed of dropout, at least 0.
        moments: Optimiser state to go on from, ``None`` for a fresh one.
        rule: What is done with the gradients, ``None`` for the optimiser's own step.
        further: Values of this training's own, by the names that genomes have them by: momentum,
            weight_decay, clip_norm, label_smoothing, and dropout, the rate of all Dropout layers
            that have one over 0.
            The engine's own settings stand for those that are not there.

    The steps that a schedule runs over are those of ``order``: it begins anew with every plan.
    """

    learning_rate: float
    batch_size: int
    order: NDArray[np.int32]
    dropout_seed: int = 0
    moments: Moments | None = None
    rule: Rule | None = None
    further: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Result of one local training.

    Attributes:
        weights: All weights in the model's order.
        losses: Mean training loss of every epoch, each batch before its update: the objective's,
            and the terms that the model adds (regularisers, ``add_loss``).
        accuracies: Training accuracy of every epoch, measured like the losses; of several labels,
            the share that is right; ``None`` for quantities.
        learning_rate: The rate that the compiled loop received, a float32: what a client
            acknowledges. A schedule scales it from step to step and leaves it as it is here; where
            a rule changes it, it is the mean over all steps.
        batch_size: The batch size that the loop cut the epochs into.
        moments: Optimiser state at the end, if it was asked for.
        initial_rate: The rate that the compiled loop was given, a float32.
        steps: Steps taken.
        applied: What the compiled loop received for each of the plan's ``further``, a float32.
    """

    weights: Arrays
    losses: list[float]
    accuracies: list[float] | None
    learning_rate: float
    batch_size: int
    moments: Moments | None = None
    initial_rate: float = 0.0
    steps: int = 0
    applied: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """How a model does on some samples.

    Attributes:
        loss: Mean of the objective's loss without label smoothing and class weights; terms that a
            model adds are left out.
        accuracy: Share that is right; of several labels, the mean share of a sample's labels;
            ``None`` for quantities.
        scores: float32 array of shape (samples, outputs), the model's raw outputs (logits, for
            classes and labels), in the order of the samples; only from ``Engine.evaluate_all``.
    """

    loss: float
    accuracy: float | None
    scores: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


def batch_order(
    train: NDArray[np.int32], draw: np.random.Generator, epochs: int
) -> NDArray[np.int32]:
    """Return an array of shape (epochs, n): a fresh permutation of the samples per epoch."""
    return np.stack([draw.permutation(train) for _ in range(epochs)])
