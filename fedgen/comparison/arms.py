"""All arms of one seed, in turn, round by round."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from fedgen.comparison import endings, rounds, trainers
from fedgen.config.plugins import is_own
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Arm
from fedgen.engine import engines
from fedgen.errors import RunError
from fedgen.federation import client_app
from fedgen.federation.faults import FaultyGrid
from fedgen.federation.grid import InProcessGrid
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import to_run_config
from fedgen.files import disk
from fedgen.files.csv import all_columns
from fedgen.runs import store
from fedgen.runs.provenance import made_with
from fedgen.runs.rows import ClassRow, EvaluationRow, RoundRow
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Several, Signs, Watcher, tell_end
from strategies.core.outcomes import Unusable

if TYPE_CHECKING:
    from flwr.serverapp import Grid


def play_arms(
    run: Run,
    held: Resources,
    seeded: Sequence[Arm],
    progress: Watcher,
    grid: "Grid | None" = None,
) -> list[EvaluationRow]:
    """Play arms of one seed in turn, and return how their final models do on every client.

    Raises:
        InputError: If a shard is damaged, or another process works on it.
        RunError: If a round fails. Of an arm that cannot go on its shard says so.
    """
    from fedgen.engine import models, saved_model  # the framework comes in here

    config, seed = run.config, seeded[0].seed
    model, engine = held.model(seed), held.engine(seed)
    initial = models.get_weights(model)
    began = run.provenance.get(f"weights of seed {seed}")  # said of a user's own model
    if began is not None and began != models.digest(initial):
        raise RunError(
            f"model {config.model.name!r}: seed {seed} starts from other weights in this process "
            "than in the one that began the run; they must depend on nothing but the seed"
        )
    clients = client_app.made(lambda _: held)
    with ExitStack() as stack:
        iterators: list[Iterator[RoundRow]] = []
        shards = [Shard(run.path, arm) for arm in seeded]
        for shard in shards:
            stack.enter_context(shard.owned())
            shard.open(progress.warn)
        signs = stack.enter_context(Signs(run.path))  # gone before the shards are left
        progress = Several([progress, signs])
        progress.begin(
            f"seed {seed} on {engines.device(config.training)}",
            seeded,
            [shard.opened_round for shard in shards],
        )
        for arm, shard in zip(seeded, shards, strict=True):
            player: trainers.Player
            if is_pooled(arm.strategy):
                player = trainers.Centralised(held, arm.strategy, seed)
            else:
                nodes: Grid | None = grid
                if nodes is None:
                    nodes = InProcessGrid(
                        clients,
                        to_run_config(config),
                        clients=config.partition.clients,
                        workers=engine.workers,
                        on_reply=partial(progress.answered, arm),
                        deadline=config.training.deadline,
                        clock=lambda: time.monotonic() - engine.compiling,
                    )
                    stack.callback(nodes.close)
                if config.faults.counts():
                    nodes = FaultyGrid(nodes, config.faults, seed)
                player = trainers.Federated(trainers.build_strategy(arm, held), nodes)
            iterators.append(
                rounds.play(arm, player, held, shard, initial, config.run.rounds, made_with(run))
            )
        for arm in seeded:
            progress.started(arm)
        # Entered last, so left first: clients stop before the grids wait for them.
        stack.enter_context(engine.interruptible())
        # A killed run may have left one arm a round ahead of another.
        behind = [config.run.rounds - shard.opened_round for shard in shards]
        ended: list[Arm] = []
        for left in range(max(behind), 0, -1):
            rows = []
            for arm, shard, iterator, mine in zip(seeded, shards, iterators, behind, strict=True):
                if mine < left:
                    continue
                row = None
                with suppress(Unusable):  # the shard says why
                    row = next(iterator, None)  # nothing of an arm that has ended
                if row is not None:
                    progress.played(row)
                    rows.append(row)
                elif arm not in ended:
                    ended.append(arm)
                    tell_end(shard, progress)
            if rows:
                progress.finished(rows)
        evaluations = []
        own = is_own(config.model.name)
        top = saved_model.TOPS[held.dataset.kind]
        suffix = saved_model.format_of(model, top).suffix if own else saved_model.KERAS
        for arm, shard in zip(seeded, shards, strict=True):
            path = run.path / "models" / f"{arm.name}{suffix}"
            beside = path.with_name(f"{arm.name}-best{suffix}")
            if shard.failed():
                disk.remove(path)  # of rounds before, where more were added
                disk.remove(beside)
            elif shard.latest is not None:
                evaluations += endings.evaluate(held, arm, shard)
                classes = all_columns(endings.by_class(held, arm, shard), ClassRow)
                disk.replace(shard.folder / store.CLASSES, classes.encode())
                model.set_weights(shard.latest.weights)
                disk.make_folder(path.parent)
                disk.replace(path, saved_model.to_bytes(model, suffix, top))
                if best := shard.best():
                    model.set_weights(best.weights)
                    disk.replace(beside, saved_model.to_bytes(model, suffix, top))
        return evaluations
