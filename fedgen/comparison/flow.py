"""The comparison: every arm from the same weights on the same clients, side by side."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from fedgen.comparison.arms import play_arms
from fedgen.config import budget
from fedgen.config.tree import Arm
from fedgen.data.partitions.known import as_text
from fedgen.errors import ArmError, FedgenError, InputError, RunError
from fedgen.federation.resources import Resources
from fedgen.files import disk
from fedgen.files.csv import all_columns
from fedgen.report import pages
from fedgen.report.results import Results
from fedgen.runs import store
from fedgen.runs.rows import DIVERGED, EvaluationRow, PartitionRow, Row
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Watcher, forget

if TYPE_CHECKING:
    from flwr.serverapp import Grid

Spread = Callable[[Run, Watcher], list[EvaluationRow]]
"""Plays all arms elsewhere, and returns how their final models do on every client."""


def play(
    run: Run,
    held: Resources,
    progress: Watcher,
    grid: "Grid | None" = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Play all arms of a run, finish its directory, and return the summary.

    Seed by seed, the arms take turns round by round, or share an engine that joins their clients.
    Whatever ends this early leaves every finished round on disk. Where an arm cannot go on, as when
    it diverges, the others are played to their ends, and all files are written, before that is
    told.

    Args:
        run: What to play, and where it goes.
        held: The data, model and engine that it is played with.
        progress: Is told what happens.
        grid: The grid of a Flower runtime; without one, every arm has a grid in
            this process.
        spread: What plays the arms elsewhere, to the same bytes.

    Raises:
        ArmError: If replies of an arm cannot be used.
        RunError: If a round fails otherwise.
    """
    for text in run.notes:
        progress.note(text)
    forget(run.path, run.arms)
    parameters = held.model(run.config.run.seed).count_params()
    seeds = [run.config.run.seed + offset for offset in range(run.config.run.seeds)]
    evaluations: list[EvaluationRow] = []
    partition = [row for seed in seeds for row in _partition_rows(held, seed)]
    _write(run, store.PARTITION, partition)
    try:
        if spread is not None:
            evaluations += spread(run, progress)
        else:
            for seed in seeds:
                seeded = [arm for arm in run.arms if arm.seed == seed]
                evaluations += play_arms(run, held, seeded, progress, grid)
        _check_budget(run, progress)
    except BaseException:
        with suppress(FedgenError):  # the first error is the one to tell; the shards have the rows
            store.merge(run.path, run.arms)
        raise
    finally:
        with suppress(FedgenError):  # of processes that were ended with this one
            forget(run.path, run.arms)
    rows = store.merge(run.path, run.arms)
    order = {(arm.strategy, arm.seed): place for place, arm in enumerate(run.arms)}
    evaluations.sort(key=lambda row: (order[row.strategy, row.seed], row.client))
    _write(run, store.EVALUATION, evaluations)
    classes = store.read_classes(run.path, run.arms)
    _write(run, store.CLASSES, classes)
    ended = store.read_ended(run.path, run.arms)
    failed = {
        Arm(run.config, row.strategy, row.seed).name: row.why
        for row in ended
        if row.how == DIVERGED
    }
    if failed and not rows["rounds.csv"]:  # not even a round 0: there is nothing to show
        raise RunError(str(ArmError(failed, {})))
    done = Results(
        *(run, rows["rounds.csv"], rows["clients.csv"], evaluations, partition, ended),
        parameters=parameters,
        classes=classes,
    )
    text = f"{json.dumps(done.summary, indent=2)}\n"
    disk.replace(run.path / "summary.json", text.encode())
    pages.draw(done)
    if failed:
        raise ArmError(failed, done.summary)
    return done.summary


def _write(run: Run, name: str, rows: Sequence[Row]) -> None:
    content = all_columns(rows, store.EXTRAS[name])
    disk.replace(run.path / name, content.encode())


def _partition_rows(held: Resources, seed: int) -> list[PartitionRow]:
    dataset, partition = held.dataset, held.partition(seed)
    natural = held.config.partition.kind == "natural"
    rows = []
    slices = partition.slices or [None] * len(partition.clients)
    for client, (part, samples) in enumerate(zip(slices, partition.clients, strict=True)):
        labels = " ".join(map(str, dataset.count(samples.train)))
        start, stop = (part.start, part.stop) if part else (None, None)
        sizes = len(samples.train), len(samples.validation)
        indices = as_text(np.union1d(samples.train, samples.validation))
        name = dataset.clients.names[client] if natural and dataset.clients else None
        rows.append(PartitionRow(seed, client, start, stop, *sizes, labels, indices, name))
    return rows


def _check_budget(run: Run, progress: Watcher) -> None:
    """Say which arms could not play round 1 within the budget.

    Raises:
        InputError: If none could.
    """
    setting = run.config.run.budget
    limit = budget.parse(setting)
    shards = [Shard(run.path, arm) for arm in run.arms]
    beyond = {
        shard.arm.name: note
        for shard in shards
        if shard.finished_round < 1 and (note := shard.stop_note(setting)) is not None
    }
    if limit is None or not beyond:
        return
    if len(beyond) == len(shards):
        cheapest = min(beyond, key=lambda name: beyond[name])
        raise InputError(
            f"run.budget = {setting!r}: round 1 fits for no strategy; {cheapest}, the cheapest, "
            f"has spent at least {beyond[cheapest][0]:,.10g} {limit.unit} by then"
        )
    for name, (spent, tried) in beyond.items():
        why = (
            f"round 1 is beyond the budget of {limit}, {spent:,.10g} are spent with it"
            if tried
            else f"nothing is left of the budget of {limit}, {spent:,.10g} are spent before round 1"
        )
        progress.warn(f"{name}: {why}; it is not compared")
