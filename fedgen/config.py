"""The one tree of settings: parsed and checked once, frozen ever after."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_snake

from fedgen.errors import InputError, unknown
from strategies import REGISTRY

CENTRALISED = "centralised"
"""Training on pooled data, which ``run.strategies`` takes beside the registered strategies."""

MODELS = (
    "cnn",
    "cnn-mnist",
    "mlp",
    *(
        f"mlp-{stack}{variant}"
        for stack in ("324-108", "356-105-51", "507-312-212-126-84")
        for variant in ("", "-bn", "-bn-dropout")
    ),
)
"""Names that ``model.name`` takes."""

DATASETS = ("cifar10", "mnist", "digits")
"""Names that ``data.dataset`` takes, beside the path of an ``.npz`` file."""

Positive = Annotated[int, Field(ge=1, lt=2**31)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    """A section of the config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Data(Section):
    """What is learned from."""

    dataset: str = "cifar10"
    """cifar10, mnist, digits, or the path of an .npz file."""
    data_dir: str = ""
    """Where to look first for data files; "" for FEDGEN_DATA_DIR or the download cache."""
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

    kind: Literal["contiguous"] = "contiguous"
    """One random contiguous slice a client; slices may overlap."""
    clients: Positive = 100
    """How many clients there are."""
    min_samples: Count = 0
    """Shortest slice; 0 for 2 % of the training set (10 % under 10,000 samples)."""
    max_samples: Count = 0
    """Slices are shorter than this; 0 for 8 % of the training set (40 % under 10,000)."""

    @model_validator(mode="after")
    def _ordered(self) -> "Partition":
        if self.max_samples and max(self.min_samples, 1) >= self.max_samples:
            raise ValueError(
                f"min_samples must be less than max_samples, "
                f"received {self.min_samples} and {self.max_samples}"
            )
        return self


class Cohort(Section):
    """Who takes part."""

    fraction: Share = 0.3
    """Share of the clients in a cohort."""
    resample: bool = False
    """Draw a new cohort each round, instead of one for the whole run."""
    deadline: Rate = 60.0
    """Seconds to wait for the next of the cohort's nodes to come online and answer."""
    min_available: Count = 0
    """Clients of a cohort that must be online once the run has begun; 0 for half of them."""


class Model(Section):
    """What is trained."""

    name: str = "cnn"
    """One of the models that `fedgen.models` builds."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(str(unknown("model", name, MODELS)))
        return name


class Training(Section):
    """How a client trains."""

    local_epochs: Positive = 2
    """Epochs that a client trains per round."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with fresh moments each round, or SGD."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of SGD; Adam has none."""


class Run(Section):
    """How much is run."""

    rounds: Positive = 10
    """Training rounds."""
    seed: Count = 0
    """First seed."""
    seeds: Positive = 1
    """How many seeds, counted up from the first."""
    strategies: tuple[str, ...] = ("genetic-cfl", "fedavg")
    """What is compared, in this order."""
    workers: Count = 0
    """Clients trained at once; 0 for one per core. Does not change results."""

    @field_validator("strategies", mode="before")
    @classmethod
    def _from_text(cls, names: object) -> object:
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",") if name.strip()]
        return tuple(names) if isinstance(names, list) else names

    @field_validator("strategies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = (*REGISTRY, CENTRALISED)
        for name in names:
            if name not in known:
                raise ValueError(str(unknown("strategy", name, known)))
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected one or more different strategies, received {list(names)}")
        return names


class FixedRate(Section):
    """Settings of a strategy in which everybody trains alike."""

    learning_rate: Rate = 1e-4
    """Learning rate of everybody."""
    batch_size: Positive = 32
    """Batch size of everybody."""


class GeneticCFL(Section):
    """Settings of the evolution."""

    init: Literal["random", "probe", "reference"] = "random"
    """How genes start: drawn, probed on a small grid, or as in the published code."""
    fitness: Literal["validation", "improvement", "test"] = "validation"
    """What clients minimise; "test" leaks the test set and only replays the reference."""
    eps: Rate = 0.15
    """Radius of DBSCAN."""
    min_samples: Positive = 2
    """Neighbourhood that makes a core point of DBSCAN."""
    elites: Count = 2
    """Members of a cluster that keep their genes."""
    mutation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Step of the learning rate's mutation: times 1 - m, 1 or 1 + m."""
    recluster_every: Count = 0
    """Cluster again every so many rounds; 0 for once, after the start."""
    deal: Literal["owner", "index"] = "owner"
    """Elites keep genes on their own client, or genes are dealt in index order."""
    weighting: Literal["samples", "uniform"] = "samples"
    """Weights of the average."""


class Config(Section):
    """Every setting of a run."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"),
        frozen=True,
        extra="forbid",
        strict=True,
    )

    data: Data = Data()
    partition: Partition = Partition()
    cohort: Cohort = Cohort()
    model: Model = Model()
    training: Training = Training()
    run: Run = Run()
    genetic_cfl: GeneticCFL = GeneticCFL()
    fedavg: FixedRate = FixedRate()
    centralised: FixedRate = FixedRate()

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        clients, fraction = self.partition.clients, self.cohort.fraction
        if fraction * clients + 1e-9 < 1:
            raise ValueError(
                f"cohort.fraction x partition.clients must be at least 1, "
                f"received {fraction:g} x {clients}: the cohort would be empty"
            )
        if self.run.seed + self.run.seeds > 2**63:
            raise ValueError("run.seed + run.seeds must be at most 2^63")
        return self


@dataclass(frozen=True)
class Arm:
    """One (strategy, seed) of a comparison."""

    config: Config
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.strategy}-seed{self.seed}"


Tree = dict[str, Any]


def read_toml(path: Path) -> Tree:
    """Read a config file.

    Raises:
        InputError: If it is missing, unreadable, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config {path}: not valid TOML ({error})") from error


def parse_setting(text: str) -> tuple[str, str, Any]:
    """Split ``SECTION.KEY=VALUE``; a value that is no TOML value is a string.

    Raises:
        InputError: If the text has another form.
    """
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise InputError(f"--set {text!r}: expected SECTION.KEY=VALUE, as in fedavg.batch_size=64")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return section, key, parsed


def merge(tree: Tree, settings: Iterable[tuple[str, str, Any]]) -> Tree:
    """Return a tree with single settings laid over it; the tree stays as it is."""
    merged = {name: dict(part) if isinstance(part, dict) else part for name, part in tree.items()}
    for section, key, value in settings:
        part = merged.setdefault(section, {})
        if isinstance(part, dict):
            part[key] = value
    return merged


def build(tree: Mapping[str, Any], where: str = "settings") -> Config:
    """Check a tree of settings and fill in the defaults.

    Raises:
        InputError: One line that names the first wrong setting, what was
            expected and what was received.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error.errors()[0])}") from error


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    received = problem["input"]
    if problem["type"] == "extra_forbidden":
        known = _keys(path[:-1])
        what = "setting" if len(path) > 1 else "section"
        prefix = f"{'.'.join(path[:-1])}: " if len(path) > 1 else ""
        return prefix + str(unknown(what, path[-1], known))
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{'.'.join(path)}: {message}" if path else message
    return f"{'.'.join(path)}: {message}, received {received!r}"


def _keys(path: list[str]) -> list[str]:
    if not path:
        return [field.alias or name for name, field in Config.model_fields.items()]
    annotation = Config.model_fields[to_snake(path[0])].annotation
    return list(annotation.model_fields) if isinstance(annotation, type) else []


def dump(config: Config) -> Tree:
    """Return a config as plain TOML values, every setting in it."""
    tree: Tree = json.loads(config.model_dump_json(by_alias=True))
    return tree


def to_toml(tree: Mapping[str, Any]) -> str:
    """Write a tree as TOML."""
    return tomli_w.dumps(tree)
