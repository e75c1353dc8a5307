"""A NumPy-only Flower app whose clients minimise ``1/2 (w - goal)^2`` by hand-computable steps.

The plain twin of ``fedgen.federation.client_app`` for what strategies ask beside training.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import toy
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedgen.federation.faults import misbehave
from strategies.messages.arrays import read_arrays
from strategies.messages.coding import compress

Content = dict[str, Any]
Fault = Callable[[Content], None]
"""Changes what a client answers, a dict of lists of arrays and of metrics, or raises."""

EXAMPLES = 10


def start(value: float = 1.0) -> ArrayRecord:
    """A model of one weight."""
    return ArrayRecord([np.array([value], np.float32)])


def value(arrays: ArrayRecord) -> float:
    """The one weight of a model."""
    (array,) = read_arrays(arrays)
    return float(array[0])


def _tuned(config: Mapping[str, Any], w: np.ndarray, goal: float, steps: int) -> tuple[Any, float]:
    """Delta-SGD on the quadratic, whose smoothness is 1: dx / dg is 1 as long as w moves."""
    gamma, delta, theta = config["auto-tune"]
    eta, sizes, moved = config["learning-rate"], [], False
    for k in range(steps):
        if k:
            bound = np.sqrt(1 + delta * theta) * eta
            size = min(gamma / 2, bound) if moved else bound
            eta, theta = size, size / eta
        sizes.append(eta)
        moved = bool(w[0] != goal)
        w = w - eta * (w - goal)
    return w, float(np.mean(sizes))


def _train(config: Mapping[str, Any], records: Mapping[str, Any], goal: float) -> Content:
    models = [records["arrays"][0]]
    models += [records[f"model-{j}"][0] for j in range(1, config.get("models", 1))]
    picked = int(np.argmin([(model[0] - goal) ** 2 for model in models]))
    w = begin = models[picked].astype(np.float64)
    rate, steps = config["learning-rate"], config["local-epochs"]
    steps *= -(-EXAMPLES // config["batch-size"])
    mean_rate, more, metrics = rate, {}, {}
    if "auto-tune" in config:
        w, mean_rate = _tuned(config, w, goal, steps)
        metrics["initial-rate"] = float(np.float32(rate))
    elif "first-moments" in records:  # a heavy ball, and a count of its steps
        (velocity,), (count,) = records["first-moments"], records["second-moments"]
        for _ in range(steps):
            velocity, count = (0.5 * velocity + (w - goal)).astype(np.float32), count + 1
            w = w - rate * velocity
        more = {"first-moments": [velocity], "second-moments": [count]}
    else:
        mu = config.get("proximal-mu", 0.0)
        offset = records.get("gradient-offset", [np.zeros(1)])[0]
        for _ in range(steps):
            w = w - rate * ((w - goal) + offset + mu * (w - begin))
        metrics |= {"proximal-mu": mu} if "proximal-mu" in config else {}
        metrics |= {"local-steps": steps} if "gradient-offset" in records else {}
    metrics |= {"model": picked} if "models" in config else {}
    metrics |= {
        "num-examples": EXAMPLES,
        "learning-rate": float(np.float32(mean_rate)),
        "batch-size": config["batch-size"],
        "fitness": float(((begin if config["fitness"] == "sent" else w)[0] - goal) ** 2),
        "train-loss": 1.0,
        "epochs": config["local-epochs"],
        "samples": config["local-epochs"] * EXAMPLES,
        "seconds": 0.0,
    }
    return {"arrays": [w.astype(np.float32)], **more, "metrics": metrics}


@contextmanager
def grid(
    goals: list[float], faults: Mapping[int, Fault] | None = None, **settings: Any
) -> Iterator[toy.ToyGrid]:
    """A grid with a client per goal; ``sent`` of it holds the latest messages."""
    app = ClientApp(mods=[compress, misbehave])

    @app.query()
    def query(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        metrics = MetricRecord({"partition-id": client, "num-examples": EXAMPLES})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        records = {n: read_arrays(r) for n, r in message.content.array_records.items()}
        answer = _train(message.content["config"], records, goals[client])
        (faults or {}).get(client, lambda answer: None)(answer)
        metrics = MetricRecord(answer.pop("metrics"))
        packed = {name: ArrayRecord(arrays) for name, arrays in answer.items()}
        return Message(RecordDict({**packed, "metrics": metrics}), reply_to=message)

    made = toy.ToyGrid(app, {}, clients=len(goals), workers=2, **settings)
    try:
        yield made
    finally:
        made.close()
