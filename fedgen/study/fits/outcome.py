"""What a fit comes to, whatever is fitted."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIRST = 10
"""How many predictions a fit shows."""


@dataclass(frozen=True)
class Fit:
    """One fit's row of ``results.csv``, beside the case's settings; ``None`` is an empty field.

    Attributes:
        case: Hash of the case.
        seed: Which repeat.
        status: ok, diverged (a value is not finite, or one class is predicted for all images),
            or failed (an exception).
        reason: Why it is not ok, or has not converged.
        accuracy: On the test set, as are macro precision, macro recall and zero-one loss.
        precision: Mean over classes; 0 for one that is never predicted.
        recall: Mean over classes.
        zero_one_loss: Share of the test images that are misclassified.
        validation_accuracy: On the share that chooses, if there is one.
        train_accuracy: On what trained, at the end.
        train_seconds: Seconds to train; a Keras fit's evaluations after epochs are in it, the
            tracing of its compiled loop, done once per architecture, is not.
        predict_seconds: Seconds to predict the test set.
        epochs: Epochs that were run; iterations of lbfgs.
        converged: Whether the training loss stopped improving.
        parameters: Weights and biases.
    """

    case: str
    seed: int
    status: str
    reason: str | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    zero_one_loss: float | None = None
    validation_accuracy: float | None = None
    train_accuracy: float | None = None
    train_seconds: float | None = None
    predict_seconds: float | None = None
    epochs: int | None = None
    converged: bool | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Epoch:
    """One epoch of a Keras fit, a row of ``epochs.csv``.

    ``validated_on`` says what the validation columns are measured on: the held-out share, or the
    test set of a study that holds none out and therefore chooses nothing.
    """

    case: str
    seed: int
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validated_on: str


@dataclass(frozen=True)
class Trained:
    """What an estimator's training comes to.

    Attributes:
        predict: Labels for images of the data set.
        finite: Whether the loss and all weights are finite.
        parameters: Weights and biases.
        epochs: Epochs that were run.
        converged: Whether the training loss stopped improving.
        reason: Why not, in the estimator's words.
        curve: Training and validation loss and accuracy of every epoch, if they are measured.
    """

    predict: Callable[[NDArray[np.generic]], NDArray[np.integer]]
    finite: bool
    parameters: int
    epochs: int
    converged: bool
    reason: str | None = None
    curve: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A fit, its epochs, and label and prediction of the first test images."""

    fit: Fit
    epochs: tuple[Epoch, ...] = ()
    first: tuple[tuple[int, int], ...] = ()


def stopped_improving(losses: list[float], tol: float, patience: int) -> bool:
    """Whether the last epochs bettered the best loss by no more than ``tol``, as scikit-learn asks.

    Args:
        losses: Training loss of every epoch.
        tol: Improvement that counts.
        patience: Consecutive epochs without one, at least 1.
    """
    best, idle = math.inf, 0
    for loss in losses:
        idle = idle + 1 if loss > best - tol else 0
        best = min(best, loss)
    return idle > patience
