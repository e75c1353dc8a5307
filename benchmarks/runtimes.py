"""The same job in one process, on Ray, and on Ray with Flower's quickstart client.

Three whole processes play each job: ``fedgen compare``; ``fedgen.launch simulate``,
which starts a SuperLink, has ``flwr run`` play fedgen's ServerApp and ClientApp on
Ray, and stops it all; and the same with the app in ``quickstart``, whose clients
build and compile a Keras model for every message and call ``fit`` and ``evaluate``.

Every job is plain FedAvg with the reference CNN: ten clients, all in every round,
two local epochs of Adam at batch size 32. All three read one file and train the same
samples; another count of trained samples fails the benchmark. ``digits`` is ten rounds
on scikit-learn's digits, about 420 samples a client; ``cifar10`` is two rounds on 5,000
random images of CIFAR-10's size, about 500 a client.

Counted: ``*_seconds`` is the wall time of a process from start to end: imports,
loading, starting and stopping Flower, and writing results. ``*_round_seconds`` is the
last round as the server sees it, when everything is warm: messages, training,
aggregation, and evaluation by the clients. fedgen's round also evaluates on the test
set and on the held-out share (1,500 images of ``cifar10``), which the quickstart has
no counterpart for. A ratio is how many times as long as the first way the named one
takes; ``round_ratio`` is the quickstart's round to fedgen's. TensorFlow's settings are
fedgen's own for fedgen, and TensorFlow's defaults for the quickstart.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks
from benchmarks import synthetic
from fedgen import launch
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.data.partitions.contiguous import partition
from fedgen.deployment.simulation import federation_config
from fedgen.deployment.superlink import PROJECT
from fedgen.files.csv import read_csv
from fedgen.runs.rows import RoundRow

CLIENTS, RATE, BATCH, EPOCHS, SEED = 10, 1e-3, 32, 2, 0
SLICE: dict[str, Any] = {"min_samples": 555, "max_samples": 560}
"""A tenth of a slice is held out, and slices end with the data set."""

DIGITS_ROUNDS, CIFAR10_ROUNDS = 10, 2
CIFAR10_TRAIN, CIFAR10_TEST = 5_000, 1_000
QUICKSTART = Path(__file__).parent / "quickstart"


@dataclass(frozen=True)
class Played:
    """What one way took for a job."""

    seconds: float
    last_round: float
    samples: int


def measure() -> dict[str, dict[str, float]]:
    """Return the seconds and ratios of both jobs."""
    digits = _play(datasets.load(Data(dataset="digits")), DIGITS_ROUNDS)
    cifar10 = _play(synthetic.cifar10(CIFAR10_TRAIN, CIFAR10_TEST), CIFAR10_ROUNDS)
    in_process = digits["in_process"].seconds
    ours, theirs = cifar10["flwr"].last_round, cifar10["quickstart"].last_round
    return {
        "digits": {
            **_process_seconds(digits),
            "ratio_flwr": round(digits["flwr"].seconds / in_process, 2),
            "ratio_quickstart": round(digits["quickstart"].seconds / in_process, 2),
        },
        "cifar10": {
            **_process_seconds(cifar10),
            "flwr_round_seconds": round(ours, 2),
            "quickstart_round_seconds": round(theirs, 2),
            "round_ratio": round(theirs / ours, 2),
        },
    }


def _process_seconds(played: dict[str, Played]) -> dict[str, float]:
    return {f"{way}_seconds": round(result.seconds, 1) for way, result in played.items()}


def _play(data: Dataset, rounds: int) -> dict[str, Played]:
    """Play a job in the three ways, one after another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_job(data, folder / "data.npz")
        played = {
            "in_process": _in_process(folder, rounds),
            "flwr": _flwr(folder, rounds),
            "quickstart": _quickstart(folder, rounds),
        }
    samples = {way: result.samples for way, result in played.items()}
    if len(set(samples.values())) > 1:
        raise RuntimeError(f"trained {samples} samples, expected the same")
    return played


def save_job(data: Dataset, path: Path) -> None:
    """Write a data set with pixels in [0, 1], and who trains and validates on what."""
    parts = partition(len(data.y_train), CLIENTS, SEED, **SLICE)
    arrays: dict[str, Any] = {"y_train": data.y_train, "y_test": data.y_test}
    for split in ("x_train", "x_test"):
        arrays[split] = getattr(data, split) * np.float32(data.scale)
    for client, shard in enumerate(parts.clients):
        arrays |= {f"train_{client}": shard.train, f"validation_{client}": shard.validation}
    np.savez(path, **arrays)


def _in_process(folder: Path, rounds: int) -> Played:
    out = folder / "in-process"
    command = ["fedgen", "compare", f"--dataset={folder / 'data.npz'}", f"--rounds={rounds}"]
    command += [f"--clients={CLIENTS}", "--fraction=1", "--strategies=fedavg", f"--seed={SEED}"]
    sets = [f"--set={text}" for text in _settings()]
    return _read_run(out, _seconds(*command, f"--out={out}", *sets))


def _flwr(folder: Path, rounds: int) -> Played:
    out = folder / "flwr"
    texts = {"strategy": "fedavg", "dataset": folder / "data.npz", "out": out}
    texts["set"] = " ".join(_settings())
    run_config = " ".join(f"{key}='{text}'" for key, text in texts.items())
    run_config += f" rounds={rounds} clients={CLIENTS} fraction=1.0 seed={SEED}"
    return _read_run(out, _seconds("fedgen.launch", "simulate", run_config))


def _quickstart(folder: Path, rounds: int) -> Played:
    seconds = _seconds("benchmarks.runtimes", str(folder), str(rounds))
    counted = json.loads((folder / "quickstart.json").read_text())
    return Played(seconds, counted[-1]["seconds"], sum(row["samples"] for row in counted))


def _settings() -> list[str]:
    values = {
        "training.local_epochs": EPOCHS,
        "fedavg.learning_rate": RATE,
        "fedavg.batch_size": BATCH,
    }
    values |= {f"partition.{key}": value for key, value in SLICE.items()}
    return [f"{key}={value}" for key, value in values.items()]


def _seconds(module: str, *arguments: str) -> float:
    command = [sys.executable, "-m", module, *arguments]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stdout[-2000:]}")
    return seconds


def _read_run(out: Path, seconds: float) -> Played:
    rows: list[RoundRow] = read_csv(out / "rounds.csv", RoundRow)
    return Played(seconds, rows[-1].seconds, sum(row.samples for row in rows))


def run_quickstart(folder: Path, rounds: int) -> None:
    """Play the quickstart's app on Ray with TensorFlow and the allocator at their defaults."""
    for name in ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.pop(name, None)  # set by importing fedgen
    os.environ["GLIBC_TUNABLES"] = ""  # or the runtime asks for huge pages
    run_config = {
        "data": str(folder / "data.npz"),
        "out": str(folder / "quickstart.json"),
        "num-server-rounds": rounds,
        "local-epochs": EPOCHS,
        "batch-size": BATCH,
        "learning-rate": RATE,
    }
    with launch.Runtime(simulation=True) as flower:
        flower.run(run_config, federation_config(CLIENTS), app=QUICKSTART)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_quickstart(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        benchmarks.main(measure, __doc__)
