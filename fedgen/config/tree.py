"""The one tree of settings: parsed and checked once, frozen ever after."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, model_validator

from fedgen.config import budget
from fedgen.config.base import Section
from fedgen.config.model import Model
from fedgen.config.sections import (
    AggregationSettings,
    Cohort,
    Data,
    Devices,
    Faults,
    Partition,
    PrivacySettings,
    Run,
    Training,
)
from fedgen.config.strategies import (
    IFCA,
    PBT,
    AdaptiveServer,
    Cyclic,
    DeltaSGD,
    FedAvgDecay,
    FedAvgM,
    FedAvgTuned,
    FedEx,
    FedProx,
    FixedRate,
    GeneticCFL,
    RandomRates,
    Scaffold,
)
from fedgen.config.toml import Tree, read_toml
from fedgen.errors import InputError, unknown
from strategies import GENETIC, VARIANTS, registered
from strategies.core.cohort import cohort_size


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
    devices: Devices = Devices()
    aggregation: AggregationSettings = AggregationSettings()
    privacy: PrivacySettings = PrivacySettings()
    faults: Faults = Faults()
    run: Run = Run()
    genetic_cfl: GeneticCFL = GeneticCFL()
    fedavg: FixedRate = FixedRate()
    fedavg_tuned: FedAvgTuned = FedAvgTuned()
    fedavg_decay: FedAvgDecay = FedAvgDecay()
    fedavgm: FedAvgM = FedAvgM()
    fedadam: AdaptiveServer = AdaptiveServer()
    fedyogi: AdaptiveServer = AdaptiveServer()
    fednova: FixedRate = FixedRate()
    random_search: RandomRates = RandomRates()
    pbt: PBT = PBT()
    fedex: FedEx = FedEx()
    fedprox: FedProx = FedProx()
    cyclic: Cyclic = Cyclic()
    scaffold: Scaffold = Scaffold()
    delta_sgd: DeltaSGD = DeltaSGD()
    ifca: IFCA = IFCA()
    centralised: FixedRate = FixedRate()

    def section_of(self, strategy: str) -> Section | None:
        """Return a strategy's section, a variant's own settings laid over it, if there is one."""
        section: Section | None = getattr(self, registered(strategy).replace("-", "_"), None)
        return section and section.model_copy(update=dict(VARIANTS.get(strategy, {})))

    @property
    def genetics(self) -> dict[str, GeneticCFL]:
        """The genetic strategy's settings by name: its section, and every variant compared."""
        variants = [name for name in self.run.strategies if name in VARIANTS]
        return {
            name: section
            for name in (GENETIC, *variants)
            if isinstance(section := self.section_of(name), GeneticCFL)
        }

    @property
    def has_further_genes(self) -> bool:
        """Whether clients of some arm have more genes than a learning rate and a batch size."""
        return any(genetic.has_further_genes for genetic in self.genetics.values())

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        clients, fraction = self.partition.clients, self.cohort.fraction
        if cohort_size(clients, fraction) < 1:
            raise ValueError(
                f"cohort.fraction x partition.clients must be at least 1, "
                f"received {fraction:g} x {clients}: the cohort would be empty"
            )
        if self.run.seed + self.run.seeds > 2**63:
            raise ValueError("run.seed + run.seeds must be at most 2^63")
        limit = budget.parse(self.run.budget)
        if limit and limit.unit == budget.SIMULATED_SECONDS and self.devices.speed == "none":
            raise ValueError(
                f"run.budget in {limit.unit} needs devices.speed 'uniform' or 'lognormal', "
                f"received {self.devices.speed!r}"
            )
        for name, genetic in self.genetics.items():
            self._check_genetic(name, genetic)
        self._check_replies(cohort_size(clients, fraction))
        return self

    def _check_genetic(self, name: str, genetic: GeneticCFL) -> None:
        if genetic.evolve_momentum and self.training.optimizer != "sgd":
            raise ValueError(
                f"{name}.evolve_momentum needs training.optimizer 'sgd', "
                f"received {self.training.optimizer!r}: Adam has no such momentum"
            )
        apart = genetic.models == "per-cluster"
        if apart and (self.aggregation.kind != "mean" or self.privacy.kind == "central"):
            raise ValueError(
                f"{name}.models 'per-cluster' needs aggregation.kind 'mean' and privacy.kind "
                "'none' or 'local', as a cluster may be one client, "
                f"received {self.aggregation.kind!r} and {self.privacy.kind!r}"
            )

    def _check_replies(self, cohort: int) -> None:
        rule, faults = self.aggregation.rule(), self.faults
        rule.check(cohort)
        if self.privacy.kind != "none" and rule.kind != "mean":
            raise ValueError(
                f"privacy.kind {self.privacy.kind!r} needs aggregation.kind 'mean', "
                f"received {rule.kind!r}"
            )
        if sum(faults.counts().values()) > cohort:
            raise ValueError(
                f"faults: expected at most {cohort} clients, the size of a cohort, "
                f"received {sum(faults.counts().values())}"
            )
        if faults.hang and not self.training.deadline:
            raise ValueError(
                f"faults.hang = {faults.hang} would stop the run for ever: "
                "set training.deadline, received 0"
            )


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


def build(tree: Mapping[str, Any], where: str = "settings") -> Config:
    """Check a tree of settings and fill in the defaults.

    Raises:
        InputError: One line that names the first wrong setting, what was
            expected and what was received.
    """
    try:
        return Config.model_validate(with_model_file(tree))
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error.errors()[0])}") from error


def with_model_file(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tree in which a ``model.name`` that is a file has given way to the file's settings.

    So a run's own ``config.toml`` holds them, and needs the file no more. Settings that
    stand beside the name win over the file's.

    Raises:
        InputError: If the file cannot be read, or holds anything but a ``[model]`` table.
    """
    model = tree.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(name, str) or not name.endswith(".toml"):
        return tree
    content = read_toml(Path(name))
    table = content.get("model")
    if set(content) != {"model"} or not isinstance(table, dict):
        raise InputError(
            f"model {name}: expected one table [model], as `fedgen study --best --export` writes, "
            f"received {', '.join(content) or 'an empty file'}"
        )
    if str(table.get("name", "")).endswith(".toml"):
        raise InputError(
            f"model {name}: expected the name of a model, received {table['name']!r}, a file"
        )
    beside = {key: value for key, value in model.items() if key != "name"}
    return {**tree, "model": table | beside}


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    return explain(problem, _keys(path[:-1]))


def explain(problem: Any, known: Iterable[str], top: str = "section") -> str:
    """Return what is wrong with a setting, by pydantic's description of it.

    Args:
        problem: One of ``ValidationError.errors()``.
        known: Names that may stand where it stands.
        top: What a name without a section is called.
    """
    path = [str(part) for part in problem["loc"]]
    received = problem["input"]
    if problem["type"] == "extra_forbidden":
        what = "setting" if len(path) > 1 else top
        prefix = f"{'.'.join(path[:-1])}: " if len(path) > 1 else ""
        return prefix + str(unknown(what, path[-1], known))
    if problem["type"] == "missing":
        return f"{'.'.join(path)}: expected a value, there is none"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{'.'.join(path)}: {message}" if path else message
    return f"{'.'.join(path)}: {message}, received {received!r}"


def sections() -> dict[str, list[str]]:
    """Return the names of all sections, and of the settings in each."""
    return {
        field.alias or name: list(field.annotation.model_fields)
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _keys(path: list[str]) -> list[str]:
    return sections().get(path[0], []) if path else list(sections())


def dump(config: Config) -> Tree:
    """Return a config as plain TOML values, every setting in it."""
    tree: Tree = json.loads(config.model_dump_json(by_alias=True))
    return tree
