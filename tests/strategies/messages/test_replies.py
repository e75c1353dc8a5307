import math
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

import fedgen  # noqa: F401  settings that must stand before Flower is used
from fedgen.federation.flower import identify_task
from strategies.core.hyperparameters import Genome
from strategies.messages.replies import LARGEST, ReplyError, check_applied, check_probe, read_update

KNOWN = 50
METRICS = {
    "num-examples": 40,
    "learning-rate": 1e-3,
    "batch-size": 32,
    "fitness": 0.5,
    "train-loss": 0.75,
    "epochs": 2,
    "samples": 80,
    "seconds": 0.25,
}


def model() -> dict[str, np.ndarray]:
    return {"kernel": np.ones((64, 4), np.float32), "bias": np.arange(3, dtype=np.float32)}


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({key: Array(value) for key, value in arrays.items()})


def reply(arrays: ArrayRecord | None = None, **changed: float) -> Message:
    """A good reply, but for what is given; underscores stand for dashes."""
    identify_task()
    metrics = METRICS | {key.replace("_", "-"): value for key, value in changed.items()}
    content = {"arrays": arrays or record(model()), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), 7, "train")


def reject(message: Message, reason: str) -> None:
    with pytest.raises(ReplyError, match=reason):
        read_update(message, record(model()), KNOWN)


def reject_array(key: str, value: np.ndarray, reason: str) -> None:
    reject(reply(record(model() | {key: value})), reason)


def with_payload(payload: bytes) -> Message:
    """A reply whose kernel has honest dtype, shape and length around these bytes."""
    honest = Array(model()["kernel"])
    size = len(honest.data)
    data = payload[:size] + bytes(size - len(payload))
    arrays = record(model())
    arrays["kernel"] = Array("float32", (64, 4), honest.stype, data)
    return reply(arrays)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def test_good_reply_is_read() -> None:
    update = read_update(reply(), record(model()), KNOWN)
    for array, expected in zip(update.arrays, model().values(), strict=True):
        assert array.dtype == expected.dtype and array.tobytes() == expected.tobytes()
    assert update.applied == Genome(1e-3, 32)
    assert (update.fitness, update.train_loss, update.seconds) == (0.5, 0.75, 0.25)
    assert (update.num_examples, update.samples, update.epochs) == (40, 80, 2)


@pytest.mark.parametrize("fitness", [math.nan, math.inf, -math.inf])
def test_non_finite_losses_are_read(fitness: float) -> None:
    update = read_update(reply(fitness=fitness, train_loss=fitness), record(model()), KNOWN)
    assert not math.isfinite(update.fitness) and not math.isfinite(update.train_loss)


@pytest.mark.parametrize("loss", [0.5, -0.5, 1e29, 2.5e37, -2.5e37, LARGEST, -LARGEST])
def test_losses_of_any_size_are_read(loss: float) -> None:
    """A client that comes close to overflow is not worse off than one that gets there."""
    update = read_update(reply(fitness=loss, train_loss=loss), record(model()), KNOWN)
    assert (update.fitness, update.train_loss) == (loss, loss)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("size", [LARGEST * 1.001, 1e300, 2**62 * 1e21])
def test_losses_beyond_float32_are_infinite(sign: int, size: float) -> None:
    update = read_update(reply(fitness=sign * size, train_loss=size), record(model()), KNOWN)
    assert (update.fitness, update.train_loss) == (sign * math.inf, math.inf)


@pytest.mark.parametrize("key", ["seconds", "learning-rate", "momentum", "mean-step"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e30])
def test_other_numbers_are_finite_and_no_larger_than_they_can_be(key: str, value: float) -> None:
    message = reply(momentum=0.5, mean_step=0.25)
    assert read_update(message, record(model()), KNOWN, ["mean-step"]).reported["mean-step"] == 0.25
    message.content["metrics"][key] = value
    with pytest.raises(ReplyError, match=rf"metric {key}: expected a number up to 1e\+30"):
        read_update(message, record(model()), KNOWN, ["mean-step"])


@pytest.mark.parametrize("missing", ["arrays", "metrics"])
def test_missing_record_is_rejected(missing: str) -> None:
    message = reply()
    del message.content[missing]
    reject(message, "expected records arrays and metrics")


def test_record_of_another_kind_is_rejected() -> None:
    message = reply()
    message.content["metrics"] = ConfigRecord({"num-examples": 40})
    reject(message, "expected records arrays and metrics")


@pytest.mark.parametrize("key", sorted(METRICS))
def test_missing_metric_is_rejected(key: str) -> None:
    message = reply()
    del message.content["metrics"][key]
    reject(message, f"metric {key}: expected a number")


@pytest.mark.parametrize("key", sorted(METRICS))
def test_list_as_metric_is_rejected(key: str) -> None:
    reject(reply(**{key: [1.0, 2.0]}), f"metric {key}: expected a number")


@pytest.mark.parametrize("count", [0, -1, KNOWN + 1, 1.5, math.nan, math.inf, 1e18, 10**18])
def test_impossible_num_examples_is_rejected(count: float) -> None:
    reject(reply(num_examples=count), r"metric num-examples: expected an integer in \[1, 50\]")


@pytest.mark.parametrize("count", [1, KNOWN, 40.0])
def test_possible_num_examples_is_read(count: float) -> None:
    assert read_update(reply(num_examples=count), record(model()), KNOWN).num_examples == count


@pytest.mark.parametrize("key", ["batch_size", "epochs", "samples"])
@pytest.mark.parametrize("value", [0, -3, 0.5, math.nan, math.inf, 1e18])
def test_impossible_count_is_rejected(key: str, value: float) -> None:
    reject(reply(**{key: value}), f"metric {key.replace('_', '-')}: expected an integer")


def test_more_samples_than_epochs_allow_are_rejected() -> None:
    assert read_update(reply(samples=2 * KNOWN), record(model()), KNOWN).samples == 100
    reject(reply(samples=2 * KNOWN + 1), "metric samples")


@pytest.mark.parametrize("keys", [["kernel"], ["kernel", "bias", "more"], ["kernel", "other"], []])
def test_other_keys_are_rejected(keys: list[str]) -> None:
    arrays = ArrayRecord({key: Array(model().get(key, np.ones(3, np.float32))) for key in keys})
    message = reply()
    message.content["arrays"] = arrays
    reject(message, "expected 2 arrays with the model's keys")


def test_other_order_of_keys_is_rejected() -> None:
    reject(reply(record(dict(reversed(model().items())))), "expected 2 arrays")


@pytest.mark.parametrize("shape", [(1,), (3, 1), (1, 3), (), (4,)])
def test_other_shape_is_rejected_even_if_it_broadcasts(shape: tuple[int, ...]) -> None:
    reject_array("bias", np.ones(shape, np.float32), r"array bias: expected float32\[3\]")


@pytest.mark.parametrize("dtype", ["float64", "int32", "float16", ">f4"])
def test_other_dtype_is_rejected(dtype: str) -> None:
    reject_array("bias", np.ones(3, dtype), r"array bias: expected float32\[3\]")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_weight_is_rejected(value: float) -> None:
    kernel = model()["kernel"]
    kernel[5, 2] = value
    reject_array("kernel", kernel, "array kernel: weights are not finite")


@pytest.mark.parametrize("change", [-1, 1])
def test_truncated_or_padded_payload_is_rejected(change: int) -> None:
    honest = Array(model()["kernel"])
    arrays = record(model())
    data = (honest.data + b"\0")[: len(honest.data) + change]
    arrays["kernel"] = Array("float32", (64, 4), honest.stype, data)
    reject(reply(arrays), f"array kernel: payload is not {len(honest.data)} bytes")


def test_unknown_serialisation_is_rejected() -> None:
    arrays = record(model())
    arrays["kernel"] = Array("float32", (64, 4), "pickle", arrays["kernel"].data)
    reject(reply(arrays), "array kernel: payload")


@pytest.mark.parametrize(
    "value",
    [np.ones((4, 64), np.float32), np.ones((64, 4), np.int32), np.ones((64, 2), np.float64)],
    ids=["shape", "dtype", "both"],
)
def test_header_that_lies_about_its_payload_is_rejected(value: np.ndarray) -> None:
    reject(with_payload(Array(value).data), "array kernel: payload")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80\x04pickle",
        b"\x93NUMPY\x09\x00",
        npy("[1]\n"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (64, 4)}\n"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-5,)}\n"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9999,)}\n"),
    ],
    ids=["zeros", "pickle", "version", "list", "object", "negative", "long"],
)
def test_unreadable_payload_is_rejected(payload: bytes) -> None:
    reject(with_payload(payload), "array kernel: payload")


def zipped() -> bytes:
    buffer = BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "payload",
    [
        b"PK\x03\x04",
        zipped(),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000000,)}\n"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1" + 40 * "0" + ",)}\n"),
    ],
    ids=["broken zip", "zip", "364 TiB", "overflow"],
)
def test_hostile_payload_is_rejected(payload: bytes) -> None:
    reject(with_payload(payload), "array kernel")


def test_applied_hyperparameters_are_compared_in_float32() -> None:
    assigned = Genome(1.2345678901e-4, 37)
    check_applied(assigned, assigned)
    check_applied(assigned, Genome(float(np.float32(assigned.learning_rate)), 37))


@pytest.mark.parametrize(
    "applied",
    [
        Genome(1e-3, 37),
        Genome(1.2345678901e-4 * (1 + 1e-6), 37),
        Genome(1.2345678901e-4, 36),
        Genome(math.nan, 37),
        Genome(0.0, 37),
    ],
)
def test_other_applied_hyperparameters_are_rejected(applied: Genome) -> None:
    with pytest.raises(ReplyError, match="applied rate .* assigned 0.000123457 and 37"):
        check_applied(Genome(1.2345678901e-4, 37), applied)


def test_momentum_is_read_where_it_is_reported() -> None:
    assert read_update(reply(momentum=0.25), record(model()), KNOWN).applied.momentum == 0.25
    reject(reply(momentum=1e300), "metric momentum")


def test_applied_momentum_is_compared_where_it_was_assigned() -> None:
    assigned = Genome(1e-3, 37, 2, 0.123456789)
    check_applied(assigned, Genome(1e-3, 37, momentum=float(np.float32(0.123456789))))
    check_applied(Genome(1e-3, 37), Genome(1e-3, 37, momentum=0.9))


@pytest.mark.parametrize("momentum", [None, 0.0, 0.1234, math.nan])
def test_another_momentum_is_rejected(momentum: float | None) -> None:
    applied = Genome(1e-3, 37, momentum=momentum)
    with pytest.raises(ReplyError, match="applied momentum .* assigned 0.123457"):
        check_applied(Genome(1e-3, 37, momentum=0.123456789), applied)


FURTHER = ("momentum", "weight_decay", "clip_norm", "label_smoothing", "dropout")


@pytest.mark.parametrize("gene", FURTHER)
def test_further_genes_are_read_where_they_are_reported(gene: str) -> None:
    found = read_update(reply(**{gene: 0.25}), record(model()), KNOWN).applied
    assert found == Genome(1e-3, 32, **{gene: 0.25})
    reject(reply(**{gene: math.nan}), f"metric {gene.replace('_', '-')}: expected a number")


@pytest.mark.parametrize("gene", FURTHER)
@pytest.mark.parametrize("value", [None, 0.0, 0.1234, math.nan])
def test_another_value_of_a_further_gene_is_rejected(gene: str, value: float | None) -> None:
    assigned = Genome(1e-3, 37, **{gene: 0.123456789})
    check_applied(assigned, Genome(1e-3, 37, **{gene: float(np.float32(0.123456789))}))
    check_applied(Genome(1e-3, 37), assigned)
    with pytest.raises(ReplyError, match=f"^applied {gene} {value}, assigned 0.123457$"):
        check_applied(assigned, Genome(1e-3, 37, **{gene: value}))


@pytest.mark.parametrize("rate", [1e-1, float(np.float32(1e-1)), 1e-6])
def test_offered_pair_is_accepted(rate: float) -> None:
    check_probe([1e-1, 1e-3, 1e-6], [16, 64], Genome(rate, 64))


@pytest.mark.parametrize(
    "kept", [Genome(1e-2, 64), Genome(1e-3, 32), Genome(math.nan, 64), Genome(1.001e-3, 64)]
)
def test_pair_that_was_not_offered_is_rejected(kept: Genome) -> None:
    with pytest.raises(ReplyError, match="kept rate .* offered"):
        check_probe([1e-1, 1e-3, 1e-6], [16, 64], kept)
