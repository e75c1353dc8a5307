"""The Flower ``ClientApp``: answers what it is asked; whoever trains is in ``client``.

The same object answers the in-process grid and every Flower runtime. The framework is imported
by the first client that trains in a process: Flower's runtimes may start one for every message.
"""

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from flwr.app import ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedgen import runtime
from fedgen.engine.plan import Stopped
from fedgen.errors import FedgenError, InputError
from fedgen.federation import resources
from fedgen.federation.faults import misbehave
from fedgen.federation.flower import ClientAppCallable, ErrorCode, Mod
from fedgen.federation.grid import GRACE_SECONDS, abandoned
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import from_run_config
from strategies.messages import protocol
from strategies.messages.coding import compress


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


LOCKED_SECONDS = 60.0
"""How long after that a process ends itself in which no other thread comes to run."""


class _Ending:
    """The end of this process should it be stuck as a whole, put off while its clients go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients = 0
        self._due = 0.0

    @contextmanager
    def at_the_latest(self, seconds: float) -> Iterator[None]:
        """Be there for a client; begins before its thread, which may hold Python's lock."""
        with self._lock:
            self._clients += 1
        self.put_off(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._clients -= 1
                if not self._clients:
                    faulthandler.cancel_dump_traceback_later()
                    self._due = 0.0

    def put_off(self, seconds: float) -> None:
        """Wait for so many seconds more, and ``LOCKED_SECONDS``, or longer for another client."""
        with self._lock:
            self._due = max(self._due, time.monotonic() + seconds)
            left = self._due - time.monotonic()
            faulthandler.dump_traceback_later(left + LOCKED_SECONDS, exit=True)


_ending = _Ending()


def bounded(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Give a client up that is stuck beyond its deadline, as ``InProcessGrid`` does.

    Its thread is left behind, so its process must be replaced, unless it is one that clients
    share: a SuperNode has one for every message, and ``flower.renew_actors`` sees to those of Ray.
    A process that is stuck as a whole, in foreign code that holds Python's lock, ends itself.
    """
    deadline = from_run_config(context.run_config).training.deadline
    if not deadline or not message.metadata.message_type.startswith(MessageType.TRAIN):
        return call_next(message, context)
    seed = cast(int, cast(ConfigRecord, message.content[protocol.CONFIG])[protocol.SEED])
    engine = resources.of(context.run_config).engine(seed)  # no deadline counts its building
    replies: list[Message] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            replies.append(call_next(message, context))
        except BaseException as error:  # whoever waits raises it
            errors.append(error)

    def left() -> float:
        spent = time.monotonic() - since - (engine.compiling - compiled)
        return deadline + GRACE_SECONDS - spent

    compiled, since = engine.compiling, time.monotonic()
    client = threading.Thread(target=work, name="client", daemon=True)
    with _ending.at_the_latest(deadline + GRACE_SECONDS):
        client.start()
        while client.is_alive() and (seconds := left()) > 0:
            _ending.put_off(seconds)
            client.join(seconds)
    if errors:
        raise errors[0]
    return replies[0] if replies else abandoned(message, deadline)


def made(held_by: Callable[[Context], Resources], *mods: Mod) -> ClientApp:
    """Make a client app.

    Args:
        held_by: Returns what the process of a client holds.
        mods: What messages pass before they reach a client, faulty ones included.
    """
    # What a client does wrong on purpose is coded like all that it sends.
    app = ClientApp(mods=[refuse, *mods, compress, misbehave])

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return answer(message, context, held_by(context))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        from fedgen.federation import client

        return client.train(client.Client(message, context, held_by(context)))

    @app.train("probe")
    def probe(message: Message, context: Context) -> Message:
        from fedgen.federation import client

        return client.probe(client.Client(message, context, held_by(context)))

    return app


def answer(message: Message, context: Context, held: Resources) -> Message:
    """Answer who this node is, what data it has, and how many samples it trains on.

    Raises:
        InputError: If the federation has another number of nodes than the run has
            clients, or the data set cannot be had here.
        RunError: If TensorFlow computes with other settings than the server's.
    """
    runtime.require()
    config = held.config
    nodes, clients = context.node_config.get("num-partitions"), config.partition.clients
    if nodes != clients:
        raise InputError(
            f"the federation has {nodes} nodes, the run has {clients} clients: give "
            f'--federation-config "num-supernodes={clients}" (SuperNodes: num-partitions={clients} '
            f'in --node-config), or --run-config "clients={nodes}"'
        )
    client = int(context.node_config.get(protocol.PARTITION_ID, -1))
    if not 0 <= client < clients:
        raise InputError(f"partition-id={client}: expected 0 to {clients - 1} in --node-config")
    seed = cast(int, cast(ConfigRecord, message.content[protocol.CONFIG])[protocol.SEED])
    samples = held.partition(seed).clients[client]
    metrics = MetricRecord(
        {protocol.PARTITION_ID: client, protocol.NUM_EXAMPLES: len(samples.train)}
    )
    data = ConfigRecord({protocol.FINGERPRINT: held.fingerprint})
    content = RecordDict({protocol.METRICS: metrics, protocol.DATA: data})
    return Message(content, reply_to=message)


app = made(lambda context: resources.of(context.run_config), bounded)
