"""A run directory made, or opened again where nothing that its results depend on has changed."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fedgen import runtime
from fedgen.config.plugins import code_of, is_own
from fedgen.config.toml import Tree, merge, to_toml
from fedgen.config.tree import Config, build, dump
from fedgen.data.partitions import known
from fedgen.engine import engines
from fedgen.engine.transfer import source
from fedgen.errors import InputError, Unavailable
from fedgen.federation.resources import Resources, absolute
from fedgen.files import disk
from fedgen.runs import directory, shard, store
from fedgen.runs.checkpoints import latest_manifest
from fedgen.runs.directory import CONFIG
from fedgen.runs.provenance import differences, made_with
from fedgen.runs.run import Run, default_path, open_run
from strategies import parse

FALLBACK = "digits"


def choose_dataset(config: Config, named: bool) -> tuple[Resources, str | None]:
    """Load the data set; fall back on digits when nobody named one.

    Returns:
        What a run has, its config with absolute paths and the data set in use, and what went
        wrong, if that is not the one asked for.

    Raises:
        InputError: If a data set that somebody named cannot be had, or one that
            is there is damaged.
    """
    config = absolute(config)
    try:
        return Resources(config), None
    except Unavailable as error:
        if named:
            raise
        data = config.data.model_copy(update={"dataset": FALLBACK})
        return Resources(config.model_copy(update={"data": data})), str(error)


@contextmanager
def created(held: Resources, out: Path | None) -> Iterator[Run]:
    """Make the run directory of what was checked, and be its parent inside a ``with`` block.

    Raises:
        InputError: If the directory is not free, or cannot be written.
        RunError: If the config cannot be written.

    A run that ends before a round of it is finished leaves nothing.
    """
    run = Run(out or default_path(held.dataset.name), held.config, provenance(held))
    with (
        directory.discarded_unless(run.path, partial(store.has_begun, run.path, run.arms)),
        directory.claim(run.path, new=True),
    ):
        directory.create(run.path, to_toml(run.tree()))
        yield run


@contextmanager
def resumed(
    path: Path, rounds: int | None = None, workers: int | None = None, asked: Config | None = None
) -> Iterator[tuple[Run, Resources]]:
    """Open a run to go on with it, and be its parent inside a ``with`` block.

    Args:
        path: The run directory.
        rounds: The last round, ``None`` to leave it.
        workers: Clients at once, ``None`` to leave it.
        asked: What clients elsewhere are told to play, which must be what the run has.

    Yields:
        The run, and what it is played with.

    Raises:
        InputError: If it is no run directory, another process works on it, rounds
            would be lost, or going on would not give the results of one run: with
            the list of differences.
        RunError: If the config cannot be written.
    """
    with directory.claim(path, new=False):
        run = open_run(path, to_play=True)
        settings = (("run", "rounds", rounds), ("run", "workers", workers))
        given = [setting for setting in settings if setting[2] is not None]
        config = build(merge(dump(run.config), given))
        if config.run.rounds < run.config.run.rounds:
            raise InputError(
                f"--rounds {rounds}: the run has {run.config.run.rounds}, expected at least that"
            )
        if asked is not None:
            _check_asked(run, asked)
        held = Resources(config)
        check_resumable(run, provenance(held))
        extended = Run(path, config, run.provenance)
        if given:
            disk.replace(path / CONFIG, to_toml(extended.tree()).encode())
        yield extended, held


def _check_asked(run: Run, asked: Config) -> None:
    then, now = (made_with(Run(run.path, config, {})) for config in (run.config, asked))
    if found := differences(then, now):
        raise InputError(
            f"{run.path}: cannot go on, as clients would play another run: {'; '.join(found)}. "
            "Give the run config that it was begun with"
        )


def provenance(held: Resources) -> Tree:
    """Return what the results depend on beside the settings.

    The content of a file that initial weights are read from is among it. Where a model or strategy
    is the user's own, its code is, and what a model of the user's starts from: every process that
    plays an arm must come to the same.
    """
    config, dataset = held.config, held.dataset
    given = source.digest(config.model)
    trained = [parse(name).strategy for name in config.run.strategies]
    names = config.model.name, *trained, *config.run.metrics, *config.training.augmentation
    codes = {name: code_of(name) for name in names}
    return {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "python": platform.python_version(),
        "engine": engines.title(config.training),
        **{name: version(name) for name in ("fedgen", *engines.packages(config.training))},
        **({"zstandard": version("zstandard")} if config.messages.compression != "none" else {}),
        **{name: os.environ[name] for name in runtime.FLAGS if os.environ.get(name)},
        **dataset.told,
        **({"partition": indices} if (indices := known.digest(config.partition)) else {}),
        **({"initial weights": given} if given else {}),
        **{f"code of {name}": code for name, code in codes.items() if code},
        **(_initial_weights(held) if is_own(config.model.name) else {}),
    }


def _initial_weights(held: Resources) -> Tree:
    held.start()
    from fedgen.engine import models

    settings = held.config.run
    seeds = range(settings.seed, settings.seed + settings.seeds)
    built = {seed: models.get_weights(held.model(seed)) for seed in seeds}
    return {f"weights of seed {seed}": models.digest(weights) for seed, weights in built.items()}


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
    manifests = map(latest_manifest, sorted((run.path / shard.SHARDS).glob("*")))
    began = [made_with(run), *(manifest.made_with for manifest in manifests if manifest)]
    found = [text for then in began for text in differences(then, now)]
    if found:
        raise InputError(
            f"{run.path}: cannot go on, as its results would be of two runs: "
            f"{'; '.join(dict.fromkeys(found))}. Undo the difference, or start a new run"
        )


def other_provenance(made_by: object, held: Resources) -> list[str]:
    """List where a run's provenance differs from that of a run made now; none without one."""
    if not isinstance(made_by, dict) or not made_by:
        return []
    texts = differences(made_by, provenance(held))
    return [text for text in texts if not text.startswith(("python ", "notes "))]
