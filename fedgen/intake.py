"""What a comparison is asked for, and whether it can be had: before anything is written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fedgen import datasets, runtime, splits
from fedgen import run as runs
from fedgen.config import Arm, Config, Setting, build, merge, read_toml
from fedgen.errors import InputError

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """A checked config.

    Attributes:
        config: Every setting.
        names_dataset: Whether somebody named the data set; nothing else will do then.
        made_by: Versions and data of the run whose ``config.toml`` it is, if it is one.
    """

    config: Config
    names_dataset: bool
    made_by: object


def read(path: Path | None, settings: Iterable[Setting]) -> Request:
    """Read a config file, and lay single settings over it.

    Raises:
        InputError: If the file, or a setting, is wrong.
    """
    tree = read_toml(path) if path else {}
    made_by = tree.pop(runs.PROVENANCE, {})
    build(tree, str(path))
    given = list(settings)
    if any((section, key) == ("model", "name") for section, key, _ in given):
        tree.pop("model", None)  # nothing is left of another model's layers
    tree = merge(tree, given)
    return Request(build(tree), "dataset" in tree.get("data", {}), made_by)


def settle(request: Request, warn: Warn) -> Config:
    """Return the config that can be played; TensorFlow comes in here.

    Args:
        request: What is asked for.
        warn: Is told what will be otherwise: the data set, or the versions.

    Raises:
        InputError: If the data cannot be had, or the model or a strategy cannot be built.
    """
    config, problem = runs.choose_dataset(request.config, request.names_dataset)
    if problem is not None:
        warn(f"!!! CIFAR-10 CANNOT BE HAD: {problem}")
        warn(
            "!!! GOING ON WITH DIGITS. Put cifar10.npz or cifar-10-binary.tar.gz into --data-dir, "
            "or name a data set with --dataset."
        )
    for difference in runs.other_provenance(request.made_by, config):
        warn(f"!!! NOT THE SAME RUN AGAIN: {difference}")
    check(config)
    return config


def check(config: Config) -> None:
    """Check that the partition, the model and the strategies of a config can be had.

    Raises:
        InputError: If not.
    """
    if config.partition.kind != "contiguous":  # which fits any data set
        labels, share = datasets.load(config.data).y_train, config.data.validation_fraction
        for seed in range(config.run.seed, config.run.seed + config.run.seeds):
            splits.split(labels, config.partition, seed, validation_fraction=share)
    runtime.import_tensorflow()
    from fedgen import arms, world
    from strategies.fedavg import StrategyError

    world.initial_model(config, config.run.seed)
    for name in config.run.strategies:
        try:
            arms.check_strategy(Arm(config, name, config.run.seed))
        except StrategyError as error:
            raise InputError(str(error)) from error
