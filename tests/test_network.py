"""Flower's runtimes on hosts of their own: network namespaces, joined by lines that fail.

The short tests come with `make test-runtimes`, a whole minute without a line with `make soak`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import pytest
from launched import comparable, in_process
from runs import rows

from benchmarks.hosts import Hosts, Line, address, missing
from benchmarks.spread import Play, Spread, host_of, wait_for_training
from fedgen.deployment.credentials import write_node_key

pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")
pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")

JOB = "dataset='digits' model='mlp' rounds={rounds} clients=2 fraction=1.0 strategy='fedavg'"
FLAGS = "--dataset=digits --model=mlp --clients=2 --fraction=1 --strategies=fedavg --quiet".split()
BAD = Line(loss=0.05, delay=0.1, jitter=0.02)
CUT = Line(loss=1.0)
PROGRAMS = Path(sys.executable).parent
PATH = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
"""Flower's programs start one another by name."""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, as Ray puts sockets there."""
    with tempfile.TemporaryDirectory(prefix="fg", dir="/tmp") as folder:
        yield Path(folder)


def stranger(hosts: Hosts, host: int, flower: Spread, flags: list[str]) -> subprocess.Popen[bytes]:
    """Start a SuperNode that is to be kept out, on a host of its own, beside its log."""
    command = [str(PROGRAMS / "flower-supernode"), "--superlink", f"{address(0)}:{flower.port}"]
    with (flower.home / f"stranger-{host}.log").open("wb") as log:
        return subprocess.Popen(
            hosts.command(host, [*command, *flags, "--node-config", "partition-id=0"]),
            env=os.environ | {"FLWR_HOME": str(flower.home / "flwr"), "PATH": PATH},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


class Cluster:
    """A Ray cluster of a head on the first host, and a worker node on the second."""

    def __init__(self, hosts: Hosts, folder: Path, cpus: tuple[int, int]) -> None:
        self.hosts = hosts
        self.address = f"{address(0)}:6399"
        self.environment = os.environ | {"RAY_worker_niceness": "0"}
        head = ["--head", "--port=6399", "--include-dashboard=false", f"--temp-dir={folder}"]
        self._start(0, [*head, f"--num-cpus={cpus[0]}"])
        self._start(1, [f"--address={self.address}", f"--num-cpus={cpus[1]}"])

    def _start(self, host: int, flags: list[str]) -> None:
        flags = [f"--node-ip-address={address(host)}", "--disable-usage-stats", *flags]
        started = self.run(host, [str(PROGRAMS / "ray"), "start", *flags])
        assert started.returncode == 0, started.stdout

    def run(self, host: int, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.hosts.command(host, command),
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def simulate(self, text: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fedgen.launch", "simulate", text]
        return self.run(0, command, RAY_ADDRESS=self.address)


def play_with_a_host_cut_off(
    hosts: Hosts, run: Path, arms: int, play: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    """Cut the second host off for two minutes once all arms of a run have a checkpoint."""
    with ThreadPoolExecutor() as pool:
        done = pool.submit(play)
        while len({path.parent for path in (run / "shards").glob("*/checkpoint-*.json")}) < arms:
            assert not done.done(), done.result().stdout
            time.sleep(0.1)
        hosts.set(CUT, 1)
        time.sleep(120)
        hosts.set(Line(), 1)
        result = done.result(600)
    assert result.returncode == 0, result.stdout


@pytest.mark.runtimes
def test_bad_lines_and_strangers_change_no_byte(tmp_path: Path) -> None:
    """5 % loss, 100 ms each way, a client out of reach for 20 s, and two nodes without a right."""
    expected = in_process(tmp_path / "here", 3, clients=2)
    with Hosts(5) as hosts:
        with Spread(hosts) as flower:
            for partition in range(2):
                flower.add_node(partition, 2)
            write_node_key(flower.home / "stranger")
            trusting = ["--root-certificates", str(flower.home / "ca.pem")]
            key = ["--auth-supernode-private-key", str(flower.home / "stranger")]
            unknown = stranger(hosts, 3, flower, [*trusting, *key])
            in_the_clear = stranger(hosts, 4, flower, ["--insecure"])
            hosts.set(BAD, 1, 2, 3, 4)
            play = Play(flower, JOB.format(rounds=3), tmp_path / "run")
            play.wait_for(1)
            wait_for_training(hosts, 1, time.time())  # else its message may be lost for good
            reached = play.reached()
            hosts.set(CUT, host_of(1))
            time.sleep(20)
            assert play.reached() == reached, "the round did not wait"
            hosts.set(BAD, host_of(1))
            assert [row.failed for row in play.finish()] == [0, 0, 0]
            assert unknown.wait(60) == 1
            said = [(flower.home / f"stranger-{host}.log").read_text() for host in (3, 4)]
            assert "Failed to activate SuperNode" in said[0]
            assert in_the_clear.poll() is None and "Connection attempt failed" in said[1]
            in_the_clear.kill()
            in_the_clear.wait()
        assert [hosts.processes(host) for host in range(5)] == [[]] * 5
    assert comparable(tmp_path / "run") == expected
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert f"fedgen-{os.getpid()}-" not in namespaces


@pytest.mark.runtimes
def test_arms_on_a_node_of_another_host_leave_the_same_bytes(tmp_path: Path, short: Path) -> None:
    """The head has no CPUs: every arm crosses the line, which loses and delays."""
    expected = in_process(tmp_path / "here", 2, clients=2)
    command = [sys.executable, "-m", "fedgen", "compare", *FLAGS, "--rounds=2"]
    with Hosts(2) as hosts:
        cluster = Cluster(hosts, short, (0, 1))
        hosts.set(BAD, 1)
        flags = [f"--ray={cluster.address}", f"--out={tmp_path / 'run'}"]
        done = cluster.run(0, [*command, *flags])
        assert done.returncode == 0, done.stdout
    assert comparable(tmp_path / "run") == expected


@pytest.mark.runtimes
def test_a_simulation_on_nodes_of_two_hosts_leaves_the_same_bytes(
    tmp_path: Path, short: Path
) -> None:
    expected = in_process(tmp_path / "here", 2, clients=2)
    text = f"{JOB.format(rounds=2)} out='{tmp_path / 'run'}'"
    with Hosts(2) as hosts:
        done = Cluster(hosts, short, (1, 1)).simulate(text)
        assert done.returncode == 0, done.stdout
    assert comparable(tmp_path / "run") == expected


@pytest.mark.soak
def test_a_minute_without_a_line_costs_replies_and_no_client(tmp_path: Path) -> None:
    """The SuperNode is the same process before and after: nobody has to start it again."""
    text = f"{JOB.format(rounds=8)} set='training.deadline=60'"
    with Hosts(3) as hosts, Spread(hosts) as flower:
        for partition in range(2):
            flower.add_node(partition, 2)
        play = Play(flower, text, tmp_path / "run")
        play.wait_for(1)
        wait_for_training(hosts, 1, time.time())
        lost = play.reached()  # rounds are counted from 1: the index of the next one
        hosts.set(CUT, host_of(1))
        time.sleep(60)
        hosts.set(Line(), host_of(1))
        failed = [row.failed for row in play.finish(1200)]
        assert flower.nodes[1].poll() is None
    print(f"\nclients that failed, by round: {failed}")
    assert failed[:lost] == [0] * lost and failed[lost] == 1
    assert failed[-1] == 0 and set(failed) == {0, 1}
    whole = failed.index(0, lost)
    assert not any(failed[whole:]), "it was lost again"


@pytest.mark.soak
def test_arms_of_a_node_that_is_gone_for_minutes_go_on_elsewhere(
    tmp_path: Path, short: Path
) -> None:
    flags = ["--rounds=300", "--seeds=2"]
    command = [sys.executable, "-m", "fedgen", "compare", *FLAGS, *flags]
    subprocess.run([*command, f"--out={tmp_path / 'here'}"], check=True)
    with Hosts(2) as hosts:
        cluster = Cluster(hosts, short, (1, 1))
        told = [*command, f"--ray={cluster.address}", f"--out={tmp_path / 'run'}"]
        play_with_a_host_cut_off(hosts, tmp_path / "run", 2, partial(cluster.run, 0, told))
    assert comparable(tmp_path / "run") == comparable(tmp_path / "here")


@pytest.mark.soak
def test_clients_of_a_node_that_is_gone_for_minutes_train_on_the_other(
    tmp_path: Path, short: Path
) -> None:
    """Ray gives the node up, and what its worker trained is handed on: no reply is lost."""
    expected = in_process(tmp_path / "here", 200, clients=2)
    text = f"{JOB.format(rounds=200)} out='{tmp_path / 'run'}'"
    with Hosts(2) as hosts:
        cluster = Cluster(hosts, short, (1, 1))
        play_with_a_host_cut_off(hosts, tmp_path / "run", 1, partial(cluster.simulate, text))
    assert comparable(tmp_path / "run") == expected
    seconds = [float(row["seconds"]) for row in rows(tmp_path / "run" / "rounds.csv")]
    print(f"\nthe longest round took {max(seconds):.0f} s, the median {median(seconds):.2f} s")
    assert max(seconds) > 5, "no round waited for the node that was gone"
