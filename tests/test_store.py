import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgen import store
from fedgen.config import Arm, Config
from fedgen.errors import InputError, RunError
from fedgen.records import ClientRow, RoundRow, read_csv, to_csv
from fedgen.store import Checkpoint, Shard, check_free, create, merge, write_atomically


def arm(strategy: str = "fedavg", seed: int = 0) -> Arm:
    return Arm(Config(), strategy, seed)


def round_row(number: int, strategy: str = "fedavg", seed: int = 0) -> RoundRow:
    return RoundRow(
        strategy, seed, number, 0.1, float("inf"), 0.3, 0.4, None, 2, 0, 0, 4, 8, 1, 1, 1 / 3
    )


def client_row(number: int, client: int, strategy: str = "fedavg", seed: int = 0) -> ClientRow:
    genes: tuple[Any, ...] = (None, 1e-4, 32, 1e-4, 32, 0.5, None, 8, "fixed", None, None, None)
    return ClientRow(strategy, seed, number, client, *genes, 'rejected: "a",\nb', 0.25)


def checkpoint(number: int) -> Checkpoint:
    draw = np.random.default_rng(number)
    return Checkpoint(
        round=number,
        weights=[
            draw.normal(size=(3, 2)).astype(np.float32),
            np.array(np.nan),
            np.zeros((0, 2), np.float16),
        ],
        state={"losses": {"3": 0.1 + 0.2, "4": float("inf")}, "clusters": [-1, 0], "é": None},
        arrays=[np.arange(number, dtype=np.int64)],
    )


def commit(shard: Shard, number: int) -> None:
    strategy, _, seed = shard.folder.name.rpartition("-seed")
    shard.commit(
        checkpoint(number),
        [round_row(number, strategy, int(seed))],
        [client_row(number, client, strategy, int(seed)) for client in (0, 7)],
    )


def assert_same(received: Checkpoint | None, expected: Checkpoint) -> None:
    assert received is not None
    assert (received.round, received.state) == (expected.round, expected.state)
    for mine, wanted in (
        (received.weights, expected.weights),
        (received.arrays, expected.arrays),
    ):
        assert [(a.dtype, a.shape, a.tobytes()) for a in mine] == [
            (a.dtype, a.shape, a.tobytes()) for a in wanted
        ]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_create_makes_the_directory_and_its_config(tmp_path: Path) -> None:
    create(tmp_path / "a" / "b", "x = 1\n")
    assert files(tmp_path) == {"a/b/config.toml": b"x = 1\n"}


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    check_free(tmp_path)
    create(tmp_path, "x = 1\n")
    assert files(tmp_path) == {"config.toml": b"x = 1\n"}


def test_check_free_creates_nothing(tmp_path: Path) -> None:
    check_free(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_used(tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine").write_text("1")
    file.write_text("2")
    for path in (full, file):
        for refuse in (check_free, lambda path: create(path, "x = 1\n")):
            with pytest.raises(InputError, match=f"--out {path}: exists and is not an empty"):
                refuse(path)
    assert files(tmp_path) == {"full/mine": b"1", "file": b"2"}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("2")
    for path in (tmp_path / "file" / "run", tmp_path / "file" / "a" / "run"):
        for refuse in (check_free, lambda path: create(path, "x = 1\n")):
            with pytest.raises(InputError, match="cannot be written"):
                refuse(path)
    assert files(tmp_path) == {"file": b"2"}


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make a directory in Linux' /proc")
def test_a_directory_that_the_system_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--out /proc/run: cannot be written"):
        create(Path("/proc/run"), "x = 1\n")


def test_a_new_shard_has_headers_and_no_checkpoint(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    assert shard.finished_round() == -1
    assert shard.open() is None
    assert files(tmp_path) == {
        "shards/fedavg-seed0/rounds.csv": to_csv([], RoundRow, header=True).encode(),
        "shards/fedavg-seed0/clients.csv": to_csv([], ClientRow, header=True).encode(),
    }


def test_what_is_committed_comes_back_exactly(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    for number in range(3):
        commit(shard, number)
        assert_same(Shard(tmp_path, arm()).open(), checkpoint(number))
        assert shard.finished_round() == number
    assert read_csv(shard.folder / "rounds.csv", RoundRow) == [round_row(n) for n in range(3)]
    assert read_csv(shard.folder / "clients.csv", ClientRow) == [
        client_row(n, client) for n in range(3) for client in (0, 7)
    ]
    assert set(files(shard.folder)) == {"rounds.csv", "clients.csv", "checkpoint.npz"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"fedavg,0,2,0.5,0.",
        b'"',
        b"\n\n",
        to_csv([round_row(2)] * 3, RoundRow, header=False).encode(),
    ],
)
def test_what_was_written_after_the_last_commit_is_cut_off(tmp_path: Path, garbage: bytes) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    commit(shard, 0)
    commit(shard, 1)
    before = files(tmp_path)
    for name in ("rounds.csv", "clients.csv"):
        with (shard.folder / name).open("ab") as stream:
            stream.write(garbage)
    assert_same(Shard(tmp_path, arm()).open(), checkpoint(1))
    assert files(tmp_path) == before


def test_rows_without_a_checkpoint_are_cut_off(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    before = files(tmp_path)
    for name in ("rounds.csv", "clients.csv"):
        (shard.folder / name).write_bytes(b"strategy,se")  # killed while the header was written
    assert Shard(tmp_path, arm()).open() is None
    assert files(tmp_path) == before


def test_going_on_after_a_kill_gives_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    for name in ("straight", "killed"):
        shard = Shard(tmp_path / name, arm())
        shard.open()
        commit(shard, 0)
        if name == "killed":  # rows of round 1 are there, its checkpoint is not
            kept = (shard.folder / "checkpoint.npz").read_bytes()
            commit(shard, 1)
            (shard.folder / "checkpoint.npz").write_bytes(kept)
            assert_same(Shard(tmp_path / name, arm()).open(), checkpoint(0))
        commit(shard, 1)
    straight, killed = files(tmp_path / "straight"), files(tmp_path / "killed")
    for name in straight:
        if name.endswith(".csv"):
            assert killed[name] == straight[name]
    assert_same(Shard(tmp_path / "killed", arm()).open(), checkpoint(1))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    shard = Shard(run, arm())
    shard.open()
    commit(shard, 1)
    return run


def damage(run: Path, content: bytes) -> Checkpoint | None:
    path = run / "shards" / "fedavg-seed0" / "checkpoint.npz"
    good = path.read_bytes()
    path.write_bytes(content)
    try:
        return Shard(run, arm()).open()
    finally:
        path.write_bytes(good)


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_altered_byte_is_harmless_or_an_input_error(
    committed: Path, share: float, change: int
) -> None:
    content = bytearray((committed / "shards/fedavg-seed0/checkpoint.npz").read_bytes())
    content[int(share * len(content))] ^= change
    try:
        assert_same(damage(committed, bytes(content)), checkpoint(1))
    except InputError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_an_input_error(committed: Path, share: float) -> None:
    content = (committed / "shards/fedavg-seed0/checkpoint.npz").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.npz: damaged"):
        damage(committed, content[: int(share * len(content))])


@pytest.mark.parametrize(
    "meta",
    [b"", b"{", b"[]", b"{}", b'{"format": 2, "round": 1, "rows": {}, "weights": 0, "arrays": 0}'],
)
def test_a_checkpoint_of_another_kind_is_an_input_error(committed: Path, meta: bytes) -> None:
    content = io.BytesIO()
    np.savez(content, meta=np.frombuffer(meta, np.uint8))
    with pytest.raises(InputError, match="damaged"):
        damage(committed, content.getvalue())


def test_a_checkpoint_with_objects_is_an_input_error(committed: Path) -> None:
    content = io.BytesIO()
    np.savez(content, meta=np.array([{"format": 1}], object))
    with pytest.raises(InputError, match="damaged"):
        damage(committed, content.getvalue())


def test_missing_rows_are_an_input_error(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    commit(shard, 0)
    (shard.folder / "rounds.csv").unlink()
    with pytest.raises(InputError, match="damaged"):
        shard.open()


def test_rows_shorter_than_the_checkpoint_knows_are_an_input_error(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    commit(shard, 0)
    with (shard.folder / "rounds.csv").open("r+b") as stream:
        stream.truncate(10)
    with pytest.raises(InputError, match="damaged"):
        shard.open()


def test_write_atomically_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"long content", b"", b"\0\xff"):
        write_atomically(path, content)
        assert files(tmp_path) == {"a.bin": content}


FAILING = """
import resource, sys
from pathlib import Path
from fedgen.errors import RunError
from fedgen.store import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(5000))
except RunError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes are limited by RLIMIT_FSIZE")
def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, "-c", FAILING, str(path)], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{path}: cannot be written (File too large, 5000 bytes)\n"
    assert path.read_bytes() == b"old"


COMMITTING = """
import resource, sys
from pathlib import Path
import numpy as np
from fedgen.config import Config
from fedgen.errors import RunError
from fedgen.config import Arm
from fedgen.store import Checkpoint, Shard
shard = Shard(Path(sys.argv[1]), Arm(Config(), "fedavg", 0))
shard.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    shard.commit(Checkpoint(1, [np.zeros(50_000)], {}, []), [], [])
except RunError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes are limited by RLIMIT_FSIZE")
def test_a_failed_commit_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm())
    shard.open()
    commit(shard, 0)
    result = subprocess.run(
        [sys.executable, "-c", COMMITTING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "checkpoint.npz: cannot be written (File too large" in result.stdout
    assert_same(shard.open(), checkpoint(0))
    assert len(read_csv(shard.folder / "rounds.csv", RoundRow)) == 1


def test_a_folder_that_is_gone_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_atomically(tmp_path / "none" / "a.bin", b"")
    with pytest.raises(RunError, match="cannot be written"):
        Shard(tmp_path, arm()).commit(checkpoint(0), [round_row(0)], [])


def test_merge_keeps_the_canonical_order(tmp_path: Path) -> None:
    arms = [arm(name, seed) for name in ("genetic-cfl", "fedavg") for seed in (3, 10)]
    for mine in reversed(arms):  # whatever order they were written in
        shard = Shard(tmp_path, mine)
        shard.open()
        for number in range(2):
            commit(shard, number)
    merge(tmp_path, arms)
    rows = read_csv(tmp_path / "rounds.csv", RoundRow)
    assert [(row.strategy, row.seed, row.round) for row in rows] == [
        (name, seed, number)
        for name in ("genetic-cfl", "fedavg")
        for seed in (3, 10)
        for number in range(2)
    ]
    clients = read_csv(tmp_path / "clients.csv", ClientRow)
    assert [(row.strategy, row.seed, row.round, row.client) for row in clients] == [
        (row.strategy, row.seed, row.round, client) for row in rows for client in (0, 7)
    ]


def test_merge_skips_arms_that_have_not_started_and_can_be_repeated(tmp_path: Path) -> None:
    shard = Shard(tmp_path, arm(seed=1))
    shard.open()
    commit(shard, 0)
    arms = [arm(seed=0), arm(seed=1)]
    merge(tmp_path, arms)
    before = files(tmp_path)
    merge(tmp_path, arms)
    assert files(tmp_path) == before
    assert read_csv(tmp_path / "rounds.csv", RoundRow) == [round_row(0, seed=1)]
    assert os.listdir(shard.folder.parent) == ["fedavg-seed1"]


def test_the_rows_of_a_shard_are_those_of_the_run() -> None:
    assert store.ROWS == {"rounds.csv": RoundRow, "clients.csv": ClientRow}
