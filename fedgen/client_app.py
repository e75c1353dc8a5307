"""The Flower ``ClientApp``: a thin adapter from messages to the engine.

The same object answers the in-process grid and every Flower runtime.
"""

import math
import time
from typing import cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.common.constant import ErrorCode

from fedgen import datasets, runtime, world
from fedgen.errors import FedgenError, InputError
from fedgen.faults import misbehave
from fedgen.optimizers import Weights
from fedgen.plan import Plan, Stopped, Trained
from fedgen.runconfig import from_run_config
from fedgen.world import World, batch_order
from strategies.arrays import read_arrays
from strategies.privacy import privatise
from strategies.streams import rng


def refuse(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer with one line where the user can mend something; Flower would log a traceback."""
    try:
        return call_next(message, context)
    except FedgenError as error:
        text = error.line
    except Stopped:
        deadline = from_run_config(context.run_config).training.deadline
        text = f"stopped at its deadline of {deadline:g} s" if deadline else "interrupted"
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, text), reply_to=message)


app = ClientApp(mods=[refuse, misbehave])


class _Client:
    """One client as a training message addresses it."""

    def __init__(self, message: Message, context: Context) -> None:
        self.config = cast(ConfigRecord, message.content["config"])
        self.seed = cast(int, self.config["seed"])
        self.id = int(context.node_config["partition-id"])
        self.settings = from_run_config(context.run_config)
        self.world: World = world.load(self.settings, self.seed)
        self.shard = self.world.partition.shards[self.id]
        self.started = time.perf_counter()
        deadline = self.settings.training.deadline
        self.until = time.time() + deadline if deadline else math.inf
        self.server_round = cast(int, self.config["server-round"])
        self.weights: Weights = read_arrays(cast(ArrayRecord, message.content["arrays"]))

    @property
    def momentum(self) -> float | None:
        """The momentum that the message asks for, ``None`` for the run's own."""
        return cast(float | None, self.config.get("momentum"))

    def train(self, learning_rate: float, batch_size: int, epochs: int) -> Trained:
        """Train from the received weights; equal seeds visit samples in equal order."""
        draw = rng(self.seed, "batch-order", self.server_round, self.id)
        dropout = rng(self.seed, "dropout", self.server_round, self.id)
        plan = Plan(
            learning_rate=learning_rate,
            batch_size=batch_size,
            order=batch_order(self.shard.train, draw, epochs),
            dropout_seed=int(dropout.integers(2**31)),
            momentum=self.momentum,
        )
        return self.world.engine.train(self.weights, plan, until=self.until)

    def fitness(self, weights: Weights, validation_loss: float | None = None) -> float:
        """Return what the strategy asked for as fitness; lower is better."""
        kind, engine = self.config["fitness"], self.world.engine
        if kind == "test":
            test = np.arange(len(self.world.dataset.y_test), dtype=np.int32)
            return engine.evaluate(weights, test, "test", self.until).loss
        if validation_loss is None:
            validation_loss = self.validate(weights)
        if kind == "improvement":
            return validation_loss - self.validate(self.weights)
        return validation_loss

    def validate(self, weights: Weights) -> float:
        """Return the loss on the client's own held-out samples."""
        return self.world.engine.evaluate(weights, self.shard.validation, until=self.until).loss

    def privatise(self, weights: Weights) -> Weights:
        """Clip and noise what leaves the client, where privacy is local."""
        privacy = self.settings.privacy.rule()
        if privacy.kind != "local":
            return weights
        draw = rng(self.seed, "local-privacy", self.server_round, self.id)
        statistics = world.statistics(self.settings)
        return privatise(weights, self.weights, privacy, statistics, draw)

    def reply(self, message: Message, trained: Trained, fitness: float, epochs: int) -> Message:
        """Pack a result; ``epochs`` counts all that were trained for it."""
        metrics = MetricRecord(
            {
                "num-examples": len(self.shard.train),
                "learning-rate": trained.learning_rate,
                "batch-size": trained.batch_size,
                "fitness": fitness,
                "train-loss": trained.losses[-1],
                "epochs": epochs,
                "samples": epochs * len(self.shard.train),
                "seconds": time.perf_counter() - self.started,
            }
        )
        if self.momentum is not None:
            metrics["momentum"] = trained.momentum
        weights = self.privatise(trained.weights)
        content = RecordDict({"arrays": ArrayRecord(weights), "metrics": metrics})
        return Message(content, reply_to=message)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Answer who this node is, what data it has, and how many samples it trains on.

    Raises:
        InputError: If the federation has another number of nodes than the run has
            clients, or the data set cannot be had here.
        RunError: If TensorFlow computes with other settings than the server's.
    """
    runtime.require()
    config = from_run_config(context.run_config)
    nodes, clients = context.node_config.get("num-partitions"), config.partition.clients
    if nodes != clients:
        raise InputError(
            f"the federation has {nodes} nodes, the run has {clients} clients: give "
            f'--federation-config "num-supernodes={clients}" (SuperNodes: num-partitions={clients} '
            f'in --node-config), or --run-config "clients={nodes}"'
        )
    client = int(context.node_config.get("partition-id", -1))
    if not 0 <= client < clients:
        raise InputError(f"partition-id={client}: expected 0 to {clients - 1} in --node-config")
    seed = cast(int, cast(ConfigRecord, message.content["config"])["seed"])
    shard = world.load_partition(config, seed).shards[client]
    fingerprint = datasets.load(config.data).fingerprint
    metrics = MetricRecord({"partition-id": client, "num-examples": len(shard.train)})
    content = RecordDict({"metrics": metrics, "data": ConfigRecord({"fingerprint": fingerprint})})
    return Message(content, reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train with the assigned hyperparameters and report what was applied."""
    client = _Client(message, context)
    config = client.config
    epochs = cast(int, config["local-epochs"])
    trained = client.train(
        cast(float, config["learning-rate"]), cast(int, config["batch-size"]), epochs
    )
    return client.reply(message, trained, client.fitness(trained.weights), epochs)


@app.train("probe")
def probe(message: Message, context: Context) -> Message:
    """Try every offered pair for one epoch and keep the one that validates best."""
    client = _Client(message, context)
    pairs = [
        (rate, batch)
        for rate in cast(list[float], client.config["learning-rates"])
        for batch in cast(list[int], client.config["batch-sizes"])
    ]
    best: tuple[float, Trained] | None = None
    for rate, batch in pairs:
        trained = client.train(rate, batch, 1)
        loss = client.validate(trained.weights)
        loss = loss if math.isfinite(loss) else math.inf
        if best is None or loss < best[0]:
            best = loss, trained
    if best is None:
        raise ValueError("probe: expected at least one learning rate and batch size")
    loss, trained = best
    return client.reply(message, trained, client.fitness(trained.weights, loss), len(pairs))
