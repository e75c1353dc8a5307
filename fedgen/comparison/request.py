"""What a comparison is asked for, and whether it can be had: before anything is written.

What it takes to read a config is imported first, and at once: what that says is told in the first
second. Libraries come in with what is checked against data.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedgen.config.arms import ARMS, swept
from fedgen.config.plugins import is_own
from fedgen.config.sections.tuning import GENES
from fedgen.config.toml import Setting, merge, read_toml
from fedgen.config.tree import Arm, Config, build, dump
from fedgen.errors import Inconsistent, InputError
from fedgen.runs.run import PROVENANCE
from strategies import CONTROL_ARMS, GENETIC, parse

if TYPE_CHECKING:
    from fedgen.federation.resources import Resources

Warn = Callable[[str], None]

TRIED = 50
"""Test samples that metrics of a user's own are tried on."""


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
    made_by: object = None


def read(
    path: Path | None,
    settings: Iterable[Setting],
    *,
    sweeps: Sequence[str] = (),
    controls: bool = False,
) -> Request:
    """Read a config file, and lay single settings over it.

    Args:
        path: The file, if there is one.
        settings: What wins over it.
        sweeps: Strategies to play at several values of a setting, as ``swept`` takes them.
        controls: Compare all controls of the genetic strategy as well.

    Raises:
        InputError: If the file, or a setting, is wrong.
    """
    tree = read_toml(path) if path else {}
    if "study" in tree:
        raise InputError(
            f"config {path}: is a study, expected settings of a comparison; run it with: "
            f"python -m fedgen study {path}"
        )
    made_by = tree.pop(PROVENANCE, {})
    alone = None
    if path:
        try:
            build(tree, str(path))
        except Inconsistent as error:  # a setting that wins over the file may make it good
            alone = error
    given = list(settings)
    if any((section, key) == ("model", "name") for section, key, _ in given):
        tree.pop("model", None)  # nothing is left of another model's layers
    if any((section, key) == ("run", "strategies") for section, key, _ in given):
        tree.pop(ARMS, None)  # they would stand beside what is asked for
    tree = merge(tree, given)
    try:
        config = build(tree)
    except InputError as error:
        raise (alone if alone and isinstance(error, Inconsistent) else error) from None
    if sweeps:
        config = _comparing(config, swept(config.run.strategies, sweeps))
    trained = {parse(name).strategy for name in config.run.strategies}
    for section, key, _ in given:
        if is_own(section) and section not in trained:
            raise InputError(f"setting {section}.{key}: expected {section} among the strategies")
    if controls:
        config = with_controls(config)
    return Request(config, "dataset" in tree.get("data", {}), made_by)


def with_controls(config: Config) -> Config:
    """Return a config in which all controls are compared that are not yet.

    Raises:
        InputError: If what they are controls of is not compared.
    """
    names = config.run.strategies
    if GENETIC not in names:
        raise InputError(
            f"--controls: expected {GENETIC} among the strategies, which the controls are of, "
            f"received {','.join(names)}"
        )
    control = config.section_of(GENETIC)["control"]
    if control != "none":
        raise InputError(
            f"--controls: expected {GENETIC}.control 'none', so that there is something to "
            f"compare them with, received {control!r}"
        )
    everybody = [*names, *(name for name in CONTROL_ARMS if name not in names)]
    return _comparing(config, everybody)


def _comparing(config: Config, names: Sequence[str]) -> Config:
    return build(merge(dump(config), [("run", "strategies", names)]))


def settle(request: Request, warn: Warn) -> "Resources":
    """Return what a run can be played with; the framework comes in here.

    Args:
        request: What is asked for.
        warn: Is told what will be otherwise: the data set, or the versions; and what the user of
            a model should know.

    Raises:
        InputError: If the data cannot be had, or the model or a strategy cannot be built.
    """
    from fedgen.comparison import opening

    held, problem = opening.choose_dataset(request.config, request.names_dataset)
    if problem is not None:
        warn(f"!!! CIFAR-10 CANNOT BE HAD: {problem}")
        warn(
            "!!! GOING ON WITH DIGITS. Put cifar10.npz or cifar-10-binary.tar.gz into --data-dir, "
            "or name a data set with --dataset."
        )
    for difference in opening.other_provenance(request.made_by, held):
        warn(f"!!! NOT THE SAME RUN AGAIN: {difference}")
    check(held, warn)
    return held


def check(held: "Resources", warn: Warn) -> None:
    """Check that the partition, the model and the strategies of a config can be had.

    Args:
        held: What is checked.
        warn: Is told what the user of a model should know.

    Raises:
        InputError: If not.
    """
    held.start()
    from fedgen.comparison import trainers
    from strategies.core.outcomes import StrategyError

    config = held.config
    if config.partition.kind != "contiguous":  # which fits any data set
        for seed in range(config.run.seed, config.run.seed + config.run.seeds):
            held.partition(seed)
    _check_metrics(held)
    for note in _check_model(held):
        warn(f"model {config.model.name!r}: {note}")
    if config.genes.declared and not any(map(trainers.has_tuner, config.run.strategies)):
        raise InputError(
            "genes: expected a strategy that evolves or searches them among run.strategies, "
            f"received {', '.join(config.run.strategies)}"
        )
    for gene in config.genes.declared:
        if gene in GENES and (why := held.engine(config.run.seed).why_not(gene)):
            raise InputError(f"genes.{gene}: no client can apply it: it {why}")
    for name in config.run.strategies:
        try:
            trainers.check_strategy(Arm(config, name, config.run.seed), held)
        except StrategyError as error:
            raise InputError(str(error)) from error


def _check_metrics(held: "Resources") -> None:
    """Check that metrics of a user's own can be had, and measure something.

    Raises:
        InputError: If not.
    """
    import numpy as np

    from fedgen.analysis import metrics

    data = held.dataset
    due = data.y_test[:TRIED]
    scores = np.random.default_rng(0).normal(size=(len(due), data.outputs))
    metrics.measure(data.kind, due, scores, held.own_metrics)


def _check_model(held: "Resources") -> list[str]:
    """Check that the model can be had and honoured; return what its user should know."""
    from fedgen.engine import own_model, saved_model
    from fedgen.engine.zoo import augmentation

    name, seed, dataset = held.config.model.name, held.config.run.seed, held.dataset
    built = held.model(seed)
    if changes := held.config.training.augmentation:
        augmentation.before(built, changes, dataset)
    if not is_own(name):
        return []
    model = own_model.check(name, dataset.shape, dataset.outputs, seed, dataset.kind)
    own_model.check_ids(name, model, dataset)
    added = own_model.terms(model)
    told = (
        f"train_loss is the loss and the {added} term(s) that the model adds to it; "
        "validation and test loss are the loss alone"
    )
    top = saved_model.TOPS[dataset.kind]
    notes = [told if added else "", saved_model.format_of(model, top).note]
    return [note for note in notes if note]
