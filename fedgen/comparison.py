"""The comparison: every arm from the same weights on the same clients, side by side."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedgen import agreement, budget, datasets, disk, report, store
from fedgen.config import Arm
from fedgen.errors import ArmError, FedgenError, InputError, RunError
from fedgen.extensions import is_own
from fedgen.progress import Watcher
from fedgen.records import DIVERGED, EvaluationRow, PartitionRow, RoundRow, Row, to_csv
from fedgen.results import Results
from fedgen.run import Run, made_with
from fedgen.runconfig import to_run_config
from fedgen.sections import CENTRALISED

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from fedgen.world import World
    from strategies.aggregation import Arrays


Spread = Callable[[Run, Watcher], list[EvaluationRow]]
"""Plays all arms elsewhere, and returns how their final models do on every client."""


def play(
    run: Run, progress: Watcher, grid: "Grid | None" = None, spread: Spread | None = None
) -> dict[str, Any]:
    """Play all arms of a run, finish its directory, and return the summary.

    Seed by seed, the arms take turns round by round. Whatever ends this early
    leaves every finished round on disk. Where an arm cannot go on, as when it diverges, the others
    are played to their ends, and all files are written, before that is told.

    Args:
        run: What to play, and where it goes.
        progress: Is told what happens.
        grid: The grid of a Flower runtime; without one, every arm has a grid in
            this process.
        spread: What plays the arms elsewhere, to the same bytes.

    Raises:
        ArmError: If replies of an arm cannot be used.
        RunError: If a round fails otherwise.
    """
    from fedgen import world  # TensorFlow comes in here

    for text in run.notes:
        progress.note(text)
    parameters = world.initial_model(run.config, run.config.run.seed).count_params()
    seeds = [run.config.run.seed + offset for offset in range(run.config.run.seeds)]
    evaluations: list[EvaluationRow] = []
    partition = [row for seed in seeds for row in _partition_rows(run, seed)]
    _write(run, store.PARTITION, partition)
    try:
        if spread is not None:
            evaluations += spread(run, progress)
        else:
            for seed in seeds:
                seeded = [arm for arm in run.arms if arm.seed == seed]
                evaluations += play_arms(run, seeded, progress, grid)
        _check_budget(run, progress)
    except BaseException:
        with suppress(FedgenError):  # the first error is the one to tell; the shards have the rows
            store.merge(run.path, run.arms)
        raise
    rows = store.merge(run.path, run.arms)
    order = {(arm.strategy, arm.seed): place for place, arm in enumerate(run.arms)}
    evaluations.sort(key=lambda row: (order[row.strategy, row.seed], row.client))
    _write(run, store.EVALUATION, evaluations)
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
    )
    text = f"{json.dumps(done.summary, indent=2)}\n"
    disk.replace(run.path / "summary.json", text.encode())
    report.draw(done)
    if failed:
        raise ArmError(failed, done.summary)
    return done.summary


def _write(run: Run, name: str, rows: Sequence[Row]) -> None:
    content = to_csv(rows, store.EXTRAS[name], header=True)
    disk.replace(run.path / name, content.encode())


def _partition_rows(run: Run, seed: int) -> list[PartitionRow]:
    dataset = datasets.load(run.config.data)
    partition = agreement.load_partition(run.config, seed)
    rows = []
    slices = partition.slices or [None] * len(partition.shards)
    for client, (part, shard) in enumerate(zip(slices, partition.shards, strict=True)):
        counts = np.bincount(dataset.y_train[shard.train], minlength=dataset.classes)
        labels = " ".join(map(str, counts.tolist()))
        start, stop = (part.start, part.stop) if part else (None, None)
        sizes = len(shard.train), len(shard.validation)
        rows.append(PartitionRow(seed, client, start, stop, *sizes, labels))
    return rows


def play_arms(
    run: Run, seeded: Sequence[Arm], progress: Watcher, grid: "Grid | None" = None
) -> list[EvaluationRow]:
    """Play arms of one seed in turn, and return how their final models do on every client.

    Raises:
        InputError: If a shard is damaged, or another process works on it.
        RunError: If a round fails. Of an arm that cannot go on its shard says so.
    """
    from fedgen import arms, client_app, models, rounds, saved_model, world
    from fedgen.faults import FaultyGrid
    from fedgen.grid import InProcessGrid
    from strategies.outcomes import Unusable

    config, seed = run.config, seeded[0].seed
    slots = world.workers(config)
    here = world.load(config, seed, slots)
    model = world.initial_model(config, seed)
    initial = models.get_weights(model)
    began = run.provenance.get(f"weights of seed {seed}")  # said of a user's own model
    if began is not None and began != world.digest(initial):
        raise RunError(
            f"model {config.model.name!r}: seed {seed} starts from other weights in this process "
            "than in the one that began the run; they must depend on nothing but the seed"
        )
    with ExitStack() as stack:
        iterators: list[Iterator[RoundRow]] = []
        shards = [store.Shard(run.path, arm) for arm in seeded]
        for shard in shards:
            stack.enter_context(shard.owned())
            shard.open(progress.warn)
        progress.begin(
            f"seed {seed} on {here.engine.device}", seeded, [shard.opened_round for shard in shards]
        )
        for arm, shard in zip(seeded, shards, strict=True):
            player: arms.Player
            if arm.strategy == CENTRALISED:
                player = arms.Centralised(here, config, seed)
            else:
                nodes: Grid | None = grid
                if nodes is None:
                    nodes = InProcessGrid(
                        client_app.app,
                        to_run_config(config),
                        clients=config.partition.clients,
                        workers=slots,
                        on_reply=partial(progress.answered, arm),
                        deadline=config.training.deadline,
                    )
                    stack.callback(nodes.close)
                if config.faults.counts():
                    nodes = FaultyGrid(nodes, config.faults, seed)
                player = arms.Federated(arms.build_strategy(arm), nodes)
            iterators.append(
                rounds.play(arm, player, here, shard, initial, config.run.rounds, made_with(run))
            )
        # Entered last, so left first: clients stop before the grids wait for them.
        stack.enter_context(here.engine.interruptible())
        # A killed run may have left one arm a round ahead of another.
        behind = [config.run.rounds - shard.opened_round for shard in shards]
        for left in range(max(behind), 0, -1):
            rows = []
            for arm, iterator, mine in zip(seeded, iterators, behind, strict=True):
                if mine < left:
                    continue
                try:
                    if row := next(iterator, None):  # nothing of an arm that has ended
                        rows.append(row)
                except Unusable as error:
                    progress.ended(arm, str(error))
            if rows:
                progress.finished(rows)
        evaluations = []
        own = is_own(config.model.name)
        suffix = saved_model.format_of(model).suffix if own else saved_model.KERAS
        for arm, shard in zip(seeded, shards, strict=True):
            path = run.path / "models" / f"{arm.name}{suffix}"
            if shard.failed():
                disk.remove(path)  # of rounds before, where more were added
            elif shard.latest is not None:
                evaluations += _evaluate(here, arm, shard.latest.round, shard.latest.weights)
                model.set_weights(shard.latest.weights)
                disk.make_folder(path.parent)
                disk.replace(path, saved_model.to_bytes(model, suffix))
        return evaluations


def _check_budget(run: Run, progress: Watcher) -> None:
    """Say which arms could not play round 1 within the budget.

    Raises:
        InputError: If none could.
    """
    setting = run.config.run.budget
    limit = budget.parse(setting)
    shards = [store.Shard(run.path, arm) for arm in run.arms]
    beyond = {
        shard.arm.name: spent
        for shard in shards
        if shard.finished_round < 1 and (spent := shard.stopped(setting)) is not None
    }
    if limit is None or not beyond:
        return
    if len(beyond) == len(shards):
        cheapest = min(beyond, key=lambda name: beyond[name])
        raise InputError(
            f"run.budget = {setting!r}: round 1 fits for no strategy; {cheapest}, the cheapest, "
            f"has spent at least {beyond[cheapest]:,.10g} {limit.unit} by then"
        )
    for name, spent in beyond.items():
        progress.warn(
            f"{name}: round 1 is beyond the budget of {limit}, at least {spent:,.10g} are spent "
            "by then; only its round 0 counts"
        )


def _evaluate(here: "World", arm: Arm, number: int, weights: "Arrays") -> list[EvaluationRow]:
    """Evaluate a model on what every client validates on: samples that trained nobody."""
    rows = []
    for client, shard in enumerate(here.partition.shards):
        found = here.engine.evaluate(weights, shard.validation)
        figures = (len(shard.validation), found.accuracy, found.loss)
        rows.append(EvaluationRow(arm.strategy, arm.seed, number, client, *figures))
    return rows
