"""Federated averaging with a setting per client, and the base of the other strategies.

Flower's own ``FedAvg`` sends one shared config to everybody, samples nodes with the global
generator, and averages whatever comes back. This one assigns every client its own hyperparameters,
samples partitions from a named stream, and uses a reply only after it was checked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, ClassVar

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from strategies.core.aggregation import Aggregation, Arrays, Statistics
from strategies.core.cohort import cohort_size, draw_cohort
from strategies.core.hyperparameters import Assignment
from strategies.core.outcomes import OK, ClientOutcome, RoundOutcome, StrategyError, Update
from strategies.core.privacy import Privacy, noisy_mean
from strategies.core.settings import FixedRate, fixed_genome
from strategies.core.weighting import Weighting, update_weights
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays, record_bytes
from strategies.messages.peers import Peer, Peers
from strategies.messages.replies import (
    NoReply,
    ReplyError,
    check_applied,
    check_variances,
    check_work,
    plain,
    read_only,
    read_update,
)
from strategies.streams import of_arm, rng


class FedAvg(Strategy):
    """Plain federated averaging (McMahan et al., 2017, arXiv 1602.05629).

    Args:
        seed: Seed of every draw, at least 0.
        clients: Number of partitions, ids 0 to ``clients - 1``.
        fraction: Share of the clients in a cohort, in (0, 1].
        resample: Draw a new cohort each round instead of one for the whole run.
        local_epochs: Epochs that a client trains per round.
        local_momentum: Momentum of the clients' SGD, in [0, 1); 0 for other optimisers.
        local_nesterov: Whether that is Nesterov's.
        weighting: Average by training samples (the default), uniformly, or by samples times the
            rank of the fitness (see ``strategies.core.weighting.rank_weights``).
        fitness: What clients report as fitness, ``"validation"`` by default.
        query_timeout: Seconds to wait for nodes to come online, counted anew whenever one did.
        min_available: Clients of a cohort that must be online, once all of the first
            one were; 0 for half of them.
        fingerprint: Of the data set that every node must have; ``""`` asks for none.
        examples: Training samples of every client, where known: who claims another is refused.
        reply_timeout: Seconds to wait for a round's replies; ``None`` for as long as it takes.
        aggregation: How updates become one model.
        privacy: Differential privacy; weights are then uniform.
        arm: Name of the arm, which has privacy noise of its own; ``""`` for the class's name.
        statistics: Which arrays, by position, are moving statistics of batch normalisation.
        **own: Fields of ``Settings``.

    Attributes:
        Settings: A frozen dataclass of what the strategy itself takes; another one has its own.
        selects_on_losses: Whether hyperparameters depend on what clients report; no
            noise covers that.
        needs_constant_rate: Whether it reckons with one rate for all steps of a local training.
        reports: Metrics that a reply must hold beside the usual ones.
        returns: Records that a reply must hold beside the weights, each like the model.
        settings: What it was given of ``Settings``.
        genome: What everybody trains with, where the settings say it.
        outcome: What became of the latest round (of the probe, before round 1).
        assigned: What every client of the round in progress was told to train with.
        reference: The weights that it was sent, which updates are held against.

    Raises:
        StrategyError: If the cohort would be empty, or is too small for the aggregation.
    """

    Settings: ClassVar[type[Any]] = FixedRate
    settings: Any
    selects_on_losses = False
    needs_constant_rate = False
    reports: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        seed: int = 0,
        clients: int = 100,
        fraction: float = 0.3,
        resample: bool = False,
        local_epochs: int = 2,
        local_momentum: float = 0.0,
        local_nesterov: bool = False,
        weighting: Weighting | None = None,
        fitness: str | None = None,
        query_timeout: float = 60.0,
        min_available: int = 0,
        fingerprint: str = "",
        examples: Mapping[int, int] | None = None,
        reply_timeout: float | None = None,
        aggregation: Aggregation | None = None,
        privacy: Privacy | None = None,
        arm: str = "",
        statistics: Statistics | None = None,
        **own: Any,
    ) -> None:
        names = {field.name for field in fields(self.Settings)}
        shared = {"weighting": weighting, "fitness": fitness}
        own |= {key: value for key, value in shared.items() if value and key in names}
        self.settings = self.Settings(**own)
        self.weighting: Weighting = getattr(self.settings, "weighting", weighting or "samples")
        self.fitness: str = getattr(self.settings, "fitness", fitness or "validation")
        self.genome = fixed_genome(self.settings)
        if cohort_size(clients, fraction) < 1:
            raise StrategyError(f"a cohort of {fraction:g} x {clients} clients is empty")
        self.aggregation = aggregation or Aggregation()
        try:
            self.aggregation.check(cohort_size(clients, fraction))
        except ValueError as error:
            raise StrategyError(str(error)) from error
        self.seed = seed
        self.clients = clients
        self.fraction = fraction
        self.resample = resample
        self.local_epochs = local_epochs
        self.local_momentum = local_momentum
        self.local_nesterov = local_nesterov
        self.peers = Peers(seed, clients, query_timeout, min_available, fingerprint, examples or {})
        self.reply_timeout = reply_timeout
        self.privacy = privacy or Privacy()
        self.arm = arm or type(self).__name__
        self.statistics = statistics or {}
        self.outcome = RoundOutcome()
        self._initialised = False
        self._sent: dict[int, Message] = {}
        self.assigned: dict[int, Assignment] = {}
        self.reference = ArrayRecord()

    # What a strategy on top of this one changes.

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Do what comes before round 1 and return the weights that it starts from."""
        return arrays

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Return what every client of the cohort is to train with."""
        return {client: Assignment(self.genome, "fixed") for client in cohort}

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Return what a client's config says beside its hyperparameters."""
        return {}

    def enclosed(self, client: int) -> Mapping[str, ArrayRecord]:
        """Return the records that travel to a client beside the weights."""
        return {}

    def model_for(self, client: int, arrays: ArrayRecord) -> ArrayRecord:
        """Return what a client is to train from, given the global weights."""
        return arrays

    def noise(self) -> str:
        """Return whose privacy noise the next updates get: no two models of a round share it."""
        return self.arm

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse an update that is not of what was asked for.

        Args:
            client: Who sent it.
            update: What its reply holds, of the right form.

        Raises:
            ReplyError: If it was trained otherwise than ``assigned`` says; the text says how.
        """
        genome = self.assigned[client].genome
        check_applied(genome, update.applied)
        check_work(update, genome.local_epochs or self.local_epochs)

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in what became of a round."""

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, what a resumed run needs beside the weights."""
        return {"initialised": self._initialised}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self._initialised = bool(state["initialised"])

    def state_arrays(self) -> Arrays:
        """Return, as arrays, what a resumed run needs beside ``state``."""
        return []

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up what ``state_arrays`` returned; called after ``restore``."""

    # The round, in the order in which it happens.

    def initialise(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Prepare the run; idempotent, so that both callers below may call it.

        fedgen's round loop calls it before round 0 is evaluated; under Flower's own ``start`` the
        first ``configure_train`` does.

        Returns:
            The weights to start from; on a second call, the arrays given.
        """
        if not self._initialised:
            arrays = self.prepare(grid, arrays)
            self._initialised = True
        return arrays

    def cohort(self, server_round: int) -> list[int]:
        """Return the partition ids of a round's cohort, ascending."""
        size = cohort_size(self.clients, self.fraction)
        return draw_cohort(self.seed, self.clients, size, server_round if self.resample else 0)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Build one message per cohort client, each with hyperparameters of its own."""
        arrays = self.initialise(grid, arrays)
        cohort = self.cohort(server_round)
        self.assigned = self.assign(server_round, cohort)
        settings = {client: {**config, **self.told(client)} for client in self.assigned}
        return self.messages(grid, server_round, arrays, settings)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the usable replies.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        self.outcome = self.judge_round(replies)
        self.learn(self.outcome)
        arrays = self.average(server_round, self.outcome)
        metrics = MetricRecord(
            {
                protocol.TRAIN_LOSS: self.outcome.train_loss,
                protocol.NUM_EXAMPLES: sum(update.num_examples for update in self.outcome.updates),
                "rejected": self.outcome.rejected,
                "failed": self.outcome.failed,
            }
        )
        return arrays, metrics

    def judge_round(self, replies: Iterable[Message]) -> RoundOutcome:
        """Sort out the replies to a round's messages."""
        return self.judge(replies, self.assigned, self.check_reply)

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

    def told(self, client: int) -> dict[str, Any]:
        """Return what the config of a client's training message says."""
        genome = self.assigned[client].genome
        momentum = {} if genome.momentum is None else {protocol.MOMENTUM: genome.momentum}
        return {
            protocol.LEARNING_RATE: genome.learning_rate,
            protocol.BATCH_SIZE: genome.batch_size,
            protocol.LOCAL_EPOCHS: genome.local_epochs or self.local_epochs,
            **momentum,
            **self.instructions(client),
        }

    def messages(
        self,
        grid: Grid,
        server_round: int,
        arrays: ArrayRecord,
        settings: Mapping[int, Mapping[str, Any]],
        message_type: str = MessageType.TRAIN,
        online: Mapping[int, Peer] | None = None,
    ) -> list[Message]:
        """Build a message per client, largest training set first, and remember them.

        The longest client first keeps parallel workers busy to the end. A client that has gone
        offline since the first round gets none and counts as failed.

        Args:
            grid: Where the clients are.
            server_round: The round, 0 for a probe.
            arrays: The weights to start from.
            settings: What each client's config says.
            message_type: What is asked for.
            online: Who is online, where that is known already.

        Raises:
            StrategyError: If too few clients of the cohort are online.
        """
        if online is None:
            online = self.peers.connect(grid, set(settings))
        common: dict[str, Any] = {
            protocol.SEED: self.seed,
            protocol.SERVER_ROUND: server_round,
            protocol.FITNESS: self.fitness,
        }
        if self.privacy.kind == "local":
            common[protocol.NOISE] = self.noise()
        asked = [(-online[client].num_examples, client) for client in settings if client in online]
        self.reference = arrays
        self._sent = {}
        for _, client in sorted(asked):
            config = ConfigRecord({**common, **settings[client]})
            enclosed = self.enclosed(client) if message_type == MessageType.TRAIN else {}
            model = self.model_for(client, arrays)
            content = RecordDict({protocol.ARRAYS: model, protocol.CONFIG: config, **enclosed})
            node = online[client].node_id
            self._sent[client] = Message(content, node, message_type, group_id=str(server_round))
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
        # By the message that was answered: the error of a killed node comes from the SuperLink,
        # and a late reply to another round's message is nobody's.
        senders = {message.metadata.message_id: client for client, message in self._sent.items()}
        for reply in replies:
            client = senders.get(reply.metadata.reply_to_message_id)
            if client is not None:
                by_client[client].append(reply)
                up += record_bytes([reply])
        outcomes = []
        for client in sorted(by_client):
            status, update = self._judge_client(client, by_client[client], check)
            if status.startswith("failed"):
                self.peers.forget({client})
            outcomes.append(ClientOutcome(client, assigned[client], status, update))
        return RoundOutcome(tuple(outcomes), record_bytes(self._sent.values()), up)

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates in partition order.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        outcome.require(server_round)
        updates = outcome.updates
        weights = self.weights(updates)
        arrays, start = [update.arrays for update in updates], read_arrays(self.reference)
        if self.privacy.kind == "central":
            draw = rng(self.seed, of_arm("central-privacy", self.noise()), server_round)
            combined = noisy_mean(arrays, start, self.privacy, self.statistics, draw)
        else:
            combined = self.aggregation.combine(arrays, weights, start, self.statistics)
        return like(combined, self.reference)

    def weights(self, updates: list[Update]) -> list[float]:
        """Return the weight of every usable update in the average, finite and positive."""
        return update_weights(updates, "uniform" if self.privacy.kind != "none" else self.weighting)

    def _judge_client(
        self, client: int, replies: list[Message], check: Callable[[int, Update], None]
    ) -> tuple[str, Update | None]:
        if client not in self._sent:
            return "failed: not online", None
        try:
            reply = read_only(replies)
            known = self.peers[client].num_examples
            update = read_update(reply, self.reference, known, self.reports, self.returns)
            check_variances(update.arrays, self.statistics)
            check(client, update)
        except NoReply as error:
            return plain(f"failed: {error}"), None
        except ReplyError as error:
            return plain(f"rejected: {error}"), None
        return OK, update
