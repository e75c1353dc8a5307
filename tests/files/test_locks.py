import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import PATIENCE

from fedgen.errors import InputError
from fedgen.files.locks import LOCK, hold

HOLDING = """
import sys, time
from pathlib import Path
from fedgen.files.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_at_once_with_the_first_ones_pid(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        asked = time.monotonic()
        with pytest.raises(InputError, match=f"{tmp_path}: process {holder.pid} is working on it"):
            hold(tmp_path).__enter__()
        assert time.monotonic() - asked < PATIENCE
    finally:
        holder.kill()
        holder.communicate()


def test_a_killed_owner_is_no_obstacle(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.kill()
    holder.communicate()
    assert (tmp_path / LOCK).read_text() == f"{holder.pid}\n"
    with hold(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_lock_is_free_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with hold(tmp_path):
            pass


def test_a_shorter_pid_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("123456789012\n")
    with hold(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_lock_holds_without_its_owner_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with hold(tmp_path):
        with pytest.raises(InputError, match="process unknown is working on it"):
            hold(tmp_path).__enter__()


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(InputError, match=r"\.lock: cannot be opened \(Is a directory\)"):
        hold(tmp_path).__enter__()
