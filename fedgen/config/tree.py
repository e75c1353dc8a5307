"""The one tree of settings: parsed and checked once."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ConfigDict, ValidationError, model_validator

from fedgen.config import budget
from fedgen.config import strategies as own
from fedgen.config.arms import with_arms
from fedgen.config.base import Section, explain
from fedgen.config.metrics import Metric, deciding
from fedgen.config.plugins import is_own
from fedgen.config.sections import (
    CENTRALISED,
    AggregationSettings,
    Cohort,
    Data,
    Devices,
    Faults,
    Genes,
    Messages,
    Partition,
    PrivacySettings,
    Run,
    Training,
    is_pooled,
)
from fedgen.config.sections.model import Model
from fedgen.config.sections.tuning import inapplicable
from fedgen.config.toml import Tree, read_toml
from fedgen.errors import Inconsistent, InputError, unknown
from strategies import GENETIC, REGISTRY, TUNERS, parse
from strategies.core.cohort import cohort_size
from strategies.names import AT


class Config(Section):
    """Every setting of a run: sections of fedgen's, and beside them those of strategies.

    A strategy's own section is here as plain values, under the strategy's name, and
    ``fedgen.config.strategies.read`` makes its settings of it. ``build`` has checked and completed
    those of fedgen's; of a user's own strategy there is what was set, checked when it is built.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    data: Data = Data()
    partition: Partition = Partition()
    cohort: Cohort = Cohort()
    model: Model = Model()
    training: Training = Training()
    devices: Devices = Devices()
    aggregation: AggregationSettings = AggregationSettings()
    privacy: PrivacySettings = PrivacySettings()
    messages: Messages = Messages()
    faults: Faults = Faults()
    genes: Genes = Genes()
    run: Run = Run()

    def section_of(self, strategy: str) -> dict[str, Any]:
        """Return the section of what chooses under a name, or else of what trains.

        A variant's own settings, and those that the name gives, are laid over it.
        """
        named = parse(strategy)
        return {**self.__pydantic_extra__.get(named.section, {}), **named.changed}

    def trained_section_of(self, strategy: str) -> dict[str, Any]:
        """Return the section of what trains under a name, as ``section_of`` does."""
        named = parse(strategy)
        laid = named.trained if named.tuner else named.changed
        return {**self.__pydantic_extra__.get(named.strategy, {}), **laid}

    @property
    def genetics(self) -> dict[str, dict[str, Any]]:
        """The genetic strategy's section by name, those of variants, and one's own that may be."""
        names = (GENETIC, *self.run.strategies)
        sections = {name: parse(name).section for name in names}
        return {n: self.section_of(n) for n, of in sections.items() if of == GENETIC or is_own(of)}

    @property
    def metric(self) -> Metric:
        """The metric that decides.

        Raises:
            InputError: If there is none of its name for such targets.
        """
        settings = self.run
        return deciding(settings.metric, settings.better, self.data.targets, settings.metrics)

    @property
    def has_further_genes(self) -> bool:
        """Whether clients of some arm have more genes than a learning rate and a batch size."""
        genes = ("evolve_epochs", "evolve_momentum")
        return any(getattr(self.genes, gene) for gene in ("local_epochs", "momentum")) or any(
            section.get(gene) is True for section in self.genetics.values() for gene in genes
        )

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        for name, section in self.__pydantic_extra__.items():
            if name not in names() and not is_own(name):
                raise ValueError(str(unknown("section", name, names())))
            if not isinstance(section, dict):
                raise ValueError(f"{name}: expected a table of settings, received {section!r}")
        if self.partition.kind not in ("natural", "given"):  # whose clients the data know of
            self.check_cohort()
        if self.run.seed + self.run.seeds > 2**63:
            raise ValueError("run.seed + run.seeds must be at most 2^63")
        for setting in ("budget", "patience"):
            limit = budget.parse(getattr(self.run, setting))
            if limit and limit.unit == budget.SIMULATED_SECONDS and self.devices.speed == "none":
                raise ValueError(
                    f"run.{setting} in {limit.unit} needs devices.speed 'uniform' or 'lognormal', "
                    f"received {self.devices.speed!r}"
                )
        for name, genetic in self.genetics.items():
            if genetic.get("evolve_momentum") is True and self.training.optimizer != "sgd":
                raise ValueError(
                    f"{name}.evolve_momentum needs training.optimizer 'sgd', "
                    f"received {self.training.optimizer!r}, which has no such momentum"
                )
        chosen = [parse(name).section for name in self.run.strategies]
        if self.genes.declared and not any(name in TUNERS or is_own(name) for name in chosen):
            raise ValueError(
                f"genes: expected a strategy that evolves or searches them, as {GENETIC}, among "
                f"run.strategies, received {', '.join(self.run.strategies)}"
            )
        targets = None if self.data.targets == "auto" else self.data.targets
        for gene, why in inapplicable(self.training, targets, self.model).items():
            if gene in self.genes.declared:
                raise ValueError(f"genes.{gene}: no client can apply it: it {why}")
        rule, faults = self.aggregation.rule(), self.faults
        if self.privacy.kind != "none" and rule.kind != "mean":
            raise ValueError(
                f"privacy.kind {self.privacy.kind!r} needs aggregation.kind 'mean', "
                f"received {rule.kind!r}"
            )
        if faults.hang and not self.training.deadline:
            raise ValueError(
                f"faults.hang = {faults.hang} would stop the run for ever: "
                "set training.deadline, received 0"
            )
        return self

    def check_cohort(self) -> None:
        """Check that there are clients enough for the other settings.

        Raises:
            ValueError: If there are not.
        """
        clients, fraction = self.partition.clients, self.cohort.fraction
        cohort, misbehave = cohort_size(clients, fraction), sum(self.faults.counts().values())
        if cohort < 1:
            raise ValueError(
                f"cohort.fraction x partition.clients must be at least 1, "
                f"received {fraction:g} x {clients}: the cohort would be empty"
            )
        self.aggregation.rule().check(cohort)
        if misbehave > cohort:
            raise ValueError(
                f"faults: expected at most {cohort} clients, the size of a cohort, "
                f"received {misbehave}"
            )


OVER = "-over-"
"""Stands for the slash between a tuner and a strategy in names of files."""


@dataclass(frozen=True)
class Arm:
    """One (strategy, seed) of a comparison."""

    config: Config
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called; a slash in the strategy's name would be a folder."""
        return f"{self.strategy.replace('/', OVER)}-seed{self.seed}"


def build(tree: Mapping[str, Any], where: str = "settings") -> Config:
    """Check a tree of settings and fill in the defaults, those of every strategy as well.

    Raises:
        InputError: One line that names the first wrong setting, what was
            expected and what was received.
    """
    config = reread(tree, where)
    try:
        sections = {
            name: asdict(own.read(name, config.section_of(name)))
            for name in (*REGISTRY, CENTRALISED)
        }
        for name in config.run.strategies:
            _check_named(config, name)
    except InputError as error:
        raise type(error)(f"{where}: {error}") from error
    return config.model_copy(update=sections)


def _check_named(config: Config, name: str) -> None:
    """Check what the name of a strategy gives it; a user's own is looked at when it is built."""
    named = parse(name)
    if not is_pooled(name) and not is_own(named.strategy):
        own.check_schedule(name, config.training)
    if AT not in name:
        return
    given = {
        named.section: config.section_of(name),
        named.strategy: config.trained_section_of(name),
    }
    for section, settings in given.items():
        if not is_own(section):
            try:
                own.read(section, settings)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error


def reread(tree: Mapping[str, Any], where: str) -> Config:
    """Return the config of a tree that ``build`` has completed; strategies are not looked at.

    Raises:
        InputError: As ``build``, of all but the strategies' own settings.
    """
    try:
        return Config.model_validate(with_arms(with_model_file(tree)))
    except ValidationError as error:
        problem = error.errors()[0]
        path = [str(part) for part in problem["loc"][:-1]]
        kind = InputError if problem["loc"] else Inconsistent  # of the whole, not of one setting
        raise kind(f"{where}: {explain(problem, _known(path))}") from error


def _known(path: list[str]) -> list[str]:
    """Return the names that may stand in a table of fedgen's own, the whole tree for no path."""
    kind: Any = Config
    for part in path:
        annotation = kind.model_fields[part].annotation
        inside = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        kind = next((one for one in inside if issubclass(one, Section)), kind)
    return names() if kind is Config else list(kind.model_fields)


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


def names() -> list[str]:
    """Return the names of all sections."""
    return [*Config.model_fields, *REGISTRY, CENTRALISED]


def sections() -> dict[str, list[str]]:
    """Return the names of all sections, and of the settings in each."""
    return _ours() | {name: own.keys(name) for name in (*REGISTRY, CENTRALISED)}


def _ours() -> dict[str, list[str]]:
    return {
        name: list(field.annotation.model_fields)
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def dump(config: Config) -> Tree:
    """Return a config as plain TOML values: all settings; of one's own strategies, those set."""
    tree: Tree = json.loads(config.model_dump_json(exclude_none=True))  # TOML has no null
    told = {name: part for name, part in tree.items() if part or name != "genes"}
    return {name: told[name] for name in names() if name in told} | told
