"""Labels that somebody gave their samples: read, and mapped to classes from 0 on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

Array = NDArray[np.generic]

MOST = 2**16
"""Classes that a data set may have."""

NAMED = 8
"""So many labels are named one by one in a sentence."""


def read(key: str, array: Array) -> NDArray[np.int64]:
    """Return labels as a row of integers.

    Args:
        key: What the array is called, for errors.
        array: Integers or booleans of shape (n,) or (n, 1).

    Raises:
        InputError: If they are not.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise InputError(
            f"{key}: expected integers of shape (n,) or (n, 1), "
            f"received {array.dtype} of shape {array.shape}{_remedy(array)}"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one label, received none")
    if array.dtype.kind == "u" and int(array.max()) >= 2**63:
        raise InputError(f"{key}: expected labels of 64 bits with a sign, received {array.max()}")
    return array.astype(np.int64)


def _remedy(array: Array) -> str:
    if array.dtype.kind not in "biuf" or not array.size:
        return ""
    if array.ndim == 2 and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
        return "; rows with a single 1 become labels by .argmax(axis=1)"
    if array.ndim <= 2 and np.isfinite(array).all() and (array == np.rint(array)).all():
        return "; whole numbers become labels by .astype(int)" if array.dtype.kind == "f" else ""
    return "; fedgen learns classes, not quantities" if array.dtype.kind == "f" else ""


def classify(
    train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[int, ...]]:
    """Map labels to classes: those that training samples have, in ascending order, from 0 on.

    Args:
        train: Labels of the training samples, at least one.
        test: Labels of the test samples.

    Returns:
        Classes of the training and of the test samples, and the label of every class.

    Raises:
        InputError: If there are fewer than two labels or too many, or test samples have others.
    """
    known, classes = np.unique(train, return_inverse=True)
    if not 2 <= len(known) <= MOST:
        raise InputError(
            f"y_train: expected 2 to {MOST:,} different labels, received "
            f"{len(known):,}: {tell(known.tolist())}"
        )
    strange = ~np.isin(test, known)
    if strange.any():
        found = np.unique(test[strange]).tolist()
        raise InputError(
            f"y_test: expected labels that y_train has ({tell(known.tolist())}), received "
            f"{tell(found)} in {strange.sum():,} of {len(test):,} samples; leave those out, or add "
            "training samples of the kind"
        )
    places = np.searchsorted(known, test)
    return classes.astype(np.int32), places.astype(np.int32), tuple(known.tolist())


def are_classes(labels: Sequence[int]) -> bool:
    """Whether labels in ascending order are the classes themselves: 0, 1, 2 and so on."""
    return labels[0] == 0 and labels[-1] == len(labels) - 1


def tell(labels: Sequence[int]) -> str:
    """Return ascending labels as people say them: 1 to 10; 0 to 9 without 4; 3, 7 and 40."""
    lowest, highest, count = labels[0], labels[-1], len(labels)
    if count > 2 and highest - lowest == count - 1:
        return f"{lowest} to {highest}"
    if 2 < highest - lowest < count + min(count // 2, NAMED):
        missing = sorted({*range(lowest, highest)} - {*labels})
        return f"{lowest} to {highest} without {_listed(missing)}"
    return _listed(labels) if count <= NAMED else f"{count:,} from {lowest} to {highest}"


def note(labels: Sequence[int]) -> str:
    """Return what must be said of the labels of classes, if anything."""
    if are_classes(labels):
        return ""
    return (
        f"labels: those of y_train are {tell(labels)}, so there are {len(labels):,} classes; "
        "outputs name each by its label"
    )


def _listed(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}" if others else last
