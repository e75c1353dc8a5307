"""Labels that somebody gave their samples: read, and mapped to classes from 0 on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

Array = NDArray[np.generic]

Label = int | str
"""What data call a class."""

MOST = 2**16
"""Classes that a data set may have."""

NAMED, NAME = 8, 40
"""So many labels are named one by one in a sentence, by so many characters of each."""


def read(key: str, array: Array) -> Array:
    """Return labels as a row of integers or of strings.

    Args:
        key: What the array is called, for errors.
        array: Integers, booleans or strings of shape (n,) or (n, 1); objects, if all are strings.

    Raises:
        InputError: If they are not.
    """
    array = as_strings(array)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "biuUS":
        raise InputError(
            f"{key}: expected integers or strings of shape (n,) or (n, 1), "
            f"received {array.dtype} of shape {array.shape}{_remedy(array)}"
        )
    if not array.size:
        raise InputError(f"{key}: expected at least one label, received none")
    if array.dtype.kind == "S":
        return as_text(key, array)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind == "u" and int(array.max()) >= 2**63:
        raise InputError(f"{key}: expected labels of 64 bits with a sign, received {array.max()}")
    return array.astype(np.int64)


def as_strings(array: Array) -> Array:
    """Return objects that are all strings as an array of strings, and others as they are."""
    if array.dtype.kind not in "OT" or not all(isinstance(item, str) for item in array.flat):
        return array
    return array.astype(np.object_).astype(np.str_)


def as_text(key: str, array: Array) -> Array:
    """Return bytes as text.

    Raises:
        InputError: If they are no UTF-8.
    """
    try:
        return np.char.decode(array.astype(np.bytes_), "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: expected labels of text in UTF-8, received {error}") from error


def _remedy(array: Array) -> str:
    if array.dtype.kind in "OT":
        return "; .astype(str) makes text of them"
    if array.dtype.kind == "f" and array.ndim <= 2 and array.size:
        whole = np.isfinite(array).all() and (array == np.rint(array)).all()
        return "; whole numbers become labels by .astype(int)" if whole else ""
    return ""


def classify(
    train: Array, test: Array, names: Sequence[str] = ()
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[Label, ...]]:
    """Map labels to classes: those that training samples have, in ascending order, from 0 on.

    Args:
        train: Labels of the training samples, at least one, as ``read`` returns them.
        test: Labels of the test samples.
        names: What the data call the labels 0, 1, 2 and so on, for errors.

    Returns:
        Classes of the training and of the test samples, and the label of every class.

    Raises:
        InputError: If there are fewer than two labels or too many, or test samples have others.
    """
    if train.dtype.kind != test.dtype.kind:
        raise InputError(f"y_test: expected {_kind(train)} as y_train has, received {_kind(test)}")
    known, classes = np.unique(train, return_inverse=True)
    if not 2 <= len(known) <= MOST:
        raise InputError(
            f"y_train: expected 2 to {MOST:,} different labels, received "
            f"{len(known):,}: {tell(named(known.tolist(), names))}"
        )
    strange = ~np.isin(test, known)
    if strange.any():
        found = np.unique(test[strange]).tolist()
        raise InputError(
            f"y_test: expected labels that y_train has ({tell(named(known.tolist(), names))}), "
            f"received {tell(named(found, names))} in {strange.sum():,} of {len(test):,} samples; "
            "leave those out, or add training samples of the kind"
        )
    places = np.searchsorted(known, test)
    return classes.astype(np.int32), places.astype(np.int32), tuple(known.tolist())


def _kind(array: Array) -> str:
    return "text" if array.dtype.kind == "U" else str(array.dtype)


def named(labels: Sequence[Label], names: Sequence[str]) -> list[Label]:
    """Return labels by the names that data have for 0, 1, 2 and so on, where they have one."""
    return [
        names[label] if isinstance(label, int) and 0 <= label < len(names) else label
        for label in labels
    ]


def are_classes(labels: Sequence[Label]) -> bool:
    """Whether labels in ascending order are the classes themselves: 0, 1, 2 and so on."""
    return labels[0] == 0 and labels[-1] == len(labels) - 1


def tell(labels: Sequence[Label]) -> str:
    """Return ascending labels as people say them: 1 to 10; 0 to 9 without 4; 3, 7 and 40."""
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) == len(labels):
        return _tell_numbers(numbers)
    shown = [ascii(str(label)[:NAME])[1:-1] for label in labels[:NAMED]]
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return ", ".join(shown) + more if more else _listed(shown)


def _tell_numbers(labels: Sequence[int]) -> str:
    lowest, highest, count = labels[0], labels[-1], len(labels)
    if count > 2 and highest - lowest == count - 1:
        return f"{lowest} to {highest}"
    if 2 < highest - lowest < count + min(count // 2, NAMED):
        missing = sorted({*range(lowest, highest)} - {*labels})
        return f"{lowest} to {highest} without {_listed(missing)}"
    return _listed(labels) if count <= NAMED else f"{count:,} from {lowest} to {highest}"


def note(labels: Sequence[Label]) -> str:
    """Return what must be said of the labels of classes, if anything."""
    if are_classes(labels):
        return ""
    return (
        f"labels: those of y_train are {tell(labels)}, so there are {len(labels):,} classes; "
        "outputs name each by its label"
    )


def _listed(labels: Sequence[Label]) -> str:
    *others, last = map(str, labels)
    return f"{', '.join(others)} and {last}" if others else last
