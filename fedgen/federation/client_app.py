"""The Flower ``ClientApp``: answers what it is asked; whoever trains is in ``client``.

The same object answers the in-process grid and every Flower runtime. The framework is imported
by the first client that trains in a process: Flower's runtimes may start one for every message.
"""

from typing import cast

from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.common.constant import ErrorCode

from fedgen import runtime
from fedgen.engine.plan import Stopped
from fedgen.errors import FedgenError, InputError
from fedgen.federation import agreement
from fedgen.federation.faults import misbehave
from fedgen.federation.run_config import from_run_config


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
    shard = agreement.load_partition(config, seed).shards[client]
    fingerprint = agreement.fingerprint(config)
    metrics = MetricRecord({"partition-id": client, "num-examples": len(shard.train)})
    content = RecordDict({"metrics": metrics, "data": ConfigRecord({"fingerprint": fingerprint})})
    return Message(content, reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train with the assigned hyperparameters and report what was applied."""
    from fedgen.federation import client

    return client.train(client.Client(message, context))


@app.train("probe")
def probe(message: Message, context: Context) -> Message:
    """Try every offered pair for one epoch and keep the one that validates best."""
    from fedgen.federation import client

    return client.probe(client.Client(message, context))
