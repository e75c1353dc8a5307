"""Clients that misbehave on purpose: a grid that picks them, and a client mod that obeys.

The grid marks the messages of the chosen clients, and itself repeats or holds back
replies; the mod spoils what a marked client answers. Both work on every runtime.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedgen.config.sections import Faults
from fedgen.federation.flower import ClientAppCallable
from fedgen.federation.grid import turns
from strategies.messages import protocol
from strategies.messages.arrays import read_arrays
from strategies.streams import rng

HANG_SECONDS = 3600.0
"""How long a client hangs: longer than any deadline that a person would set."""

FAULT = "fault"
FACTOR = "fault-factor"
"""Keys of a message's config: what its client is to do, and how much."""

REPEATED, LATE = "duplicate", "late"
"""Faults of the way between client and server."""


class FaultyGrid(Grid):
    """A grid on which some clients of every round misbehave.

    Args:
        grid: What the messages really go through.
        faults: How many clients of a round do what.
        seed: Seed of the run; clients are drawn from its stream ``"faults"``.
    """

    def __init__(self, grid: Grid, faults: Faults, seed: int) -> None:
        self._grid = grid
        self._kinds = [kind for kind, number in faults.counts().items() for _ in range(number)]
        self._factor = faults.factor
        self._seed = seed
        self._partitions: dict[int, int] = {}
        self._held: list[Message] = []

    def set_run(self, run: Any) -> None:
        """Set the run of the grid inside."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """The run of the grid inside."""
        return self._grid.run

    def create_message(self, *arguments: Any, **named: Any) -> Message:
        """Create a message, as the grid inside does."""
        return self._grid.create_message(*arguments, **named)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids of the grid inside."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Mark messages and push them."""
        messages = list(messages)
        self._mark(messages)
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pull replies; those of asked nodes tell which partition is where."""
        replies = list(self._grid.pull_messages(message_ids))
        self._learn(replies)
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send marked messages; some replies come twice, some with the next round's."""
        messages = list(messages)
        marked = self._mark(messages)
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        self._learn(replies)
        if not marked:
            return replies
        kinds = {message.metadata.message_id: kind for message, kind in marked}
        on_time: list[Message] = []
        late: list[Message] = []
        for reply in replies:
            kind = kinds.get(reply.metadata.reply_to_message_id)
            (late if kind == LATE else on_time).append(reply)
            if kind == REPEATED:
                on_time.append(reply)
        on_time += self._held
        self._held = late
        return on_time

    def _learn(self, replies: Iterable[Message]) -> None:
        for reply in replies:
            metrics = reply.content.get(protocol.METRICS) if reply.has_content() else None
            if isinstance(metrics, MetricRecord) and protocol.PARTITION_ID in metrics:
                self._partitions[reply.metadata.src_node_id] = cast(
                    int, metrics[protocol.PARTITION_ID]
                )

    def _mark(self, messages: list[Message]) -> list[tuple[Message, str]]:
        """Choose clients among those addressed, whatever order they are addressed in."""
        training = [m for m in messages if m.metadata.message_type.startswith(MessageType.TRAIN)]
        if not training:
            return []
        training.sort(key=lambda message: self._partitions[message.metadata.dst_node_id])
        server_round = cast(
            int, cast(ConfigRecord, training[0].content[protocol.CONFIG])[protocol.SERVER_ROUND]
        )
        draw = rng(self._seed, "faults", server_round)
        before, total = turns(training)
        chosen = draw.permutation(total)[: len(self._kinds)].tolist()
        marked = [
            (training[i - before], kind)
            for i, kind in zip(chosen, self._kinds, strict=False)
            if 0 <= i - before < len(training)
        ]
        for message, kind in marked:
            config = cast(ConfigRecord, message.content[protocol.CONFIG])
            config[FAULT], config[FACTOR] = kind, self._factor
        return marked


def misbehave(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Do what a marked message asks for: a Flower client mod."""
    config = message.content.get(protocol.CONFIG)
    kind = config.get(FAULT) if isinstance(config, ConfigRecord) else None
    if kind == "crash":
        raise RuntimeError("crashed, as asked by faults.crash")
    if kind == "hang":
        time.sleep(HANG_SECONDS)
        raise RuntimeError("hung, as asked by faults.hang")
    if kind not in SPOILERS:
        return call_next(message, context)
    # Copied first: a client may answer with the very arrays that it received.
    sent = cast(ArrayRecord, message.content[protocol.ARRAYS])
    start = [np.array(array) for array in read_arrays(sent)]
    reply = call_next(message, context)
    if not reply.has_content():
        return reply
    received = cast(ArrayRecord, reply.content[protocol.ARRAYS])
    answer = Answer(
        arrays=dict(zip(received, map(np.array, read_arrays(received)), strict=True)),
        metrics=dict(cast(MetricRecord, reply.content[protocol.METRICS])),
        start=start,
        factor=cast(float, cast(ConfigRecord, config)[FACTOR]),
    )
    SPOILERS[kind](answer)
    # Records cannot be replaced in place without a warning.
    reply.content = RecordDict(
        {
            **reply.content,
            protocol.ARRAYS: ArrayRecord(
                {name: Array(array) for name, array in answer.arrays.items()}
            ),
            protocol.METRICS: MetricRecord(answer.metrics),
        }
    )
    return reply


@dataclass
class Answer:
    """What a client would answer, to be spoiled in place.

    Attributes:
        arrays: Its weights.
        metrics: Its metrics.
        start: The global weights that it started from.
        factor: How much the ``scale`` attack exaggerates.
    """

    arrays: dict[str, NDArray[Any]]
    metrics: dict[str, Any]
    start: list[NDArray[Any]]
    factor: float

    def set_first(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Change the first array."""
        name = next(iter(self.arrays))
        self.arrays[name] = change(self.arrays[name])

    def move(self, factor: float) -> None:
        """Go the way from the global weights so many times."""
        for (name, array), start in zip(self.arrays.items(), self.start, strict=True):
            self.arrays[name] = (start + factor * (array - start)).astype(array.dtype)


def _fill(value: float) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.set_first(lambda array: np.full_like(array, value))

    return spoil


def _claim(number: float) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.metrics[protocol.NUM_EXAMPLES] = number

    return spoil


def _lie(metric: str) -> Callable[[Answer], None]:
    def spoil(answer: Answer) -> None:
        answer.metrics[metric] *= 2

    return spoil


SPOILERS: dict[str, Callable[[Answer], None]] = {
    "nan": _fill(math.nan),
    "inf": _fill(math.inf),
    "wrong_shape": lambda answer: answer.set_first(lambda array: array[:1]),
    "wrong_dtype": lambda answer: answer.set_first(lambda array: array.astype(np.float64)),
    "missing_key": lambda answer: answer.arrays.__delitem__(next(iter(answer.arrays))),
    "extra_key": lambda answer: answer.arrays.update(extra=np.zeros(1, np.float32)),
    "negative_examples": _claim(-1),
    "nan_examples": _claim(math.nan),
    "zero_examples": _claim(0),
    "absurd_examples": _claim(10**18),
    "wrong_rate": _lie(protocol.LEARNING_RATE),
    "wrong_batch": _lie(protocol.BATCH_SIZE),
    "sign_flip": lambda answer: answer.move(-1.0),
    "scale": lambda answer: answer.move(answer.factor),
}
"""What a marked client does to its answer, by kind. The last two are well formed."""
