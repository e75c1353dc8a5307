"""The arrays of a reply, coded by the client as its message asks, and decoded by the server.

What is coded is every array of numbers that answers one of the same record, name, shape and type
in the message; weights of a client that chose among several models answer the one it chose. All
else travels as it is, and is refused as if nothing were coded. Of a coded array, ``stype`` names
the code.

Lossy codes are for weights that are trained. Whole numbers, moving statistics of batch
normalisation, and records beside the weights, as an optimiser's moments, are coded without loss:
a variance must not become negative.
"""

from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from strategies.messages import protocol
from strategies.messages.arrays import read_array, write_array
from strategies.messages.compression import LOSSY, Code, Compression, decode, encode
from strategies.messages.replies import ReplyError
from strategies.streams import rng

Recode = Callable[[str, Array, NDArray[np.generic], Code], Array]
"""Makes another array of a reply's, given where it is, what was sent, and the code."""


def asked(compression: Compression, statistics: Collection[int]) -> dict[str, Any]:
    """Return what the config of a message says, so that its reply is coded; nothing for none.

    Args:
        compression: The code of the weights.
        statistics: Positions of arrays that are no weights, but statistics of the data.
    """
    if compression == "none":
        return {}
    exact = {protocol.EXACT: sorted(statistics)} if statistics and compression in LOSSY else {}
    return {protocol.COMPRESSION: compression, **exact}


def compress(
    message: Message, context: Context, call_next: Callable[[Message, Context], Message]
) -> Message:
    """Code a reply as its message asks: a Flower client mod.

    It goes around whatever changes the weights that a client answers. How numbers are rounded
    depends on the run's seed, the round and the client alone: arms share it, as batch orders.
    """
    reply = call_next(message, context)
    if not _asks(message.content) or not reply.has_content():
        return reply
    config = cast(ConfigRecord, message.content[protocol.CONFIG])
    seed, server_round = (cast(int, config[k]) for k in (protocol.SEED, protocol.SERVER_ROUND))
    client = int(context.node_config[protocol.PARTITION_ID])
    draw = rng(seed, "rounding", server_round, client)

    def coded(where: str, array: Array, sent: NDArray[np.generic], code: Code) -> Array:
        data = encode(read_array(array), sent, code, draw)
        return Array(array.dtype, tuple(array.shape), code, data)

    # Records cannot be replaced in place without a warning.
    reply.content = _recoded(reply.content, message.content, coded)
    return reply


def decompress(reply: RecordDict, message: RecordDict) -> RecordDict:
    """Return what a client coded as if it had not been.

    Args:
        reply: What the client answers; it may be anything.
        message: What it was sent.

    Raises:
        ReplyError: If an array is not coded as the message asks; the text says how.
    """

    def plain(where: str, array: Array, sent: NDArray[np.generic], code: Code) -> Array:
        if array.stype != code:
            raise ReplyError(f"{where}: expected code {code}, received {array.stype!r}")
        try:
            return write_array(decode(array.data, sent, code))
        except ValueError as error:
            raise ReplyError(f"{where}: {error}") from error

    return _recoded(reply, message, plain) if _asks(message) else reply


def _asks(message: RecordDict) -> bool:
    config = message.get(protocol.CONFIG)
    return isinstance(config, ConfigRecord) and protocol.COMPRESSION in config


def _recoded(reply: RecordDict, message: RecordDict, recode: Recode) -> RecordDict:
    """Return a reply in which all arrays that have a code are made anew."""
    config = cast(ConfigRecord, message[protocol.CONFIG])
    compression = cast(Code, config[protocol.COMPRESSION])
    exact = cast(list[int], config.get(protocol.EXACT, []))
    content = dict(reply)
    for name, record in reply.array_records.items():
        sent = _answered(name, reply, message)
        weights = name == protocol.ARRAYS
        made = {}
        for position, (key, array) in enumerate(record.items()):
            start = _like(array, sent.get(key))
            if start is None:
                made[key] = array
                continue
            lossy = weights and start.dtype.kind == "f" and position not in exact
            where = f"array {key}" if weights else f"record {name}: array {key}"
            made[key] = recode(where, array, start, compression if lossy else "zstd")
        content[name] = ArrayRecord(made)
    return RecordDict(content)


def _answered(name: str, reply: RecordDict, message: RecordDict) -> ArrayRecord:
    """Return what was sent of a record: of weights the model that the client says it picked."""
    metrics = reply.get(protocol.METRICS)
    number = metrics.get(protocol.MODEL) if isinstance(metrics, MetricRecord) else None
    if name == protocol.ARRAYS and isinstance(number, int):
        picked = message.get(protocol.model(number))
        if isinstance(picked, ArrayRecord):
            return picked
    sent = message.get(name)
    return sent if isinstance(sent, ArrayRecord) else ArrayRecord()


def _like(array: Array, sent: Array | None) -> NDArray[np.generic] | None:
    """Return what was sent, if it is numbers of the same shape and type."""
    if sent is None or (array.dtype, tuple(array.shape)) != (sent.dtype, tuple(sent.shape)):
        return None
    start = read_array(sent)
    return start if start.dtype.kind in "biufc" else None
