"""The server's side of the protocol: clients are asked, and their replies are sorted out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from strategies.core.aggregation import Statistics
from strategies.core.hyperparameters import Assignment
from strategies.core.outcomes import OK, ClientOutcome, RoundOutcome, Update
from strategies.core.privacy import Privacy
from strategies.messages import coding, protocol
from strategies.messages.arrays import record_bytes
from strategies.messages.compression import Compression
from strategies.messages.peers import Peer, Peers
from strategies.messages.replies import (
    NoReply,
    ReplyError,
    check_variances,
    plain,
    read_only,
    read_update,
)


class Exchange(Strategy):
    """What asks clients and judges what they reply; how a model comes of it, others say.

    Clients evaluate nothing apart: the server does, and they report their fitness in training.

    Args:
        seed: Seed of every draw.
        arm: Name of the arm, which has privacy noise of its own.
        peers: The clients, by partition id.
        privacy: Differential privacy.
        statistics: Which arrays, by position, are moving statistics of batch normalisation.
        compression: How clients are to code the arrays that they send.

    Attributes:
        fitness: What clients report as fitness.
        reports: Metrics that a reply must hold beside the usual ones.
        returns: Records that a reply must hold beside the weights, each like the model.
        reference: The weights that were sent, which updates are held against.
    """

    fitness: str = "validation"
    reports: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()

    def __init__(
        self,
        seed: int,
        arm: str,
        peers: Peers,
        privacy: Privacy,
        statistics: Statistics,
        compression: Compression = "none",
    ) -> None:
        self.seed = seed
        self.arm = arm
        self.peers = peers
        self.privacy = privacy
        self.statistics = statistics
        self.compression = compression
        self.reference = ArrayRecord()
        self._sent: dict[int, Message] = {}

    # What a strategy on top of this one changes.

    def enclosed(self, client: int) -> Mapping[str, ArrayRecord]:
        """Return the records that travel to a client beside the weights."""
        return {}

    def model_for(self, client: int, arrays: ArrayRecord) -> ArrayRecord:
        """Return what a client is to train from, given the global weights."""
        return arrays

    def noise(self) -> str:
        """Return whose privacy noise the next updates get: no two models of a round share it."""
        return self.arm

    # The messages, and what becomes of them.

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
            **coding.asked(self.compression, self.statistics),
        }
        if self.privacy.kind == "local":
            common[protocol.NOISE] = self.noise()
        asked = [(-online[client].num_examples, client) for client in settings if client in online]
        self.reference = arrays
        self._sent = {}
        for _, client in sorted(asked):
            config = ConfigRecord({**common, **settings[client]})
            model = self.model_for(client, arrays)
            content = RecordDict(
                {protocol.ARRAYS: model, protocol.CONFIG: config, **self.enclosed(client)}
            )
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

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return no messages: clients report their fitness in training."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return nothing: see ``configure_evaluate``."""
        return None

    def summary(self) -> None:
        """Print nothing: the settings are in the run's config."""

    def _judge_client(
        self, client: int, replies: list[Message], check: Callable[[int, Update], None]
    ) -> tuple[str, Update | None]:
        if client not in self._sent:
            return "failed: not online", None
        try:
            reply = read_only(replies)
            reply.content = coding.decompress(reply.content, self._sent[client].content)
            known = self.peers[client].num_examples
            update = read_update(reply, self.reference, known, self.reports, self.returns)
            check_variances(update.arrays, self.statistics)
            check(client, update)
        except NoReply as error:
            return plain(f"failed: {error}"), None
        except ReplyError as error:
            return plain(f"rejected: {error}"), None
        return OK, update
