"""Whole processes: the digits comparison, ``--help``, and memory at CIFAR-10's size.

Memory is the resident set of ``compare`` with two workers on random data of
CIFAR-10's size, read after every round; slices are short, which saves time and
changes nothing about what is held.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmarks
from benchmarks.reference_way import save_data

HELP_RUNS = 5
MEMORY_ROUNDS = 8


def measure() -> dict[str, object]:
    """Return seconds, and memory in GB per round and at its peak."""
    with tempfile.TemporaryDirectory() as folder:
        digits = _seconds(["compare", "--dataset=digits", "--rounds=10", "--out=digits"], folder)
        helps = [_seconds(["--help"], folder) for _ in range(HELP_RUNS)]
        report = _seconds(["report", "digits"], folder)
        save_data(Path(folder) / "data.npz")
        by_round, peak = _memory(folder)
    return {
        "digits_seconds": round(digits, 1),
        "help_seconds": round(statistics.median(helps), 2),
        "report_seconds": round(report, 2),
        "peak_gb": peak,
        "gb_by_round": by_round,
    }


def _seconds(arguments: list[str], folder: str) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "fedgen", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _memory(folder: str) -> tuple[list[float], float]:
    settings = "--workers=2 --strategies=genetic-cfl --clients=10 --fraction=1 --out=memory".split()
    slices = "--set=partition.min_samples=200 --set=partition.max_samples=300".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "fedgen", "compare", "--dataset=data.npz", *settings, *slices]
        + [f"--rounds={MEMORY_ROUNDS}"],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    by_round, peak = [], 0.0
    if process.stdout is not None:
        for line in process.stdout:
            if line.split()[:1] and line.split()[0].isdigit():
                status = Path(f"/proc/{process.pid}/status").read_text()
                values = dict(part.split(":", 1) for part in status.splitlines() if ":" in part)
                by_round.append(round(int(values["VmRSS"].split()[0]) / 1e6, 2))
                peak = round(int(values["VmHWM"].split()[0]) / 1e6, 2)
    if process.wait():
        raise RuntimeError(f"compare ended with {process.returncode}")
    return by_round, peak


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
