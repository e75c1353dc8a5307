"""Federated averaging with a setting per client, and the base of the other strategies.

Flower's own ``FedAvg`` sends one shared config to everybody, samples nodes with
the global generator, and averages whatever comes back. This one assigns every
client its own hyperparameters, samples partitions from a named stream, and uses
a reply only after it was checked.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from strategies.aggregation import weighted_mean
from strategies.evolution import Assignment, Genome
from strategies.outcomes import OK, ClientOutcome, RoundOutcome, record_bytes
from strategies.replies import (
    ReplyError,
    Update,
    check_applied,
    error_reason,
    read_peer,
    read_update,
)
from strategies.streams import rng

Weighting = Literal["samples", "uniform"]


class StrategyError(RuntimeError):
    """A round that cannot go on; the text says what was needed and received."""


@dataclass(frozen=True)
class Peer:
    """A client as the server knows it: its Flower node and its training set's size."""

    node_id: int
    num_examples: int


def cohort_size(clients: int, fraction: float) -> int:
    """Return ``floor(fraction * clients)``, forgiving the last bits of the product."""
    return math.floor(fraction * clients + 1e-9)


class FedAvg(Strategy):
    """Plain federated averaging (McMahan et al., 2017, arXiv 1602.05629).

    Args:
        seed: Seed of every draw, at least 0.
        clients: Number of partitions, ids 0 to ``clients - 1``.
        fraction: Share of the clients in a cohort, in (0, 1].
        resample: Draw a new cohort each round instead of one for the whole run.
        local_epochs: Epochs that a client trains per round.
        learning_rate: Learning rate of every client.
        batch_size: Batch size of every client.
        weighting: Average by training samples, or uniformly.
        fitness: What clients report as fitness.
        query_timeout: Seconds to wait for nodes to come online and answer, counted
            anew whenever one did.
        min_available: Clients of a cohort that must be online, once all of the first
            one were; 0 for half of them.
        fingerprint: Of the data set that every node must have; ``""`` asks for none.

    Attributes:
        outcome: What became of the latest round (of the probe, before round 1).

    Raises:
        StrategyError: If the cohort would be empty.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        clients: int = 100,
        fraction: float = 0.3,
        resample: bool = False,
        local_epochs: int = 2,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        weighting: Weighting = "samples",
        fitness: str = "validation",
        query_timeout: float = 60.0,
        min_available: int = 0,
        fingerprint: str = "",
    ) -> None:
        if cohort_size(clients, fraction) < 1:
            raise StrategyError(f"a cohort of {fraction:g} x {clients} clients is empty")
        self.seed = seed
        self.clients = clients
        self.fraction = fraction
        self.resample = resample
        self.local_epochs = local_epochs
        self.genome = Genome(learning_rate, batch_size)
        self.weighting = weighting
        self.fitness = fitness
        self.query_timeout = query_timeout
        self.min_available = min_available
        self.fingerprint = fingerprint
        self.outcome = RoundOutcome()
        self._initialised = False
        self._peers: dict[int, Peer] = {}
        self._asked: set[int] = set()
        self._refused: set[int] = set()
        self._refusal = ""
        self._begun = False
        self._sent: dict[int, Message] = {}
        self._assigned: dict[int, Assignment] = {}
        self._reference = ArrayRecord()

    # What a strategy on top of this one changes.

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Do what comes before round 1 and return the weights that it starts from."""
        return arrays

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Return what every client of the cohort is to train with."""
        return {client: Assignment(self.genome, "fixed") for client in cohort}

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in what became of a round."""

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, what a resumed run needs beside the weights."""
        return {"initialised": self._initialised}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self._initialised = bool(state["initialised"])

    # The round, in the order in which it happens.

    def initialise(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Prepare the run; idempotent, so that both callers below may call it.

        fedgen's round loop calls it before round 0 is evaluated; under Flower's
        own ``start`` the first ``configure_train`` does.

        Returns:
            The weights to start from; on a second call, the arrays given.
        """
        if not self._initialised:
            arrays = self.prepare(grid, arrays)
            self._initialised = True
        return arrays

    def cohort(self, server_round: int) -> list[int]:
        """Return the partition ids of a round's cohort, ascending."""
        draw = rng(self.seed, "cohort", server_round if self.resample else 0)
        size = cohort_size(self.clients, self.fraction)
        return sorted(draw.choice(self.clients, size=size, replace=False).tolist())

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Build one message per cohort client, each with hyperparameters of its own."""
        arrays = self.initialise(grid, arrays)
        cohort = self.cohort(server_round)
        self._assigned = self.assign(server_round, cohort)
        settings = {
            client: {
                **config,
                "learning-rate": assignment.genome.learning_rate,
                "batch-size": assignment.genome.batch_size,
                "local-epochs": self.local_epochs,
            }
            for client, assignment in self._assigned.items()
        }
        return self.messages(grid, server_round, arrays, settings)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the usable replies.

        Raises:
            StrategyError: If fewer than half of the cohort sent a usable reply.
        """
        self.outcome = self.judge(replies, self._assigned, self._check_assigned)
        self.learn(self.outcome)
        arrays = self.average(server_round, self.outcome)
        metrics = MetricRecord(
            {
                "train-loss": self.outcome.train_loss,
                "num-examples": sum(update.num_examples for update in self.outcome.updates),
                "rejected": self.outcome.rejected,
                "failed": self.outcome.failed,
            }
        )
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return no messages: the server evaluates, clients report their fitness in training."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return nothing: see ``configure_evaluate``."""
        return None

    def summary(self) -> None:
        """Print nothing: the settings are in the run's config."""

    # The parts of a round that a probe shares.

    def messages(
        self,
        grid: Grid,
        server_round: int,
        arrays: ArrayRecord,
        settings: Mapping[int, Mapping[str, Any]],
        message_type: str = MessageType.TRAIN,
    ) -> list[Message]:
        """Build a message per client, largest training set first, and remember them.

        The longest client first keeps parallel workers busy to the end. A client
        that has gone offline since the first round gets none and counts as failed.

        Raises:
            StrategyError: If too few clients of the cohort are online.
        """
        online = self._connect(grid, set(settings))
        common: dict[str, Any] = {
            "seed": self.seed,
            "server-round": server_round,
            "fitness": self.fitness,
        }
        order = sorted(online, key=lambda client: (-self._peers[client].num_examples, client))
        self._reference = arrays
        self._sent = {
            client: Message(
                RecordDict(
                    {"arrays": arrays, "config": ConfigRecord({**common, **settings[client]})}
                ),
                self._peers[client].node_id,
                message_type,
                group_id=str(server_round),
            )
            for client in order
        }
        return list(self._sent.values())

    def judge(
        self,
        replies: Iterable[Message],
        assigned: Mapping[int, Assignment | None],
        check: Callable[[int, Update], None],
    ) -> RoundOutcome:
        """Sort out replies: every client that was asked ends as ok, rejected or failed.

        Args:
            replies: Replies in any order.
            assigned: What each client asked was told to use, ``None`` for a probe.
            check: Raises ``ReplyError`` for an update that does not fit what was asked.
        """
        by_client: dict[int, list[Message]] = {client: [] for client in assigned}
        up = 0
        for reply in replies:
            up += record_bytes([reply])
            client = self._sender(reply)
            if client is not None:
                by_client[client].append(reply)
        outcomes = []
        for client in sorted(by_client):
            status, update = self._judge_client(client, by_client[client], check)
            if status.startswith("failed"):
                self._forget({client})
            outcomes.append(ClientOutcome(client, assigned[client], status, update))
        return RoundOutcome(tuple(outcomes), record_bytes(self._sent.values()), up)

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates in partition order.

        Raises:
            StrategyError: If fewer than half of the cohort sent a usable reply.
        """
        updates = outcome.updates
        if 2 * len(updates) < len(outcome.clients) or not updates:
            reasons = sorted({o.status for o in outcome.clients if o.status != OK})
            raise StrategyError(
                f"round {server_round}: {len(updates)} of {len(outcome.clients)} replies are "
                f"usable, at least half are needed. Reasons: {'; '.join(reasons[:3])}"
            )
        uniform = self.weighting == "uniform"
        weights = [1.0 if uniform else float(update.num_examples) for update in updates]
        means = weighted_mean([update.arrays for update in updates], weights)
        return ArrayRecord(dict(zip(self._reference, map(Array, means), strict=True)))

    def _check_assigned(self, client: int, update: Update) -> None:
        check_applied(self._assigned[client].genome, update.applied)

    def _judge_client(
        self, client: int, replies: list[Message], check: Callable[[int, Update], None]
    ) -> tuple[str, Update | None]:
        if client not in self._sent:
            return "failed: not online", None
        if not replies:
            return "failed: no reply in time", None
        if len(replies) > 1:
            return f"rejected: {len(replies)} replies, expected one", None
        (reply,) = replies
        if reply.has_error():
            return f"failed: {error_reason(reply)}", None
        try:
            update = read_update(reply, self._reference, self._peers[client].num_examples)
            check(client, update)
        except ReplyError as error:
            return f"rejected: {error}", None
        return OK, update

    def _sender(self, reply: Message) -> int | None:
        # By the message that was answered: the error of a killed node comes from
        # the SuperLink, and a late reply to another round's message is nobody's.
        for client, message in self._sent.items():
            if reply.metadata.reply_to_message_id == message.metadata.message_id:
                return client
        return None

    def _forget(self, clients: set[int]) -> None:
        """Ask anew before clients are used again: other nodes may have taken their place.

        Such a node may have been asked already, while the old one was still listed.
        """
        if clients & set(self._peers):
            self._peers = {c: p for c, p in self._peers.items() if c not in clients}
            self._asked &= {peer.node_id for peer in self._peers.values()}

    def _connect(self, grid: Grid, needed: set[int]) -> set[int]:
        """Learn which node holds which partition; ask only nodes not asked before.

        The first time, every client needed must be there. Later ones may be gone
        for good, so nobody waits for more than ``min_available`` of them.
        """
        deadline = time.monotonic() + self.query_timeout
        enough = len(needed)
        if self._begun:
            enough = min(self.min_available or (enough + 1) // 2, enough)
        while True:
            online = set(grid.get_node_ids())
            self._asked &= online
            self._forget({c for c, p in self._peers.items() if p.node_id not in online})
            fresh = sorted(online - self._asked)
            if fresh:
                known = len(self._peers)
                self._query(grid, fresh, max(0.1, deadline - time.monotonic()))
                if len(self._peers) > known:  # a crowd on few cores answers one by one
                    deadline = time.monotonic() + self.query_timeout
            here = needed & set(self._peers)
            if len(here) >= enough:
                self._begun = True
                return here
            # With every node asked and one refusing, there is nothing to wait for.
            settled = bool(self._refusal) and online <= self._asked
            hopeless = settled and (len(online) >= self.clients or not self._peers)
            if hopeless or time.monotonic() >= deadline:
                missing = sorted(needed - here)
                raise StrategyError(
                    f"{len(here)} of the cohort's {len(needed)} clients are online, {enough} are "
                    f"needed within {self.query_timeout:g} s. Received: {len(online)} nodes; "
                    f"missing partition ids: {', '.join(map(str, missing[:5]))}"
                    f"{', ...' if len(missing) > 5 else ''}{self._refusal}"
                )
            time.sleep(0.2)

    def _query(self, grid: Grid, nodes: list[int], timeout: float) -> None:
        content = RecordDict({"config": ConfigRecord({"seed": self.seed})})
        messages = [Message(content, node, MessageType.QUERY) for node in nodes]
        self._refusal = ""
        found: dict[int, Peer] = {}
        # By node, so that of two nodes that claim one partition always the same is used.
        replies = grid.send_and_receive(messages, timeout=timeout)
        for reply in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
            node = reply.metadata.src_node_id
            try:
                partition, examples = read_peer(reply, self.clients, self.fingerprint)
                found.setdefault(partition, Peer(node, examples))
                self._refused.discard(node)
            except ReplyError as error:
                self._refusal = f"; a node said: {error}"
                if node not in self._refused:  # once may be an accident
                    self._refused.add(node)
                    continue
            self._asked.add(node)
        self._peers = found | self._peers
