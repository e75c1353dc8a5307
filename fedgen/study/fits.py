"""One fit: an estimator trained from one seed, timed, scored, and never an end to the study."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedgen.study.cases import Case
from fedgen.study.estimators import SklearnMlp
from fedgen.study.samples import Draw, Samples, load

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


def fit(case: Case, seed: int, wanted: Draw, slots: int = 1) -> Outcome:
    """Fit a case with a seed, on one thread.

    Args:
        case: What is fitted.
        seed: Of initial weights, batch order and dropout.
        wanted: On which images.
        slots: How many fits this process runs at once.

    Returns:
        The fit; an exception inside it is a fit with status "failed".
    """
    from threadpoolctl import threadpool_limits

    samples = load(wanted)
    try:
        with threadpool_limits(1), np.errstate(all="ignore"):  # a row tells what overflowed
            return _fit(case, seed, samples, slots)
    except Exception as error:  # whatever it is, the other cases go on
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        # scikit-learn raises where a weight overflows.
        status = "diverged" if "non-finite" in text else "failed"
        return Outcome(Fit(case.key, seed, status, text))


def _fit(case: Case, seed: int, samples: Samples, slots: int) -> Outcome:
    settings = case.settings
    # TensorFlow is imported with the one, scikit-learn with the other.
    if isinstance(settings, SklearnMlp):
        from fedgen.study import sklearn_fit

        train = sklearn_fit.prepare(settings, samples, seed)
    else:
        from fedgen.study import keras_fit

        train = keras_fit.prepare(settings, samples, seed, slots)
    began = time.perf_counter()
    trained = train()
    train_seconds = time.perf_counter() - began
    measured = Fit(
        case=case.key,
        seed=seed,
        status="ok" if trained.finite else "diverged",
        reason=trained.reason if trained.finite else "a loss or weight is not finite",
        train_seconds=train_seconds,
        epochs=trained.epochs,
        converged=trained.converged and trained.finite,
        parameters=trained.parameters,
    )
    validated_on = "held-out" if len(samples.validation) else "test"
    epochs = tuple(
        Epoch(case.key, seed, number, *values, validated_on)
        for number, values in enumerate(trained.curve, 1)
    )
    if not trained.finite:
        return Outcome(measured, epochs)
    scored, first = _score(measured, trained, samples)
    return Outcome(scored, epochs, first)


def _score(
    measured: Fit, trained: Trained, samples: Samples
) -> tuple[Fit, tuple[tuple[int, int], ...]]:
    from sklearn import metrics

    data = samples.dataset
    began = time.perf_counter()
    predicted = trained.predict(data.x_test)
    predict_seconds = time.perf_counter() - began
    one = len(data.y_test) > 1 and bool(np.all(predicted == predicted[0]))
    scores = metrics.precision_recall_fscore_support(
        data.y_test, predicted, average="macro", zero_division=0
    )

    def share(rows: NDArray[np.int32]) -> float:
        return float(np.mean(trained.predict(data.x_train[rows]) == data.y_train[rows]))

    scored = replace(
        measured,
        status="diverged" if one else measured.status,
        reason=f"predicts class {data.labels[predicted[0]]} for every image"
        if one
        else measured.reason,
        accuracy=float(np.mean(predicted == data.y_test)),
        precision=float(scores[0]),
        recall=float(scores[1]),
        zero_one_loss=float(np.mean(predicted != data.y_test)),
        validation_accuracy=share(samples.validation) if len(samples.validation) else None,
        train_accuracy=share(samples.train),
        predict_seconds=predict_seconds,
    )
    pairs = zip(data.y_test[:FIRST], predicted[:FIRST], strict=True)
    return scored, tuple((data.labels[label], data.labels[guess]) for label, guess in pairs)


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
