"""The sections of the config, each setting with its type, range, default and meaning."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from fedgen.config import budget, defaults
from fedgen.config.base import Scale, Section
from fedgen.config.plugins import FORM, is_own
from fedgen.errors import unknown
from strategies import REGISTRY, VARIANTS
from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.core.settings import BelowOne, Count, NotNegative, Positive, Rate, Share, ZeroToOne

CENTRALISED = "centralised"
"""Training on pooled data, which ``run.strategies`` takes beside the registered strategies."""


DATASETS = ("cifar10", "mnist", "digits")
"""Names that ``data.dataset`` takes, beside the path of an ``.npz`` file."""


class Data(Section):
    """What is learned from."""

    dataset: str = defaults.DATASET
    """cifar10, mnist, digits, or the path of an .npz file."""
    data_dir: str = ""
    """Where to look first for data files; "" for FEDGEN_DATA_DIR or the download cache."""
    scale: Scale = "auto"
    """What pixel values are divided by; "auto" for 1 if they are floats, 255 if they are uint8, or
    the training set's own maximum if that is below 128, which is said."""
    layout: Literal["auto", "channels-last", "channels-first"] = "auto"
    """Where the channels of an .npz file's images are; "auto" looks at the sizes of the axes, and
    refuses what is not plainly channels-last."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training set that trains nobody and validates everybody."""

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATASETS and not name.endswith(".npz"):
            raise ValueError(str(unknown("data set", name, (*DATASETS, "FILE.npz"))))
        return name


class Partition(Section):
    """Who holds what."""

    kind: Literal["contiguous", "iid", "dirichlet", "dirichlet-labels", "shards", "quantity"] = (
        "contiguous"
    )
    """One random contiguous slice a client, which may overlap; or disjoint parts: equal and random,
    equal with label shares from a Dirichlet distribution, every label dealt out by such a
    distribution (flwr-datasets' meaning), of so many labels each, or of unequal sizes."""
    clients: Positive = defaults.CLIENTS
    """How many clients there are."""
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
        return self

    @property
    def told(self) -> str:
        """What clients hold, as a sentence."""
        return {
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


class Cohort(Section):
    """Who takes part."""

    fraction: Share = defaults.FRACTION
    """Share of the clients in a cohort."""
    resample: bool = False
    """Draw a new cohort each round, instead of one for the whole run."""
    deadline: Rate = 60.0
    """Seconds to wait for the next of the cohort's nodes to come online and answer."""
    min_available: Count = 0
    """Clients of a cohort that must be online once the run has begun; 0 for half of them."""


class Training(Section):
    """How a client trains."""

    local_epochs: Positive = 2
    """Epochs that a client trains per round."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with fresh moments each round, or SGD."""
    momentum: BelowOne = 0.0
    """Momentum of SGD; Adam has none."""
    deadline: NotNegative = 0.0
    """Seconds that a client may take for a round or a probe; 0 for as long as it needs."""
    engine: Literal["auto", "tensorflow", "jax"] = "auto"
    """What trains: TensorFlow, or JAX, which trains many clients as one program; "auto" for JAX
    where it is installed and sees a GPU."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What products are computed in, sums and weights being float32: "tf32" needs a GPU, "bfloat16"
    the engine "jax"."""


class Devices(Section):
    """How fast clients' devices are, in simulated seconds."""

    speed: Literal["none", "uniform", "lognormal"] = "none"
    """How the clients' speeds are distributed; "none" simulates no devices."""
    samples_per_second: Rate = 100.0
    """Samples that a device trains in a second: the mean (uniform) or median (lognormal)."""
    spread: BelowOne = 0.5
    """Uniform speeds lie between 1 - spread and 1 + spread times that."""
    sigma: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Standard deviation of the logarithm of lognormal speeds."""
    deadline: NotNegative = 0.0
    """Simulated seconds until a round, or a probe, goes on without who is not done; 0 for none."""

    @model_validator(mode="after")
    def _deadline_of_devices(self) -> "Devices":
        if self.deadline and self.speed == "none":
            raise ValueError(
                "deadline: expected 0 without simulated devices (speed 'none'), received "
                f"{self.deadline:g}; set speed to 'uniform' or 'lognormal'"
            )
        return self


class AggregationSettings(Section):
    """How the clients' weights become one model, whatever the strategy."""

    kind: Literal["mean", "median", "trimmed-mean", "krum", "clipped-mean"] = "mean"
    """By weight, or one of those that bear malicious clients."""
    f: Positive = 1
    """Malicious clients that Krum reckons with; it needs 2 f + 3 clients."""
    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    """Share of the clients that the trimmed mean cuts off at each end."""
    clip_norm: NotNegative = 0.0
    """Norm that the clipped mean cuts updates to; 0 for the median of a round's norms."""

    def rule(self) -> Aggregation:
        """Return what a strategy takes."""
        return Aggregation(**self.model_dump())


class PrivacySettings(Section):
    """Differential privacy of the clients."""

    kind: Literal["none", "central", "local"] = "none"
    """Noise on the mean, or by every client on its own update; weights are then uniform."""
    clip_norm: Rate = 1.0
    """L2 norm that updates are cut to."""
    noise_multiplier: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Noise, in units of clip_norm: 0, or at least 0.001."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """For which delta the report states epsilon."""

    def rule(self) -> Privacy:
        """Return what strategies and clients take."""
        return Privacy(**self.model_dump(exclude={"delta"}))

    @field_validator("noise_multiplier")
    @classmethod
    def _not_tiny(cls, noise: float) -> float:
        if 0 < noise < 1e-3:
            raise ValueError(f"expected 0, or 0.001 to 1e6, received {noise!r}")
        return noise


class Faults(Section):
    """How many clients of every round misbehave, by what they do."""

    crash: Count = 0
    """Raise an error."""
    hang: Count = 0
    """Never answer; needs training.deadline."""
    nan: Count = 0
    """Send NaN weights."""
    inf: Count = 0
    """Send infinite weights."""
    wrong_shape: Count = 0
    """Send an array of another shape."""
    wrong_dtype: Count = 0
    """Send an array of another type."""
    missing_key: Count = 0
    """Leave an array out."""
    extra_key: Count = 0
    """Send one array too many."""
    negative_examples: Count = 0
    """Claim -1 training samples."""
    nan_examples: Count = 0
    """Claim NaN training samples."""
    zero_examples: Count = 0
    """Claim no training samples."""
    absurd_examples: Count = 0
    """Claim 10^18 training samples."""
    wrong_rate: Count = 0
    """Report another learning rate than the assigned one."""
    wrong_batch: Count = 0
    """Report another batch size than the assigned one."""
    sign_flip: Count = 0
    """Send the step in the opposite direction: well formed, but malicious."""
    scale: Count = 0
    """Send `factor` times the step: well formed, but malicious."""
    duplicate: Count = 0
    """Have the reply delivered twice."""
    late: Count = 0
    """Have the reply delivered with the next round's."""
    factor: Rate = 10.0
    """How much `scale` exaggerates."""

    def counts(self) -> dict[str, int]:
        """Return how many clients do what, kinds that nobody does left out."""
        counted: dict[str, int] = self.model_dump(exclude={"factor"})
        return {kind: number for kind, number in counted.items() if number}


class Run(Section):
    """How much is run."""

    rounds: Positive = defaults.ROUNDS
    """Training rounds."""
    seed: Count = defaults.SEED
    """First seed."""
    seeds: Annotated[int, Field(ge=1, le=100_000)] = defaults.SEEDS
    """How many seeds, counted up from the first."""
    strategies: tuple[str, ...] = defaults.STRATEGIES
    """What is compared, in this order; genetic-cfl+CONTROL is genetic-cfl with that control, and
    MODULE:NAME a class of one's own."""
    evaluate_every: Positive = 1
    """Rounds from one evaluation on the server to the next; round 0 and the last one always are.
    Under a budget every round is, as which is the last one shows only afterwards."""
    workers: Count = defaults.WORKERS
    """Clients trained at once; 0 for one per core, or as many lanes as suit a GPU. Does not change
    results."""
    target: ZeroToOne = 0.0
    """Test accuracy whose cost is stated; 0 for the highest that all arms reach."""
    budget: str = ""
    """What every arm may spend, as in client-epochs=600: it ends at its last whole round within
    that, or at the last round; "" for as much as its rounds cost."""

    @field_validator("budget")
    @classmethod
    def _readable(cls, text: str) -> str:
        budget.parse(text)
        return text

    @field_validator("strategies", mode="before")
    @classmethod
    def _from_text(cls, names: object) -> object:
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",") if name.strip()]
        return tuple(names) if isinstance(names, list) else names

    @field_validator("strategies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = (*REGISTRY, *VARIANTS, CENTRALISED)
        for name in names:
            if name not in known and not is_own(name):
                raise ValueError(str(unknown("strategy", name, (*known, FORM))))
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected one or more different strategies, received {list(names)}")
        return names
