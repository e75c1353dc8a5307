"""A Flower ``Grid`` that runs a ``ClientApp`` in this process, several clients at once."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

from flwr.app import ConfigRecord, Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedgen.engine.plan import Stopped
from fedgen.federation.flower import ABANDONED, RUN_ID, ErrorCode, Run, identify_task, number

FIRST_NODE = 1_000
"""Node id of partition 0; ids differ from partition ids, as they do in Flower."""

GRACE_SECONDS = 2.0
"""How long after its deadline a client may stop by itself before it is abandoned."""

CLOSE_SECONDS = 5.0
"""How long ``close`` waits for clients that are running."""


def turns(messages: Sequence[Message]) -> tuple[int, int]:
    """Return how many of a round's messages came before these, and how many there are in all.

    Messages that go one after another say whose turn of how many it is.
    """
    config = messages[0].content.get("config")
    said = config if isinstance(config, ConfigRecord) else {}
    return cast(int, said.get("turn", 0)), cast(int, said.get("turns", len(messages)))


def abandoned(message: Message, deadline: float) -> Message:
    """Return the reply of a client that was abandoned."""
    text = f"{ABANDONED} {GRACE_SECONDS:g} s after the deadline of {deadline:g} s"
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, text), reply_to=message)


@dataclass(frozen=True)
class _Running:
    """A client at work, since when by the grid's clock, and on which thread."""

    message: Message
    since: float
    thread: threading.Thread


class InProcessGrid(Grid):
    """Runs every message's client in a thread of this process.

    Threads are daemons: one that is stuck holds neither the round nor the end of the
    process up. It is left behind, and a fresh thread takes its place.

    Args:
        app: The client app, mods included.
        run_config: Flat run config that every client sees.
        clients: Number of nodes, one per partition.
        workers: Clients that run at once.
        on_reply: Called in the calling thread for each reply to a training message as it
            comes: how many are there, and how many were asked for.
        deadline: Seconds after which a client that trains should have stopped by
            itself; ``GRACE_SECONDS`` later it is abandoned. 0 for none.
        clock: Tells the seconds that this is held against.
    """

    def __init__(
        self,
        app: ClientApp,
        run_config: Mapping[str, Any],
        *,
        clients: int,
        workers: int,
        on_reply: Callable[[int, int], None] | None = None,
        deadline: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        identify_task()
        self._app = app
        self._on_reply = on_reply
        self._deadline = deadline
        self._clock = clock
        self._run = Run.create_empty(run_id=RUN_ID)
        self._run_config = dict(run_config)
        self._clients = clients
        self._partitions = {FIRST_NODE + partition: partition for partition in range(clients)}
        self._contexts: dict[int, Context] = {}  # of the nodes that were ever addressed
        self._numbers = count(1)
        self._change = threading.Condition()  # guards all below
        self._waiting: deque[tuple[str, Message]] = deque()
        self._running: dict[str, _Running] = {}
        self._ready: dict[str, Message] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False
        for _ in range(workers):
            self._start_thread()

    def set_run(self, run: Run) -> None:
        """Set the run; only its description, clients keep their run config."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message from the server to a node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Return all node ids."""
        return list(self._partitions)

    def nodes_of(self, partitions: Iterable[int]) -> Mapping[int, int]:
        """Return the nodes of partitions; see ``strategies.messages.peers.Directory``."""
        nodes = {partition: FIRST_NODE + partition for partition in partitions}
        return {part: node for part, node in nodes.items() if node in self._partitions}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Start the clients; those beyond the number of workers wait, in order."""
        new = [(f"m{next(self._numbers)}", message) for message in messages]
        for identity, message in new:
            number(message, identity)
        with self._change:
            self._waiting.extend(new)
            self._change.notify_all()
        return [identity for identity, _ in new]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, each once."""
        with self._change:
            self._abandon()
            return [self._ready.pop(i) for i in message_ids if i in self._ready]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Run clients and return their replies in the order in which they finish.

        As in Flower, replies that are late are simply missing.

        Raises:
            Stopped: If the grid is stopped meanwhile.
        """
        messages = list(messages)
        trains = any(m.metadata.message_type.startswith(MessageType.TRAIN) for m in messages)
        left = dict.fromkeys(self.push_messages(messages))
        replies: list[Message] = []
        try:
            for identity, reply in self._receive(left, timeout):
                del left[identity]
                replies.append(reply)
                if self._on_reply is not None and trains:
                    before, total = turns(messages)
                    self._on_reply(before + len(replies), total)
        finally:
            self._forget(left)
        return replies

    def stop(self) -> None:
        """Let waiting clients go, and whoever waits for replies, which will not be all."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()

    def close(self) -> None:
        """Stop, and wait a while for running clients."""
        self.stop()
        until = time.monotonic() + CLOSE_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))

    def _receive(
        self, left: Mapping[str, None], timeout: float | None
    ) -> Iterator[tuple[str, Message]]:
        until = None if timeout is None else time.monotonic() + timeout
        while left:
            with self._change:
                if self._closed:
                    raise Stopped
                self._abandon()
                ready = [identity for identity in self._ready if identity in left]
                if not ready:
                    now = time.monotonic()
                    if until is not None and now >= until:
                        return
                    ends = [self._limit(client) for client in self._running.values()]
                    limits = [limit - self._clock() for limit in ends]
                    seconds = min([(until or math.inf) - now, *limits])
                    self._change.wait(None if seconds == math.inf else max(0.0, seconds))
                received = [(identity, self._ready.pop(identity)) for identity in ready]
            yield from received

    def _limit(self, client: _Running) -> float:
        trains = client.message.metadata.message_type.startswith(MessageType.TRAIN)
        if not self._deadline or not trains:
            return math.inf
        return client.since + self._deadline + GRACE_SECONDS

    def _abandon(self) -> None:
        """Give clients up that are stuck; holds the lock."""
        now = self._clock()
        stuck = {i: client for i, client in self._running.items() if now >= self._limit(client)}
        for identity, client in stuck.items():
            self._ready[identity] = self._identified(abandoned(client.message, self._deadline))
            self._replace(identity)

    def _forget(self, identities: Iterable[str]) -> None:
        """Drop what nobody waits for any longer."""
        gone = set(identities)
        with self._change:
            self._waiting = deque(item for item in self._waiting if item[0] not in gone)
            for identity in gone:
                self._ready.pop(identity, None)
                if identity in self._running and not self._closed:  # `close` waits for those
                    self._replace(identity)

    def _replace(self, identity: str) -> None:
        """Leave a client's thread behind, and start another one; holds the lock."""
        self._threads.discard(self._running.pop(identity).thread)
        self._start_thread()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="client", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                identity, message = self._waiting.popleft()
                me = threading.current_thread()
                self._running[identity] = _Running(message, self._clock(), me)
                if self._deadline:
                    self._change.notify_all()  # whoever waits must know when this client ends
            reply = self._handle(message)
            with self._change:
                if self._running.pop(identity, None) is None:
                    return  # left behind: the reply is late, another thread works
                self._ready[identity] = reply
                self._change.notify_all()

    def _handle(self, message: Message) -> Message:
        try:
            reply = self._app(message, self._context(message.metadata.dst_node_id))
            if not isinstance(reply, Message):
                raise TypeError(f"expected a Message, received {type(reply).__name__}")
        except BaseException as error:  # a client's crash is a reply, as in Flower
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        return self._identified(reply)

    def _context(self, node: int) -> Context:
        """Return a node's context; what a client keeps in it is there the next time."""
        with self._change:
            if node not in self._partitions:
                raise LookupError(f"no node {node}")
            if node not in self._contexts:
                own: dict[str, Any] = {
                    "partition-id": self._partitions[node],
                    "num-partitions": self._clients,
                }
                config = dict(self._run_config)
                self._contexts[node] = Context(RUN_ID, node, own, RecordDict(), config)
            return self._contexts[node]

    def _identified(self, reply: Message) -> Message:
        reply.metadata.__dict__["_message_id"] = f"m{next(self._numbers)}"
        return reply
