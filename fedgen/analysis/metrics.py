"""How good scores are: what is measured of a model's outputs, beside accuracy and loss."""

import math
import threading
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedgen.errors import InputError

Array = NDArray[np.generic]

Own = Callable[[Array, Array], float]
"""A metric of a user's own: of what is due and of scores, as arrays."""

BINS = 15
"""Bins of equal width that calibration is measured in."""

TOP = 5


def measure(
    kind: str, due: Array, scores: NDArray[np.floating], own: Sequence[tuple[str, Own]] = ()
) -> dict[str, float]:
    """Measure scores on a set of samples.

    What there is nothing to say of is left out: an AUC without samples of both sides, top-5 of ten
    classes or fewer, R² of a single sample, and all of scores that are not finite.

    Args:
        kind: What the targets are: "classes", "labels" or "quantities".
        due: What is due, as a data set holds it.
        scores: Array of shape (n, outputs): logits, or predicted quantities.
        own: Names and functions of a user's own. They get ``due`` and, of classes and labels,
            probabilities.

    Returns:
        Values by name.

    Raises:
        InputError: If a function of a user's own fails, or returns no number.
    """
    if not np.isfinite(scores).all():
        return {}
    wide = scores.astype(np.float64)
    if kind == "classes":
        said = special.softmax(wide, axis=1)
        found = _of_classes(due.astype(np.intp), wide, said)
    elif kind == "labels":
        said = special.expit(wide)
        found = _of_labels(due.astype(bool), wide)
    else:
        said = wide
        found = _of_quantities(due.astype(np.float64), said)
    for name, function in own:
        found[name] = _own(name, function, due, said)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _of_classes(
    due: NDArray[np.intp], scores: NDArray[np.float64], said: NDArray[np.float64]
) -> dict[str, float]:
    """Measure classes: ranks are those of scores, as probabilities round to 0 and 1."""
    table = confusion(due, scores.argmax(axis=1), scores.shape[1])
    found = {
        "balanced_accuracy": balanced_accuracy(table),
        "macro_f1": macro_f1(table),
        "ece": calibration_error(due, said),
    }
    if scores.shape[1] > 2 * TOP:
        found["top5_accuracy"] = top_accuracy(due, scores)
    if scores.shape[1] == 2:
        found["auc"] = auc(due, scores[:, 1] - scores[:, 0])
    return found


def _of_labels(due: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, float]:
    guessed = scores > 0
    areas = [auc(due[:, column], scores[:, column]) for column in range(due.shape[1])]
    known = [area for area in areas if math.isfinite(area)]
    seen = np.flatnonzero((due | guessed).any(axis=0)).tolist()
    found = per_label(due, guessed)
    each = [found[label][-1] for label in seen]
    total = due.sum() + guessed.sum()
    return {
        "macro_f1": math.fsum(each) / len(each) if each else math.nan,
        "micro_f1": 2 * float((due & guessed).sum()) / float(total) if total else math.nan,
        "auc": math.fsum(known) / len(known) if known else math.nan,
    }


def _of_quantities(due: NDArray[np.float64], said: NDArray[np.float64]) -> dict[str, float]:
    from sklearn import metrics

    apart = said - due
    return {
        "rmse": float(np.sqrt(np.mean(np.square(apart)))),
        "mae": float(np.mean(np.abs(apart))),
        "r2": float(metrics.r2_score(due, said)) if len(due) > 1 else math.nan,
    }


def confusion(due: NDArray[np.intp], guessed: NDArray[np.intp], classes: int) -> NDArray[np.int64]:
    """Return how many samples of every class were taken for which.

    Args:
        due: Classes, of shape (n,).
        guessed: Likewise.
        classes: How many there are.

    Returns:
        Array of shape (classes, classes): a row per class that is due, a column per guess.
    """
    counts = np.bincount(due * classes + guessed, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def per_class(table: NDArray[np.int64]) -> list[tuple[int, float, float, float]]:
    """Return samples, recall, precision and F1 of every class; 0 for what is 0 by 0.

    Args:
        table: As ``confusion`` returns it.
    """
    return _figures(np.diag(table).astype(np.float64), table.sum(axis=1), table.sum(axis=0))


def per_label(
    due: NDArray[np.bool_], guessed: NDArray[np.bool_]
) -> list[tuple[int, float, float, float]]:
    """Return what ``per_class`` does, of several labels.

    Args:
        due: Array of shape (n, labels).
        guessed: Likewise.
    """
    right = (due & guessed).sum(axis=0).astype(np.float64)
    samples, guesses = due.sum(axis=0), guessed.sum(axis=0)
    return _figures(right, samples, guesses)


def _figures(
    right: NDArray[np.float64], samples: NDArray[np.integer], guesses: NDArray[np.integer]
) -> list[tuple[int, float, float, float]]:
    recall = right / np.maximum(samples, 1)
    precision = right / np.maximum(guesses, 1)
    f1 = 2 * right / np.maximum(samples + guesses, 1)
    columns = (samples.tolist(), recall.tolist(), precision.tolist(), f1.tolist())
    return list(zip(*columns, strict=True))


def balanced_accuracy(table: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that have samples."""
    recalls = [recall for samples, recall, _, _ in per_class(table) if samples]
    return math.fsum(recalls) / len(recalls)


def macro_f1(table: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that are due or guessed."""
    guesses = table.sum(axis=0)
    rows = zip(per_class(table), guesses.tolist(), strict=True)
    scores = [f1 for (samples, _, _, f1), guessed in rows if samples or guessed]
    return math.fsum(scores) / len(scores)


def top_accuracy(due: NDArray[np.intp], scores: NDArray[np.float64], top: int = TOP) -> float:
    """Return the share of samples whose class is among the likeliest, ties counted against it."""
    mine = scores[np.arange(len(due)), due]
    return float(np.mean((scores >= mine[:, None]).sum(axis=1) <= top))


def auc(due: NDArray[np.integer] | NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; NaN without samples of both sides.

    The share of pairs of a positive and a negative sample that scores order rightly, ties counted
    half (Hanley and McNeil, 1982).
    """
    from sklearn import metrics

    positives = int(due.sum())
    if positives in (0, len(due)):
        return math.nan
    return float(metrics.roc_auc_score(due, scores))


def calibration_error(due: NDArray[np.intp], said: NDArray[np.float64]) -> float:
    """Return the expected calibration error.

    After Guo et al., 2017 (arXiv 1706.04599): samples are put into ``BINS`` bins by their highest
    probability, (0, 1/15], ..., (14/15, 1], and the distance of mean probability and accuracy is
    averaged over samples.
    """
    sure = said.max(axis=1)
    right = said.argmax(axis=1) == due
    place = np.clip(np.ceil(sure * BINS).astype(np.intp) - 1, 0, BINS - 1)
    apart = np.bincount(place, weights=sure - right, minlength=BINS)
    return float(np.abs(apart).sum() / len(due))


_warnings = threading.Lock()
"""Held by who changes which warnings are told: that is the process' own, and arms have threads."""


def _own(name: str, function: Own, due: Array, said: NDArray[np.float64]) -> float:
    try:
        with _warnings, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(function(due, said))
    except Exception as error:  # whatever a user's function does
        raise InputError(
            f"metric {name!r}: expected a number of FUNCTION(y, scores), received "
            f"{type(error).__name__}: {error}"
        ) from error


def jain(values: Sequence[float]) -> float:
    """Return Jain's index of fairness: (sum x)^2 / (n sum x^2), from 1/n to 1 for equal values.

    After Jain, Chiu and Hawe, 1984 (DEC-TR-301). Of zeros alone it is 1.

    Args:
        values: At least one, none below 0.
    """
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else 1.0
