"""A run directory: made, opened, extended, and described by its ``config.toml``."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedgen import datasets, store
from fedgen.config import Arm, Config, Tree, build, dump, merge, read_toml, to_toml
from fedgen.datasets import Dataset
from fedgen.errors import InputError, Unavailable
from fedgen.records import RoundRow
from fedgen.summary import summarise

PACKAGES = ("fedgen", "flwr", "tensorflow", "keras", "numpy", "scikit-learn")
PROVENANCE = "provenance"
FALLBACK = "digits"


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


def create(config: Config, out: Path | None) -> Run:
    """Make the run directory of a checked config.

    Raises:
        InputError: If the directory is not free, or cannot be written.
    """
    dataset = datasets.load(config.data)
    run = Run(out or default_path(dataset), config, provenance(dataset))
    store.create(run.path, to_toml(run.tree()))
    return run


def default_path(dataset: Dataset) -> Path:
    """Return the run directory of a run that named none."""
    return Path("runs") / f"{dataset.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def provenance(dataset: Dataset) -> Tree:
    """Return what the results depend on beside the settings."""
    return {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def open_run(path: Path) -> Run:
    """Read a run directory's config and provenance.

    Raises:
        InputError: If it is no run directory.
    """
    if not (path / "config.toml").exists():
        raise InputError(f"{path}: not a run directory, it has no config.toml")
    tree = read_toml(path / "config.toml")
    origin = tree.pop(PROVENANCE, {})
    return Run(path, build(tree, str(path / "config.toml")), origin)


def is_finished(run: Run) -> bool:
    """Whether every arm has played its last round."""
    shards = [store.Shard(run.path, arm) for arm in run.arms]
    return all(shard.finished_round() >= run.config.run.rounds for shard in shards)


def extend(run: Run, rounds: int | None, workers: int | None) -> Run:
    """Return a run with more rounds or other workers, after checking its data set.

    Raises:
        InputError: If the data set is another one, or rounds would be lost.
    """
    settings = (("run", "rounds", rounds), ("run", "workers", workers))
    given = [setting for setting in settings if setting[2] is not None]
    config = build(merge(dump(run.config), given))
    if config.run.rounds < run.config.run.rounds:
        raise InputError(
            f"--rounds {rounds}: the run has {run.config.run.rounds}, expected at least that"
        )
    dataset = datasets.load(config.data)
    if dataset.fingerprint != run.provenance.get("fingerprint"):
        raise InputError(
            f"{run.path}: made with data of fingerprint {run.provenance.get('fingerprint')}, "
            f"{dataset.source} has {dataset.fingerprint}"
        )
    extended = Run(run.path, config, run.provenance)
    if given:
        store.write_atomically(run.path / "config.toml", to_toml(extended.tree()).encode())
    return extended


def summarise_run(run: Run, rounds: Sequence[RoundRow], parameters: int) -> dict[str, Any]:
    """Summarise a run's rounds."""
    dataset = str(run.provenance.get("dataset", run.config.data.dataset))
    return summarise(run.config, dataset, parameters, rounds)


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
