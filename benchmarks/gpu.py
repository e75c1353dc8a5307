"""How fast the engine on JAX trains a cohort: as lanes of one program, and one client at a time.

On a GPU: the reference CNN on images of CIFAR-10's size, 30 clients of 3,600 samples, in every
precision; and whole processes of ``compare --rounds 10``, with an empty and with a filled cache of
compiled programs, arms at once and in turn. They play CIFAR-10 where ``FEDGEN_DATA_DIR`` is set,
else random pixels of its size. On a CPU all of it is small, to show that it works: the figures
there say nothing of a GPU. Medians; the first pass, which compiles, is not counted. Every figure is
told on stderr as soon as it is known.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import benchmarks
from fedgen import runtime
from fedgen.engine.plan import Precision

CLIENTS, REPEATS = 30, 3
SIZES = {
    True: {"model": "cnn", "train": 50_000, "samples": 3600, "rounds": 10},
    False: {"model": "cnn-small", "train": 2_000, "samples": 100, "rounds": 1},
}
"""On a GPU, and elsewhere."""


def measure() -> dict[str, Any]:
    """Return samples per second, their ratios, milliseconds beside training, and seconds.

    Raises:
        InputError: If ``FEDGEN_REQUIRE_GPU`` is 1 and there is none.
    """
    from fedgen.config.sections import Training
    from fedgen.engine import engines

    engines.require_gpu(Training(engine="jax"))
    runtime.import_jax()
    import jax

    on_gpu = jax.default_backend() != "cpu"
    size = SIZES[on_gpu]
    engine_precisions: tuple[Precision, ...] = "float32", "bfloat16"
    whole_precisions: tuple[Precision, ...] = ("float32",)
    if on_gpu:
        engine_precisions = whole_precisions = "tf32", "bfloat16"
    found: dict[str, Any] = {}

    def keep(name: str, figure: Any) -> None:
        found[name] = benchmarks.told(name, figure)

    keep("device", jax.devices()[0].device_kind)
    keep("jax", jax.__version__)
    keep("sizes", {"clients": CLIENTS, **size})
    for precision in engine_precisions:
        keep(precision, engine_figures(size, precision))
    keep("milliseconds_per_client_beside_training", beside_training(size))
    with tempfile.TemporaryDirectory() as folder:
        data = whole_data(Path(folder), size)
        for precision in whole_precisions:
            for name, figure in whole_processes(Path(folder), data, size, precision):
                keep(f"compare, {precision}, {name}", figure)
    return found


def engine_figures(size: dict[str, Any], precision: Precision) -> dict[str, Any]:
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
        return float(len(plans) * samples / statistics.median(seconds[1:]))

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
    """Return what a round takes for each client beside the engine's work: messages, mean, copies.

    Whole rounds of clients of 20 samples, less what the engine takes to train and validate them.
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
    from strategies.messages.arrays import read_arrays, write_arrays

    data = synthetic.cifar10(train=2000, test=20)
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write(data, Path(folder) / "data.npz")
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
    # As clients receive them: bytes that nobody can change, sent to the device once.
    engine, weights = held.engine(0), read_arrays(write_arrays(models.get_weights(held.model(0))))
    grid = InProcessGrid(
        client_app.made(lambda _: held),
        to_run_config(held.config),
        clients=CLIENTS,
        workers=engine.workers,
    )
    player = trainers.Federated(trainers.build_strategy(Arm(held.config, "fedavg", 0), held), grid)
    clients = held.partition(0).clients

    def work(client: int) -> None:
        order = clients[client].train.astype(np.int32)[None]
        trained = engine.train(weights, Plan(1e-3, 32, order))
        engine.evaluate(trained.weights, clients[client].validation)

    rounds, alone = [], []
    with ThreadPoolExecutor(engine.workers) as pool:
        for number in range(1, 7):
            began = time.perf_counter()
            player.step(number, weights)
            rounds.append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(work, range(CLIENTS)))
            alone.append(time.perf_counter() - began)
    grid.close()
    beside = statistics.median(rounds[1:]) - statistics.median(alone[1:])
    return round(1000 * beside / CLIENTS, 2)


def whole_data(folder: Path, size: dict[str, Any]) -> list[str]:
    """Return the flags that name what ``compare`` plays, made in a folder where it is not there."""
    if size["rounds"] == 1:
        return ["--dataset=digits"]
    if data := os.environ.get("FEDGEN_DATA_DIR"):
        return ["--dataset=cifar10", f"--data-dir={data}"]
    from benchmarks import synthetic

    synthetic.write(synthetic.cifar10(), folder / "random.npz")
    return [f"--dataset={folder}/random.npz"]


def whole_processes(
    folder: Path, data: Sequence[str], size: dict[str, Any], precision: Precision
) -> Iterator[tuple[str, dict[str, float] | str]]:
    """Yield seconds of ``compare``: of all its rounds by the clock, and of the process.

    With an empty cache of compiled programs, with a filled one, and with that and arms that take
    turns, as a deadline has them do. Rounds are from the table's heading to its last line: round 0
    and the server's evaluations are among them.
    """
    settings = ["--engine=jax", f"--set=training.precision={precision}"]
    command = [sys.executable, "-m", "fedgen", "compare", *data, *settings]
    command += [f"--model={size['model']}", f"--rounds={size['rounds']}"]
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled-{precision}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    in_turn = ["--set=training.deadline=3600"]
    for name, more in (("cold", []), ("warm", []), ("warm, arms in turn", in_turn)):
        out = f"--out={folder}/{precision}-{name.replace(', ', '-').replace(' ', '-')}"
        began = time.perf_counter()
        with subprocess.Popen(
            [*command, *more, out], stdout=subprocess.PIPE, text=True, env=os.environ | compiled
        ) as process:
            assert process.stdout is not None
            told = [(time.perf_counter(), line) for line in process.stdout]
        seconds = time.perf_counter() - began
        if process.returncode:
            yield name, f"exit code {process.returncode}"
            continue
        heading = next(at for at, line in told if line.startswith("seed 0 on"))
        last = max(at for at, line in told if re.match(r" *\d+ ", line))
        yield name, {"rounds": round(last - heading, 1), "process": round(seconds, 1)}


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
