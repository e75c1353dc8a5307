"""Rounds of 100 clients out of 1,000, 10,000 and 100,000: what is not training must not grow.

A model of about 5,000 parameters, 10 samples a client. Every federation has a process of its own,
so that its peak of memory is its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import benchmarks
from fedgen import runtime

REGISTERED = (1_000, 10_000, 100_000)
COHORT, ROUNDS, SAMPLES = 100, 12, 10


def measure() -> dict[str, object]:
    """Return the figures of every federation, and how a round's cost grows with its size."""
    found = {}
    for clients in REGISTERED:
        command = [sys.executable, "-m", "benchmarks.scale", "--clients", str(clients)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{clients}_clients"] = json.loads(done.stdout)
    each = [figures["milliseconds_per_client"] for figures in found.values()]
    return {**found, "round_cost_ratio_largest_to_smallest": round(each[-1] / each[0], 2)}


def federation(clients: int) -> dict[str, float]:
    """Play genetic-cfl with so many registered clients, a new cohort each round."""
    began = time.perf_counter()
    runtime.import_tensorflow()
    import numpy as np

    from benchmarks.overhead import Stopwatch, watch_training
    from fedgen.comparison import rounds, trainers
    from fedgen.config.tree import Arm, build
    from fedgen.engine import models
    from fedgen.federation import client_app
    from fedgen.federation.grid import InProcessGrid
    from fedgen.federation.resources import Resources
    from fedgen.federation.run_config import to_run_config
    from fedgen.files import disk
    from fedgen.runs.shard import Shard

    with tempfile.TemporaryDirectory() as folder:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (20_000, 8, 8), np.uint8)
        labels = draw.integers(0, 10, 20_000)
        np.savez(
            Path(folder) / "data.npz",
            x_train=images,
            y_train=labels,
            x_test=images[:100],
            y_test=labels[:100],
        )
        config = build(
            {
                "data": {"dataset": f"{folder}/data.npz", "validation_fraction": 0.005},
                "model": {"name": "layers", "hidden_layers": [66]},
                "partition": {
                    "clients": clients,
                    "min_samples": SAMPLES,
                    "max_samples": SAMPLES + 1,
                },
                "cohort": {"fraction": COHORT / clients, "resample": True},
                "training": {"local_epochs": 1},
                "run": {"rounds": ROUNDS},
            }
        )
        here = Resources(config)
        engine: Any = here.engine(0)  # whose private parts are watched
        slots = engine.workers
        watches = watch_training(engine), Stopwatch(engine._evaluate)
        engine._evaluate = watches[1]
        arm = Arm(config, "genetic-cfl", 0)
        grid = InProcessGrid(
            client_app.made(lambda _: here), to_run_config(config), clients=clients, workers=slots
        )
        player = trainers.Federated(trainers.build_strategy(arm, here), grid)
        model = here.model(0)
        shard = Shard(Path(folder), arm)
        disk.make_folder(shard.folder)
        shard.open(print)
        playing = rounds.play(arm, player, here, shard, models.get_weights(model), ROUNDS, {})
        next(playing)  # round 0
        started = time.perf_counter() - began
        left = []
        for number in range(ROUNDS):
            before = sum(watch.seconds for watch in watches)
            begin = time.perf_counter()
            next(playing)
            spent = time.perf_counter() - begin
            # Training runs on all slots at once; its share of the round is the time per slot.
            training = (sum(watch.seconds for watch in watches) - before) / slots
            if number > 1:  # the first rounds warm up
                left.append(spent - training)
        grid.close()
    return {
        "parameters": model.count_params(),
        "start_seconds": round(started, 2),
        "milliseconds_per_client": round(1000 * statistics.median(left) / COHORT, 3),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--clients", type=int)
    one, _ = parser.parse_known_args()
    if one.clients is None:
        benchmarks.main(measure, __doc__)
    else:
        print(json.dumps(federation(one.clients)))
