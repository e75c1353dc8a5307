"""A NumPy-only Flower app with closed-form training, and clients that misbehave on request."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import fedgen  # noqa: F401  settings that must stand before Flower is used
from fedgen.federation.faults import misbehave
from fedgen.federation.grid import FIRST_NODE, InProcessGrid
from strategies.core.hyperparameters import Genome
from strategies.fedavg import FedAvg
from strategies.messages.arrays import read_arrays
from strategies.messages.coding import compress

Weights = list[np.ndarray]
Metrics = dict[str, Any]
Fault = Callable[[Weights, Metrics], None]
"""Spoils a reply in place, or raises."""

EPOCHS = 2


def start() -> ArrayRecord:
    """Initial weights of two layers."""
    return ArrayRecord([np.zeros(3, np.float32), np.ones((2, 2), np.float32)])


def examples(client: int) -> int:
    """Training samples of a client: not ascending in its id, and some are equal."""
    return 10 + 7 * (client * 5 % 4)


def trained(weights: Weights, client: int, genome: Genome) -> Weights:
    """Move the weights towards the client's id, faster at a higher rate or smaller batch."""
    share = min(1.0, 0.1 + 100 * genome.learning_rate) * 16 / genome.batch_size
    return [(w + share * (client + 1 - w)).astype(w.dtype) for w in weights]


def loss(client: int, genome: Genome) -> float:
    """Least at rate 1e-4 and batch 32; no two clients have the same."""
    rate, batch = math.log10(genome.learning_rate) + 4, math.log2(genome.batch_size) - 5
    return abs(rate) + 0.1 * abs(batch) + 1e-3 * client


def best_of(client: int, rates: Sequence[float], batches: Sequence[int]) -> Genome:
    """The pair that an honest client keeps after a probe."""
    return min((Genome(r, b) for r in rates for b in batches), key=lambda g: loss(client, g))


def _reply(
    message: Message, weights: Weights, client: int, genome: Genome, epochs: int, fault: Fault
) -> Message:
    metrics: Metrics = {
        "num-examples": examples(client),
        "learning-rate": float(np.float32(genome.learning_rate)),
        "batch-size": genome.batch_size,
        "fitness": loss(client, genome),
        "train-loss": loss(client, genome) + 1,
        "epochs": epochs,
        "samples": epochs * examples(client),
        "seconds": 0.0,
    }
    if genome.momentum is not None:
        metrics["momentum"] = float(np.float32(genome.momentum))
    fault(weights, metrics)
    named = zip(message.content["arrays"], map(Array, weights), strict=True)
    content = {"arrays": ArrayRecord(dict(named)), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), reply_to=message)


def _behave(weights: Weights, metrics: Metrics) -> None:
    pass


def toy_app(
    train_faults: Mapping[int, Fault], probe_faults: Mapping[int, Fault], query_fault: Fault
) -> ClientApp:
    """A client app in which chosen clients misbehave, also those that a grid marks."""
    app = ClientApp(mods=[compress, misbehave])

    @app.query()
    def query(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        metrics: Metrics = {"partition-id": client, "num-examples": examples(client)}
        query_fault([], metrics)
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        config = message.content["config"]
        rate, batch = config["learning-rate"], config["batch-size"]
        genome = Genome(rate, batch, momentum=config.get("momentum"))
        weights = trained(read_arrays(message.content["arrays"]), client, genome)
        fault = train_faults.get(client, _behave)
        return _reply(message, weights, client, genome, config["local-epochs"], fault)

    @app.train("probe")
    def probe(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        config = message.content["config"]
        genome = best_of(client, config["learning-rates"], config["batch-sizes"])
        weights = trained(read_arrays(message.content["arrays"]), client, genome)
        return _reply(message, weights, client, genome, 6, probe_faults.get(client, _behave))

    return app


class ToyGrid(InProcessGrid):
    """The in-process grid, which also remembers what it sent; its nodes come and go.

    As on Flower's runtimes, which partition a node holds is known only by asking it.
    """

    nodes_of = None  # type: ignore[assignment]

    def leave(self, partition: int) -> None:
        """Take a partition's node offline; what is on its way to it gets no reply."""
        for node, held in list(self._partitions.items()):
            if held == partition:
                del self._partitions[node]

    def leave_node(self, node: int) -> None:
        """Take one node offline."""
        del self._partitions[node]

    def join(self, partition: int) -> int:
        """Bring a partition online on a node with a new id, and return the id."""
        node = max(self._partitions) + 1
        self._partitions[node] = partition
        return node

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self.sent = list(messages)
        return super().push_messages(self.sent)


@contextmanager
def toy_grid(
    clients: int,
    train_faults: Mapping[int, Fault] | None = None,
    probe_faults: Mapping[int, Fault] | None = None,
    query_fault: Fault = _behave,
) -> Iterator[ToyGrid]:
    """A grid of toy clients; closed at the end."""
    app = toy_app(train_faults or {}, probe_faults or {}, query_fault)
    grid = ToyGrid(app, {}, clients=clients, workers=2)
    try:
        yield grid
    finally:
        grid.close()


def partition_of(message: Message) -> int:
    """The client that a message goes to."""
    return message.metadata.dst_node_id - FIRST_NODE


def sent_genomes(messages: Sequence[Message]) -> dict[int, Genome]:
    """What the messages of a round tell each client to use."""
    configs = {partition_of(m): m.content["config"] for m in messages}
    return {c: Genome(v["learning-rate"], v["batch-size"]) for c, v in configs.items()}


def play_round(
    strategy: FedAvg, grid: InProcessGrid, number: int, arrays: ArrayRecord
) -> tuple[ArrayRecord, dict[int, Genome]]:
    """One round by hand: the new weights, and what each client was told to use."""
    messages = list(strategy.configure_train(number, arrays, ConfigRecord(), grid))
    averaged, _ = strategy.aggregate_train(number, grid.send_and_receive(messages))
    assert averaged is not None
    return averaged, sent_genomes(messages)


def as_bytes(arrays: ArrayRecord) -> list[bytes]:
    """The exact weights."""
    return [array.tobytes() for array in arrays.to_numpy_ndarrays()]


def send_nan(weights: Weights, metrics: Metrics) -> None:
    weights[0][1] = np.nan


def crash(weights: Weights, metrics: Metrics) -> None:
    raise RuntimeError("out of memory")


def lie_about_rate(weights: Weights, metrics: Metrics) -> None:
    metrics["learning-rate"] *= 2


def lie_about_batch(weights: Weights, metrics: Metrics) -> None:
    metrics["batch-size"] += 1


def lie_about_momentum(weights: Weights, metrics: Metrics) -> None:
    metrics["momentum"] += 0.01


def train_one_epoch_less(weights: Weights, metrics: Metrics) -> None:
    metrics["samples"] -= metrics["num-examples"]
    metrics["epochs"] -= 1


def claim_more_examples(weights: Weights, metrics: Metrics) -> None:
    metrics["num-examples"] += 1


def send_one_weight(weights: Weights, metrics: Metrics) -> None:
    weights[0] = weights[0][:1]


def report_infinite_fitness(weights: Weights, metrics: Metrics) -> None:
    metrics["fitness"] = math.inf
