"""A deployment spread over hosts of its own, and a run on it that is watched as it goes."""

import contextlib
import subprocess
import threading
import time
from pathlib import Path

import psutil

from benchmarks.hosts import Hosts, address
from fedgen import launch
from fedgen.files.csv import read_csv
from fedgen.launch import Runtime
from fedgen.runs.rows import RoundRow


class Spread(Runtime):
    """A SuperLink on the first of some hosts, and each SuperNode on one of the next."""

    def __init__(self, hosts: Hosts) -> None:
        super().__init__(simulation=False, address=address(0))
        self.hosts = hosts

    def placed(self, name: str, command: list[str]) -> list[str]:
        """Return what starts a part on its host; ``flwr`` runs on the SuperLink's."""
        _, _, partition = name.partition("supernode-")
        return self.hosts.command(host_of(int(partition)) if partition else 0, command)

    def answers(self) -> bool:
        """Return whether the SuperLink can be reached, on its own host."""
        knock = ["bash", "-c", f"</dev/tcp/{self.address}/{self.port}"]
        return subprocess.run(self.hosts.command(0, knock), capture_output=True).returncode == 0


class Play(threading.Thread):
    """A run of one strategy that goes on in the background.

    Attributes:
        error: Why it failed, if it did.
    """

    def __init__(self, flower: Runtime, text: str, out: Path) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._flower, self._out = flower, out
        self._run_config = launch.read_run_config(f"{text} out='{out}'")
        self.start()

    def run(self) -> None:
        """Play it to the end."""
        try:
            self._flower.run(self._run_config)
        except Exception as error:
            self.error = error

    def reached(self) -> int:
        """Return the last round that is over, -1 before round 0, which has no clients."""
        for path in self._out.glob("shards/*/rounds.csv"):
            return path.read_text().count("\n") - 2
        return -1

    def wait_for(self, round_: int, seconds: float = 600.0) -> None:
        """Wait until a round is over.

        Raises:
            RuntimeError: If the run ends before, or it takes longer than this.
        """
        deadline = time.monotonic() + seconds
        while self.reached() < round_:
            if not self.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"round {round_} was not reached: {self.error}")
            time.sleep(0.05)

    def finish(self, seconds: float = 600.0) -> list[RoundRow]:
        """Return the rounds of a run that came to its end, from round 1.

        Raises:
            RuntimeError: If it failed, or takes longer than this.
        """
        self.join(seconds)
        if self.is_alive() or self.error:
            raise RuntimeError(f"the run did not end: {self.error}")
        return read_csv(self._out / "rounds.csv", RoundRow)[1:]


def host_of(partition: int) -> int:
    """Return the host of a partition's SuperNode."""
    return partition + 1


def wait_for_training(hosts: Hosts, partition: int, since: float, seconds: float = 120.0) -> None:
    """Wait until a SuperNode has a message and has started a process that works on it.

    Args:
        hosts: Where the SuperNodes are.
        partition: Whose SuperNode.
        since: A process that is older works on an earlier message; seconds since the epoch.
        seconds: How long to wait.

    Raises:
        RuntimeError: If it takes longer than this.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in hosts.processes(host_of(partition)):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                trains = any(word.endswith("flwr-clientapp") for word in process.cmdline())
                if trains and process.create_time() > since:
                    return
        time.sleep(0.05)
    raise RuntimeError(f"the SuperNode of partition {partition} does not train")
