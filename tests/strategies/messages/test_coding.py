"""Replies coded and decoded: what is lossy, against what, and whatever else a client may send."""

import math
from typing import Any

import numpy as np
import pytest
import toy
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedgen.federation.flower import identify_task
from strategies.core.outcomes import OK
from strategies.core.privacy import Privacy, noisy_mean
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import read_arrays, record_bytes
from strategies.messages.coding import asked, compress, decompress
from strategies.messages.compression import encode
from strategies.messages.replies import ReplyError
from strategies.streams import rng

CODES = ("zstd", "float16", "int8")
CLIENTS = 12
SENT = {
    "kernel": np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3),
    "variance": np.full(5, 1e-6, np.float32),
    "seen": np.array(2**40 + 1, np.int64),
    "nothing": np.zeros((0, 2), np.float32),
}
(VARIANCE,) = (position for position, name in enumerate(SENT) if name == "variance")


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def message(code: str, **records: ArrayRecord) -> Message:
    identify_task()
    config = {protocol.SEED: 7, protocol.SERVER_ROUND: 2, **asked(code, {VARIANCE: "variance"})}
    content = {protocol.ARRAYS: record(SENT), protocol.CONFIG: ConfigRecord(config), **records}
    return Message(RecordDict(content), dst_node_id=1, message_type="train")


def trained() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5)
    return {
        "kernel": SENT["kernel"] + draw.normal(size=(20, 3)).astype(np.float32) / 100,
        "variance": np.abs(draw.normal(size=5)).astype(np.float32),
        "seen": np.array(2**40 + 12_345, np.int64),
        "nothing": np.zeros((0, 2), np.float32),
    }


def coded(to: Message, arrays: dict[str, np.ndarray], client: int = 3, **more: Any) -> Message:
    """What passes the mod, of a client that answers this."""
    metrics = MetricRecord(more.pop("metrics", {"num-examples": 1}))
    content = RecordDict({protocol.ARRAYS: record(arrays), protocol.METRICS: metrics, **more})
    context = Context(0, 1, {protocol.PARTITION_ID: client}, RecordDict(), {})
    return compress(to, context, lambda *_: Message(content, reply_to=to))


def arrays_of(content: RecordDict, name: str = protocol.ARRAYS) -> dict[str, np.ndarray]:
    found = content.array_records[name]
    return dict(zip(found, read_arrays(found), strict=True))


@pytest.mark.parametrize("code", CODES)
def test_weights_are_rounded_and_nothing_else(code: str) -> None:
    to = message(code)
    reply = coded(to, trained())
    assert {array.stype for array in reply.content[protocol.ARRAYS].values()} <= {code, "zstd"}
    found = arrays_of(decompress(reply.content, to.content))
    assert list(found) == list(SENT)
    for name, array in trained().items():
        same = found[name].tobytes() == array.tobytes()
        assert same == (code == "zstd" or name != "kernel"), name
    np.testing.assert_allclose(found["kernel"], trained()["kernel"], atol=0.03 / 127)


@pytest.mark.parametrize("code", CODES)
def test_the_payloads_that_are_decoded_are_those_that_were_not_coded(code: str) -> None:
    """To the byte: what checks replies holds headers against those that were sent."""
    to = message(code)
    plain = decompress(coded(to, SENT).content, to.content)
    for name, array in to.content.array_records[protocol.ARRAYS].items():
        assert plain.array_records[protocol.ARRAYS][name] == array


def test_positions_of_statistics_travel_only_where_they_matter() -> None:
    assert asked("none", {4: "mean"}) == {}
    assert asked("zstd", {4: "mean"}) == {"compression": "zstd"}
    assert asked("int8", {}) == {"compression": "int8"}
    assert asked("int8", {4: "mean", 2: "variance"}) == {"compression": "int8", "exact": [2, 4]}


def test_a_message_that_asks_for_nothing_gets_the_reply_itself() -> None:
    to = message("none")
    reply = coded(to, trained())
    plain = Message(RecordDict({"arrays": record(trained())}), reply_to=to)
    assert reply.content["arrays"] == plain.content["arrays"]
    assert decompress(reply.content, to.content) is reply.content


@pytest.mark.parametrize("code", CODES)
def test_weights_answer_the_model_that_was_picked(code: str) -> None:
    """A millionth of what is far away would be lost, were it held against the first model."""
    far = {**SENT, "kernel": SENT["kernel"] + 1e6}
    to = message(code, **{"model-1": record(far)})
    mine = {**far, "kernel": (far["kernel"] + 1).astype(np.float32)}
    reply = coded(to, mine, metrics={"model": 1})
    found = arrays_of(decompress(reply.content, to.content))
    np.testing.assert_allclose(found["kernel"], mine["kernel"], atol=0.1)
    reply = coded(to, trained(), metrics={"model": 0})
    found = arrays_of(decompress(reply.content, to.content))
    np.testing.assert_allclose(found["kernel"], trained()["kernel"], atol=0.03 / 127)


@pytest.mark.parametrize("model", [2, -1, 0.5, math.nan, [1, 2], 10**15])
def test_a_model_that_was_not_sent_was_not_picked(model: Any) -> None:
    to = message("int8")
    reply = coded(to, trained(), metrics={"model": model})
    decompress(reply.content, to.content)


@pytest.mark.parametrize("code", CODES)
def test_records_beside_the_weights_lose_nothing(code: str) -> None:
    zeros = {name: np.zeros_like(array) for name, array in SENT.items()}
    to = message(code, **{protocol.SECOND_MOMENTS: record(zeros)})
    moments = record(trained())
    reply = coded(to, trained(), **{protocol.SECOND_MOMENTS: moments, "unasked": moments})
    assert {array.stype for array in reply.content[protocol.SECOND_MOMENTS].values()} == {"zstd"}
    assert reply.content["unasked"] == moments
    plain = decompress(reply.content, to.content)
    assert plain[protocol.SECOND_MOMENTS] == moments


def test_rounding_is_of_the_seed_the_round_and_the_client() -> None:
    to = message("int8")
    one, again, other = (coded(to, trained(), client).content for client in (3, 3, 4))
    kernel = one[protocol.ARRAYS]["kernel"].data
    assert kernel == again[protocol.ARRAYS]["kernel"].data
    assert kernel != other[protocol.ARRAYS]["kernel"].data
    draw = rng(7, "rounding", 2, 3)
    assert kernel == encode(trained()["kernel"], SENT["kernel"], "int8", draw)


def spoiled(reply: Message, name: str = "kernel", **changed: Any) -> RecordDict:
    """A coded reply, one array of which says something else."""
    arrays = reply.content.array_records[protocol.ARRAYS]
    mine = arrays[name]
    said = {"dtype": mine.dtype, "shape": mine.shape, "stype": mine.stype, "data": mine.data}
    made = {**arrays, name: Array(**{**said, **changed})}
    return RecordDict({**reply.content, protocol.ARRAYS: ArrayRecord(made)})


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("stype", ["numpy.ndarray", "pickle", "", "none", "gzip"])
def test_another_code_is_refused(code: str, stype: str) -> None:
    to = message(code)
    hostile = spoiled(coded(to, trained()), stype=stype)
    with pytest.raises(ReplyError, match=f"^array kernel: expected code {code}, received '{stype}"):
        decompress(hostile, to.content)


def test_a_lossy_code_is_refused_where_nothing_may_be_lost() -> None:
    to = message("int8")
    hostile = spoiled(coded(to, trained()), "variance", stype="int8")
    with pytest.raises(ReplyError, match="^array variance: expected code zstd, received 'int8'$"):
        decompress(hostile, to.content)
    zeros = {name: np.zeros_like(array) for name, array in SENT.items()}
    to = message("int8", more=record(zeros))
    reply = coded(to, trained(), more=record(trained()))
    reply.content["more"]["kernel"].stype = "int8"
    with pytest.raises(ReplyError, match="^record more: array kernel: expected code zstd"):
        decompress(reply.content, to.content)


@pytest.mark.parametrize("code", CODES)
def test_bytes_that_are_no_array_are_refused_with_its_name(code: str) -> None:
    to = message(code)
    hostile = spoiled(coded(to, trained()), data=b"\x80\x04pickle" * 5)
    with pytest.raises(ReplyError, match="^array kernel: (payload is not|expected a scale)"):
        decompress(hostile, to.content)


@pytest.mark.parametrize("changed", [{"shape": (60,)}, {"dtype": "float64"}, {"shape": (2**60,)}])
def test_other_shapes_and_types_are_left_to_who_refuses_them(changed: dict[str, Any]) -> None:
    to = message("int8")
    plain = decompress(spoiled(coded(to, trained()), **changed), to.content)
    received = plain[protocol.ARRAYS]["kernel"]
    assert (received.shape, received.dtype) == (
        changed.get("shape", (20, 3)),
        changed.get("dtype", "float32"),
    )


STYPES = st.sampled_from([*CODES, "numpy.ndarray"]) | st.text(max_size=5)


@pytest.mark.fuzz
@given(
    st.sampled_from(CODES),
    st.dictionaries(st.sampled_from(["kernel", "variance", "seen", "x"]), STYPES, min_size=1),
    st.binary(max_size=60),
    st.sampled_from(["float32", "int64", "object", "", "zstd"]),
    st.lists(st.integers(0, 2**40), max_size=3).map(tuple) | st.just((20, 3)) | st.just((5,)),
    st.integers() | st.floats() | st.lists(st.integers(0, 9)),
)
def test_any_reply_is_decoded_or_refused(
    code: str, stypes: dict, data: bytes, dtype: str, shape: tuple, model: Any
) -> None:
    arrays = ArrayRecord({name: Array(dtype, shape, stype, data) for name, stype in stypes.items()})
    metrics = MetricRecord({"model": model} if not isinstance(model, int) or model < 2**62 else {})
    try:
        decompress(RecordDict({"arrays": arrays, "metrics": metrics}), message(code).content)
    except ReplyError as error:
        assert len(str(error).splitlines()) == 1


def everybody(code: str, **settings: Any) -> FedAvg:
    return FedAvg(seed=4, clients=CLIENTS, fraction=1.0, compression=code, **settings)


def played(code: str, **settings: Any) -> tuple[FedAvg, list[bytes]]:
    strategy = everybody(code, **settings)
    with toy.toy_grid(CLIENTS) as grid:
        arrays = toy.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
    assert {o.status for o in strategy.outcome.clients} == {OK}
    return strategy, toy.as_bytes(arrays)


def test_a_strategy_comes_to_the_same_by_a_lossless_code_and_counts_what_was_sent() -> None:
    plain, coded = played("none"), played("zstd")
    assert plain[1] == coded[1]
    assert coded[0].outcome.bytes_up < plain[0].outcome.bytes_up


@pytest.mark.parametrize("code", CODES)
def test_bytes_up_are_those_of_the_coded_replies(code: str) -> None:
    strategy = everybody(code)
    with toy.toy_grid(CLIENTS) as grid:
        messages = list(strategy.configure_train(1, toy.start(), ConfigRecord(), grid))
        replies = list(grid.send_and_receive(messages))
        expected = record_bytes(replies)
        strategy.aggregate_train(1, replies)
    assert strategy.outcome.bytes_up == expected


def test_central_privacy_clips_what_was_decoded() -> None:
    """A rounded update may be longer than it was: it is cut to the norm all the same."""
    privacy = Privacy("central", clip_norm=0.01, noise_multiplier=0.0)
    strategy = everybody("int8", privacy=privacy)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    start = toy.start().to_numpy_ndarrays()
    updates = [update.arrays for update in strategy.outcome.updates]
    due = noisy_mean(updates, start, privacy, {}, rng(0, "none"))
    assert toy.as_bytes(arrays) == [array.tobytes() for array in due]
    steps = [a - b for a, b in zip(arrays.to_numpy_ndarrays(), start, strict=True)]
    assert math.sqrt(sum(float((s.astype(float) ** 2).sum()) for s in steps)) <= 0.01 * (1 + 1e-5)
