"""What the lines between hosts do to packets is measured, and nothing of them stays."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.hosts import Hosts, Line, address, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")

ECHO = """
import socket
with socket.create_server(("10.77.0.1", 5000)) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as client:
            while client.recv(65536):
                pass
            client.sendall(b"x")
"""
SEND = """
import socket, sys, time
began = time.perf_counter()
with socket.create_connection(("10.77.0.1", 5000), 3) as server:
    met = time.perf_counter()
    server.sendall(bytes(int(sys.argv[1])))
    server.shutdown(socket.SHUT_WR)
    server.recv(1)
print(met - began, time.perf_counter() - met)
"""


def send(hosts: Hosts, size: int) -> tuple[float, float]:
    """Send bytes from the second host to the first; seconds to meet, and to have sent."""
    command = hosts.command(1, [sys.executable, "-c", SEND, str(size)])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise TimeoutError(done.stderr)
    met, sent = map(float, done.stdout.split())
    return met, sent


def namespaces(owner: int) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"fedgen-{owner}-*")]


def test_lines_delay_throttle_and_lose() -> None:
    with Hosts(2) as hosts:
        command = hosts.command(0, [sys.executable, "-c", ECHO])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as echo, ExitStack() as stack:
            stack.callback(echo.kill)
            assert echo.stdout is not None and echo.stdout.readline() == b"ready\n"
            assert send(hosts, 1)[0] < 0.2  # one way and back, by the switch alone
            hosts.set(Line(delay=0.2, jitter=0.01), 1)
            assert 0.38 < send(hosts, 1)[0]
            hosts.set(Line(rate=1e6), 1)
            assert 125_000 * 8 / 1e6 < send(hosts, 125_000)[1]
            hosts.set(Line(loss=1.0), 1)
            with pytest.raises(TimeoutError, match="timed out"):
                send(hosts, 1)
            hosts.set(Line())
            assert send(hosts, 1)[0] < 0.2
            assert echo.pid in hosts.processes(0)
    assert namespaces(os.getpid()) == []


def test_hosts_vanish_with_a_process_that_is_killed() -> None:
    owner = "import time; from benchmarks.hosts import Hosts\n"
    owner += "with Hosts(2): print('there', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        assert len(namespaces(process.pid)) == 2
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while namespaces(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_addresses_are_told_apart() -> None:
    assert [address(host) for host in (0, 9)] == ["10.77.0.1", "10.77.0.10"]
