"""How long a study takes: a Keras fit against plain ``keras fit``, and two jobs against one.

One model of MLP study B (356-105-51 with batch normalisation) trains on random images of MNIST's
size, batch 128, evaluated on 10,000 images after every epoch: by ``keras fit`` as one would write
it, in a process with TensorFlow's own settings and all cores; by the engine as one fit on one
thread; and by the engine as one fit per core at once, where the figure is the time of all divided
by their number. Each starts with building and compiling the model, in a process of its own, in
turn; medians.

The solver study of five architectures (15 fits, at most 20 iterations each) runs on 10,000 images
of MNIST, which ``FEDGEN_DATA_DIR`` or the cache holds, with 1 and with 2 jobs, start-up included.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import synthetic
from fedgen import runtime

EPOCHS, REPEATS = 3, 3
STUDY = Path(__file__).parents[1] / "experiments" / "mlp_solvers.toml"
SMALL = ("train_samples=10000", "validation_fraction=0", "max_iter=20")

PLAIN = """
import sys, time
import keras
import numpy as np
data = np.load(sys.argv[1])
began = time.perf_counter()
x_train, x_test = (data[key].astype("float32") / 255 for key in ("x_train", "x_test"))
hidden = [layer for units in (356, 105, 51) for layer in (
    keras.layers.Dense(units, "relu", kernel_initializer="he_normal"),
    keras.layers.BatchNormalization())]
model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), *hidden,
    keras.layers.Dense(10, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, data["y_train"], batch_size=128, epochs=int(sys.argv[2]), verbose=0,
    validation_data=(x_test, data["y_test"]))
print(time.perf_counter() - began)
"""

ENGINE = """
import sys
from benchmarks.study import by_engine
print(by_engine(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def measure() -> dict[str, object]:
    """Return the medians of the fits, and the seconds of the study and their ratio."""
    return {**fits(), **jobs()}


def fits() -> dict[str, object]:
    """Return seconds per fit: plain Keras, the engine on one thread, and on every core."""
    cores = len(os.sched_getaffinity(0))
    # What fedgen sets when it is imported is not plain Keras'.
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/data.npz"
        synthetic.write(synthetic.mnist(), Path(data))
        ways = {
            "keras_fit": ([PLAIN, data, str(EPOCHS)], plain),
            "engine_one_thread": ([ENGINE, data, str(EPOCHS), "1"], dict(os.environ)),
            "engine_every_core": ([ENGINE, data, str(EPOCHS), str(cores)], dict(os.environ)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, (arguments, environment) in ways.items():
                seconds[name].append(_run(["-c", *arguments], environment))
    return {
        "epochs": EPOCHS,
        **{f"{name}_seconds": round(statistics.median(s), 2) for name, s in seconds.items()},
        "all_seconds": {name: [round(s, 2) for s in s_all] for name, s_all in seconds.items()},
    }


def by_engine(data: str, epochs: int, slots: int) -> float:
    """Return the seconds of a fit by the engine, of so many at once."""
    runtime.import_tensorflow()
    runtime.limit_threads(slots)
    from fedgen.config.sections import Training
    from fedgen.study import cases
    from fedgen.study.fits import keras
    from fedgen.study.samples import draw, load

    fixed = {"model": "mlp-356-105-51-bn", "batch_size": 128, "epochs": epochs}
    tree = {
        "study": {"name": "benchmark", "estimator": "keras"},
        "data": {"dataset": data},
        "fixed": fixed,
    }
    study = cases.build(tree, "benchmark")
    settings: Any = cases.cases(study, "")[0].settings
    samples = load(draw(study))
    training = Training(engine="tensorflow")
    began = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        list(
            pool.map(
                lambda seed: keras.prepare(settings, samples, seed, training, slots)(), range(slots)
            )
        )
    return (time.perf_counter() - began) / slots


def jobs() -> dict[str, object]:
    """Return the seconds of the solver study with 1 and 2 jobs, and their ratio."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            settings = [word for setting in SMALL for word in ("--set", setting)]
            where = ["--jobs", str(count), "--out", f"{folder}/{count}"]
            began = time.perf_counter()
            command = [sys.executable, "-m", "fedgen", "study", str(STUDY), *settings, *where]
            subprocess.run([*command, "--json"], check=True, stdout=subprocess.DEVNULL)
            seconds[count] = time.perf_counter() - began
    return {
        "study_jobs_1_seconds": round(seconds[1], 1),
        "study_jobs_2_seconds": round(seconds[2], 1),
        "study_jobs_ratio": round(seconds[2] / seconds[1], 3),
    }


def _run(arguments: list[str], environment: dict[str, str]) -> float:
    found = subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True
    )
    return float(found.stdout.split()[-1])


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
