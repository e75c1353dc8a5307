"""A Flower ``Grid`` that runs a ``ClientApp`` in this process, several clients at once."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as FuturesTimeout
from itertools import count
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1
FIRST_NODE = 1_000
"""Node id of partition 0; ids differ from partition ids, as they do in Flower."""


def identify_task() -> None:
    """Let ``flwr.app.Message`` be built outside a Flower process (checked with Flower 1.41).

    Messages read who sends them from class attributes that Flower's own
    launchers set; there is no public way to do the same.
    """
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = 1


class InProcessGrid(Grid):
    """Runs every message's client in a thread of this process.

    Args:
        app: The client app, mods included.
        run_config: Flat run config that every client sees.
        clients: Number of nodes, one per partition.
        workers: Clients that run at once.
        on_reply: Called in the calling thread for each reply as it comes.
    """

    def __init__(
        self,
        app: ClientApp,
        run_config: Mapping[str, Any],
        *,
        clients: int,
        workers: int,
        on_reply: Callable[[Message], None] | None = None,
    ) -> None:
        identify_task()
        self._app = app
        self._on_reply = on_reply
        self._run = Run.create_empty(run_id=RUN_ID)
        self._contexts = {
            FIRST_NODE + partition: Context(
                RUN_ID,
                FIRST_NODE + partition,
                {"partition-id": partition, "num-partitions": clients},
                RecordDict(),
                dict(run_config),
            )
            for partition in range(clients)
        }
        self._numbers = count(1)
        self._pool = ThreadPoolExecutor(workers, "client")
        self._pending: dict[str, Future[Message]] = {}

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
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Start the clients; those beyond the number of workers wait, in order."""
        return [self._submit(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, each once."""
        ready = [i for i in message_ids if i in self._pending and self._pending[i].done()]
        return [self._pending.pop(i).result() for i in ready]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Run clients and return their replies in the order in which they finish."""
        ids = list(self.push_messages(messages))
        futures = [self._pending.pop(i) for i in ids]
        replies = []
        try:
            for future in as_completed(futures, timeout):
                replies.append(future.result())
                if self._on_reply is not None:
                    self._on_reply(replies[-1])
        except FuturesTimeout:
            # As in Flower, late replies are simply missing.
            return replies
        finally:
            for future in futures:
                future.cancel()
        return replies

    def close(self) -> None:
        """Let waiting clients go and wait for running ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, message: Message) -> str:
        identity = f"m{next(self._numbers)}"
        message.metadata.__dict__["_message_id"] = identity
        self._pending[identity] = self._pool.submit(self._handle, message)
        return identity

    def _handle(self, message: Message) -> Message:
        context = self._contexts[message.metadata.dst_node_id]
        try:
            reply = self._app(message, context)
        except Exception as error:  # a client's crash is a reply, as in Flower
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        reply.metadata.__dict__["_message_id"] = f"m{next(self._numbers)}"
        return reply
