"""What became of a round: one outcome per cohort client, and what it cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from strategies.core.aggregation import Arrays
from strategies.core.hyperparameters import Assignment, Genome

OK = "ok"

POOLED = -1
"""Stands for the partition id where one trainer holds all clients' data."""


class StrategyError(RuntimeError):
    """A round that cannot go on; the text says what was needed and received."""


@dataclass(frozen=True)
class Update:
    """What a checked reply to a training or probe message holds.

    Attributes:
        arrays: Weights after local training, in the global model's order.
        applied: Hyperparameters that the client's optimiser really used; for a
            probe, those that were kept. Its epochs are ``epochs``.
        fitness: What evolution minimises. May be non-finite.
        train_loss: Mean training loss of the last local epoch. May be non-finite.
        num_examples: Size of the client's training set.
        samples: Samples trained for this reply.
        epochs: Local epochs trained for this reply.
        seconds: Time the client took.
        reported: Metrics that the strategy asks for beside the usual ones.
        returned: Arrays that it asks for beside the weights, each record like the model.
        measured: What the client has measured of its models, if it was told to.
    """

    arrays: Arrays
    applied: Genome
    fitness: float
    train_loss: float
    num_examples: int
    samples: int
    epochs: int
    seconds: float
    reported: Mapping[str, float] = field(default_factory=dict)
    returned: Mapping[str, Arrays] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientOutcome:
    """One cohort client in one round: a row of ``clients.csv``.

    Attributes:
        client: Partition id, or ``POOLED``.
        assignment: What it was told to use; for a probe, what was kept.
        status: ``"ok"``, ``"rejected: <why>"`` for a reply that could not be
            used, or ``"failed: <why>"`` where an error or nothing came.
        update: The checked reply, only when the status is ok.
    """

    client: int
    assignment: Assignment | None
    status: str
    update: Update | None = None


@dataclass(frozen=True)
class RoundOutcome:
    """All cohort clients of one round, by partition id, and the bytes moved.

    Work of clients whose reply was not used is not counted: nothing that such
    a reply claims can be trusted.

    Attributes:
        clients: One outcome per client that was asked.
        bytes_down: Bytes of all messages.
        bytes_up: Bytes of all replies.
        in_turn: Whether clients train one after another, so that their times add up.
        server: Settings of the strategy's server in this round, as far as they are genes.
    """

    clients: tuple[ClientOutcome, ...] = ()
    bytes_down: int = 0
    bytes_up: int = 0
    in_turn: bool = False
    server: Mapping[str, float] = field(default_factory=dict)

    @property
    def updates(self) -> list[Update]:
        """The usable replies, in partition order."""
        return [outcome.update for outcome in self.clients if outcome.update is not None]

    @property
    def shortage(self) -> str:
        """Why the replies are not enough for a model: fewer than half are usable. Or nothing."""
        usable = len(self.updates)
        if usable and 2 * usable >= len(self.clients):
            return ""
        reasons = sorted({outcome.status for outcome in self.clients if outcome.status != OK})
        return (
            f"{usable} of {len(self.clients)} replies are usable, at least half are needed. "
            f"Reasons: {'; '.join(reasons[:3])}"
        )

    def require(self, server_round: int) -> None:
        """Check that there is enough for a model.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        if self.shortage:
            raise Unusable(f"round {server_round}: {self.shortage}", self)

    @property
    def rejected(self) -> int:
        """Number of replies that came and could not be used."""
        return sum(outcome.status.startswith("rejected") for outcome in self.clients)

    @property
    def failed(self) -> int:
        """Number of clients that answered with an error or not at all."""
        return sum(outcome.status.startswith("failed") for outcome in self.clients)

    @property
    def client_epochs(self) -> int:
        """Local epochs trained, a probe's included."""
        return sum(update.epochs for update in self.updates)

    @property
    def samples(self) -> int:
        """Samples trained, a probe's included."""
        return sum(update.samples for update in self.updates)

    @property
    def train_loss(self) -> float:
        """Mean over clients of the last local epoch's loss, by samples; NaN without one."""
        updates = self.updates
        weights = np.array([update.num_examples for update in updates], np.float64)
        losses = np.array([update.train_loss for update in updates], np.float64)
        return float(weights @ losses / weights.sum()) if updates else float("nan")


class Unusable(StrategyError):
    """Too few replies can be used, as when training diverges; other strategies may go on.

    Args:
        text: What was needed and received.
        outcome: What became of every client.
    """

    def __init__(self, text: str, outcome: RoundOutcome) -> None:
        self.outcome = outcome
        super().__init__(text)


def mean_fitness(updates: Sequence[Update]) -> float:
    """Return the mean of what clients report as fitness, by training samples.

    One that is not finite counts as the worst finite one; infinite where those are fewer
    than half.
    """
    finite = [update.fitness for update in updates if math.isfinite(update.fitness)]
    if not finite or 2 * len(finite) < len(updates):
        return math.inf
    worst = max(finite)
    total = sum(update.num_examples for update in updates)
    losses = [u.fitness if math.isfinite(u.fitness) else worst for u in updates]
    return sum(u.num_examples * x for u, x in zip(updates, losses, strict=True)) / total
