"""The command line as a user without a network has it."""

import os
import subprocess
from pathlib import Path

from warm import Command, cold

import fedgen

NOWHERE = "http://127.0.0.1:9"  # nobody listens on the discard port


def environment(home: Path) -> dict[str, str]:
    """Return an environment without data directory, cache and network."""
    blocked = ("FEDGEN_DATA_DIR", "NO_PROXY", "no_proxy", "PYTHONWARNINGS")
    kept = {key: value for key, value in os.environ.items() if key not in blocked}
    checkout = str(Path(fedgen.__file__).parents[1])
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return kept | {
        **dict.fromkeys(names, NOWHERE),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HOME": str(home),
        "PYTHONPATH": checkout,
        # Nothing is trained here: saves every process from starting twice.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0",
    }


def run(
    cwd: Path, home: Path, *args: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the command; with options of the interpreter, in one that has imported nothing."""
    env = environment(home)
    command = cold(args, cwd, env, options) if options else Command(args, cwd, env)
    out, err = command.communicate(timeout=60)
    return subprocess.CompletedProcess(["fedgen", *args], command.wait(), out, err)


def imported(stderr: str) -> set[str]:
    """Return the top-level packages that ``-X importtime`` lists."""
    lines = [line for line in stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
