import hashlib
import os
import sys
from pathlib import Path

import pytest
from shards import (
    MADE_WITH,
    arm,
    assert_same,
    checkpoint,
    client_row,
    commit,
    files,
    new_shard,
    reopen,
    round_row,
    silent,
)

from fedgen.config.tree import Arm
from fedgen.errors import InputError
from fedgen.files.csv import read_csv, to_csv
from fedgen.runs import checkpoints
from fedgen.runs.checkpoints import Extent
from fedgen.runs.directory import check_free, claim, create
from fedgen.runs.rows import ClientRow, RoundRow
from fedgen.runs.shard import ROWS, Shard
from fedgen.runs.store import merge, read_rows

METRICS = [
    f"{split}_{name}"
    for split in ("test", "validation")
    for name in ("balanced_accuracy", "macro_f1", "top5_accuracy", "auc", "ece")
]


def make(path: Path) -> None:
    with claim(path, new=True):
        create(path, "x = 1\n")


def test_a_new_run_has_a_directory_and_its_config(tmp_path: Path) -> None:
    make(tmp_path / "a" / "b")
    assert files(tmp_path) == {"a/b/config.toml": b"x = 1\n"}


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    check_free(tmp_path)
    make(tmp_path)
    assert files(tmp_path) == {"config.toml": b"x = 1\n"}


def test_what_a_kill_at_the_start_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / ".config.toml.tmp").write_text("x =")
    make(tmp_path)
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
        for refuse in (check_free, make):
            with pytest.raises(InputError, match=f"--out {path}: exists and is not an empty"):
                refuse(path)
    assert files(tmp_path) == {"full/mine": b"1", "file": b"2"}


def test_a_run_made_in_between_is_not_overwritten(tmp_path: Path) -> None:
    with claim(tmp_path, new=True):
        (tmp_path / "config.toml").write_text("mine")
        with pytest.raises(InputError, match="exists and is not an empty"):
            create(tmp_path, "x = 1\n")
    assert files(tmp_path) == {"config.toml": b"mine"}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("2")
    for path in (tmp_path / "file" / "run", tmp_path / "file" / "a" / "run"):
        for refuse in (check_free, make):
            with pytest.raises(InputError, match="cannot be written"):
                refuse(path)
    assert files(tmp_path) == {"file": b"2"}


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make a directory in Linux' /proc")
def test_a_directory_that_the_system_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--out /proc/run: cannot be written"):
        make(Path("/proc/run"))


def test_a_run_has_one_parent_and_a_shard_one_owner(tmp_path: Path) -> None:
    make(tmp_path / "run")
    shard, same = Shard(tmp_path / "run", arm()), Shard(tmp_path / "run", arm())
    for first, second in (
        (claim(tmp_path / "run", new=False), claim(tmp_path / "run", new=False)),
        (shard.owned(), same.owned()),
    ):
        with first:
            with pytest.raises(InputError, match=f"process {os.getpid()} is working on it"):
                second.__enter__()


def test_a_new_shard_has_headers_and_no_checkpoint(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 0)
    assert (shard.finished_round, shard.opened_round) == (-1, -1)
    assert files(tmp_path) == {
        "shards/fedavg-seed0/rounds.csv": to_csv(
            [], RoundRow, header=True, measured=METRICS
        ).encode(),
        "shards/fedavg-seed0/clients.csv": to_csv([], ClientRow, header=True).encode(),
    }


def test_what_is_committed_comes_back_exactly(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 0)
    for number in range(4):
        commit(shard, number)
        assert_same(reopen(tmp_path)[1], checkpoint(number))
        assert shard.finished_round == shard.opened_round == number
    assert read_csv(shard.folder / "rounds.csv", RoundRow) == [round_row(n) for n in range(4)]
    assert read_csv(shard.folder / "clients.csv", ClientRow) == [
        client_row(n, client) for n in range(4) for client in (0, 7)
    ]


def test_the_two_latest_checkpoints_are_kept(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 4)
    assert set(files(shard.folder)) == {
        "rounds.csv",
        "clients.csv",
        *(f"checkpoint-{n:06}.{kind}" for n in (2, 3) for kind in ("npz", "json")),
    }


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
    shard = new_shard(tmp_path, 2)
    before = files(tmp_path)
    for name in ("rounds.csv", "clients.csv"):
        with (shard.folder / name).open("ab") as stream:
            stream.write(garbage)
    assert shard.rows("rounds.csv") == [round_row(0), round_row(1)]
    assert_same(reopen(tmp_path)[1], checkpoint(1))
    assert files(tmp_path) == before


def test_rows_without_a_checkpoint_are_cut_off(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 0)
    before = files(tmp_path)
    for name in ("rounds.csv", "clients.csv"):
        (shard.folder / name).write_bytes(b"strategy,se")  # killed while the header was written
    assert reopen(tmp_path)[1] is None
    assert files(tmp_path) == before


def test_rows_of_finished_rounds_are_not_cut_off_because_checkpoints_are_gone(
    tmp_path: Path,
) -> None:
    shard = new_shard(tmp_path, 3)
    for path in shard.folder.glob("checkpoint-*"):
        path.unlink()
    before = files(tmp_path)
    with pytest.raises(InputError, match="none is there, but rows of finished rounds are"):
        reopen(tmp_path)
    assert files(tmp_path) == before


def test_merge_keeps_the_canonical_order(tmp_path: Path) -> None:
    arms = [arm(name, seed) for name in ("genetic-cfl", "fedavg") for seed in (3, 10)]
    for mine in reversed(arms):  # whatever order they were written in
        new_shard(tmp_path, 2, mine)
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
    shard = new_shard(tmp_path, 1, arm(seed=1))
    arms = [arm(seed=0), arm(seed=1)]
    merge(tmp_path, arms)
    before = files(tmp_path)
    merge(tmp_path, arms)
    assert files(tmp_path) == before
    assert read_csv(tmp_path / "rounds.csv", RoundRow) == [round_row(0, seed=1)]
    assert os.listdir(shard.folder.parent) == ["fedavg-seed1"]


def test_shards_with_the_old_spelling_of_infinity_go_on_and_are_merged_in_the_new_one(
    tmp_path: Path,
) -> None:
    new_shard(tmp_path / "new", 3)
    old = new_shard(tmp_path / "old", 2)
    path = old.folder / "rounds.csv"
    before = path.read_bytes().replace(b"1e999", b"inf")
    assert before.count(b",inf,") == 2
    path.write_bytes(before)
    manifest = checkpoints.read_manifest(old.folder, 1)
    content = checkpoints.read(old.folder, manifest)
    sums = {
        name: Extent(len(found), hashlib.sha256(found).hexdigest())
        for name in ROWS
        if (found := (old.folder / name).read_bytes())
    }
    checkpoints.write(old.folder, content, sums, MADE_WITH)
    shard = Shard(tmp_path / "old", arm())
    with shard.owned():
        shard.open(silent)
        assert shard.opened_round == 1
        commit(shard, 2)
    assert path.read_bytes().startswith(before), "what was committed stays as it was"
    for name in ("new", "old"):
        merge(tmp_path / name, [arm()])
    for name in ROWS:
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
    assert (tmp_path / "old" / "rounds.csv").read_text().count(",1e999,") == 3


def test_rows_of_a_run_without_its_shards_are_those_of_its_csv_files(tmp_path: Path) -> None:
    arms: list[Arm] = [arm()]
    new_shard(tmp_path / "run", 2)
    merge(tmp_path / "run", arms)
    whole = read_rows(tmp_path / "run", arms)
    for path in (tmp_path / "run" / "shards").glob("*/*.json"):  # as in an older layout
        path.unlink()
    assert read_rows(tmp_path / "run", arms) == whole
    (tmp_path / "run" / "shards").rename(tmp_path / "elsewhere")
    assert read_rows(tmp_path / "run", arms) == whole
    assert len(whole["rounds.csv"]) == 2


def test_a_run_without_a_finished_round_has_no_rows(tmp_path: Path) -> None:
    new_shard(tmp_path, 0)
    assert read_rows(tmp_path, [arm()]) == {"rounds.csv": [], "clients.csv": []}


def test_altered_rows_are_not_read(tmp_path: Path) -> None:
    shard = new_shard(tmp_path, 2)
    path = shard.folder / "rounds.csv"
    path.write_bytes(path.read_bytes().replace(b"fedavg", b"fedprx", 1))
    with pytest.raises(InputError, match=r"rounds\.csv: its bytes are not those"):
        shard.rows("rounds.csv")


def test_the_rows_of_a_shard_are_those_of_the_run() -> None:
    assert ROWS == {"rounds.csv": RoundRow, "clients.csv": ClientRow}
