"""Every step of a commit fails or crashes once; the last checkpoint survives all of it."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from failpoints import Crash, failing
from shards import (
    MADE_WITH,
    arm,
    assert_same,
    checkpoint,
    commit,
    files,
    new_shard,
    reopen,
    round_row,
)

from fedgen.errors import InputError, RunError
from fedgen.files import disk
from fedgen.runs.checkpoints import Checkpoint
from fedgen.runs.shard import Shard


def steps_of_a_commit() -> list[str]:
    """What a commit asks of the system, in order: kept here so that a new step is noticed."""
    row = ["open", "write", "fsync"]
    whole = ["open", "write", "fsync", "replace", "open", "fsync"]
    return row * 2 + whole * 2 + ["unlink"] * 2


def committed_before(folder: Path) -> Shard:
    """A shard with rounds 0 to 2, open for the next commit."""
    new_shard(folder, 3)
    shard = Shard(folder, new_shard(folder / "other", 0).arm)
    shard.open(lambda text: pytest.fail(text))
    return shard


def test_the_steps_of_a_commit_are_known(tmp_path: Path) -> None:
    shard = committed_before(tmp_path)
    with failing(-1) as system:
        commit(shard, 3)
    assert system.calls == steps_of_a_commit()


@pytest.mark.parametrize("how", ["before", "half", "after"])
@pytest.mark.parametrize("step", range(len(steps_of_a_commit())))
def test_a_crash_around_any_step_loses_at_most_the_round_in_progress(
    tmp_path: Path, step: int, how: str
) -> None:
    shard = committed_before(tmp_path)
    with failing(step, how), pytest.raises(Crash):
        commit(shard, 3)
    again, received = reopen(tmp_path)
    assert received is not None and received.round in (2, 3)
    # The manifest's arrival is the commit.
    arrived = step > 15 or (step == 15 and how == "after")
    assert received.round == (3 if arrived else 2)
    assert_same(received, checkpoint(received.round))
    for number in range(received.round + 1, 5):
        commit(again, number)
    straight = new_shard(tmp_path / "straight", 5)
    assert files(again.folder) == files(straight.folder)


@pytest.mark.parametrize("how", ["EACCES", "EROFS"])
def test_who_may_not_write_is_not_told_of_free_space(tmp_path: Path, how: str) -> None:
    with failing(0, how), pytest.raises(RunError) as caught:
        disk.replace(tmp_path / "file", b"content")
    why = os.strerror(getattr(errno, how))
    assert str(caught.value) == f"{tmp_path / 'file'}: cannot be written ({why})"


@pytest.mark.parametrize("how", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", range(len(steps_of_a_commit())))
def test_an_error_at_any_step_is_named_and_leaves_the_last_checkpoint(
    tmp_path: Path, step: int, how: str
) -> None:
    shard = committed_before(tmp_path)
    with failing(step, how), pytest.raises(RunError) as caught:
        commit(shard, 3)
    text = str(caught.value)
    assert ("No space left on device" if how == "ENOSPC" else "Input/output error") in text
    assert str(shard.folder) in text
    if step < 18:
        assert "bytes were needed" in text and "are free there" in text
    again, received = reopen(tmp_path)
    assert received is not None and received.round in (2, 3)
    assert_same(received, checkpoint(received.round))
    if received.round == 2:
        commit(again, 3)
    assert files(again.folder) == files(new_shard(tmp_path / "straight", 4).folder)


@pytest.mark.parametrize("step", range(14))
@pytest.mark.parametrize("how", ["before", "half", "after"])
def test_a_crash_while_a_shard_is_made_leaves_one_that_opens(
    tmp_path: Path, step: int, how: str
) -> None:
    with failing(step, how):
        try:
            new_shard(tmp_path / "run", 0)
        except Crash:
            pass
        else:
            assert step >= 13, "fewer steps than this test believes"
    if (tmp_path / "run/shards/fedavg-seed0").exists():
        assert reopen(tmp_path / "run")[1] is None
    assert files(new_shard(tmp_path / "run", 2).folder) == files(
        new_shard(tmp_path / "straight", 2).folder
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system of its own needs the right to mount one: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint(small_disk: Path) -> None:
    shard = new_shard(small_disk, 2)
    big = Checkpoint(2, [np.zeros(100_000, np.float32)], {}, [])
    with pytest.raises(RunError) as caught:
        shard.commit(big, [round_row(2)], [], MADE_WITH)
    text = str(caught.value)
    assert "checkpoint-000002.npz: cannot be written (No space left on device)" in text
    assert "400,268 bytes were needed" in text
    assert "bytes were needed, " in text and "are free there" in text
    again, received = reopen(small_disk)
    assert_same(received, checkpoint(1))
    commit(again, 2)
    assert_same(reopen(small_disk)[1], checkpoint(2))


def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    shard = new_shard(small_disk, 2)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunError, match=r"rounds\.csv: cannot be written \(Read-only file system"):
        commit(shard, 2)
    with pytest.raises(InputError, match=r"\.lock: cannot be opened \(Read-only file system"):
        shard.owned().__enter__()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_same(reopen(small_disk)[1], checkpoint(1))


LIMITED = """
import resource, sys
from pathlib import Path
from fedgen.files import disk
from fedgen.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    disk.replace(Path(sys.argv[1]), bytes(5000))
except RunError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{path}: cannot be written (File too large): 5,000 bytes were needed" in result.stdout
    assert files(tmp_path) == {"a.bin": b"old"}


def test_replace_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"long content", b"", b"\0\xff"):
        disk.replace(path, content)
        assert files(tmp_path) == {"a.bin": content}


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, bytes(content)[:3]))
    disk.replace(tmp_path / "a.bin", b"ten bytes!")
    assert (tmp_path / "a.bin").read_bytes() == b"ten bytes!"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"keep")
    for name in (".a.csv.tmp", "b.csv"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(RunError, match="cannot be written"):
        disk.append(tmp_path / "b.csv", b"x")
    with pytest.raises(RunError, match="cannot be written"):
        disk.replace(tmp_path / "a.csv", b"x")
    assert (tmp_path / "theirs").read_bytes() == b"keep"


def test_nothing_is_cut_or_made_through_a_link(tmp_path: Path) -> None:
    """What a run directory of somebody else's might hold."""
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.mkdir()
    (victim / "rounds.csv").write_bytes(b"keep all of this")
    shard = new_shard(run, 2)
    rows = shard.folder / "rounds.csv"
    (victim / "copy.csv").write_bytes(rows.read_bytes() + b"keep this, too")
    rows.unlink()
    rows.symlink_to(victim / "copy.csv")
    with pytest.raises(RunError, match=r"rounds\.csv: cannot be written"):
        reopen(run)
    before = files(victim)
    for link in (run / "shards" / "genetic-cfl-seed0", tmp_path / "other" / "shards"):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(victim)
        with pytest.raises(RunError, match="is a link, expected a directory of the run's own"):
            Shard(
                link.parent.parent if link.parent.name == "shards" else link.parent,
                arm("genetic-cfl"),
            ).owned().__enter__()
    assert files(victim) == before


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "none" / "a.bin"
    for write in (
        lambda: disk.replace(gone, b""),
        lambda: disk.append(gone, b""),
        lambda: disk.cut(gone, 0),
    ):
        with pytest.raises(RunError, match=r"none/a\.bin: cannot be written \(No such file"):
            write()
    disk.remove(gone)


def test_files_that_are_made_together_leave_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "second").write_text("kept")
    with pytest.raises(RunError, match="second: cannot be written .File exists"):
        disk.create(tmp_path, {"first": b"1", "second": b"2", "third": b"3"})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]
    disk.create(tmp_path, {"first": b"1", "third": b"3"})
    assert (tmp_path / "first").read_text() + (tmp_path / "third").read_text() == "13"
