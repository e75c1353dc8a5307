"""What clients send, coded, on real runs: what it costs and changes, and what is told of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from runs import ENGINE, comparable, finish, play, rows, start

from fedgen.comparison import flow, opening
from fedgen.config.tree import build
from fedgen.errors import InputError
from fedgen.federation.client_app import made
from fedgen.federation.flower import identify_task
from fedgen.federation.resources import Resources
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher
from strategies.messages import coding, protocol
from strategies.messages.arrays import read_arrays, write_arrays

STRATEGIES = ["fedavg", "cyclic", "genetic-cfl+probe"]
MODEL = {"name": "layers", "hidden_layers": [16], "batch_norm": True}
CODES = ("none", "zstd", "float16", "int8")
BYTES = ("bytes_down", "bytes_up")


def played(out: Path, code: str, rounds: int = 2, **sections: dict) -> Run:
    return play(
        out,
        **{
            "model": MODEL,
            "training": {"optimizer": "sgd", "local_epochs": 1, "engine": ENGINE},
            "run": {"rounds": rounds, "strategies": STRATEGIES},
            "messages": {"compression": code},
            **sections,
        },
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    here = tmp_path_factory.mktemp("coded")
    return {code: played(here / code, code) for code in CODES}


def without_bytes(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = comparable(run.path)
    for row in found["rounds.csv"]:
        for key in BYTES:
            del row[key]
    return found


def test_a_lossless_code_changes_the_bytes_and_nothing_else(runs: dict[str, Run]) -> None:
    assert without_bytes(runs["zstd"]) == without_bytes(runs["none"])


def test_every_reply_is_used_and_each_code_is_shorter_than_the_one_before(
    runs: dict[str, Run],
) -> None:
    up: dict[str, dict[str, int]] = {}
    for code, run in runs.items():
        played = rows(run.path / "rounds.csv")
        assert {(row["rejected"], row["failed"]) for row in played} == {("0", "0")}
        up[code] = dict.fromkeys(STRATEGIES, 0)
        for row in played:
            up[code][row["strategy"]] += int(row["bytes_up"])
    for longer, shorter in zip(CODES, CODES[1:], strict=False):
        for name in STRATEGIES:
            assert up[shorter][name] < up[longer][name], (shorter, name)


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize(("code", "share"), [("float16", 0.01), ("int8", 0.2)])
def test_lossy_codes_come_near(runs: dict[str, Run], code: str, share: float) -> None:
    """The way from the initial weights, of FedAvg: off by a share of it, and not by nothing."""

    def ends(run: Run) -> np.ndarray:
        path = run.path / "shards" / "fedavg-seed0" / "checkpoint-000002.npz"
        with np.load(path, allow_pickle=False) as bundle:
            return flat([bundle[key] for key in bundle.files])

    whole, coded = ends(runs["none"]), ends(runs[code])
    first = flat(Resources(runs["none"].config).model(0).get_weights())
    off = np.linalg.norm(coded - whole) / np.linalg.norm(whole - first)
    assert 0 < off < share


def test_what_is_lossy_is_told_and_versions_that_count_bytes_are_kept(
    runs: dict[str, Run],
) -> None:
    for code, run in runs.items():
        summary = (run.path / "summary.json").read_text()
        told = f"rounded to {code} (messages.compression)" in summary
        assert told == (code in ("float16", "int8"))
        assert ("zstandard" in run.provenance) == (code != "none")
        page = (run.path / "report.html").read_text()
        assert (f"rounded to {code} (messages.compression)" in page) == told


def test_a_resumed_run_comes_to_the_same_bytes_and_takes_no_other_code(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    short = played(tmp_path / "run", "int8", rounds=1)
    config = short.path / "config.toml"
    before = config.read_text()
    config.write_text(before.replace('compression = "int8"', 'compression = "zstd"'))
    told = r"messages\.compression was 'int8' and is 'zstd'"
    with pytest.raises(InputError, match=told), opening.resumed(short.path, rounds=2):
        pass
    config.write_text(before)
    with opening.resumed(short.path, rounds=2) as (run, held):
        flow.play(run, held, Watcher())
    assert comparable(short.path) == comparable(runs["int8"].path)


@pytest.mark.parametrize("value", ["gzip", "INT8", "", "int4"])
def test_another_code_is_refused_in_one_line(value: str, tmp_path: Path) -> None:
    code, _, err = finish(start(["compare", f"--set=messages.compression={value}"], tmp_path))
    assert code == 2 and len(err.splitlines()) == 1
    assert "messages.compression: " in err and "'none', 'zstd', 'float16' or 'int8'" in err


def replies(held: Resources, code: str) -> tuple[RecordDict, RecordDict]:
    """A training message, and a client's reply to it as the app sends it."""
    identify_task()
    config = {
        **{protocol.SEED: 0, protocol.SERVER_ROUND: 1, protocol.FITNESS: "validation"},
        **{protocol.LEARNING_RATE: 0.05, protocol.BATCH_SIZE: 32, protocol.LOCAL_EPOCHS: 1},
        **{protocol.NOISE: "fedavg", **coding.asked(code, held.engine(0).statistics)},
    }
    weights = [np.asarray(array) for array in held.model(0).get_weights()]
    content = {protocol.ARRAYS: write_arrays(weights), protocol.CONFIG: ConfigRecord(config)}
    message = Message(RecordDict(content), dst_node_id=1, message_type="train")
    context = Context(0, 1, {protocol.PARTITION_ID: 0}, RecordDict(), {})
    return message.content, made(lambda _: held)(message, context).content


def test_local_noise_is_added_before_an_update_is_rounded() -> None:
    """The rounded update is that of the noisy one, and has the noise's own scale."""
    training = {"optimizer": "sgd", "local_epochs": 1, "engine": ENGINE}
    tree = {"data": {"dataset": "digits"}, "model": MODEL, "training": training}
    held = Resources(build({**tree, "privacy": {"kind": "local"}}), slots=1)
    message, plain = replies(held, "none")
    asked, coded = replies(held, "int8")
    sent, noisy, found = (
        read_arrays(content.array_records[protocol.ARRAYS])
        for content in (message, plain, coding.decompress(coded, asked))
    )
    statistics = held.engine(0).statistics
    assert statistics
    for position, (begin, one, other) in enumerate(zip(sent, noisy, found, strict=True)):
        if position in statistics:
            assert one.tobytes() == other.tobytes()
            continue
        largest = np.abs(one - begin).max()
        assert largest > 1, "noise of a standard deviation of 1"
        assert 0 < np.abs(other - one).max() <= largest / 127 * 1.001
        kept = coded.array_records[protocol.ARRAYS][str(position)]
        assert np.frombuffer(kept.data, "<f8", 1)[0] == pytest.approx(largest / 127, rel=1e-6)
