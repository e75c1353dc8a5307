"""What comes from outside is read, or refused in one line: never an exception of another kind.

100 examples each in `make test`, 10,000 in `make soak`.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mutations import mutations, one_line
from shards import arm, assert_same, checkpoint, new_shard, reopen

from fedgen.config.sections import Faults
from fedgen.config.toml import parse_setting, read_toml
from fedgen.config.tree import build, dump
from fedgen.data.datasets import read
from fedgen.errors import InputError, RunError
from fedgen.federation.flower import identify_task
from fedgen.files.csv import parse_csv, to_csv
from fedgen.runs import checkpoints
from fedgen.runs.rows import ClientRow, RoundRow
from fedgen.runs.shard import Shard
from strategies.messages.replies import ReplyError, read_peer, read_update

pytestmark = pytest.mark.fuzz
identify_task()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["krum", "central", "cnn", "digits", "genetic-cfl", "probe", "1e-4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SETTINGS = [(s, k) for s, part in dump(build({})).items() for k in part]


@given(
    st.lists(st.tuples(st.sampled_from(SETTINGS), VALUES), max_size=6),
    st.dictionaries(st.text(), VALUES, max_size=2),
)
def test_any_tree_of_settings(pairs: list[tuple[tuple[str, str], Any]], more: dict) -> None:
    tree: dict[str, Any] = dict(more)
    for (section, key), value in pairs:
        part = tree.setdefault(section, {})
        if isinstance(part, dict):
            part[key] = value
    try:
        config = build(tree)
    except InputError as error:
        one_line(error)
    else:
        assert build(dump(config)) == config


EXAMPLE = (Path(__file__).parents[1] / "experiments" / "digits.toml").read_bytes()


@given(mutations(EXAMPLE) | st.binary(max_size=200))
@example(b"a = " + b"[" * 2000)
@example(b"a = " + b"9" * 5000)
def test_any_config_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    try:
        build(read_toml(path), str(path))
    except InputError as error:
        one_line(error)


@given(st.text())
@example("a.b=" + "[" * 2000)
@example("a.b=" + "9" * 5000)
def test_any_setting_on_the_command_line(text: str) -> None:
    try:
        section, key, _ = parse_setting(text)
        assert section and key
    except InputError as error:
        one_line(error)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


DIGITS = npz(
    x_train=np.zeros((6, 4, 4), np.uint8),
    y_train=np.arange(6) % 3,
    x_test=np.zeros((3, 4, 4), np.uint8),
    y_test=np.arange(3),
)


def headers() -> st.SearchStrategy[bytes]:
    """Array files whose header says anything."""
    description = st.fixed_dictionaries(
        {
            "descr": st.sampled_from(["<f4", "|u1", "|O", "<U3", "V8", "", "<f999"]) | VALUES,
            "fortran_order": st.booleans() | VALUES,
            "shape": st.lists(st.integers(-2, 2**70), max_size=4).map(tuple) | VALUES,
        }
    ).map(lambda header: repr(header).encode())

    def write(header: bytes, payload: bytes, version: bytes) -> bytes:
        length = len(header).to_bytes(4 if version == b"\x02\x00" else 2, "little")
        return b"\x93NUMPY" + version + length + header + payload

    return st.builds(
        write,
        description | st.binary(max_size=80),
        st.binary(max_size=64),
        st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]),
    )


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Zip files whose members may be anything."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from([0, zipfile.ZIP_DEFLATED]))) as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", draw(headers()))
    return stream.getvalue()


@given(mutations(DIGITS) | archives() | st.binary(max_size=100))
def test_any_data_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    path.write_bytes(content)
    try:
        dataset = read(path, "fuzz")
    except InputError as error:
        one_line(error)
        assert str(path) in str(error)
    else:
        assert len(dataset.x_train) == len(dataset.y_train)


@given(
    npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0, max_dims=4, max_side=4)),
    npst.arrays(npst.integer_dtypes(), npst.array_shapes(min_dims=0, max_dims=2, max_side=4)),
)
def test_any_arrays_in_a_data_file(
    tmp_path_factory: pytest.TempPathFactory, images: np.ndarray, labels: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-arrays.npz"
    path.write_bytes(npz(x_train=images, y_train=labels, x_test=images, y_test=labels))
    try:
        read(path, "fuzz")
    except InputError as error:
        one_line(error)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints of rounds 1 and 2."""
    run = tmp_path_factory.mktemp("fuzz") / "run"
    new_shard(run, 3)
    return run


NAMES = ("checkpoint-000002.json", "checkpoint-000002.npz", "rounds.csv", "clients.csv")


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_any_checkpoint(shard: Path, data: st.DataObject, name: str) -> None:
    """The latest checkpoint, or the one before it, or an error: never other contents."""
    folder = shard / "shards" / "fedavg-seed0"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    content = before[folder / name]
    (folder / name).write_bytes(data.draw(mutations(content) | st.binary(max_size=80)))
    warnings: list[str] = []
    try:
        _, received = reopen(shard, warnings.append)
        assert received is not None and received.round in (1, 2)
        assert_same(received, checkpoint(received.round))
        assert bool(warnings) == (received.round == 1)
    except InputError as error:
        one_line(error)
    finally:
        for path, kept in before.items():
            path.write_bytes(kept)


CLAIMS = st.sampled_from(
    [None, -1, 0, 1, 3, 2**31, 2**70, 10**9, 1.5, "3", "", [], {}, {"size": "9"}, True]
) | st.dictionaries(st.sampled_from(["size", "sha256", "rounds.csv", "x"]), VALUES, max_size=3)


@given(
    st.dictionaries(
        st.sampled_from(["round", "weights", "arrays", "content", "rows", "made_with", "state"]),
        CLAIMS,
        min_size=1,
        max_size=3,
    )
)
def test_any_claim_of_a_manifest_whose_sum_is_right(shard: Path, claims: dict[str, Any]) -> None:
    """What somebody writes who knows the layout; the contents may be theirs, but nothing breaks."""
    path = shard / "shards" / "fedavg-seed0" / "checkpoint-000002.json"
    kept = {other: other.read_bytes() for other in path.parent.iterdir()}
    body = json.loads(kept[path]) | claims
    del body["sha256"]
    sign = hashlib.sha256(checkpoints._dump(body)).hexdigest()
    path.write_bytes(checkpoints._dump(body | {"sha256": sign}))
    try:
        Shard(shard, arm()).rows("rounds.csv")
    except InputError as error:
        one_line(error)
    try:
        reopen(shard, lambda text: None)
    except (InputError, RunError) as error:
        assert "\n" not in error.line
    finally:
        for other, content in kept.items():
            other.write_bytes(content)


ROWS = to_csv([RoundRow("a", 0, 1, *[0.5] * 5, *[1] * 7, 1.0)] * 3, RoundRow, header=True).encode()


@given(mutations(ROWS) | st.binary(max_size=100), st.sampled_from([RoundRow, ClientRow]))
def test_any_rows(content: bytes, kind: type) -> None:
    try:
        rows = parse_csv(content, Path("rows.csv"), kind)
    except InputError as error:
        one_line(error)
    else:
        assert all(isinstance(row, kind) for row in rows)


REFERENCE = ArrayRecord([np.zeros((2, 3), np.float32), np.zeros(4, np.float32)])
GOOD = {
    **{"num-examples": 9, "learning-rate": 0.1, "batch-size": 4, "fitness": 0.5},
    **{"train-loss": 0.5, "epochs": 2, "samples": 18, "seconds": 0.1},
}
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats()


def anything_like_an_array() -> st.SearchStrategy[Array]:
    good = Array(np.zeros((2, 3), np.float32))
    dtypes = st.sampled_from(["float32", "float64", "object", "U8", "", "|O", "complex64"])
    shapes = st.lists(st.integers(-(2**31), 2**31), max_size=3)
    return st.builds(
        lambda dtype, shape, stype, data: Array(
            dtype=dtype, shape=tuple(shape), stype=stype, data=data
        ),
        st.just("float32") | dtypes,
        st.just([2, 3]) | shapes,
        st.just(good.stype) | st.text(max_size=5),
        mutations(good.data) | st.binary(max_size=50),
    ) | npst.arrays(npst.floating_dtypes(), npst.array_shapes(max_dims=2, max_side=3)).map(Array)


@given(
    metrics=st.dictionaries(st.sampled_from(sorted(GOOD)), NUMBERS, max_size=4),
    missing=st.sets(st.sampled_from(sorted(GOOD)), max_size=2),
    arrays=st.dictionaries(
        st.sampled_from(["0", "1", "2", ""]), anything_like_an_array(), max_size=3
    ),
    use_good=st.booleans(),
)
def test_any_reply(metrics: dict, missing: set, arrays: dict, use_good: bool) -> None:
    """A reply is refused with a reason, or all that it holds is finite and of the right form."""
    claimed = {key: value for key, value in (GOOD | metrics).items() if key not in missing}
    sent = dict(REFERENCE) | ({} if use_good else arrays)
    content = {"arrays": ArrayRecord(sent), "metrics": MetricRecord(claimed)}
    query = Message(RecordDict(), 1, "train")
    query.metadata.__dict__["_message_id"] = "q"
    reply = Message(RecordDict(content), reply_to=query)
    try:
        update = read_update(reply, REFERENCE, 10)
    except ReplyError as error:
        assert str(error)
    else:
        assert 1 <= update.num_examples <= 10 and update.samples <= 10 * update.epochs
        assert [a.shape for a in update.arrays] == [(2, 3), (4,)]
        assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in update.arrays)


@given(
    metrics=st.dictionaries(
        st.sampled_from(["partition-id", "num-examples", "x"]),
        NUMBERS | st.lists(st.integers(-9, 9), max_size=2),
    ),
    data=st.dictionaries(
        st.sampled_from(["fingerprint", "y"]), st.text() | st.binary() | st.integers(-9, 9)
    ),
    whole=st.booleans(),
)
def test_any_answer_to_the_first_query(metrics: dict, data: dict, whole: bool) -> None:
    content = {"metrics": MetricRecord(metrics)} | ({"data": ConfigRecord(data)} if whole else {})
    query = Message(RecordDict(), 1, "query")
    query.metadata.__dict__["_message_id"] = "q"
    reply = Message(RecordDict(content), reply_to=query)
    try:
        partition, examples = read_peer(reply, 5, "abc")
    except ReplyError as error:
        assert str(error)
    else:
        assert 0 <= partition < 5 and examples >= 1 and data["fingerprint"] == "abc"


@given(st.dictionaries(st.sampled_from(sorted(Faults.model_fields)), VALUES, max_size=4))
def test_any_faults(values: dict) -> None:
    try:
        config = build({"faults": values, "training": {"deadline": 1.0}})
        assert json.dumps(dump(config))
    except InputError as error:
        one_line(error)
