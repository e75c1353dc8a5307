"""Arms in processes of their own: the same bytes, and nothing lost when one of them dies."""

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import FLAGS, comparable, finish, play, processes_told, rows, start, wait_for_file

from fedgen.comparison import processes
from fedgen.comparison.processes import Following, answer
from fedgen.runs.rows import RoundRow
from fedgen.runs.run import open_run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Watcher

PLAN = {"rounds": 12, "seeds": 2}
FIRST = "shards/genetic-cfl-seed0/checkpoint-000001.json"


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("jobs") / "run", run=PLAN).path


def arguments(out: str, rounds: int = 12) -> list[str]:
    return ["compare", *FLAGS, f"--rounds={rounds}", "--seeds=2", f"--out={out}", "--jobs=2"]


def test_processes_leave_the_bytes_of_a_run_without_them(sequential: Path, tmp_path: Path) -> None:
    code, out, err = finish(start(arguments("run"), tmp_path))
    assert (code, err) == (0, "")
    assert "4 arms, 2 at once" in out
    starts = [line.split()[:3] for line in out.splitlines()]
    assert ["0", "1", "fedavg"] in starts and ["0", "0", "genetic-cfl"] in starts
    assert comparable(tmp_path / "run") == comparable(sequential)
    for name in ("evaluation.csv", "partition.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (sequential / name).read_bytes()
    assert len(list((tmp_path / "run" / "models").glob("*.keras"))) == 4
    assert (tmp_path / "run" / "report.html").exists()


def players_of(parent: int) -> list[psutil.Process]:
    """The processes that play; Python's own tracker of resources is another child."""
    found = [p for p in processes_told("spawn_main") if p.info["ppid"] == parent]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("whole", [False, True], ids=["one of them", "their parent"])
def test_a_killed_process_loses_no_finished_round(
    sequential: Path, tmp_path: Path, whole: bool
) -> None:
    parent = start(arguments("run"), tmp_path)
    wait_for_file(tmp_path / "run" / FIRST, parent)
    players = players_of(parent.pid)
    victim = parent.pid if whole else players[0].pid
    os.kill(victim, signal.SIGKILL)
    code, _, err = finish(parent)
    if not whole:
        assert code == 3
        assert "its process died (exit code -9); its finished rounds are kept" in err
        assert "Go on with: python -m fedgen resume run" in err
    deadline = time.monotonic() + 60
    while any(player.is_running() and player.status() != "zombie" for player in players):
        assert time.monotonic() < deadline, "a player outlives its parent"
        time.sleep(0.1)
    how = ["--quiet"] if whole else ["--quiet", "--jobs=2"]
    code, _, err = finish(start(["resume", "run", *how], tmp_path))
    assert (code, err) == (0, "")
    assert comparable(tmp_path / "run") == comparable(sequential)


def test_an_interrupt_ends_all_of_them_at_once(tmp_path: Path) -> None:
    parent = start(arguments("run", rounds=500), tmp_path)
    wait_for_file(tmp_path / "run" / FIRST, parent)
    players = players_of(parent.pid)
    parent.send_signal(signal.SIGTERM)
    code, _, err = finish(parent)
    assert code == 130 and len(err.splitlines()) == 1 and "interrupted" in err
    assert not any(player.is_running() and player.status() != "zombie" for player in players)


def test_an_error_of_an_arm_is_the_run_s(sequential: Path, tmp_path: Path) -> None:
    kind, text = answer(str(sequential / "nowhere"), "fedavg", 0, 1)
    assert kind == "input" and "not a run directory" in text
    alone = ["--strategies=fedavg", "--seeds=1", "--set=faults.crash=6"]
    code, _, err = finish(start([*arguments("run"), *alone], tmp_path))
    assert code == 3 and "0 of 6 replies are usable" in err


def test_an_arm_that_diverges_ends_alone(tmp_path: Path) -> None:
    diverging = ["--strategies=scaffold,fedavg", "--set=scaffold.learning_rate=1e30"]
    code, out, err = finish(start([*arguments("run", rounds=2), *diverging], tmp_path))
    assert code == 3 and "Traceback" not in err
    for name in ("scaffold-seed0", "scaffold-seed1"):
        # Told once, not by the process that played it and its parent both.
        assert err.count(f"!!! {name} ends here: round 1: 0 of 6 replies are usable") == 1
    assert "; neither could scaffold-seed" in err.splitlines()[-1]
    played = [(row["strategy"], row["seed"]) for row in rows(tmp_path / "run" / "rounds.csv")]
    assert played.count(("fedavg", "0")) == played.count(("fedavg", "1")) == 3
    code, _, err = finish(start(["report", "run"], tmp_path))
    assert (code, err) == (0, "") and (tmp_path / "run" / "report.html").exists()


def test_processes_and_a_cluster_exclude_each_other(tmp_path: Path) -> None:
    code, _, err = finish(start([*arguments("run"), "--ray=auto"], tmp_path))
    assert (code, err) == (2, "fedgen: --jobs and --ray: expected one of them, received both\n")
    assert not (tmp_path / "run").exists()


def test_a_process_opens_its_run_once_for_all_its_arms(
    sequential: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "run", []
    shutil.copytree(sequential, path)
    monkeypatch.setattr(processes, "_opened", opener(processes._opened, opened))
    here, there = Pipe()
    for seed in (0, 1):
        here.send_bytes(json.dumps(["fedavg", seed]).encode())
    monkeypatch.setattr(there, "recv_bytes", until_empty(there))
    before = signal.getsignal(signal.SIGINT)
    try:
        processes._serve(there, str(path), 1)
    finally:
        signal.signal(signal.SIGINT, before)
    told = [json.loads(here.recv_bytes()) for _ in range(2)]
    assert told == [[*answer(str(path), "fedavg", seed, 1)] for seed in (0, 1)]
    assert opened[:1] == [str(path)] and len(opened) == 3  # the two answers just above open anew


def opener(function: Any, opened: list[str]) -> Any:
    def called(path: str, workers: int) -> Any:
        opened.append(path)
        return function(path, workers)

    return called


def until_empty(line: Any) -> Any:
    receive = line.recv_bytes

    def received() -> bytes:
        if not line.poll():
            raise EOFError
        found: bytes = receive()
        return found

    return received


class Told(Watcher):
    def __init__(self) -> None:
        self.rounds: list[tuple[str, int]] = []
        self.moved: list[tuple[str, int]] = []

    def played(self, row: RoundRow) -> None:
        self.moved.append((row.strategy, row.round))

    def finished(self, rows: Sequence[RoundRow]) -> None:
        self.rounds += [(row.strategy, row.round) for row in rows]


def test_a_look_reads_the_shards_of_the_arms_at_work_alone(
    sequential: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told, read = open_run(sequential), Told(), []
    following = Following(run, told)
    following._shown = dict.fromkeys(run.arms, 9)  # of 12
    finished_round = Shard.finished_round.fget
    assert finished_round is not None
    monkeypatch.setattr(
        Shard, "finished_round", property(lambda s: read.append(s.arm) or finished_round(s))
    )
    one, other = run.arms[0], run.arms[3]
    following.look([one])
    assert {*read} == {one} and told.rounds == [(one.strategy, n) for n in (10, 11, 12)]
    following.look([one, other])
    assert {*read} == {one, other} and told.rounds[3:] == [
        (other.strategy, n) for n in (10, 11, 12)
    ]
    following.look(run.arms)
    assert len(told.rounds) == 12  # every round of every arm once
    assert told.moved == told.rounds
