"""A strategy-round of the MNIST screening, and what its time goes into: one process, one client.

The task of ``experiments/evidence/screening-*.toml``: an MLP of 101,770 parameters, 100 clients, 30
of them a round, two epochs each. One process trains one client at once, as a process of ``--jobs``
does. MNIST where ``FEDGEN_DATA_DIR`` has its ``mnist.npz``, else random images of its form.
Medians over the rounds of all arms, the first round of each left out.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import show
from benchmarks.overhead import Stopwatch, watch_training
from fedgen import runtime

STRATEGIES = ("genetic-cfl", "fedavg")
PARTITIONS: dict[str, dict[str, Any]] = {
    "contiguous": {"kind": "contiguous"},
    "dirichlet": {"kind": "dirichlet", "alpha": 0.1},
}


def data(folder: str) -> dict[str, Any]:
    """Return the section of the data, which are written to a folder if they are not there."""
    named = Path(os.environ.get("FEDGEN_DATA_DIR", "")) / "mnist.npz"
    if named.is_file():
        return {"dataset": "mnist", "data_dir": str(named.parent)}
    from benchmarks import synthetic

    synthetic.write(synthetic.mnist(), Path(folder) / "data.npz")
    return {"dataset": f"{folder}/data.npz"}


def measure(rounds_each: int, kind: str) -> dict[str, Any]:
    """Return seconds of a start, milliseconds of a round and its parts, seconds of an ending."""
    began = time.perf_counter()
    runtime.import_tensorflow()
    import numpy as np

    from fedgen.comparison import endings, rounds, trainers
    from fedgen.config.tree import Arm, build
    from fedgen.engine import models
    from fedgen.federation import client_app
    from fedgen.federation.grid import InProcessGrid
    from fedgen.federation.resources import Resources
    from fedgen.federation.run_config import to_run_config
    from fedgen.files import disk
    from fedgen.runs.shard import Shard

    with tempfile.TemporaryDirectory() as folder:
        section = data(folder)
        settings = {"rounds": rounds_each, "workers": 1, "strategies": [*STRATEGIES]}
        config = build(
            {
                "data": section,
                "partition": PARTITIONS[kind],
                "model": {"name": "mlp"},
                "run": settings,
                "fedavg": {"learning_rate": 1e-4},
            }
        )
        held = Resources(config)
        held.start()
        initial = models.get_weights(held.model(0))
        engine: Any = held.engine(0)
        engine.evaluate_all(initial, np.arange(20, dtype=np.int32), "test")  # which traces it
        started = time.perf_counter() - began
        parts = {
            "training": watch_training(engine),
            "clients' validation": Stopwatch(engine._evaluate),
            "server's evaluation": Stopwatch(engine._score),
        }
        engine._evaluate = parts["clients' validation"]
        engine._score = parts["server's evaluation"]
        found: list[dict[str, float]] = []
        ends = []
        for strategy in STRATEGIES:
            arm = Arm(held.config, strategy, 0)
            grid = InProcessGrid(
                client_app.made(lambda _: held),
                to_run_config(held.config),
                clients=held.config.partition.clients,
                workers=engine.workers,
            )
            player = trainers.Federated(trainers.build_strategy(arm, held), grid)
            shard = Shard(Path(folder), arm)
            disk.make_folder(shard.folder)
            shard.open(print)
            parts["checkpoint and rows"] = commit = Stopwatch(shard.commit)
            vars(shard)["commit"] = commit
            playing = rounds.play(arm, player, held, shard, initial, rounds_each, {})
            for number in range(rounds_each + 1):
                before = {name: watch.seconds for name, watch in parts.items()}
                wall, work = time.perf_counter(), time.process_time()
                next(playing)
                figures = {
                    "round": time.perf_counter() - wall,
                    "round, CPU time": time.process_time() - work,
                    **{name: watch.seconds - before[name] for name, watch in parts.items()},
                }
                figures["all else"] = figures["round"] - sum(figures[name] for name in parts)
                if number > 1:  # the first training round warms up
                    found.append(figures)
            grid.close()
            wall = time.perf_counter()
            endings.evaluate(held, arm, shard)
            endings.by_class(held, arm, shard)
            ends.append(time.perf_counter() - wall)
    return {
        "data": section["dataset"] if section["dataset"] == "mnist" else "random",
        "start, seconds": round(started, 2),
        "milliseconds": {
            name: round(1000 * statistics.median(figures[name] for figures in found), 1)
            for name in found[0]
        },
        "end of an arm, seconds": round(statistics.median(ends), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each arm, 2 or more")
    parser.add_argument("--partition", choices=[*PARTITIONS], default="contiguous")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds: expected 2 or more, the first one is left out")
    runtime.restart_with_huge_pages()
    measured = measure(arguments.rounds, arguments.partition)
    show(measured, arguments.json)
    sys.exit()
