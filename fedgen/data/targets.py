"""What models are to say of a sample: one class, several labels, or quantities."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedgen.data import labels
from fedgen.data.labels import Label
from fedgen.errors import InputError

Array = NDArray[np.generic]

Kind = Literal["classes", "labels", "quantities"]

AUTO = "auto"

_MIXED = (
    "labels: y_train is one-hot but y_test is not, so both are read as several labels; "
    "data.targets = 'classes' refuses them"
)

FEW = 100
"""So many different whole numbers, kept as floats, may well be classes."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a training and a test set.

    Attributes:
        kind: What they are.
        train: Of "classes": (n,), int32 from 0. Of "labels": (n, k), float32, 0 or 1. Of
            "quantities": (n, k), float32.
        test: Likewise.
        names: What the data call every class, label or quantity.
        notes: What must be said of how they were read.
    """

    kind: Kind
    train: Array
    test: Array
    names: tuple[Label, ...]
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Numbers that a model says of a sample."""
        return len(self.names)


def read(
    train: Array,
    test: Array,
    kind: str = AUTO,
    names: tuple[str, ...] = (),
    *,
    closed: bool = False,
) -> Targets:
    """Read what models are to learn.

    Args:
        train: Of shape (n,) or (n, k). By themselves, integers, booleans and strings of shape (n,)
            or (n, 1) are classes; rows of 0 and 1 of which each has a single 1 are one-hot classes,
            and others are several labels; floats are quantities.
        test: Like ``train``.
        kind: What they are, as somebody says so, or "auto".
        names: What the data call the classes 0, 1, 2 and so on, or the columns.
        closed: Whether those are all classes, also where no training sample is of one.

    Raises:
        InputError: Naming the array, what was expected and what was received.
    """
    found = _kind(train, test) if kind == AUTO else kind
    if found == "classes":
        return _classes(train, test, names, closed)
    if found == "labels":
        several = _labels(train, test, names)
        mixed = kind == AUTO and _is_one_hot(train)
        return replace(several, notes=(_MIXED,)) if mixed else several
    return _quantities(train, test, names, guessed=kind == AUTO)


def _kind(train: Array, test: Array) -> Kind:
    if _is_matrix(train) and _are_bits(train) and _are_bits(test):
        return "classes" if _is_one_hot(train) and _is_one_hot(test) else "labels"
    return "quantities" if train.dtype.kind == "f" else "classes"


def _is_matrix(array: Array) -> bool:
    return array.ndim == 2 and array.shape[1] > 1


def _are_bits(array: Array) -> bool:
    return array.dtype.kind in "biuf" and bool(np.isin(array, (0, 1)).all())


def _is_one_hot(array: Array) -> bool:
    return _is_matrix(array) and bool((array.sum(axis=1) == 1).all())


def _classes(train: Array, test: Array, names: tuple[str, ...], closed: bool) -> Targets:
    notes: tuple[str, ...] = ()
    if _is_matrix(train) and _are_bits(train) and _is_one_hot(train):
        _check_width("y_test", test, train.shape[1])
        if not (_are_bits(test) and _is_one_hot(test)):
            raise InputError(
                "y_test: expected rows with a single 1, as y_train has, received others"
            )
        notes = (
            f"labels: y_train is one-hot, rows of {train.shape[1]} with a single 1, and read as "
            "classes; data.targets = 'labels' reads it as several labels",
        )
        train, test = train.argmax(axis=1), test.argmax(axis=1)
    given = labels.read("y_train", train), labels.read("y_test", test)
    if closed:
        one, other = (array.astype(np.int32) for array in given)
        return Targets("classes", one, other, names, notes)
    one, other, known = labels.classify(*given, names)
    told = labels.note(known)
    if all(isinstance(label, int) and 0 <= label < len(names) for label in known):
        return Targets("classes", one, other, tuple(labels.named(known, names)), notes)
    return Targets("classes", one, other, known, (*notes, *filter(None, [told])))


def _labels(train: Array, test: Array, names: tuple[str, ...]) -> Targets:
    width = train.shape[1] if train.ndim == 2 else 1
    for key, array in (("y_train", train), ("y_test", test)):
        if array.ndim != 2 or not array.size or not _are_bits(array):
            raise InputError(
                f"{key}: expected several labels, 0 or 1 each, of shape (n, labels), received "
                f"{_told(array, ())}{_range(array)}"
            )
        _check_width(key, array, width)
    return Targets(
        "labels", train.astype(np.float32), test.astype(np.float32), _columns(names, width)
    )


def _quantities(train: Array, test: Array, names: tuple[str, ...], *, guessed: bool) -> Targets:
    found = []
    for key, array in (("y_train", train), ("y_test", test)):
        numbers = array.ndim in (1, 2) and array.size and array.dtype.kind in "biuf"
        if not numbers or (names and array.ndim == 1):
            raise InputError(
                f"{key}: expected quantities, finite numbers of shape (n,) or (n, quantities), "
                f"received {_told(array, names)}"
            )
        with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and told as such
            values = array.astype(np.float32)
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise InputError(
                f"{key}: expected finite numbers of float32, received {count:,} that are not among "
                f"{array.size:,}; replace them, or leave those samples out"
            )
        found.append(values.reshape(len(values), -1))
    one, other = found
    _check_width("y_test", other, one.shape[1])
    notes: tuple[str, ...] = ()
    if guessed and len(known := np.unique(one)) <= FEW and (known == np.rint(known)).all():
        notes = (
            f"targets: y_train is {train.dtype} with {len(known)} different whole numbers, and is "
            "read as quantities; for classes save integers",
        )
    return Targets("quantities", one, other, _columns(names, one.shape[1]), notes)


def _told(array: Array, names: tuple[str, ...]) -> str:
    array = labels.as_strings(array)
    if array.dtype.kind == "U" and array.size:
        return f"text: {labels.tell(np.unique(array).tolist())}"
    if names and array.ndim == 1:
        return f"classes: {labels.tell(names)}"
    return f"{array.dtype} of shape {array.shape}"


def _columns(names: tuple[str, ...], width: int) -> tuple[Label, ...]:
    return names if len(names) == width else tuple(range(width))


def _check_width(key: str, array: Array, width: int) -> None:
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(
            f"{key}: expected {width} columns as y_train has, received shape {array.shape}"
        )


def _range(array: Array) -> str:
    if array.dtype.kind not in "iuf" or not array.size:
        return ""
    return f" from {array.min()} to {array.max()}"
