"""A data set as engines and partitions take it: checked, typed and scaled."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedgen.config.sections import Data
from fedgen.data import inputs, labels, targets
from fedgen.data.labels import Label
from fedgen.data.raw import Raw, Samples
from fedgen.errors import InputError
from strategies.streams import rng

Array = NDArray[np.generic]

Split = Literal["train", "test"]

ROWS = 10_000
"""Samples that are looked at together: they may be on disk, and too many for the memory."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and what is to be said of them, split into training and test set.

    Attributes:
        name: What outputs call it.
        x_train: Array of shape (n, ...): images (height, width, channels), features, (length,
            channels), ids of tokens (length,), or any other; uint8, uint16, int32 or float32.
        y_train: Of "classes": (n,), int32 from 0. Of "labels", 0 or 1, and of "quantities": (n, k),
            float32.
        x_test: Like ``x_train``, of another length.
        y_test: Like ``y_train``, of another length.
        scale: Factor that models see values times: 1 over ``data.scale``.
        labels: What the data call every class, in ascending order, often 0, 1, 2 and so on; or
            every column of ``y_train``.
        fingerprint: SHA-256 of all that decides what is learned.
        source: Where it came from, for people.
        kind: What ``y_train`` is.
        clients: Whose samples these are, where the data say so.
        validation: Ascending indices into ``x_train`` of the data's own validation split; those
            train nobody. Empty where there is none.
        scale_note: What must be said of the scale, if anything.
        other_notes: What else must be said of how the data were read.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    scale: float
    labels: tuple[Label, ...]
    fingerprint: str
    source: str
    kind: targets.Kind = "classes"
    clients: "Clients | None" = None
    validation: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    scale_note: str = ""
    other_notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(map(int, self.x_train.shape[1:]))

    @property
    def splits(self) -> dict[Split, tuple[Array, Array]]:
        """Samples and targets of the training and the test set."""
        return {"train": (self.x_train, self.y_train), "test": (self.x_test, self.y_test)}

    @property
    def outputs(self) -> int:
        """Numbers that a model says of a sample: one per class, label or quantity."""
        return len(self.labels)

    def count(self, indices: NDArray[np.int32]) -> list[int]:
        """Return how many training samples of every class are among some, or have every label.

        Nothing for quantities.
        """
        if self.kind == "quantities":
            return []
        if self.kind == "labels":
            return [int(total) for total in self.y_train[indices].sum(axis=0).tolist()]
        found = np.bincount(self.y_train[indices].astype(np.intp), minlength=self.outputs)
        return [int(count) for count in found.tolist()]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What outputs call every class, label or quantity."""
        return tuple(map(str, self.labels))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must hear of how the data were read, a line each; often nothing."""
        return (*filter(None, [self.scale_note]), *self.other_notes)

    @property
    def told(self) -> dict[str, Any]:
        """What outputs keep of how the data were read, where there is something."""
        named = [] if labels.are_classes(self.labels) else [*self.labels]
        kind = "" if self.kind == "classes" else self.kind
        found = {"notes": [*self.notes], "labels": named, "targets": kind}
        return {name: values for name, values in found.items() if values}

    @property
    def holds_ids(self) -> bool:
        """Whether models see whole numbers from 0, as an embedding needs, and not scaled pixels."""
        return self.scale == 1 and all(
            part.dtype == np.uint8 or bool((part == np.abs(np.rint(part))).all())
            for found in (self.x_train, self.x_test)
            for part in (found[begin : begin + ROWS] for begin in range(0, len(found), ROWS))
        )

    @property
    def vocabulary(self) -> int:
        """Ids that an embedding needs: one more than the largest; 0 where the data are no ids."""
        if len(self.shape) != 1 or self.x_train.dtype == np.float32 or not self.holds_ids:
            return 0
        return 1 + max(int(self.x_train.max()), int(self.x_test.max()))


@dataclass(frozen=True, eq=False)
class Clients:
    """Whose samples a data set's are, by the data themselves.

    Attributes:
        names: What the data call every client that has training samples, in ascending order.
        train: Array of shape (n,), int32: for every training sample, whose it is.
        test: Likewise for test samples, -1 where it is nobody's; ``None`` where the data do not
            say.
    """

    names: tuple[str, ...]
    train: NDArray[np.int32]
    test: NDArray[np.int32] | None


def from_arrays(
    name: str,
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_test: ArrayLike,
    y_test: ArrayLike,
    *,
    source: str,
    scale: Any = inputs.AUTO,
    layout: Any = inputs.AUTO,
    usual: float | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Check arrays and make a data set of them, by the settings' defaults but for those given.

    Args:
        name: What outputs call it.
        x_train: See ``of``.
        y_train: See ``of``.
        x_test: Like ``x_train``.
        y_test: Like ``y_train``.
        source: Where it came from, for people.
        scale: What values are divided by; see ``inputs.divisor`` for "auto".
        layout: Where channels are; see ``inputs.find_layout`` for "auto".
        usual: What "auto" divides by where the data are known.
        notes: What must be said of them already.

    Raises:
        InputError: Naming the array, what was expected and what was received.
    """
    train = Samples(np.asarray(x_train), np.asarray(y_train))
    test = Samples(np.asarray(x_test), np.asarray(y_test))
    settings = Data(scale=scale, layout=layout)
    return of(name, Raw(train, test, usual=usual, notes=notes), settings, source=source)


def of(name: str, raw: Raw, settings: Data, *, source: str) -> Dataset:
    """Check what a reader found, and make a data set of it.

    Args:
        name: What outputs call it.
        raw: What was found. Images are (n, height, width) or with channels, uint8, uint16 or
            floats; samples of other shapes are rows of numbers or ids, (n, ...). See ``targets``
            for what is to be said of them.
        settings: How it is read.
        source: Where it came from, for people.

    Raises:
        InputError: Naming the array, what was expected and what was received.
    """
    raw = _with_test_set(raw, settings.test_fraction)
    assert raw.test is not None
    parts = {"train": raw.train, "test": raw.test}
    if raw.validation is not None:
        parts["validation"] = raw.validation
    where = inputs.find_layout("x_train", raw.train.x, settings.layout)
    scaled = not isinstance(settings.scale, str)
    found: dict[str, Array] = {}
    for split, part in parts.items():
        key = f"x_{split}"
        x = inputs.as_stored(key, inputs.arrange(key, part.x, where), scaled=scaled)
        if part.y.ndim and len(part.y) != len(x):
            raise InputError(
                f"y_{split}: expected {len(x)} labels as x_{split} has, received {len(part.y)}"
            )
        if "train" in found and (x.shape[1:], x.dtype) != (
            found["train"].shape[1:],
            found["train"].dtype,
        ):
            like = found["train"]
            raise InputError(
                f"{key}: expected {like.dtype} samples of shape {like.shape[1:]} as x_train has, "
                f"received {x.dtype} of {x.shape[1:]}"
            )
        found[split] = x
    if len(found["train"]) < 2:
        raise InputError(f"x_train: expected at least 2 samples, received {len(found['train'])}")
    if inputs.is_mapped(found["train"]) and (raw.validation is not None or settings.standardise):
        raise InputError(
            "x_train: stays on disk, so it is neither standardised nor joined with x_validation: "
            "save what models are to see, or read it into memory from an .npz file"
        )
    own = len(found["train"])
    y_train, train = raw.train.y, found["train"]
    if raw.validation is not None:
        train = np.concatenate([train, found["validation"]])
        y_train = np.concatenate([y_train, raw.validation.y])
    read = targets.read(y_train, raw.test.y, settings.targets, raw.names, closed=raw.closed)
    test = found["test"]
    divisor, scale_note = inputs.divisor(train, test, settings.scale, raw.usual)
    guessed = settings.layout == inputs.AUTO and inputs.layout_note(raw.train.x, where)
    notes = (*raw.notes, *([guessed] if guessed else []), *read.notes)
    if settings.standardise:
        train, test = inputs.standardised(train, test)
        divisor, scale_note = 1.0, ""
        notes = (*notes, "data: features are standardised by the whole training set's figures")
    clients = _clients(raw)
    if clients and clients.test is not None and (lost := int((clients.test < 0).sum())):
        who = "of clients without training samples, who are not measured on them"
        notes = (*notes, f"clients: {lost:,} of {len(test):,} test samples are {who}")
    made = Dataset(
        name=name,
        x_train=train,
        y_train=read.train,
        x_test=test,
        y_test=read.test,
        scale=1 / divisor,
        labels=read.names,
        fingerprint="",
        source=source,
        kind=read.kind,
        clients=clients,
        validation=np.arange(own, len(train), dtype=np.int32),
        scale_note=scale_note,
        other_notes=notes,
    )
    full = inputs.FULL.get(train.dtype, 1)
    named = read.names == raw.names  # for people
    usual = named or labels.are_classes(read.names), divisor == (raw.usual or full)
    return replace(made, fingerprint=_fingerprint(made, *usual))


def _with_test_set(raw: Raw, fraction: float) -> Raw:
    """Return data of one split with a test set, drawn at random from it."""
    if raw.test is not None:
        return raw
    everything = raw.train
    count = len(everything)
    if count < 3 or len(everything.y) != count:
        raise InputError(
            f"x: expected 3 samples or more and as many targets, as a share of them is the test "
            f"set, received {count} and {len(everything.y)}"
        )
    order = rng(0, "test-split").permutation(count)
    tests = min(max(1, round(fraction * count)), count - 2)
    chosen, rest = np.sort(order[:tests]), np.sort(order[tests:])
    note = (
        f"data: there is no test set, so {tests:,} of {count:,} samples, drawn at random, are it; "
        "data.test_fraction sets their share"
    )
    return replace(
        raw,
        train=_take(everything, rest),
        test=_take(everything, chosen),
        notes=(*raw.notes, note),
    )


def _take(samples: Samples, rows: NDArray[np.integer[Any]]) -> Samples:
    client = None if samples.client is None else samples.client[rows]
    return Samples(samples.x[rows], samples.y[rows], client)


def _clients(raw: Raw) -> Clients | None:
    """Return whose samples these are; those of a validation split are nobody's, unless told.

    Raises:
        InputError: If the arrays do not fit the samples.
    """
    given = raw.train.client
    if given is None and raw.test is not None and raw.test.client is not None:
        raise InputError(
            "client_test: expected beside it an array client, whose training samples are whose"
        )
    if given is None:
        return None
    train = _names("client", given, len(raw.train))
    if raw.validation is not None:
        raise InputError(
            "client: expected no validation split of their own beside clients, who hold out a "
            "share each (data.validation_fraction); leave x_validation out"
        )
    names, places = np.unique(train, return_inverse=True)
    test = None
    if raw.test is not None and raw.test.client is not None:
        theirs = _names("client_test", raw.test.client, len(raw.test))
        if (theirs.dtype.kind == "U") is not (names.dtype.kind == "U"):
            raise InputError(
                f"client_test: expected names of clients as client has them, {names.dtype}, "
                f"received {theirs.dtype}"
            )
        at = np.minimum(np.searchsorted(names, theirs), len(names) - 1)
        test = np.where(names[at] == theirs, at, -1).astype(np.int32)
    return Clients(tuple(map(str, names.tolist())), places.astype(np.int32), test)


def _names(key: str, given: Array, count: int) -> Array:
    """Return clients' names as text, or as integers, which sort as numbers do."""
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != (count,) or given.dtype.kind not in "biuUS":
        raise InputError(
            f"{key}: expected integers or strings of shape ({count},), whose samples these are, "
            f"received {given.dtype} of shape {given.shape}"
        )
    return labels.as_text(key, given) if given.dtype.kind == "S" else given


def _fingerprint(made: Dataset, usual_labels: bool, usual_scale: bool) -> str:
    """Return the SHA-256 of shapes, dtypes and contents, and of what is not the usual.

    The usual: labels 0, 1, 2 and so on, the type's scale, classes, no clients, no own validation.
    """
    digest = hashlib.sha256()
    for array in (made.x_train, made.y_train, made.x_test, made.y_test):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    if not usual_labels:
        digest.update(f"labels{made.labels}".encode())
    if not usual_scale:
        digest.update(f"scale{1 / made.scale!r}".encode())
    if made.kind != "classes":
        digest.update(made.kind.encode())
    if len(made.validation):
        digest.update(f"validation{len(made.validation)}".encode())
    if made.clients is not None:
        digest.update(f"clients{made.clients.names}".encode())
        digest.update(made.clients.train.data)
        digest.update(b"" if made.clients.test is None else made.clients.test.tobytes())
    return digest.hexdigest()
