"""The comparison: every arm from the same weights on the same clients, side by side."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedgen import disk, report, store
from fedgen.errors import FedgenError
from fedgen.records import RoundRow
from fedgen.run import Run, made_with, summarise_run
from fedgen.runconfig import to_run_config
from fedgen.sections import CENTRALISED
from strategies.evolution import PROBE_TRIES

if TYPE_CHECKING:
    from flwr.serverapp import Grid


class Progress(Protocol):
    """What a comparison tells while it runs."""

    def begin(self, text: str, samples: int) -> None:
        """A seed's arms begin; this many samples are to be trained."""

    def trained(self, samples: int) -> None:
        """A client has trained so many samples."""

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """A round is finished in every arm; rows in the order of the strategies."""

    def warn(self, text: str) -> None:
        """Something is wrong that does not end the comparison."""


def play(run: Run, progress: Progress, grid: "Grid | None" = None) -> dict[str, Any]:
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


def _play_seed(run: Run, seed: int, progress: Progress, grid: "Grid | None") -> None:
    from fedgen import arms, client_app, models, rounds, world
    from fedgen.faults import FaultyGrid
    from fedgen.grid import InProcessGrid
    from strategies.replies import trained_samples

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
        progress.begin(f"seed {seed} on {here.engine.device}", _expected_samples(run, shards, seed))
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
                        on_reply=lambda reply: progress.trained(trained_samples(reply)),
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
            progress.trained(sum(row.samples for row in rows if row.strategy == CENTRALISED))
            progress.finished(rows)
        for arm, shard in zip(seeded, shards, strict=True):
            if shard.latest is not None:
                model.set_weights(shard.latest.weights)
                _save_model(run.path / "models" / f"{arm.name}.keras", model)


def _save_model(path: Path, model: Any) -> None:
    from fedgen import models

    disk.make_folder(path.parent)
    disk.replace(path, models.to_keras_file(models.with_softmax(model)))


def _expected_samples(run: Run, shards: Sequence[store.Shard], seed: int) -> int:
    """Return the samples still to be trained for a seed; with resampling, an estimate."""
    from fedgen import arms, world

    config = run.config
    partition = world.load(config, seed).partition
    total = 0
    for shard in shards:
        arm, done = shard.arm, shard.opened_round
        left = config.run.rounds - max(done, 0)
        if arm.strategy == CENTRALISED:
            total += left * len(partition.training)
            continue
        cohort = arms.build_strategy(arm).cohort(1)
        epoch = sum(len(partition.shards[client].train) for client in cohort)
        total += left * config.training.local_epochs * epoch
        if arm.strategy == "genetic-cfl" and config.genetic_cfl.init != "random" and done < 0:
            total += math.prod(PROBE_TRIES) * epoch
    return total
