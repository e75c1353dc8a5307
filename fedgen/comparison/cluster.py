"""Arms spread over an existing Ray cluster, a task per (strategy, seed).

A task plays its arm in the run directory, where its node sees it, and a task that failed with its
node goes on from the shard's checkpoint when Ray tries it again. On a node that does not see the
directory, it plays in a temporary one and sends its shard and model back.
"""

import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from fedgen import runtime
from fedgen.comparison.processes import LOOK_SECONDS, Following, answer, rows_of
from fedgen.errors import InputError, RunError
from fedgen.files import disk
from fedgen.runs.directory import CONFIG
from fedgen.runs.rows import EvaluationRow
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Watcher, tell_end

TRIES = 3
"""How often Ray tries a task again whose node or process died."""

KNOCK_SECONDS = 10.0
"""How long the head of a cluster may take to be reached."""

Files = dict[str, bytes]
"""Content by path below the run directory."""


def connect(address: str) -> Any:
    """Connect to a cluster and return the module ``ray``.

    Args:
        address: Of the cluster's head, or ``"auto"`` for the one that this machine belongs to.

    Raises:
        InputError: If the address is none, Ray is not installed, or no cluster answers there.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--ray: Ray is not installed; install it with: pip install 'fedgen[simulation]'"
        ) from error
    # Tasks share what accelerators there are; without this, Ray hides them, and says so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"--ray {address}: no Ray cluster answers there ({why}); start one: ray start --head"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Reach an address once: Ray itself goes on trying for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise InputError(f"--ray {address}: expected HOST:PORT of a cluster's head, or auto")
    socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def play(run: Run, ray: Any, progress: Watcher) -> list[EvaluationRow]:
    """Play all arms of a run on the cluster that ``connect`` returned.

    Raises:
        InputError: If a shard is damaged, or another process works on it.
        RunError: If a round fails, or a task does so for good.
    """
    following = Following(run, progress)
    workers = run.config.run.workers or 1
    room = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
    following.begin(f"{len(run.arms)} arms on Ray", min(room, len(run.arms)))
    task = ray.remote(num_cpus=workers, max_retries=TRIES)(play_where_seen)
    config = (run.path / CONFIG).read_text()
    pending = {
        task.remote(str(run.path.resolve()), config, arm.strategy, arm.seed, workers): arm
        for arm in run.arms
    }
    for arm in run.arms:  # Ray does not say which of them it has begun
        progress.started(arm)
    found: list[EvaluationRow] = []
    try:
        while pending:
            ready, _ = ray.wait(list(pending), timeout=LOOK_SECONDS)
            at_work = list(pending.values())
            for reference in ready:
                arm = pending.pop(reference)
                try:
                    kind, text, files = ray.get(reference)
                except ray.exceptions.RayError as error:
                    raise RunError(
                        f"{arm.name}: its task failed on Ray ({type(error).__name__})"
                    ) from error
                _keep(run.path, files)
                found += rows_of(arm, kind, text)
                tell_end(Shard(run.path, arm), progress)
            following.look(at_work)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
    return found


def play_where_seen(
    path: str, config: str, strategy: str, seed: int, workers: int
) -> tuple[str, str, Files]:
    """Play one arm: in the run directory where it is seen, else in a temporary one.

    Returns:
        What ``processes.answer`` does, and the files that the parent does not see.
    """
    runtime.configure()
    try:
        seen = (Path(path) / CONFIG).read_text() == config
    except OSError:
        seen = False
    if seen:
        return *answer(path, strategy, seed, workers), {}
    with tempfile.TemporaryDirectory() as folder:
        disk.replace(Path(folder) / CONFIG, config.encode())
        kind, text = answer(folder, strategy, seed, workers)
        files = {
            str(file.relative_to(folder)): file.read_bytes()
            for part in ("shards", "models")
            for file in sorted((Path(folder) / part).rglob("*"))
            if file.is_file() and file.name != ".lock"
        }
        return kind, text, files


def _keep(path: Path, files: Files) -> None:
    """Write what a task sent back; a shard's manifest comes last, as it vouches for the rest."""
    for name in sorted(files, key=lambda name: name.endswith(".json")):
        disk.make_folder((path / name).parent)
        disk.replace(path / name, files[name])
