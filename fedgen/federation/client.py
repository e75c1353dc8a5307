"""A client in training: what a message asks for, done by the engine, and the reply."""

import math
import time
from typing import cast

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict

from fedgen.engine import rules
from fedgen.engine.plan import Moments, Plan, Trained, batch_order
from fedgen.errors import RunError
from fedgen.federation import devices
from fedgen.federation.resources import Resources
from strategies.core.aggregation import Arrays
from strategies.core.privacy import privatise
from strategies.evolution.judges.common import common_share, improvement_per_sample
from strategies.messages import protocol
from strategies.messages.arrays import read_arrays, write_arrays
from strategies.streams import of_arm, rng

FIRST, SECOND = protocol.FIRST_MOMENTS, protocol.SECOND_MOMENTS


class Client:
    """One client as a training message addresses it."""

    def __init__(self, message: Message, context: Context, held: Resources) -> None:
        self.message = message
        self.config = cast(ConfigRecord, message.content[protocol.CONFIG])
        self.seed = cast(int, self.config[protocol.SEED])
        self.id = int(context.node_config[protocol.PARTITION_ID])
        self.settings = held.config
        self.held = held
        self.engine = held.engine(self.seed)
        self.samples = held.partition(self.seed).clients[self.id]
        self.started = time.perf_counter()
        deadline = self.settings.training.deadline
        self.until = time.time() - self.engine.compiling + deadline if deadline else math.inf
        self.simulated = 0.0
        self.server_round = cast(int, self.config[protocol.SERVER_ROUND])
        self.records = {
            name: read_arrays(record) for name, record in message.content.array_records.items()
        }
        self.weights: Arrays = self.records[protocol.ARRAYS]
        self.picked: int | None = None
        self.rule = rules.asked(self.config, self.records)

    @property
    def further(self) -> dict[str, float]:
        """What the message asks for in the place of the run's own settings, by genomes' names."""
        return {
            name: cast(float, self.config[key])
            for key, name in protocol.FURTHER.items()
            if key in self.config
        }

    def train(self, learning_rate: float, batch_size: int, epochs: int) -> Trained:
        """Train from the received weights; equal seeds visit samples in equal order.

        Raises:
            RunError: If the client's simulated device would not be done in time, or the engine
                cannot apply what the message asks for.
        """
        self._check_device(epochs)
        draw = rng(self.seed, "batch-order", self.server_round, self.id)
        dropout = rng(self.seed, "dropout", self.server_round, self.id)
        plan = Plan(
            learning_rate=learning_rate,
            batch_size=batch_size,
            order=batch_order(self.samples.train, draw, epochs),
            dropout_seed=int(dropout.integers(2**31)),
            moments=self.moments(),
            rule=self.rule,
            further=self.further,
        )
        keep = plan.moments is not None
        return self.engine.train(self.weights, plan, until=self.until, keep=keep)

    def pick(self) -> None:
        """Of several models, start from the one with the lowest loss on the training samples."""
        models = [self.weights]
        models += [
            self.records[protocol.model(j)]
            for j in range(1, cast(int, self.config[protocol.MODELS]))
        ]
        engine, train = self.engine, self.samples.train
        losses = [engine.evaluate(model, train, until=self.until).loss for model in models]
        self.picked = int(np.argmin([loss if loss < math.inf else math.inf for loss in losses]))
        self.weights = models[self.picked]

    def moments(self) -> Moments | None:
        """Return the optimiser's state that came with the message, if one did."""
        if FIRST not in self.records:
            return None
        places = self.engine.trainable
        held = (self.records[name] for name in (FIRST, SECOND))
        # Those of a model of fewer weights are told by the engine.
        first, second = ([arrays[i] for i in places if i < len(arrays)] for arrays in held)
        return Moments(first, second, cast(int, self.config[protocol.OPTIMIZER_STEPS]))

    def _check_device(self, epochs: int) -> None:
        simulated = self.settings.devices
        if simulated.deadline:
            samples = epochs * len(self.samples.train)
            self.simulated += devices.training_seconds(simulated, self.seed, self.id, samples)
            if self.simulated > simulated.deadline:
                raise RunError(
                    f"its device takes {self.simulated:.4g} simulated seconds, beyond the "
                    f"deadline of {simulated.deadline:g}"
                )

    def fitness(self, weights: Arrays, epochs: int, validation_loss: float | None = None) -> float:
        """Return what the strategy asked for as fitness; lower is better.

        Args:
            weights: What training ended at.
            epochs: How many were trained.
            validation_loss: Of these weights, where it is known already.
        """
        kind, engine = self.config[protocol.FITNESS], self.engine
        if kind == "test":
            test = np.arange(len(self.held.dataset.y_test), dtype=np.int32)
            return engine.evaluate(weights, test, "test", self.until).loss
        if kind == "sent":
            sent = engine.evaluate(self.weights, self.samples.validation, until=self.until)
            return sent.loss if sent.accuracy is None else 1 - sent.accuracy
        if kind == "common":
            return self._on_common_ground(weights, epochs)
        if validation_loss is None:
            validation_loss = self.validate(weights)
        if kind == "improvement":
            return validation_loss - self.validate(self.weights)
        return validation_loss

    def _on_common_ground(self, weights: Arrays, epochs: int) -> float:
        """Return the improvement per trained sample on samples of the server's validation share."""
        number, size = cast(list[int], self.config[protocol.COMMON])
        held_out = self.held.partition(self.seed).validation
        share = common_share(held_out, size, rng(self.seed, "common-share", 0, number))
        before, after = (
            self.engine.evaluate(model, share.astype(np.int32), until=self.until).loss
            for model in (self.weights, weights)
        )
        return improvement_per_sample(before, after, epochs * len(self.samples.train))

    def validate(self, weights: Arrays) -> float:
        """Return the loss on the client's own held-out samples."""
        return self.engine.evaluate(weights, self.samples.validation, until=self.until).loss

    def privatise(self, weights: Arrays) -> Arrays:
        """Clip and noise what leaves the client, where privacy is local.

        Raises:
            RunError: If the message does not say whose noise it gets.
        """
        privacy = self.settings.privacy.rule()
        if privacy.kind != "local":
            return weights
        noise = self.config.get(protocol.NOISE)
        if not isinstance(noise, str):
            raise RunError(
                "privacy.kind = 'local': expected the message's config to name its noise, 'noise' "
                "is missing: make training messages with FedAvg.messages"
            )
        purpose = of_arm("local-privacy", noise)
        draw = rng(self.seed, purpose, self.server_round, self.id)
        statistics = self.engine.statistics
        return privatise(weights, self.weights, privacy, statistics, draw)

    def reply(self, trained: Trained, fitness: float, epochs: int) -> Message:
        """Pack a result; ``epochs`` counts all that were trained for it."""
        metrics = MetricRecord(
            {
                **self.acknowledge(trained),
                protocol.NUM_EXAMPLES: len(self.samples.train),
                protocol.LEARNING_RATE: trained.learning_rate,
                protocol.BATCH_SIZE: trained.batch_size,
                protocol.FITNESS: fitness,
                protocol.TRAIN_LOSS: trained.losses[-1],
                protocol.EPOCHS: epochs,
                protocol.SAMPLES: epochs * len(self.samples.train),
                protocol.SECONDS: time.perf_counter() - self.started,
            }
        )
        keys = {name: key for key, name in protocol.FURTHER.items()}
        metrics.update({keys[name]: gene for name, gene in trained.applied.items()})
        if self.settings.run.personalise == "rounds":
            models = zip(protocol.MEASURED, (self.weights, trained.weights), strict=True)
            for key, model in models:
                *_, worth = self.held.individual(model, self.seed, self.id)
                if math.isfinite(worth):
                    metrics[key] = worth
        weights = self.privatise(trained.weights)
        content = RecordDict({protocol.ARRAYS: write_arrays(weights), protocol.METRICS: metrics})
        if trained.moments is not None:
            for name, values in ((FIRST, trained.moments.first), (SECOND, trained.moments.second)):
                full = [np.zeros_like(weight) for weight in weights]
                for place, value in zip(self.engine.trainable, values, strict=True):
                    full[place] = value
                content[name] = write_arrays(full)
        return Message(content, reply_to=self.message)

    def acknowledge(self, trained: Trained) -> dict[str, float]:
        """Return, as metrics, what was made of whatever the message asked for beside training."""
        if self.picked is not None:
            return {protocol.MODEL: self.picked}
        return self.rule.acknowledge(trained) if self.rule else {}


def train(client: Client) -> Message:
    """Train with the assigned hyperparameters and report what was applied."""
    config = client.config
    epochs = cast(int, config[protocol.LOCAL_EPOCHS])
    if protocol.MODELS in config:
        client.pick()
    trained = client.train(
        cast(float, config[protocol.LEARNING_RATE]), cast(int, config[protocol.BATCH_SIZE]), epochs
    )
    return client.reply(trained, client.fitness(trained.weights, epochs), epochs)


def probe(client: Client) -> Message:
    """Try every offered pair for one epoch and keep the one that validates best."""
    if protocol.MODELS in client.config:
        client.pick()
    pairs = [
        (rate, batch)
        for rate in cast(list[float], client.config[protocol.LEARNING_RATES])
        for batch in cast(list[int], client.config[protocol.BATCH_SIZES])
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
    return client.reply(trained, client.fitness(trained.weights, 1, loss), len(pairs))
