"""Many small clients, beside pfl-research where a Python with it is named: ``--pfl PYTHON``.

Its own CIFAR-10 shape: 1,000 clients of 50 images, 50 of them a round, batch 10, one epoch of SGD
at 0.1, two valid convolutions of 32 and 64 filters, max-pooling, dropout, dense 128: 1.6 million
parameters, 101 MFLOP a trained sample. Milliseconds a client: the median of rounds, the evaluation
of a central test set left out. The two take turns, round by round, with all cores each.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import show
from fedgen import runtime

CLIENTS, COHORT, SAMPLES, ROUNDS = 1000, 50, 50, 7

PFL = """
import sys, time
import numpy as np, torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data import ArtificialFederatedDataset
from pfl.data.sampling import get_data_sampler, get_user_sampler
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel

CLIENTS, COHORT, SAMPLES, ROUNDS = map(int, sys.argv[1:])
torch.manual_seed(0)


class Net(torch.nn.Sequential):
    def __init__(self):
        relu, drop = torch.nn.ReLU, torch.nn.Dropout
        super().__init__(
            torch.nn.Conv2d(3, 32, 3), relu(), torch.nn.Conv2d(32, 64, 3), relu(),
            torch.nn.MaxPool2d(2), drop(0.25), torch.nn.Flatten(),
            torch.nn.Linear(12544, 128), relu(), drop(0.5), torch.nn.Linear(128, 10))

    def loss(self, x, y, is_eval=False):
        self.train(not is_eval)
        return torch.nn.functional.cross_entropy(self(x), y)

    def metrics(self, x, y):
        return {}


draw = np.random.default_rng(0)
images = torch.tensor(draw.random((CLIENTS * SAMPLES, 3, 32, 32), np.float32))
labels = torch.tensor(draw.integers(0, 10, CLIENTS * SAMPLES))


def of(user):
    rows = slice(user * SAMPLES, (user + 1) * SAMPLES)
    return Dataset(raw_data=[images[rows], labels[rows]], user_id=str(user))


users = FederatedDataset(of, get_user_sampler("random", list(range(CLIENTS))))
net = Net()
model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), 1.0))
began = time.perf_counter()


class Clock:
    def on_train_begin(self, *, model):
        return Metrics()

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        global began
        print("milliseconds", 1000 * (time.perf_counter() - began) / COHORT, flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        return False, Metrics()

    def on_train_end(self, *, model):
        pass


sys.stdin.readline()
began = time.perf_counter()
FederatedAveraging().run(
    NNAlgorithmParams(ROUNDS, ROUNDS + 1, COHORT, 0), SimulatedBackend(users, users), model,
    NNTrainHyperParams(local_num_epochs=1, local_learning_rate=0.1, local_batch_size=10),
    NNEvalHyperParams(local_batch_size=None), callbacks=[Clock()])
"""


def net(shape: tuple[int, int, int], classes: int) -> list[Any]:
    """Return pfl-research's network for CIFAR-10, as its simulations have it."""
    from keras import layers

    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(classes),
    ]


def fedgen_rounds() -> Iterator[float]:
    """Yield the milliseconds a client of round after round."""
    from benchmarks import synthetic
    from fedgen.comparison import trainers
    from fedgen.config.tree import Arm, build
    from fedgen.engine import models
    from fedgen.federation import client_app
    from fedgen.federation.grid import InProcessGrid
    from fedgen.federation.resources import Resources
    from fedgen.federation.run_config import to_run_config

    with tempfile.TemporaryDirectory() as folder:
        # A tenth is held out, as always; what is left is 50 a client.
        data = synthetic.cifar10(train=CLIENTS * SAMPLES * 10 // 9 + 1, test=20)
        synthetic.write(data, Path(folder) / "data.npz")
        config = build(
            {
                "data": {"dataset": f"{folder}/data.npz"},
                "model": {"name": "benchmarks.small_clients:net"},
                "partition": {"kind": "iid", "clients": CLIENTS},
                "cohort": {"fraction": COHORT / CLIENTS, "resample": True},
                "training": {"local_epochs": 1, "optimizer": "sgd"},
                "fedavg": {"learning_rate": 0.1, "batch_size": 10},
            }
        )
        held = Resources(config)
    engine = held.engine(0)
    grid = InProcessGrid(
        client_app.made(lambda _: held),
        to_run_config(held.config),
        clients=CLIENTS,
        workers=engine.workers,
    )
    arm = Arm(held.config, "fedavg", 0)
    player = trainers.Federated(trainers.build_strategy(arm, held), grid)
    weights = models.get_weights(held.model(0))
    for number in range(1, ROUNDS + 1):
        began = time.perf_counter()
        weights, _ = player.step(number, weights)
        yield 1000 * (time.perf_counter() - began) / COHORT
    grid.close()


def measure(pfl: str | None) -> dict[str, Any]:
    """Return milliseconds a client, and how they compare."""
    other = None
    if pfl:
        sizes = map(str, (CLIENTS, COHORT, SAMPLES, ROUNDS))
        other = subprocess.Popen(
            [pfl, "-W", "ignore", "-c", textwrap.dedent(PFL), *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    mine, theirs = [], []
    for milliseconds in fedgen_rounds():
        mine.append(milliseconds)
        if other is not None and other.stdin and other.stdout:
            other.stdin.write("\n")
            other.stdin.flush()
            line = next(line for line in other.stdout if line.startswith("milliseconds"))
            theirs.append(float(line.split()[1]))
    found: dict[str, Any] = {"fedgen": round(statistics.median(mine[1:]), 1)}
    if other is not None:
        other.kill()
        found["pfl"] = round(statistics.median(theirs[1:]), 1)
        found["fedgen to pfl"] = round(found["fedgen"] / found["pfl"], 2)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pfl", metavar="PYTHON", help="of an environment with pfl[pytorch]")
    arguments = parser.parse_args()
    runtime.restart_with_huge_pages()
    figures = measure(arguments.pfl)
    show(figures, arguments.json)
    sys.exit()
