"""What is learned from, and who holds what of it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fedgen.config import defaults
from fedgen.config.base import Scale, Section
from fedgen.errors import unknown
from strategies.core.settings import Count, Positive

MEDMNIST = (
    *("pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist"),
    *("breastmnist", "bloodmnist", "tissuemnist", "organamnist", "organcmnist", "organsmnist"),
)
EMNIST = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")

SYNTHETIC, HUB = "synthetic", "hf:"

DATASETS = (
    *("cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "digits", SYNTHETIC),
    *(f"emnist:{kind}" for kind in EMNIST),
    *(f"medmnist:{name}" for name in MEDMNIST),
)
"""Names that ``data.dataset`` takes, beside the path of a file or folder and a hub's names."""


class Data(Section):
    """What is learned from."""

    dataset: str = defaults.DATASET
    """The name of a known data set, the path of a file or folder, or hf:NAME."""
    data_dir: str = ""
    """Where to look first for data files; "" for FEDGEN_DATA_DIR or the download cache."""
    scale: Scale = "auto"
    """What values are divided by; "auto" for 1 if they are floats or ids, 255 if they are uint8,
    65,535 if they are uint16, or the training set's own maximum if that is below half of it, which
    is said."""
    layout: Literal["auto", "channels-last", "channels-first", "as-given"] = "auto"
    """Where the channels of images are; "auto" looks at the sizes of the axes, and refuses what is
    not plainly channels-last. "as-given" takes samples of any shape."""
    standardise: bool = False
    """Whether every feature or channel is taken less the whole training set's mean, in units of its
    standard deviation: statistics that a server would have to be told."""
    targets: Literal["auto", "classes", "labels", "quantities"] = "auto"
    """What is learned: one class of several, several labels of 0 or 1 each, or quantities; "auto"
    for what the arrays are: integers and strings, rows of 0 and 1, or floats."""
    labels: Literal["", "fine", "coarse"] = ""
    """Which of two labels is learned, where data have both; "" for the fine ones."""
    target: str = ""
    """The column of a table that is learned; "" for the one with a usual name."""
    client: str = ""
    """The column of a table that says whose a row is."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share that is the test set, drawn at random, of data that come without one."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training set that trains nobody and validates everybody."""

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in DATASETS or name.startswith(f"{SYNTHETIC}:"):
            return name
        if name.startswith(HUB) and name != HUB:
            return name
        if name and ("/" in name or "." in name or Path(name).exists()):
            return name
        raise ValueError(str(unknown("data set", name, (*DATASETS, "FILE or FOLDER", "hf:NAME"))))


class Partition(Section):
    """Who holds what."""

    kind: Literal[
        "contiguous",
        "iid",
        "dirichlet",
        "dirichlet-labels",
        "shards",
        "quantity",
        "natural",
        "given",
    ] = "contiguous"
    """One random contiguous slice a client, which may overlap; or disjoint parts: equal and random,
    equal with label shares from a Dirichlet distribution, every label dealt out by such a
    distribution (flwr-datasets' meaning), of so many labels each, or of unequal sizes; or
    "natural", as the data say whose every sample is; or "given" by a file."""
    clients: Positive = defaults.CLIENTS
    """How many clients there are; "natural" and "given" know by themselves."""
    file: str = ""
    """For "given": a CSV or JSON file of every client's indices into the training set, as a run's
    partition.csv is one."""
    min_samples: Count = 0
    """Shortest slice; 0 for 2 % of the training set (10 % under 10,000 samples)."""
    max_samples: Count = 0
    """Slices are shorter than this; 0 for 8 % of the training set (40 % under 10,000)."""
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Concentration of "dirichlet" and "dirichlet-labels": near 0, a client has one label; 10^6,
    the shares of the set. Alpha of "dirichlet-labels" skews labels about as much as alpha times the
    number of labels of "dirichlet": 0.1 there is 1.0 here with ten labels."""
    min_partition_size: Positive = 10
    """Fewest samples of a client of "dirichlet-labels"; draws with fewer are made anew."""
    labels_per_client: Positive = 2
    """Labels that every client has, for "shards"."""
    sigma: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Standard deviation of the logarithm of the clients' sizes, for "quantity"."""

    @model_validator(mode="after")
    def _ordered(self) -> "Partition":
        if self.max_samples and max(self.min_samples, 1) >= self.max_samples:
            raise ValueError(
                f"min_samples must be less than max_samples, "
                f"received {self.min_samples} and {self.max_samples}"
            )
        if (self.kind == "given") != bool(self.file):
            raise ValueError(
                f"file: expected a path with kind 'given', and none with others, received "
                f"{self.file!r} with kind {self.kind!r}"
            )
        return self

    @property
    def told(self) -> str:
        """What clients hold, as a sentence."""
        return {
            "natural": "Who holds what is what the data say.",
            "given": f"Who holds what is what {Path(self.file).name} says.",
            "contiguous": "Clients hold contiguous slices of a shuffled set: nearly IID, "
            "overlapping, unequal.",
            "iid": "The training set is dealt out at random: IID, disjoint, equal sizes.",
            "dirichlet": "Clients' label shares are drawn from a Dirichlet distribution of "
            f"concentration {self.alpha:g} x the labels' frequencies: label skew, disjoint, equal "
            "sizes.",
            "dirichlet-labels": "Every label is dealt out over the clients by one draw from a "
            f"Dirichlet distribution of concentration {self.alpha:g} a client: label skew, "
            "disjoint, unequal sizes.",
            "shards": f"Every client trains on {self.labels_per_client} labels: label skew, "
            "disjoint, about equal sizes.",
            "quantity": f"Sizes are log-normal with sigma {self.sigma:g}, samples random: IID, "
            "disjoint, unequal sizes.",
        }[self.kind]
