"""Parts of a Flower runtime end at random moments, or hang; the run goes on to the same bytes.

``make test-runtimes`` kills each part once; ``make soak`` kills fifty, at any moment.
"""

import contextlib
import os
import random
import re
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import runs
from launched import SMALL, comparable, finish, home, in_process, processes, script

pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")
pytestmark = [pytest.mark.runtimes, pytest.mark.usefixtures("home")]
__all__ = ["home"]  # a fixture

KILLS = int(os.environ.get("FEDGEN_PARTS", 4))
PARTS = {
    "SuperLink": "bin/flower-superlink",
    "Ray's head": "raylet/raylet",
    "ServerApp": "bin/flwr-simulation",
    "worker": "ray::ClientAppActor",
    "Ray's store of state": "gcs/gcs_server",
}
ANYWHERE = KILLS > len(PARTS)
ROUNDS = 240 if ANYWHERE else 120
"""More than are played before the last part is killed."""
GOES_ON = "to go on: the same command with resume='{run}'"


def played(run: Path) -> int:
    """Rounds that the only arm of a run has played, whether it has ended or not."""
    for path in (run / "shards" / "fedavg-seed0" / "rounds.csv", run / "rounds.csv"):
        with contextlib.suppress(FileNotFoundError):
            return len(runs.rows(path)) - 1
    return 0


def wait_for_round(run: Path, rounds: int, launcher: subprocess.Popen[str]) -> None:
    """Wait until so many rounds are played, or the launcher has ended."""
    deadline = time.monotonic() + 300
    while played(run) < rounds and launcher.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_part(mark: Path, words: str, launcher: subprocess.Popen[str]) -> psutil.Process | None:
    """Wait until a part is there; none once the launcher has ended."""
    while launcher.poll() is None:
        if found := processes(mark, words):
            return found[0]
        time.sleep(0.05)
    return None


def test_what_is_killed_at_random_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    seed = int(os.environ.get("FEDGEN_SEED", 0))
    draw = random.Random(seed)
    whole = in_process(tmp_path / "whole", ROUNDS, clients=3)
    kills, ends = 0, 0
    while kills < KILLS:
        run = tmp_path / f"run-{ends}"
        job = SMALL.format(rounds=ROUNDS)
        text = f"{job} resume='{run}'" if (run / "config.toml").exists() else f"{job} out='{run}'"
        part = list(PARTS)[kills % len(PARTS)]
        begun, rounds = time.monotonic(), played(run)
        process = script("simulate", text)
        if ANYWHERE and draw.random() < 0.5:
            time.sleep(draw.uniform(0, 30))
        else:
            wait_for_round(run, rounds + 1, process)
            time.sleep(draw.uniform(0, 2))
        if victim := wait_for_part(tmp_path, PARTS[part], process):
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                kills += 1
        code, output = finish(process)
        told = f"seed {seed}, kill {kills} of {KILLS}, {part}, after round {played(run)}"
        print(f"{told}: exit code {code}, {time.monotonic() - begun:.0f} s")
        assert processes(tmp_path) == [], told
        if code == 0:  # what was killed was replaced, or was not needed any more
            assert comparable(run) == whole, told
            ends += 1
            continue
        assert code == 3, f"{told}: {output}"
        last = output.splitlines()[-1]
        assert last.startswith("fedgen: "), last
        assert (GOES_ON.format(run=run) in last) == (run / "config.toml").exists(), last
    if (run / "config.toml").exists() and code:
        code, output = finish(script("simulate", f"{job} resume='{run}'"))
        assert code == 0, output
        assert comparable(run) == whole


@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
def test_a_client_that_hangs_on_ray_costs_its_own_reply(tmp_path: Path, engine: str) -> None:
    """Its worker is replaced; a process that clients share, by JAX, goes on without its thread."""
    text = f"{SMALL.format(rounds=3)} engine='{engine}' out='{tmp_path}/run'"
    process = script("simulate", f"{text} set='training.deadline=3 faults.hang=1'")
    workers = set()
    assert process.stdout is not None
    for line in process.stdout:
        workers |= {found.pid for found in processes(tmp_path, PARTS["worker"])}
        if re.match(r" +3 ", line):
            break
    code, output = finish(process)
    assert code == 0, output
    rows = runs.rows(tmp_path / "run" / "rounds.csv")[1:]
    assert [(row["failed"], row["rejected"]) for row in rows] == 3 * [("1", "0")]
    status = [row["status"] for row in runs.rows(tmp_path / "run" / "clients.csv")]
    assert sorted(status) == [
        *3 * ["failed: stuck, abandoned 2 s after the deadline of 3 s"],
        *6 * ["ok"],
    ]
    cores = len(os.sched_getaffinity(0))
    assert len(workers) > cores if engine == "tensorflow" else len(workers) == 1


def test_a_process_that_clients_share_is_replaced_and_costs_no_reply(tmp_path: Path) -> None:
    """By JAX all clients that train at once are lanes of one process; it ends while they do."""
    job = f"{SMALL.format(rounds=60)} engine='jax'"
    whole = in_process(tmp_path / "whole", 60, clients=3, engine="jax")
    process, run = script("simulate", f"{job} out='{tmp_path}/run'"), tmp_path / "run"
    workers = set()
    for rounds in (1, 20):
        wait_for_round(run, rounds, process)
        victim = wait_for_part(tmp_path, PARTS["worker"], process)
        assert victim is not None, finish(process)
        assert len(processes(tmp_path, PARTS["worker"])) == 1
        workers.add(victim.pid)
        victim.kill()
    code, output = finish(process)
    assert code == 0, output
    assert len(workers) == 2 and comparable(run) == whole


def test_a_client_that_hangs_on_a_supernode_costs_its_own_reply_and_a_deployment_is_resumed(
    tmp_path: Path,
) -> None:
    """Both nodes answer in every round; then the SuperLink is killed, and the run goes on."""
    hanging = "set='training.deadline=3 faults.hang=1 cohort.deadline=300'"
    job = f"{SMALL.format(rounds=3).replace('clients=3', 'clients=2')} {hanging}"
    process = script("deploy_local", f"{job} out='{tmp_path}/run'")
    run = tmp_path / "run"
    wait_for_round(run, 1, process)
    victim = wait_for_part(tmp_path, PARTS["SuperLink"], process)
    assert victim is not None, finish(process)
    victim.kill()
    code, output = finish(process)
    assert code == 3, output
    assert "fedgen: the SuperLink was ended by signal 9" in output, output
    assert GOES_ON.format(run=run) in output.splitlines()[-1]
    code, output = finish(script("deploy_local", f"{job} resume='{run}'"))
    assert code == 0, output
    status = [row["status"] for row in runs.rows(run / "clients.csv")]
    assert sorted(status) == [
        *3 * ["failed: stuck, abandoned 2 s after the deadline of 3 s"],
        *3 * ["ok"],
    ]
    assert processes(tmp_path) == []
