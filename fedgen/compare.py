"""The comparison: every arm from the same weights on the same clients, side by side."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from fedgen import datasets, store
from fedgen.config import CENTRALISED, Config, Tree, build, dump, merge, read_toml, to_toml
from fedgen.datasets import Dataset
from fedgen.errors import InputError, Unavailable
from fedgen.records import RoundRow, read_csv
from fedgen.runconfig import Arm, to_run_config
from fedgen.summary import summarise

PACKAGES = ("fedgen", "flwr", "tensorflow", "keras", "numpy", "scikit-learn")
PROVENANCE = "provenance"
FALLBACK = "digits"


class Progress(Protocol):
    """What a comparison tells while it runs."""

    def begin(self, text: str, samples: int) -> None:
        """A seed's arms begin; this many samples are to be trained."""

    def trained(self, samples: int) -> None:
        """A client has trained so many samples."""

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """A round is finished in every arm; rows in the order of the strategies."""


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
    config = _absolute(config)
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
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        out = Path("runs") / f"{dataset.name}-{stamp}"
    run = Run(out, config, provenance(dataset))
    store.create(out, to_toml(run.tree()))
    return run


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


def play(run: Run, progress: Progress) -> dict[str, Any]:
    """Play all arms of a run, finish its directory, and return the summary.

    Seed by seed, the arms take turns round by round. Whatever ends this early
    leaves every finished round on disk.

    Raises:
        RunError: If a round fails.
    """
    from fedgen import report, world  # TensorFlow comes in here

    parameters = world.initial_model(run.config, run.config.run.seed).count_params()
    try:
        for offset in range(run.config.run.seeds):
            _play_seed(run, run.config.run.seed + offset, progress)
    finally:
        store.merge(run.path, run.arms)
    rows: list[RoundRow] = read_csv(run.path / "rounds.csv", RoundRow)
    summary = summarise_run(run, rows, parameters)
    store.write_atomically(run.path / "summary.json", f"{json.dumps(summary, indent=2)}\n".encode())
    report.write(run)
    return summary


def _play_seed(run: Run, seed: int, progress: Progress) -> None:
    from fedgen import arms, client_app, models, rounds, world
    from fedgen.grid import InProcessGrid
    from strategies.replies import trained_samples

    config = run.config
    here = world.load(config, seed)
    model = world.initial_model(config, seed)
    initial = models.get_weights(model)
    progress.begin(f"seed {seed} on {here.engine.device}", _expected_samples(run, seed))
    with ExitStack() as stack:
        iterators: list[Iterator[RoundRow]] = []
        seeded = [arm for arm in run.arms if arm.seed == seed]
        shards = [store.Shard(run.path, arm) for arm in seeded]
        for arm, shard in zip(seeded, shards, strict=True):
            player: arms.Player
            if arm.strategy == CENTRALISED:
                player = arms.Centralised(here, config, seed)
            else:
                grid = InProcessGrid(
                    client_app.app,
                    to_run_config(arm),
                    clients=config.partition.clients,
                    workers=world.workers(config),
                    on_reply=lambda reply: progress.trained(trained_samples(reply)),
                )
                stack.callback(grid.close)
                player = arms.Federated(arms.build_strategy(arm), grid)
            iterators.append(rounds.play(arm, player, here, shard, initial, config.run.rounds))
        # Entered last, so left first: clients stop before the grids wait for them.
        stack.enter_context(here.engine.interruptible())
        # A killed run may have left one arm a round ahead of another.
        behind = [config.run.rounds - shard.finished_round() for shard in shards]
        for left in range(max(behind), 0, -1):
            rows = [next(i) for i, mine in zip(iterators, behind, strict=True) if mine >= left]
            progress.trained(sum(row.samples for row in rows if row.strategy == CENTRALISED))
            progress.finished(rows)
    for arm, shard in zip(seeded, shards, strict=True):
        final = shard.open()
        if final is not None:
            model.set_weights(final.weights)
            _save_model(run.path / "models" / f"{arm.name}.keras", model)


def _save_model(path: Path, model: Any) -> None:
    from fedgen import models

    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    models.with_softmax(model).save(temporary)
    os.replace(temporary, path)


def _expected_samples(run: Run, seed: int) -> int:
    """Estimate the samples that are still to be trained for a seed."""
    from fedgen import world

    config = run.config
    partition = world.load(config, seed).partition
    mean = sum(len(shard.train) for shard in partition.shards) / len(partition.shards)
    cohort = config.cohort.fraction * config.partition.clients
    total = 0.0
    for arm in run.arms:
        if arm.seed != seed:
            continue
        done = store.Shard(run.path, arm).finished_round()
        left = config.run.rounds - max(done, 0)
        if arm.strategy == CENTRALISED:
            total += left * len(partition.training)
        else:
            total += left * cohort * mean * config.training.local_epochs
        if arm.strategy == "genetic-cfl" and config.genetic_cfl.init != "random" and done < 0:
            total += cohort * mean * 6
    return round(total)


def _absolute(config: Config) -> Config:
    """Make data paths absolute: a run may be resumed from another directory."""
    data = config.data
    update: Tree = {}
    folder = data.data_dir or os.environ.get("FEDGEN_DATA_DIR", "")
    if folder:
        update["data_dir"] = str(Path(folder).absolute())
    if data.dataset.endswith(".npz"):
        update["dataset"] = str(Path(data.dataset).absolute())
    return config.model_copy(update={"data": data.model_copy(update=update)})
