"""A run directory: made, opened, extended, and described by its ``config.toml``."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedgen import datasets, directory, disk, runtime, store
from fedgen.checkpoints import latest_manifest
from fedgen.config import Arm, Config, Tree, build, dump, merge, read_toml, to_toml
from fedgen.datasets import Dataset
from fedgen.directory import CONFIG
from fedgen.errors import InputError, Unavailable
from fedgen.extensions import code_of, is_own
from fedgen.labels import are_classes
from fedgen.records import EndedRow, RoundRow
from fedgen.summary import summarise

PROVENANCE = "provenance"
FALLBACK = "digits"

FREE = {
    "run.rounds",
    "run.workers",
    "run.target",
    "data.data_dir",
    "data.dataset",
    "provenance.python",
    "provenance.notes",
}
"""What may change between two parts of a run: it does not change results, adds to them, or (where
data lies) is held against the data set's fingerprint."""


@dataclass(frozen=True)
class Run:
    """A run directory and its config."""

    path: Path
    config: Config
    provenance: Tree

    def tree(self) -> Tree:
        """Return what ``config.toml`` holds: every setting, and the provenance."""
        return dump(self.config) | {PROVENANCE: self.provenance}

    @property
    def notes(self) -> list[str]:
        """What a user must hear of how the data were read."""
        notes = self.provenance.get("notes", [])
        return [*map(str, notes)] if isinstance(notes, list) else []

    @property
    def class_names(self) -> list[str]:
        """What outputs call every class; nothing where classes are called 0, 1, 2 and so on."""
        labels = self.provenance.get("labels", [])
        return [*map(str, labels)] if isinstance(labels, list) else []

    @property
    def arms(self) -> list[Arm]:
        """All arms, in the canonical order of the CSV files."""
        run = self.config.run
        return [
            Arm(self.config, name, run.seed + offset)
            for name in run.strategies
            for offset in range(run.seeds)
        ]


def choose_dataset(config: Config, named: bool) -> tuple[Config, str | None]:
    """Load the data set; fall back on digits when nobody named one.

    Returns:
        The config with absolute paths that names the data set in use, and what
        went wrong, if it is not the one asked for.

    Raises:
        InputError: If a data set that somebody named cannot be had, or one that
            is there is damaged.
    """
    config = absolute_data(config)
    try:
        datasets.load(config.data)
    except Unavailable as error:
        if named:
            raise
        data = config.data.model_copy(update={"dataset": FALLBACK})
        config = config.model_copy(update={"data": data})
        datasets.load(config.data)
        return config, str(error)
    return config, None


@contextmanager
def created(config: Config, out: Path | None) -> Iterator[Run]:
    """Make the run directory of a checked config, and be its parent inside a ``with`` block.

    Raises:
        InputError: If the directory is not free, or cannot be written.
        RunError: If the config cannot be written.

    A run that ends before a round of it is finished leaves nothing.
    """
    dataset = datasets.load(config.data)
    run = Run(out or default_path(dataset.name), config, provenance(dataset, config))
    with (
        directory.discarded_unless(run.path, partial(store.has_begun, run.path, run.arms)),
        directory.claim(run.path, new=True),
    ):
        directory.create(run.path, to_toml(run.tree()))
        yield run


@contextmanager
def resumed(path: Path, rounds: int | None = None, workers: int | None = None) -> Iterator[Run]:
    """Open a run to go on with it, and be its parent inside a ``with`` block.

    Args:
        path: The run directory.
        rounds: The last round, ``None`` to leave it.
        workers: Clients at once, ``None`` to leave it.

    Raises:
        InputError: If it is no run directory, another process works on it, rounds
            would be lost, or going on would not give the results of one run: with
            the list of differences.
        RunError: If the config cannot be written.
    """
    with directory.claim(path, new=False):
        run = open_run(path)
        settings = (("run", "rounds", rounds), ("run", "workers", workers))
        given = [setting for setting in settings if setting[2] is not None]
        config = build(merge(dump(run.config), given))
        if config.run.rounds < run.config.run.rounds:
            raise InputError(
                f"--rounds {rounds}: the run has {run.config.run.rounds}, expected at least that"
            )
        check_resumable(run, provenance(datasets.load(config.data), config))
        extended = Run(path, config, run.provenance)
        if given:
            disk.replace(path / CONFIG, to_toml(extended.tree()).encode())
        yield extended


def default_path(dataset: str) -> Path:
    """Return the run directory of a run that named none, for a data set's name."""
    return Path("runs") / f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def provenance(dataset: Dataset, config: Config) -> Tree:
    """Return what the results depend on beside the settings.

    Where a model or strategy is the user's own, its code is among it, and what a model of the
    user's starts from: every process that plays an arm must come to the same.
    """
    codes = {name: code_of(name) for name in (config.model.name, *config.run.strategies)}
    return {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "python": platform.python_version(),
        **{name: version(name) for name in ("fedgen", *runtime.PACKAGES)},
        **told(dataset),
        **{f"code of {name}": code for name, code in codes.items() if code},
        **(_initial_weights(config) if is_own(config.model.name) else {}),
    }


def _initial_weights(config: Config) -> Tree:
    runtime.import_tensorflow()
    from fedgen import models, world

    seeds = range(config.run.seed, config.run.seed + config.run.seeds)
    built = {seed: models.get_weights(world.initial_model(config, seed)) for seed in seeds}
    return {f"weights of seed {seed}": world.digest(weights) for seed, weights in built.items()}


def told(dataset: Dataset) -> Tree:
    """Return what a user must know of a data set, where there is something: notes, and labels."""
    others = [] if are_classes(dataset.labels) else [*dataset.labels]
    found = {"notes": [*dataset.notes], "labels": others}
    return {name: values for name, values in found.items() if values}


def open_run(path: Path) -> Run:
    """Read a run directory's config and provenance.

    Raises:
        InputError: If it is no run directory.
    """
    if (path / "study.toml").exists():
        raise InputError(
            f"{path}: is the directory of a study, expected that of a run; its page is "
            f"{path / 'study.html'}, and `python -m fedgen study` goes on with it"
        )
    if path.is_file():
        raise InputError(f"{path}: not a run directory, it is a file")
    if not (path / CONFIG).exists():
        raise InputError(f"{path}: not a run directory, it has no {CONFIG}")
    tree = read_toml(path / CONFIG)
    origin = tree.pop(PROVENANCE, {})
    if not isinstance(origin, dict):
        raise InputError(f"{path / 'config.toml'}: expected a table [{PROVENANCE}]")
    return Run(path, build(tree, str(path / CONFIG)), origin)


def is_finished(run: Run) -> bool:
    """Whether every arm has played its last round, or its last one within the budget."""
    settings = run.config.run
    shards = [store.Shard(run.path, arm) for arm in run.arms]
    return all(
        shard.finished_round >= settings.rounds or shard.stopped(settings.budget) is not None
        for shard in shards
    )


def finished_how(run: Run) -> str:
    """Say of a finished run what ended it, and what would add to it."""
    settings = run.config.run
    ended = [store.Shard(run.path, arm).finished_round < settings.rounds for arm in run.arms]
    if all(ended):
        return f"already finished; its budget of {settings.budget} is reached."
    if any(ended):
        return (
            f"already finished; the budget of {settings.budget} is reached by {sum(ended)} of "
            f"{len(ended)} arms, --rounds adds rounds to the others within it."
        )
    return "already finished; --rounds adds rounds."


def made_with(run: Run) -> dict[str, Any]:
    """Return the settings and versions that decide a run's results, by dotted name."""
    return {
        f"{section}.{key}": value
        for section, part in run.tree().items()
        for key, value in part.items()
        if f"{section}.{key}" not in FREE
    }


def check_resumable(run: Run, here: Tree) -> None:
    """Check that what goes on is what began.

    Args:
        run: What ``config.toml`` says now.
        here: The provenance that a run made now would have.

    Raises:
        InputError: With every difference between the settings and versions in the
            checkpoints, those in ``config.toml``, and those of this machine.
    """
    now = made_with(Run(run.path, run.config, here))
    manifests = map(latest_manifest, sorted((run.path / store.SHARDS).glob("*")))
    began = [made_with(run), *(manifest.made_with for manifest in manifests if manifest)]
    found = [text for then in began for text in differences(then, now)]
    if found:
        raise InputError(
            f"{run.path}: cannot go on, as its results would be of two runs: "
            f"{'; '.join(dict.fromkeys(found))}. Undo the difference, or start a new run"
        )


def other_provenance(made_by: object, config: Config) -> list[str]:
    """List where a run's provenance differs from that of a run made now; none without one."""
    if not isinstance(made_by, dict) or not made_by:
        return []
    now = provenance(datasets.load(config.data), config)
    texts = differences(made_by, now)
    return [text for text in texts if not text.startswith(("python ", "notes "))]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two flat trees, a line each."""
    names = sorted({*then, *now})
    return [
        f"{name} was {then.get(name, 'not there')!r} and is {now.get(name, 'not there')!r}"
        for name in names
        if then.get(name) != now.get(name)
    ]


def summarise_run(
    run: Run,
    rounds: Sequence[RoundRow],
    parameters: int | None,
    ended: Sequence[EndedRow] = (),
    classes: int = 0,
) -> dict[str, Any]:
    """Summarise a run's rounds."""
    dataset = str(run.provenance.get("dataset", run.config.data.dataset))
    named = {"labels": run.class_names, "notes": run.notes}
    summary = summarise(run.config, dataset, parameters, rounds, ended, classes)
    return summary | {name: values for name, values in named.items() if values}


def absolute_data(config: Config) -> Config:
    """Make data paths absolute: a run may be resumed from another directory."""
    data = config.data
    update: Tree = {}
    folder = data.data_dir or os.environ.get("FEDGEN_DATA_DIR", "")
    if folder:
        update["data_dir"] = str(Path(folder).absolute())
    if data.dataset.endswith(".npz"):
        update["dataset"] = str(Path(data.dataset).absolute())
    return config.model_copy(update={"data": data.model_copy(update=update)})
