"""How fast the engine on JAX trains a cohort: as lanes of one program, and one client at a time.

On a GPU: the reference CNN on images of CIFAR-10's size, 30 clients of 3,600 samples, in every
precision; and whole processes of ``compare --rounds 10``, with an empty and with a filled cache of
compiled programs. On a CPU all of it is small, to show that it works: the figures there say
nothing of a GPU. Medians; the first pass, which compiles, is not counted.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import benchmarks
from fedgen import runtime

CLIENTS, REPEATS = 30, 3
SIZES = {
    True: {"model": "cnn", "train": 50_000, "samples": 3600, "rounds": 10},
    False: {"model": "cnn-small", "train": 2_000, "samples": 100, "rounds": 1},
}
"""On a GPU, and elsewhere."""


def measure() -> dict[str, Any]:
    """Return samples per second, their ratios, milliseconds beside training, and seconds."""
    runtime.import_jax()
    import jax

    on_gpu = jax.default_backend() != "cpu"
    size = SIZES[on_gpu]
    found: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "sizes": {"clients": CLIENTS, **size},
    }
    for precision in ("tf32", "bfloat16") if on_gpu else ("float32", "bfloat16"):
        found[precision] = engine_figures(size, precision)
    found["milliseconds_per_client_beside_training"] = beside_training(size)
    for precision in ("tf32", "bfloat16") if on_gpu else ("float32",):
        found[f"compare, {precision}"] = whole_processes(size, precision)
    return found


def engine_figures(size: dict[str, Any], precision: str) -> dict[str, Any]:
    """Return the speeds of cohorts, and of the same engine with one lane."""
    import numpy as np

    from benchmarks import synthetic
    from fedgen.engine import models
    from fedgen.engine.jax.engine import Engine
    from fedgen.engine.plan import Plan

    data = synthetic.cifar10(train=size["train"], test=100)
    model = models.build(size["model"], data.shape, data.outputs, 0)
    weights = models.get_weights(model)
    draw = np.random.default_rng(0)
    mixed = np.round(2 ** draw.uniform(4, 7, CLIENTS)).astype(int).tolist()

    def speed(engine: Engine, batches: Sequence[int]) -> float:
        samples = size["samples"]
        plans = [
            Plan(1e-3, batch, draw.permutation(size["train"])[None, :samples].astype(np.int32))
            for batch in batches
        ]
        seconds = []
        with ThreadPoolExecutor(engine.workers) as pool:
            for _ in range(REPEATS + 1):
                began = time.perf_counter()
                list(pool.map(lambda plan: engine.train(weights, plan), plans))
                seconds.append(time.perf_counter() - began)
        return len(plans) * samples / statistics.median(seconds[1:])

    cohort = Engine(model, data, workers=32, precision=precision, side_by_side=True)
    alone = Engine(model, data, workers=1, precision=precision, side_by_side=True)
    few = max(2, CLIENTS // 10)
    figures = {
        "batch 32": speed(cohort, [32] * CLIENTS),
        "batches 16 to 128": speed(cohort, mixed),
        "batch 32, one lane": speed(alone, [32] * few),
    }
    ratio = figures["batch 32"] / figures["batch 32, one lane"]
    rounded: dict[str, Any] = {name: round(value) for name, value in figures.items()}
    return {**rounded, "cohort to one lane": round(ratio, 2)}


def beside_training(size: dict[str, Any]) -> float:
    """Return what a round takes for each client beside its training: messages, mean, copies.

    Whole rounds of clients of 20 samples, less what the engine takes for their trainings alone.
    """
    import numpy as np

    from benchmarks import synthetic
    from fedgen.comparison import trainers
    from fedgen.config.tree import Arm, build
    from fedgen.engine import models
    from fedgen.engine.plan import Plan
    from fedgen.federation import client_app
    from fedgen.federation.grid import InProcessGrid
    from fedgen.federation.resources import Resources
    from fedgen.federation.run_config import to_run_config

    data = synthetic.cifar10(train=2000, test=20)
    with tempfile.TemporaryDirectory() as folder:
        arrays = {k: getattr(data, k) for k in ("x_train", "y_train", "x_test", "y_test")}
        np.savez(Path(folder) / "data.npz", **arrays)
        config = build(
            {
                "data": {"dataset": f"{folder}/data.npz"},
                "model": {"name": size["model"]},
                "training": {"engine": "jax", "local_epochs": 1},
                "partition": {"clients": CLIENTS, "min_samples": 20, "max_samples": 21},
                "cohort": {"fraction": 1.0},
            }
        )
        held = Resources(config)
    engine, weights = held.engine(0), models.get_weights(held.model(0))
    grid = InProcessGrid(
        client_app.made(lambda _: held),
        to_run_config(held.config),
        clients=CLIENTS,
        workers=engine.workers,
    )
    player = trainers.Federated(trainers.build_strategy(Arm(held.config, "fedavg", 0), held), grid)
    order = np.arange(18, dtype=np.int32)[None]
    rounds, alone = [], []
    with ThreadPoolExecutor(engine.workers) as pool:
        for number in range(1, 7):
            began = time.perf_counter()
            player.step(number, weights)
            rounds.append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(lambda _: engine.train(weights, Plan(1e-3, 32, order)), range(CLIENTS)))
            alone.append(time.perf_counter() - began)
    grid.close()
    beside = statistics.median(rounds[1:]) - statistics.median(alone[1:])
    return round(1000 * beside / CLIENTS, 2)


def whole_processes(size: dict[str, Any], precision: str) -> dict[str, float]:
    """Return seconds of ``compare``: of its rounds, and of the process, cold and warm."""
    from fedgen.files import csv
    from fedgen.runs.rows import RoundRow

    with tempfile.TemporaryDirectory() as folder:
        data = os.environ.get("FEDGEN_DATA_DIR") if size["rounds"] > 1 else None
        where = ["--dataset=cifar10", f"--data-dir={data}"] if data else ["--dataset=digits"]
        settings = ["--engine=jax", f"--set=training.precision={precision}"]
        command = [sys.executable, "-m", "fedgen", "compare", *where, *settings, "--quiet"]
        command += [f"--model={size['model']}", f"--rounds={size['rounds']}"]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
        seconds, found = {}, {}
        for name in ("cold", "warm"):
            began = time.perf_counter()
            out = Path(folder) / name
            subprocess.run([*command, f"--out={out}"], check=True, env=environment)
            seconds[name] = round(time.perf_counter() - began, 1)
            rows = csv.read_csv(out / "rounds.csv", RoundRow)
            found[f"rounds, {name}"] = round(sum(row.seconds for row in rows), 1)
        return {**found, **{f"process, {name}": value for name, value in seconds.items()}}


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
