"""The comparison: every arm from the same weights on the same clients, side by side."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedgen import disk, report, store
from fedgen.errors import FedgenError
from fedgen.progress import Watcher
from fedgen.records import RoundRow
from fedgen.run import Run, made_with, summarise_run
from fedgen.runconfig import to_run_config
from fedgen.sections import CENTRALISED

if TYPE_CHECKING:
    from flwr.serverapp import Grid


def play(run: Run, progress: Watcher, grid: "Grid | None" = None) -> dict[str, Any]:
    """Play all arms of a run, finish its directory, and return the summary.

    Seed by seed, the arms take turns round by round. Whatever ends this early
    leaves every finished round on disk.

    Args:
        run: What to play, and where it goes.
        progress: Is told what happens.
        grid: The grid of a Flower runtime; without one, every arm has a grid in
            this process.

    Raises:
        RunError: If a round fails.
    """
    from fedgen import world  # TensorFlow comes in here

    parameters = world.initial_model(run.config, run.config.run.seed).count_params()
    try:
        for offset in range(run.config.run.seeds):
            _play_seed(run, run.config.run.seed + offset, progress, grid)
    except BaseException:
        with suppress(FedgenError):  # the first error is the one to tell; the shards have the rows
            store.merge(run.path, run.arms)
        raise
    rows = store.merge(run.path, run.arms)
    summary = summarise_run(run, rows["rounds.csv"], parameters)
    disk.replace(run.path / "summary.json", f"{json.dumps(summary, indent=2)}\n".encode())
    report.write(run)
    return summary


def _play_seed(run: Run, seed: int, progress: Watcher, grid: "Grid | None") -> None:
    from fedgen import arms, client_app, models, rounds, world
    from fedgen.faults import FaultyGrid
    from fedgen.grid import InProcessGrid

    config = run.config
    slots = world.workers(config)
    here = world.load(config, seed, slots)
    model = world.initial_model(config, seed)
    initial = models.get_weights(model)
    with ExitStack() as stack:
        iterators: list[Iterator[RoundRow]] = []
        seeded = [arm for arm in run.arms if arm.seed == seed]
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
            rows = [next(i) for i, mine in zip(iterators, behind, strict=True) if mine >= left]
            progress.finished(rows)
        for arm, shard in zip(seeded, shards, strict=True):
            if shard.latest is not None:
                model.set_weights(shard.latest.weights)
                _save_model(run.path / "models" / f"{arm.name}.keras", model)


def _save_model(path: Path, model: Any) -> None:
    from fedgen import models

    disk.make_folder(path.parent)
    disk.replace(path, models.to_keras_file(models.with_softmax(model)))
