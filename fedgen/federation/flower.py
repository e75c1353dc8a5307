"""What fedgen uses of Flower that Flower does not promise to keep; strategies' is in core/flower.

A release that has moved a name is read here, and a test says which one.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from flwr.app import Message
from flwr.clientapp.typing import ClientAppCallable as ClientAppCallable
from flwr.clientapp.typing import Mod as Mod
from flwr.common.config import parse_config_args as parse_config_args
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.constant import ErrorCode as ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

from fedgen.errors import RunError

RUN_ID = 1


def identify_task() -> None:
    """Let ``flwr.app.Message`` be built outside a Flower process.

    Messages read who sends them from class attributes that Flower's own
    launchers set; there is no public way to do the same.
    """
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = 1


def number(message: Message, identity: str) -> None:
    """Give a message the id by which its reply is known; a SuperLink does so elsewhere."""
    message.metadata.__dict__["_message_id"] = identity


ABANDONED = "stuck, abandoned"
"""How the reason begins that a client's process gives when it is to be replaced."""

START_SECONDS = 60.0
"""How long a worker of Flower's runtimes may take to be ready to train."""

LOOK_SECONDS = 0.1
"""How often a message looks for an idle actor."""

PULL_SECONDS = 0.01
"""How often the server looks for replies; 0.1 otherwise, a good part of a small round."""

_renewing = threading.Lock()


def is_simulated(grid: Grid) -> bool:
    """Return whether this process also runs a simulation's clients, on Ray."""
    return type(grid).__name__ == "InMemoryGrid"


def renew_actors(grid: Grid, shared: bool) -> None:
    """Have Flower's pool replace actors of Ray whose process ended, or whose client is stuck.

    As it is, it gives them work for ever. A message whose actor died is handed to another one,
    once; the second time its client has failed. Where a node of the cluster is lost, there is no
    room for another actor until it is back: till then the others have all the work. Where all are
    lost, that is no fault of clients: the round ends with a ``RunError``.

    Args:
        grid: The server's.
        shared: Whether clients of a device are to share a process, see ``_share``. One of them
            that is stuck then leaves its thread behind, and the process goes on.
    """
    import ray
    from flwr.simulation.ray_transport.ray_actor import BasicActorPool

    grid.pull_interval = PULL_SECONDS  # type: ignore[attr-defined]
    starting: dict[Any, Any] = {}  # new actors, and what says that they are there
    successors: dict[Any, Any] = {}  # of actors that were replaced
    makers: dict[Any, Callable[[], Any]] = {}  # of actors that clients share
    jobs: dict[Any, tuple[Any, Any]] = {}
    receive = grid.send_and_receive

    def alive() -> bool:
        # Before Ray has begun, to ask it would begin another one.
        begun = ray.is_initialized()
        return not begun or any(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]

    def send_and_receive(*messages: Any, **limits: Any) -> Any:
        replies = receive(*messages, **limits)
        if not alive():
            raise RunError("Ray has ended, or all nodes of its cluster have")
        return replies

    def take(pool: Any) -> Any:
        with _renewing:
            for place in reversed(range(len(pool.pool))):
                told = starting.get(pool.pool[place])
                if told is None or ray.wait([told], timeout=0)[0]:
                    starting.pop(pool.pool[place], None)
                    return pool.pool.pop(place)
        return None

    def submit(pool: Any, actor_fn: Any, job: Any) -> Any:
        if shared:
            with _renewing:
                if not makers:
                    makers.update(_share(pool))
                    starting.update({actor: actor.__ray_ready__.remote() for actor in makers})
        until = time.monotonic() + START_SECONDS
        while (actor := take(pool)) is None:
            if time.monotonic() > until or not alive():
                raise RuntimeError("Ray has no worker left")
            time.sleep(LOOK_SECONDS)
        future = actor_fn(actor, *job)
        pool._future_to_actor[future] = actor
        jobs[future] = actor_fn, job
        return future

    def renewed(pool: Any, future: Any) -> Any:
        actor = pool._future_to_actor[future]
        with _renewing:
            if actor not in successors:  # else another of its clients was here before
                ray.kill(actor)
                make = makers.get(actor, pool.create_actor_fn)
                successors[actor] = new = make()
                starting[new] = new.__ray_ready__.remote()
                if actor in makers:
                    makers[new] = make
                pool.pool[:] = [new if idle == actor else idle for idle in pool.pool]
            while actor in successors:
                actor = successors[actor]
        pool._future_to_actor[future] = actor
        return actor

    def fetch(pool: Any, future: Any) -> Any:
        running, (actor_fn, job) = future, jobs.pop(future)
        for tries_left in (1, 0):
            try:
                _, reply, context = ray.get(running)
                break
            except ray.exceptions.RayActorError:
                actor = renewed(pool, future)
                told = starting.get(actor)
                room = tries_left and alive()
                if not room or told and not ray.wait([told], timeout=START_SECONDS)[0]:
                    raise
                starting.pop(actor, None)
                running = actor_fn(actor, *job)
        stuck = reply.has_error() and (reply.error.reason or "").startswith(ABANDONED)
        if stuck and not shared:
            renewed(pool, future)
        pool.add_actor_back_to_pool(future)
        return reply, context

    for owner, name, function in (
        (BasicActorPool, "submit", submit),
        (BasicActorPool, "fetch_result_and_return_actor_to_pool", fetch),
        (grid, "send_and_receive", send_and_receive),
    ):
        setattr(owner, name, function)


def _share(pool: Any) -> dict[Any, Callable[[], Any]]:
    """Have one actor for all clients of a device, or of a node without one, instead of one each.

    The pool then has an actor as many times as it may train clients at once.

    Returns:
        The actors, and what makes each of them again.
    """
    import ray
    from flwr.simulation.ray_transport.ray_actor import ClientAppActor
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    of_one = pool.client_resources
    for actor in pool.pool:
        ray.kill(actor)
    pool.pool.clear()
    made: dict[Any, Callable[[], Any]] = {}
    kind: Any = ClientAppActor  # made by `ray.remote`, whose types say less
    for place, clients in together(nodes, of_one["num_cpus"], of_one.get("num_gpus", 0.0)):
        make = partial(
            kind.options(
                **{name: clients * part for name, part in of_one.items()},
                max_concurrency=clients,
                scheduling_strategy=NodeAffinitySchedulingStrategy(place, soft=True),
            ).remote,
            on_actor_init_fn=partial(_host, clients),
        )
        actor = make()
        made[actor] = make
        pool.pool.extend([actor] * clients)
    # Else each is told to end, and says so, for every client.
    pool.terminate_all_actors = lambda: [ray.kill(actor) for actor in set(pool.pool)]
    return made


def together(
    nodes: Iterable[Mapping[str, Any]], cpus: float, gpus: float
) -> Iterator[tuple[str, int]]:
    """Yield a process's node, and how many clients share it: those of a GPU, or of a node without.

    Args:
        nodes: As Ray tells them.
        cpus: What one client takes of a node's cores; above 0.
        gpus: What it takes of its GPUs; 0 for none.
    """
    for node in nodes:
        here = node["Resources"]  # none of one that is gone
        clients = int(here.get("CPU", 0) / cpus)
        size = clients
        if gpus:
            clients = min(clients, int(here.get("GPU", 0) / gpus))
            size = max(1, int(1 / gpus))
        while clients:
            yield node["NodeID"], min(size, clients)
            clients -= min(size, clients)


def _host(clients: int) -> None:
    """Let this process train so many clients at once."""
    from fedgen.federation import resources

    resources.SLOTS = clients
