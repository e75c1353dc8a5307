"""One round of four clients: as the reference experiment does it, and fedgen's.

The reference clones and compiles the model per client, calls ``fit`` with
validation on the whole test set after every epoch, and leaves TensorFlow at its
defaults; it runs in a process of its own. fedgen's round has all that it does:
messages, training, fitness, checks, aggregation, evaluation of the global model,
records and checkpoint. Both train the same samples, two epochs at the same batch
sizes, on random data of CIFAR-10's size; imports and loading are not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmarks
from fedgen import runtime

CLIENTS = 4
RATE, BATCH, EPOCHS = 1e-3, 32, 2
FEDGEN = "fedgen"


def measure() -> dict[str, float]:
    """Return the seconds of both rounds and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        save_data(Path(folder) / "data.npz")
        reference, samples = _run(folder, "reference")
        ours, our_samples = _run(folder, FEDGEN)
    if samples != our_samples:
        raise RuntimeError(f"trained {samples} and {our_samples} samples, expected the same")
    return {
        "reference_seconds": round(reference, 2),
        "fedgen_seconds": round(ours, 2),
        "ratio": round(reference / ours, 2),
    }


def save_data(path: Path) -> None:
    """Write random data of CIFAR-10's size."""
    from benchmarks import synthetic

    synthetic.write(synthetic.cifar10(), path)


def _run(folder: str, way: str) -> tuple[float, int]:
    environment = dict(os.environ)
    if way == FEDGEN:
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    else:
        environment = {k: v for k, v in environment.items() if not k.startswith(("TF_", "GLIBC_"))}
    command = [sys.executable, "-m", "benchmarks.reference_way", way, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{way}: {done.stderr[-2000:]}")
    seconds, samples = done.stdout.split()[-2:]
    return float(seconds), int(samples)


def reference_round(folder: Path) -> tuple[float, int]:
    """Train the clients one after another, each a clone, and average the clones."""
    for name in ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.pop(name, None)  # set by importing fedgen
    import keras
    import numpy as np

    from fedgen.data.partitions.contiguous import partition
    from fedgen.engine import models

    with np.load(folder / "data.npz") as data:
        x_train, x_test = data["x_train"] / np.float32(255), data["x_test"] / np.float32(255)
        y_train, y_test = (keras.utils.to_categorical(data[f"y_{s}"]) for s in ("train", "test"))
    shards = partition(len(x_train), CLIENTS, 0).clients
    model = keras.Sequential(
        [*models.build("cnn", (32, 32, 3), 10, 0).layers, keras.layers.Softmax()]
    )
    model.build((None, 32, 32, 3))
    started = time.perf_counter()
    results = []
    for shard in shards:
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        clone.compile(keras.optimizers.Adam(RATE), "categorical_crossentropy", metrics=["accuracy"])
        clone.fit(
            x_train[shard.train],
            y_train[shard.train],
            batch_size=BATCH,
            epochs=EPOCHS,
            validation_data=(x_test, y_test),
            verbose=0,
        )
        results.append(clone.get_weights())
    model.set_weights([np.mean(layer, axis=0) for layer in zip(*results, strict=True)])
    seconds = time.perf_counter() - started
    return seconds, EPOCHS * sum(len(shard.train) for shard in shards)


def fedgen_round(folder: Path) -> tuple[float, int]:
    """Play rounds 0 and 1 of plain FedAvg and take the second one's time and samples."""
    runtime.import_tensorflow()
    from fedgen.comparison import flow, opening
    from fedgen.config.tree import build
    from fedgen.federation.resources import Resources
    from fedgen.files.csv import read_csv
    from fedgen.runs.rows import RoundRow
    from fedgen.runs.watch import Watcher

    config = build(
        {
            "data": {"dataset": str(folder / "data.npz")},
            "partition": {"clients": CLIENTS},
            "cohort": {"fraction": 1.0},
            "training": {"local_epochs": EPOCHS},
            "fedavg": {"learning_rate": RATE, "batch_size": BATCH},
            "run": {"rounds": 1, "strategies": ["fedavg"]},
        }
    )
    held = Resources(config)
    with opening.created(held, folder / "run") as run:
        flow.play(run, held, Watcher())
    row = read_csv(run.path / "rounds.csv", RoundRow)[-1]
    return row.seconds, row.samples


if __name__ == "__main__":
    if len(sys.argv) == 3:
        play = fedgen_round if sys.argv[1] == FEDGEN else reference_round
        print(*play(Path(sys.argv[2])))
    else:
        benchmarks.main(measure, __doc__)
