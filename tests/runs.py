"""Small real comparisons on digits, in this process or in one that can be killed."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from warm import Command

from fedgen.comparison import flow, opening
from fedgen.config.tree import build
from fedgen.federation.resources import Resources
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher

ENGINE = os.environ.get("FEDGEN_TEST_ENGINE", "tensorflow")
"""What trains in this process; see ``conftest``."""

SMALL = {
    "data": {"dataset": "digits"},
    "model": {"name": "mlp"},
    "partition": {"clients": 12},
    "cohort": {"fraction": 0.5},
    "training": {"local_epochs": 1, "engine": ENGINE},
}
FLAGS = (
    "--dataset=digits --model=mlp --clients=12 --fraction=0.5 --set=training.local_epochs=1 "
    f"--engine={ENGINE}"
).split()


def play(out: Path, **sections: dict) -> Run:
    """Play a small comparison in this process; sections are laid over ``SMALL``."""
    tree = {name: SMALL.get(name, {}) | sections.get(name, {}) for name in {*SMALL, *sections}}
    held = Resources(build(tree))
    with opening.created(held, out) as run:
        flow.play(run, held, Watcher())
    return run


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file without fedgen."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def comparable(run: Path) -> dict[str, object]:
    """Return what must be equal between runs: CSV rows but for seconds, weights, and genes."""
    found: dict[str, object] = {}
    for name in ("rounds.csv", "clients.csv"):
        found[name] = [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in rows(run / name)
        ]
    for shard in sorted((run / "shards").iterdir()):
        for file in sorted(shard.glob("checkpoint-*.npz")):
            with np.load(file, allow_pickle=False) as bundle:
                arrays = {key: bundle[key].tobytes() for key in bundle.files}
            state = json.loads(file.with_suffix(".json").read_text())["state"]
            found[f"{shard.name}/{file.name}"] = arrays, state
    return found


def environment(cache: Path) -> dict[str, str]:
    """An environment in which nothing can be downloaded, and nothing was."""
    blocked = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    kept = {key: value for key, value in os.environ.items() if key != "FEDGEN_DATA_DIR"}
    return {**kept, **blocked, "XDG_CACHE_HOME": str(cache), "PYTHONUNBUFFERED": "1"}


Process = Command | subprocess.Popen[str]


def start(arguments: list[str], cwd: Path) -> Command:
    """Start the command line."""
    return Command(arguments, cwd, environment(cwd / "cache"))


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
sys.argv = ["fedgen", *sys.argv[2:]]
from fedgen.cli import main
main()
"""


# Seconds that tell what goes on at once from what waits for something that takes longer: as many
# as a machine with much else to do may need.
PATIENCE = 25


def without(
    library: str, arguments: list[str], cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command line in an interpreter that has not a library."""
    command = [sys.executable, "-c", WITHOUT, library, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def finish(process: Process) -> tuple[int, str, str]:
    """Wait for a process and return its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_line(process: Process, text: str) -> None:
    """Read a process's stdout until a line starts with a text."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().startswith(text):
            return
    raise AssertionError(f"{text!r} never came: {process.stderr.read() if process.stderr else ''}")


def wait_for_file(path: Path, process: Process, seconds: float = 120) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, path
        time.sleep(0.01)


def processes_told(words: str) -> list[psutil.Process]:
    """Living processes whose command line holds these words; `info["ppid"]` is their parent.

    `process_iter` reads a process that has ended, but was not waited for, as one without a
    command line, where `Process.cmdline` raises.
    """
    living = psutil.process_iter(["cmdline", "ppid"])
    return [process for process in living if words in str(process.info["cmdline"])]
