"""The images of a study: which ones train, choose and test."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.errors import InputError
from fedgen.study.cases import Study, StudyData
from strategies.streams import rng

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Draw:
    """What decides the images, small enough to travel to other processes."""

    data: StudyData
    sampling: str
    seed: int


@dataclass(frozen=True, eq=False)
class Samples:
    """The images of a study.

    Attributes:
        dataset: Training images (those that choose among them) and test images, as drawn.
        train: Indices of the training images that train.
        validation: Indices of those that choose; may be empty.
        leaked: Share of the test images that are among the training images.
    """

    dataset: Dataset
    train: Rows
    validation: Rows
    leaked: float


def draw(study: Study) -> Draw:
    """Return what decides the images of a study."""
    return Draw(study.data, study.study.sampling, study.study.seed)


def load(wanted: Draw) -> Samples:
    """Load a data set and draw a study's images from it; kept for the next call.

    Raises:
        InputError: If there are too few images for what is asked.
    """
    return _draw(wanted, datasets.load(wanted.data))


@lru_cache(maxsize=1)
def _draw(wanted: Draw, dataset: Dataset) -> Samples:
    data = wanted.data
    if dataset.kind != "classes":
        raise InputError(f"{dataset.name}: a study learns classes, received {dataset.kind}")
    own = len(dataset.y_train)
    count = own + len(dataset.y_test)
    train, test = _rows(wanted, own, count)
    if data.train_samples > len(train):
        raise InputError(
            f"data.train_samples: expected at most {len(train):,}, the training images of "
            f"{dataset.name}, received {data.train_samples:,}"
        )
    if data.train_samples:
        train = rng(wanted.seed, "study-subset").permutation(train)[: data.train_samples]
    order = rng(wanted.seed, "study-validation").permutation(len(train)).astype(np.int32)
    held_out = round(data.validation_fraction * len(train))
    if min(len(train) - held_out, len(test)) < 1 or (data.validation_fraction and not held_out):
        raise InputError(
            f"{dataset.name}: expected at least one image to train, to validate and to test with, "
            f"received {len(train) - held_out}, {held_out} and {len(test)}: see [data]"
        )
    return Samples(
        dataset=_take(dataset, train, test, raw=data.pixels == "raw"),
        train=np.sort(order[held_out:]),
        validation=np.sort(order[:held_out]),
        leaked=float(np.isin(test, train).mean()),
    )


def _rows(wanted: Draw, own: int, count: int) -> tuple[Rows, Rows]:
    """Return the training and test rows among all images, the data set's own training set first."""
    everything = np.arange(count, dtype=np.int32)
    fraction = wanted.data.test_fraction
    tests = round(fraction * count) if fraction else count - own
    if wanted.sampling == "with-replacement":
        chance = rng(wanted.seed, "study-replacement")
        drawn = chance.integers(count, size=count).astype(np.int32)
        return drawn[tests:], drawn[:tests]
    if not fraction:
        return everything[:own], everything[own:]
    order = rng(wanted.seed, "study-split").permutation(everything)
    return order[tests:], order[:tests]


def _take(dataset: Dataset, train: Rows, test: Rows, *, raw: bool) -> Dataset:
    images = np.concatenate([dataset.x_train, dataset.x_test])
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    drawn = replace(
        dataset,
        x_train=images[train],
        y_train=labels[train],
        x_test=images[test],
        y_test=labels[test],
    )
    return replace(drawn, scale=1.0, scale_note="") if raw else drawn
