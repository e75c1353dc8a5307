"""All arms of one seed: in turn, round by round, or some at once where their engine joins them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from fedgen.comparison import endings, rounds, trainers
from fedgen.config.plugins import is_own
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Arm, Config
from fedgen.engine import engines
from fedgen.engine.engines import Engine
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
from strategies.core.cohort import cohort_size
from strategies.core.outcomes import Unusable

if TYPE_CHECKING:
    import keras
    from flwr.serverapp import Grid

Events = SimpleQueue[Callable[[], object]]
"""What other threads leave to be told by the one that plays the arms."""


@dataclass(frozen=True)
class _Played:
    """An arm by its shard, its rounds as they are asked for, and how many are left to play."""

    shard: Shard
    rounds: Iterator[RoundRow]
    left: int

    def next(self) -> RoundRow | None:
        """Play a round; nothing of an arm that has ended, or cannot go on, as its shard says."""
        with suppress(Unusable):
            return next(self.rounds, None)
        return None


def at_once(engine: Engine, config: Config) -> int:
    """Return how many arms of a seed are to be played at once.

    One more than fill the engine's places, so that some have clients to enter them while others
    end a round. A deadline is of clients that have the engine for themselves.
    """
    if not engine.joins or config.training.deadline:
        return 1
    cohort = cohort_size(config.partition.clients, config.cohort.fraction)
    return 1 + math.ceil(engine.workers / cohort)


def play_arms(
    run: Run,
    held: Resources,
    seeded: Sequence[Arm],
    progress: Watcher,
    grid: "Grid | None" = None,
) -> list[EvaluationRow]:
    """Play arms of one seed, and return how their final models do on every client.

    Raises:
        InputError: If a shard is damaged, or another process works on it.
        RunError: If a round fails. Of an arm that cannot go on its shard says so.
    """
    from fedgen.engine import models  # the framework comes in here

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
    count = 1 if grid is not None else min(len(seeded), at_once(engine, config))
    with ExitStack() as stack:
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
            count,
        )
        events: Events = SimpleQueue()
        answered = progress.answered if count == 1 else _posted(events, progress.answered)
        grids: list[InProcessGrid] = []
        playing: list[_Played] = []
        for arm, shard in zip(seeded, shards, strict=True):
            player: trainers.Player
            if is_pooled(arm.strategy):
                player = trainers.Centralised(held, arm.strategy, seed)
            else:
                nodes: Grid | None = grid
                if nodes is None:
                    nodes = own = InProcessGrid(
                        clients,
                        to_run_config(config),
                        clients=config.partition.clients,
                        workers=engine.workers,
                        on_reply=partial(answered, arm),
                        deadline=config.training.deadline,
                        clock=lambda: time.monotonic() - engine.compiling,
                    )
                    grids.append(own)
                    stack.callback(own.close)
                if config.faults.counts():
                    nodes = FaultyGrid(nodes, config.faults, seed)
                player = trainers.Federated(trainers.build_strategy(arm, held), nodes)
            last = config.run.rounds
            iterator = rounds.play(arm, player, held, shard, initial, last, made_with(run))
            playing.append(_Played(shard, iterator, last - shard.opened_round))
        pool = ThreadPoolExecutor(count, "arm")
        stack.callback(pool.shutdown, cancel_futures=True)
        # Entered last, so left first: clients stop before anybody waits for arms and grids.
        stack.enter_context(engine.interruptible())
        if count > 1:
            for own in grids:
                stack.callback(own.stop)
            _at_once(playing, pool, events, progress)
        else:
            _in_turn(playing, progress)
        return _keep(run, held, shards, model)


def _in_turn(playing: Sequence[_Played], progress: Watcher) -> None:
    """Play a round of every arm, then the next one."""
    for one in playing:
        progress.started(one.shard.arm)
    ended: list[_Played] = []
    # A killed run may have left one arm a round ahead of another.
    for left in range(max(one.left for one in playing), 0, -1):
        rows = []
        for one in playing:
            if one.left < left:
                continue
            if (row := one.next()) is not None:
                progress.played(row)
                rows.append(row)
            elif one not in ended:
                ended.append(one)
                tell_end(one.shard, progress)
        if rows:
            progress.finished(rows)


def _at_once(
    playing: Sequence[_Played], pool: ThreadPoolExecutor, events: Events, progress: Watcher
) -> None:
    """Play each arm to its end beside others; this thread tells what happens."""

    def told(row: RoundRow) -> None:
        progress.played(row)
        progress.finished([row])

    def play(one: _Played) -> None:
        events.put(partial(progress.started, one.shard.arm))
        while (row := one.next()) is not None:
            events.put(partial(told, row))
        events.put(partial(tell_end, one.shard, progress))

    futures = [pool.submit(play, one) for one in playing if one.left > 0]
    for future in futures:
        future.add_done_callback(lambda ended: events.put(ended.result))  # it raises an arm's error
    while not (all(future.done() for future in futures) and events.empty()):
        events.get()()
    for future in futures:
        future.result()


def _posted(events: Events, tell: Callable[..., None]) -> Callable[..., None]:
    return lambda *said: events.put(partial(tell, *said))


def _keep(
    run: Run, held: Resources, shards: Sequence[Shard], model: "keras.Model"
) -> list[EvaluationRow]:
    """Write the models of arms that were played, and return how they do on every client."""
    from fedgen.engine import saved_model

    evaluations = []
    top = saved_model.TOPS[held.dataset.kind]
    own = is_own(run.config.model.name)
    suffix = saved_model.format_of(model, top).suffix if own else saved_model.KERAS
    for shard in shards:
        arm = shard.arm
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
