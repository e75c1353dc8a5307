"""Flower's runtimes as the launchers start them: what a test began, and what it left behind.

Every process here carries a marker below the test's own directory, which is how leftovers are
found, and ended even when a test fails.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import runs

ROOT = Path(__file__).parents[1]
SMALL = "dataset='digits' model='mlp' rounds={rounds} clients=3 fraction=1.0 strategy='fedavg'"
MARKER = "FEDGEN_TEST"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mark all processes that a test starts, and end what it leaves behind.

    Returns:
        Where temporary files go: a short path, as Ray puts sockets there.
    """
    home = Path(tempfile.mkdtemp(prefix="fg", dir="/tmp"))
    monkeypatch.setenv(MARKER, str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(home))
    yield home
    left = processes(tmp_path)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, 10)
    shutil.rmtree(home)


def processes(mark: Path, words: str = "") -> list[psutil.Process]:
    """Processes that were started under a test's mark with these words, this one aside.

    One that ends while it is asked is none of them.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get(MARKER) == str(mark)
            told = words in " ".join(process.cmdline()) and process.pid != os.getpid()
            if ours and told and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def listeners(mark: Path) -> list:
    """Addresses that the processes under a test's mark listen on."""
    found = []
    for process in processes(mark):
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections(kind="tcp")
            found += [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
    assert found
    return found


def script(name: str, text: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ROOT / "experiments" / f"{name}.sh", text],
        env=os.environ | {"PYTHON": sys.executable} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def comparable(run: Path) -> dict[str, object]:
    """What must be equal on all runtimes: everything but seconds and byte counts."""
    found = runs.comparable(run)
    for row in found["rounds.csv"]:
        del row["bytes_down"], row["bytes_up"]
    return found


def in_process(
    out: Path, rounds: int, clients: int, engine: str = "tensorflow"
) -> dict[str, object]:
    """What a run of ``SMALL``'s kind, with all of so many clients, comes to here."""
    flags = f"--dataset=digits --model=mlp --rounds={rounds} --clients={clients} --fraction=1"
    command = [sys.executable, "-m", "fedgen", "compare", *flags.split(), "--quiet"]
    command.append(f"--engine={engine}")
    subprocess.run([*command, "--strategies=fedavg", f"--out={out}"], check=True)
    return comparable(out)
