"""Which node holds which partition: Flower's node ids are random, and nodes come and go."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from strategies.core.outcomes import StrategyError
from strategies.messages import protocol
from strategies.messages.replies import ReplyError, read_peer


class PeersMissing(StrategyError):
    """Too few clients are online; the text says how many were needed and received."""


@dataclass(frozen=True)
class Peer:
    """A client as the server knows it: its Flower node and its training set's size."""

    node_id: int
    num_examples: int


@runtime_checkable
class Directory(Protocol):
    """A grid that knows which node holds a partition, as one does whose clients are in-process."""

    def nodes_of(self, partitions: Iterable[int]) -> Mapping[int, int]:
        """Return the node of every one of those partitions that is online."""


class Peers:
    """The clients that are online, by partition id, learned by asking every node once.

    Args:
        seed: Seed of the run; nodes partition their data by it.
        clients: Number of partitions, ids 0 to ``clients - 1``.
        timeout: Seconds to wait for nodes to come online and answer, counted anew
            whenever one did.
        min_available: Clients of a cohort that must be online, once all of the first
            one were; 0 for half of them.
        fingerprint: Of the data set that every node must have; ``""`` asks for none.
        examples: Training samples of every client, as far as the server knows them.
    """

    def __init__(
        self,
        seed: int,
        clients: int,
        timeout: float,
        min_available: int,
        fingerprint: str,
        examples: Mapping[int, int],
    ) -> None:
        self.seed = seed
        self.clients = clients
        self.timeout = timeout
        self.min_available = min_available
        self.fingerprint = fingerprint
        self.examples = examples
        self._known: dict[int, Peer] = {}
        self._asked: set[int] = set()
        self._refused: set[int] = set()
        self._refusal = ""
        self._begun = False

    def __getitem__(self, client: int) -> Peer:
        """Return a client that is online."""
        return self._known[client]

    def forget(self, clients: set[int]) -> None:
        """Ask anew before clients are used again: other nodes may have taken their place.

        Such a node may have been asked already, while the old one was still listed.
        """
        if clients & set(self._known):
            self._known = {c: p for c, p in self._known.items() if c not in clients}
            self._asked &= {peer.node_id for peer in self._known.values()}

    def connect(self, grid: Grid, needed: set[int]) -> dict[int, Peer]:
        """Return those of the clients needed that are online; ask only nodes not asked before.

        The first time, every client needed must be there. Later ones may be gone
        for good, so nobody waits for more than ``min_available`` of them.

        Raises:
            PeersMissing: If too few of them come online in time.
        """
        if isinstance(grid, Directory) and needed <= self.examples.keys():
            # Nobody needs to be asked, so it does not matter how many others there are.
            nodes = grid.nodes_of(needed)
            self._known |= {c: Peer(node, self.examples[c]) for c, node in nodes.items()}
            if len(nodes) == len(needed):
                self._begun = True
                return {client: self._known[client] for client in needed}
        deadline = time.monotonic() + self.timeout
        enough = len(needed)
        if self._begun:
            enough = min(self.min_available or (enough + 1) // 2, enough)
        while True:
            online = set(grid.get_node_ids())
            self._asked &= online
            self.forget({c for c, p in self._known.items() if p.node_id not in online})
            fresh = sorted(online - self._asked)
            if fresh:
                before = len(self._known)
                self._query(grid, fresh, max(0.1, deadline - time.monotonic()))
                if len(self._known) > before:  # a crowd on few cores answers one by one
                    deadline = time.monotonic() + self.timeout
            here = {client: self._known[client] for client in needed if client in self._known}
            if len(here) >= enough:
                self._begun = True
                return here
            # With every node asked and one refusing, there is nothing to wait for.
            settled = bool(self._refusal) and online <= self._asked
            hopeless = settled and (len(online) >= self.clients or not self._known)
            if hopeless or time.monotonic() >= deadline:
                missing = sorted(needed - set(here))
                raise PeersMissing(
                    f"{len(here)} of the cohort's {len(needed)} clients are online, {enough} are "
                    f"needed within {self.timeout:g} s. Received: {len(online)} nodes; "
                    f"missing partition ids: {', '.join(map(str, missing[:5]))}"
                    f"{', ...' if len(missing) > 5 else ''}{self._refusal}"
                )
            time.sleep(0.2)

    def _query(self, grid: Grid, nodes: list[int], timeout: float) -> None:
        content = RecordDict({protocol.CONFIG: ConfigRecord({protocol.SEED: self.seed})})
        messages = [Message(content, node, MessageType.QUERY) for node in nodes]
        self._refusal = ""
        found: dict[int, Peer] = {}
        # By node, so that of two nodes that claim one partition always the same is used.
        replies = grid.send_and_receive(messages, timeout=timeout)
        for reply in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
            node = reply.metadata.src_node_id
            try:
                partition, examples = read_peer(reply, self.clients, self.fingerprint)
                known = self.examples.get(partition, examples)
                if examples != known:
                    raise ReplyError(
                        f"partition {partition} claims {examples} examples, expected {known}"
                    )
                found.setdefault(partition, Peer(node, examples))
                self._refused.discard(node)
            except ReplyError as error:
                self._refusal = f"; a node said: {error}"
                if node not in self._refused:  # once may be an accident
                    self._refused.add(node)
                    continue
            self._asked.add(node)
        self._known = found | self._known
