"""Arms spread over processes of this machine, each with an engine of its own.

A process plays one arm after another, from the arm's shard on disk, so its rows and weights are
those of a run without processes. What goes between processes is JSON and CSV.
"""

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from fedgen import runtime
from fedgen.config.tree import Arm
from fedgen.errors import FedgenError, InputError, RunError
from fedgen.federation.resources import Resources
from fedgen.files.csv import all_columns, parse_csv
from fedgen.runs.rows import EvaluationRow
from fedgen.runs.run import Run, open_run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Watcher, tell_end

LOOK_SECONDS = 0.5
"""How often the parent looks at the shards for rounds to show."""


def play(run: Run, jobs: int, progress: Watcher) -> list[EvaluationRow]:
    """Play all arms of a run, so many at once.

    Args:
        run: What to play; this process is its parent.
        jobs: Processes, at least 1; each gets its share of the cores, or ``run.workers``.
        progress: Is told what happens.

    Raises:
        InputError: If a shard is damaged, or another process works on it.
        RunError: If a round fails, or a process dies.
    """
    waiting = deque(run.arms)
    count = min(jobs, len(waiting))
    workers = run.config.run.workers or max(1, runtime.available_cores() // count)
    following = Following(run, progress)
    following.begin(f"{len(waiting)} arms, {count} at once", count)
    found: list[EvaluationRow] = []
    with _processes(run.path, workers, count) as free:
        busy: dict[Connection, Arm] = {}
        owners = dict(free)
        idle = list(owners)
        while waiting or busy:
            while waiting and idle:
                line, arm = idle.pop(), waiting.popleft()
                line.send_bytes(json.dumps([arm.strategy, arm.seed]).encode())
                busy[line] = arm
                progress.started(arm)
            ready = connection.wait(list(busy), LOOK_SECONDS)
            at_work = list(busy.values())
            for line in [line for line in busy if line in ready]:
                arm = busy.pop(line)
                found += _take(line, arm, owners[line])
                tell_end(Shard(run.path, arm), progress)
                idle.append(line)
            following.look(at_work)
    return found


class Elsewhere(Watcher):
    """Leaves it to the parent, which looks at the shard, to tell how an arm ended."""

    def ended(self, arm: Arm, why: str) -> None:
        """Say nothing."""


class Following:
    """Shows rounds as they appear in the shards of a run that others play."""

    def __init__(self, run: Run, progress: Watcher) -> None:
        self._progress = progress
        self._shards = {arm: Shard(run.path, arm) for arm in run.arms}
        self._shown = {arm: shard.finished_round for arm, shard in self._shards.items()}

    def begin(self, text: str, at_once: int) -> None:
        """Tell the watcher what is there already, and how many arms are played at once."""
        self._progress.begin(text, list(self._shown), list(self._shown.values()), at_once)

    def look(self, arms: Iterable[Arm]) -> None:
        """Show what arms have finished since the last look; those that nobody plays cost time."""
        for arm in arms:
            shard = self._shards[arm]
            if shard.finished_round > self._shown[arm]:
                for row in shard.rows("rounds.csv"):
                    if row.round > self._shown[arm]:
                        self._progress.played(row)
                        self._progress.finished([row])
                        self._shown[arm] = row.round


@contextmanager
def _processes(
    path: Path, workers: int, count: int
) -> Iterator[list[tuple[Connection, SpawnProcess]]]:
    context = get_context("spawn")  # TensorFlow does not survive a fork
    started: list[tuple[Connection, SpawnProcess]] = []
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, str(path), workers), daemon=True)
            process.start()
            there.close()
            started.append((here, process))
        yield started
    finally:
        for line, process in started:
            line.close()
            process.terminate()  # every finished round is on disk; no other needs a farewell
        for _, process in started:
            process.join()


def _take(line: Connection, arm: Arm, process: SpawnProcess) -> list[EvaluationRow]:
    try:
        kind, text = json.loads(line.recv_bytes())
    except EOFError:
        process.join()
        raise RunError(
            f"{arm.name}: its process died (exit code {process.exitcode}); its finished rounds are "
            "kept"
        ) from None
    return rows_of(arm, kind, text)


def rows_of(arm: Arm, kind: str, text: str) -> list[EvaluationRow]:
    """Read what ``answer`` returned.

    Raises:
        InputError: As it was raised where the arm was played.
        RunError: Likewise.
    """
    if kind == "input":
        raise InputError(text)
    if kind == "run":
        raise RunError(text)
    return parse_csv(text.encode(), Path(arm.name), EvaluationRow)


def _serve(line: Connection, path: str, workers: int) -> None:
    """Play what the parent names, until it names no more or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this one
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    opened = cache(lambda: _opened(path, workers))  # one run: its parent holds the directory
    while True:
        try:
            strategy, seed = json.loads(line.recv_bytes())
        except EOFError:
            return
        line.send_bytes(json.dumps(_answer(opened, strategy, seed)).encode())


def answer(path: str, strategy: str, seed: int, workers: int) -> tuple[str, str]:
    """Play one arm of a run directory.

    Returns:
        ``"done"`` and the evaluation rows as CSV; or ``"input"`` or ``"run"`` and the
        error's line.
    """
    return _answer(lambda: _opened(path, workers), strategy, seed)


def _opened(path: str, workers: int) -> tuple[Run, Resources]:
    run = with_workers(open_run(Path(path), to_play=True), workers)
    return run, Resources(run.config)


def _answer(
    opened: Callable[[], tuple[Run, Resources]], strategy: str, seed: int
) -> tuple[str, str]:
    from fedgen.comparison import arms

    try:
        run, held = opened()
        (arm,) = (arm for arm in run.arms if (arm.strategy, arm.seed) == (strategy, seed))
        held.start()
        rows = arms.play_arms(run, held, [arm], Elsewhere())
    except InputError as error:
        return "input", error.line
    except FedgenError as error:
        return "run", error.line
    except Exception as error:
        return "run", f"{strategy}-seed{seed}: {type(error).__name__}: {error}"
    return "done", all_columns(rows, EvaluationRow)


def with_workers(run: Run, workers: int) -> Run:
    """Return a run with another number of clients at once."""
    settings = run.config.run.model_copy(update={"workers": workers})
    return Run(run.path, run.config.model_copy(update={"run": settings}), run.provenance)


def _die_with(sentinel: Any) -> None:
    connection.wait([sentinel])
    os._exit(1)
