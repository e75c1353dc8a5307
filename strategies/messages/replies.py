"""Checks of client replies before anything in them is used.

A client is outside the server's trust. Stock averaging lets NaN weights,
absurd sample counts, arrays that broadcast, and doubled replies through; here
each of them is a rejection with a reason, and the round goes on without it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from numpy.typing import NDArray

from strategies.core.aggregation import Arrays, Statistics
from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import Update
from strategies.messages import protocol

MAX = 1e30
"""Largest number that a metric may hold that is no loss; float32 holds it, too."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest loss that is finite: what trains computes in float32."""

MOST_LETTERS = 200
"""How long the reason may be that a reply was not used."""


class ReplyError(ValueError):
    """A reply that must not be used; the text says why."""


class NoReply(ReplyError):
    """Nothing came that could be read; the text says why."""


def read_only(replies: Sequence[Message]) -> Message:
    """Return the one reply of a client that was asked once.

    Raises:
        NoReply: If there is none, or it carries an error.
        ReplyError: If there are several.
    """
    if not replies:
        raise NoReply("no reply in time")
    if len(replies) > 1:
        raise ReplyError(f"{len(replies)} replies, expected one")
    (reply,) = replies
    if reply.has_error():
        raise NoReply(error_reason(reply))
    return reply


def read_update(
    message: Message,
    reference: ArrayRecord,
    known_examples: int,
    reports: Iterable[str] = (),
    returns: Iterable[str] = (),
) -> Update:
    """Check a reply against the global model and the client's own sample count.

    Args:
        message: Reply without an error.
        reference: Arrays that were sent; keys, shapes and dtypes must match.
        known_examples: Upper bound of ``num-examples``, from the first query.
        reports: Names of further metrics that must be there.
        returns: Names of further records that must be there, each like ``reference``.

    Raises:
        ReplyError: Naming what is missing or wrong.
    """
    content = message.content
    arrays, metrics = content.get(protocol.ARRAYS), content.get(protocol.METRICS)
    if not isinstance(arrays, ArrayRecord) or not isinstance(metrics, MetricRecord):
        raise ReplyError(f"expected records arrays and metrics, received {sorted(content)}")
    num_examples = _integer(metrics, protocol.NUM_EXAMPLES, 1, known_examples)
    further: dict[str, Any] = {
        name: _number(metrics, key) for key, name in protocol.FURTHER.items() if key in metrics
    }
    epochs = _integer(metrics, protocol.EPOCHS, 1, 10_000)
    return Update(
        arrays=_check_arrays(arrays, reference),
        applied=Genome(
            _number(metrics, protocol.LEARNING_RATE),
            _integer(metrics, protocol.BATCH_SIZE, 1, 2**31),
            **further,
        ),
        fitness=_loss(metrics, protocol.FITNESS),
        train_loss=_loss(metrics, protocol.TRAIN_LOSS),
        num_examples=num_examples,
        samples=_integer(metrics, protocol.SAMPLES, 1, epochs * known_examples),
        epochs=epochs,
        seconds=_number(metrics, protocol.SECONDS),
        reported={key: _number(metrics, key) for key in reports},
        returned={name: _check_record(content.get(name), name, reference) for name in returns},
        measured={key: _number(metrics, key) for key in protocol.MEASURED if key in metrics},
    )


def check_applied(assigned: Genome, applied: Genome) -> None:
    """Check in float32 that a client used the hyperparameters it was given.

    Raises:
        ReplyError: If it did not.
    """
    if (
        np.float32(assigned.learning_rate) != np.float32(applied.learning_rate)
        or assigned.batch_size != applied.batch_size
    ):
        raise ReplyError(
            f"applied rate {applied.learning_rate:g} and batch {applied.batch_size}, "
            f"assigned {assigned.learning_rate:g} and {assigned.batch_size}"
        )
    for gene in protocol.FURTHER.values():
        wanted, received = getattr(assigned, gene), getattr(applied, gene)
        if wanted is not None and (received is None or np.float32(wanted) != np.float32(received)):
            raise ReplyError(f"applied {gene} {received}, assigned {wanted:g}")


def check_work(update: Update, epochs: int) -> None:
    """Check that a client claims the work that it was asked for, no more and no less.

    Raises:
        ReplyError: If it does not.
    """
    if update.epochs != epochs or update.samples != epochs * update.num_examples:
        raise ReplyError(
            f"claims {update.epochs} epochs and {update.samples} samples, asked for {epochs} "
            f"epochs of its {update.num_examples}"
        )


def check_variances(arrays: Arrays, statistics: Statistics) -> None:
    """Check that no moving variance of batch normalisation is negative: its root would be NaN.

    Raises:
        ReplyError: If one is.
    """
    for position, kind in statistics.items():
        if kind == "variance" and (arrays[position].astype(np.float64) < 0).any():
            raise ReplyError(f"array {position}: a moving variance is negative")


def check_probe(rates: list[float], batches: list[int], kept: Genome) -> None:
    """Check that a kept pair is one of those a client was told to try.

    Raises:
        ReplyError: If it is not.
    """
    if (
        np.float32(kept.learning_rate) not in np.array(rates, np.float32)
        or kept.batch_size not in batches
    ):
        raise ReplyError(
            f"kept rate {kept.learning_rate:g} and batch {kept.batch_size}, "
            f"offered {rates} and {batches}"
        )


SHARED = ("data", "code of the model", "engine")
"""What the parts of a fingerprint are of."""


def _short(part: str) -> str:
    """Return as much of a digest as tells it from others; an engine's name is none."""
    return f"fingerprint {part[:12]}" if "," not in part else part


def read_peer(reply: Message, clients: int, fingerprint: str) -> tuple[int, int]:
    """Read who a node says it is.

    Args:
        reply: The node's answer to the first query.
        clients: Number of partitions.
        fingerprint: What it must have: the data set's, the code's of its model, and the engine,
            between ``+``; ``""`` asks for none.

    Returns:
        Its partition id, and how many samples it trains on.

    Raises:
        ReplyError: If it refuses, cannot be a node of this run, or has other data.
    """
    if reply.has_error():
        raise ReplyError(error_reason(reply))
    metrics, data = reply.content.get(protocol.METRICS), reply.content.get(protocol.DATA)
    if not isinstance(metrics, MetricRecord):
        raise ReplyError("I do not know my partition (no metrics in the reply)")
    received = data.get(protocol.FINGERPRINT) if isinstance(data, ConfigRecord) else None
    partition, examples = metrics.get(protocol.PARTITION_ID), metrics.get(protocol.NUM_EXAMPLES)
    if not (
        isinstance(partition, int)
        and isinstance(examples, int)
        and 0 <= partition < clients
        and examples >= 1
    ):
        raise ReplyError(f"I am partition {partition!r} with {examples!r} examples")
    if fingerprint and received != fingerprint:
        parts = zip_longest(SHARED, fingerprint.split("+"), str(received).split("+"), fillvalue="")
        what, ours, theirs = next(part for part in parts if part[1] != part[2])
        raise ReplyError(
            f"partition {partition} has other {what} than the server: expected {_short(ours)}, "
            f"received {_short(theirs)}"
        )
    return partition, examples


def error_reason(reply: Message) -> str:
    """Return the last line of an error reply: Flower puts a traceback before it."""
    lines = (reply.error.reason or "").strip().splitlines() or ["no reason given"]
    return lines[-1]


def plain(text: str) -> str:
    """Return a text as it may stand in a file: one line, printable, not too long.

    Reasons quote what a client sent.
    """
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= MOST_LETTERS else f"{clean[: MOST_LETTERS - 3]}..."


def check_reported(update: Update, key: str, expected: float) -> None:
    """Check in float32 that a client reports a metric as it was told to use it.

    Raises:
        ReplyError: If it does not.
    """
    if np.float32(update.reported[key]) != np.float32(expected):
        raise ReplyError(f"metric {key}: expected {expected:g}, received {update.reported[key]:g}")


def _check_record(received: object, name: str, reference: ArrayRecord) -> Arrays:
    if not isinstance(received, ArrayRecord):
        raise ReplyError(f"expected a record {name} of arrays, received none")
    try:
        return _check_arrays(received, reference)
    except ReplyError as error:
        raise ReplyError(f"record {name}: {error}") from error


def _check_arrays(received: ArrayRecord, reference: ArrayRecord) -> Arrays:
    if list(received) != list(reference):
        raise ReplyError(f"expected {len(reference)} arrays with the model's keys")
    return [_check_array(key, received[key], reference[key]) for key in reference]


def _check_array(key: str, array: Array, wanted: Array) -> NDArray[np.generic]:
    if tuple(array.shape) != tuple(wanted.shape) or array.dtype != wanted.dtype:
        raise ReplyError(
            f"array {key}: expected {wanted.dtype}{list(wanted.shape)}, "
            f"received {array.dtype}{list(array.shape)}"
        )
    # The payload is an .npy file. Its header must be the one that was sent, byte
    # for byte: nothing that a client wrote is parsed, so nothing can go wrong in it.
    kind, count = np.dtype(wanted.dtype), math.prod(wanted.shape)
    header = len(wanted.data) - kind.itemsize * count
    same_form = array.stype == wanted.stype and len(array.data) == len(wanted.data)
    if not same_form or array.data[:header] != wanted.data[:header]:
        raise ReplyError(
            f"array {key}: payload is not {len(wanted.data)} bytes of {wanted.dtype} in C order"
        )
    values = np.frombuffer(array.data, kind, count, header).reshape(wanted.shape)
    if not np.isfinite(values).all():
        raise ReplyError(f"array {key}: weights are not finite")
    return values


def _loss(metrics: Mapping[str, object], key: str) -> float:
    """Return a loss of any size: weights that are finite are used, however bad they are."""
    value = metrics.get(key)
    if not isinstance(value, int | float):
        raise ReplyError(f"metric {key}: expected a number, received {value!r}")
    beyond = math.isfinite(value) and abs(value) > LARGEST
    return math.copysign(math.inf, value) if beyond else float(value)


def _number(metrics: Mapping[str, object], key: str) -> float:
    value = metrics.get(key)
    if not (isinstance(value, int | float) and abs(value) <= MAX):  # nor is NaN
        raise ReplyError(f"metric {key}: expected a number up to {MAX:g}, received {value!r}")
    return float(value)


def _integer(metrics: Mapping[str, object], key: str, low: int, high: int) -> int:
    value = metrics.get(key)
    if not isinstance(value, int | float):
        raise ReplyError(f"metric {key}: expected a number, received {value!r}")
    if not (low <= value <= high and value == int(value)):
        raise ReplyError(
            f"metric {key}: expected an integer in [{low}, {high}], received {float(value)}"
        )
    return int(value)
