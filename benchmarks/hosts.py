"""Hosts on one machine, joined by lines that lose, delay, throttle and drop packets.

A host is a network namespace with one interface, 10.77.0.1 for the first, 10.77.0.2 for the second.
Every packet between two of them passes through a switch, a process of its own, which reads it from
one TUN interface and writes it to another, or does not: what TCP makes of it is the kernel's own
doing. Linux' ``netem`` would do the same, but kernels are built without it, and a line that is
gone for a while, without a sign to either end, is one here with a loss of 1.

Needs Linux, iproute2, ``/dev/net/tun`` and CAP_SYS_ADMIN; see ``missing``. Neither an interface nor
a setting of the machine itself is touched. The namespaces vanish with the process that asked for
them, also when it is killed.
"""

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

NETNS = Path("/run/netns")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500
QUEUE_SECONDS = 0.5
"""How much waits before a throttled line; what comes when it is full is lost."""


@dataclass(frozen=True)
class Line:
    """What happens to packets between a host and the switch, in either direction.

    Attributes:
        loss: Share of packets lost, in [0, 1]; with 1 the host is cut off.
        delay: Seconds that a packet takes, at least 0.
        jitter: Up to how many seconds more or less, at most ``delay``. Packets stay in order.
        rate: Bits per second; 0 for no limit.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0


def address(host: int) -> str:
    """Return a host's address; the first host is 0."""
    return f"10.77.0.{host + 1}"


def missing() -> str:
    """Return what this machine lacks for hosts of its own, or ``""``."""
    for program in ("ip", "nsenter"):
        if not shutil.which(program):
            return f"the program {program}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    return "" if made.returncode == 0 else "the right to make network namespaces"


class Hosts:
    """Hosts and the lines between them, there inside a ``with`` block.

    Args:
        count: How many, 1 to 250.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> "Hosts":
        self._switch = subprocess.Popen(
            [sys.executable, "-I", __file__, str(os.getpid()), str(self.count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; what runs on the hosts ends first
        )
        self._await("ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._switch.stdin is not None and self._switch.stdout is not None
        self._switch.stdin.close()
        self._switch.wait()
        self._switch.stdout.close()

    def command(self, host: int, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one on a host, as the same process."""
        return ["nsenter", f"--net={NETNS / _name(os.getpid(), host)}", *command]

    def set(self, line: Line, *hosts: int) -> None:
        """Change the lines of these hosts, or of all, from now on."""
        assert self._switch.stdin is not None
        told = {"hosts": hosts or tuple(range(self.count)), "line": asdict(line)}
        print(json.dumps(told), file=self._switch.stdin, flush=True)
        self._await("set")

    def processes(self, host: int) -> list[int]:
        """Return the ids of what runs on a host."""
        return _processes(_name(os.getpid(), host))

    def _await(self, word: str) -> None:
        assert self._switch.stdout is not None
        if self._switch.stdout.readline().strip() != word:
            raise OSError("the switch between the hosts ended; its message is above")


class _Port:
    """One direction of one host's line."""

    def __init__(self) -> None:
        self.line = Line()
        self.free = self.last = 0.0

    def due(self, packet: bytes, now: float) -> float | None:
        """Return when a packet that comes now is through, or ``None`` if it is lost."""
        line = self.line
        if line.loss and random.random() < line.loss:
            return None
        if line.rate:
            self.free = max(self.free, now)
            if self.free - now > QUEUE_SECONDS:
                return None
            self.free += 8 * len(packet) / line.rate
            now = self.free
        now += line.delay + random.uniform(-line.jitter, line.jitter)
        self.last = max(self.last, now)
        return self.last


def _name(owner: int, host: int) -> str:
    return f"fedgen-{owner}-{host}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _processes(namespace: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def _interface(namespace: str) -> int:
    """Make a TUN interface in a namespace and return its file descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(NETNS / namespace, os.O_RDONLY)
    try:
        if libc.setns(other, 0):
            raise OSError(ctypes.get_errno(), "setns")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"net0", IFF_TUN | IFF_NO_PI))
    finally:
        libc.setns(own, 0)
        os.close(own)
        os.close(other)
    return tun


@contextlib.contextmanager
def _interfaces(owner: int, count: int) -> Iterator[list[int]]:
    """Make the hosts, and remove them with all that still runs there."""
    made: list[str] = []
    try:
        tuns = []
        for host in range(count):
            name = _name(owner, host)
            _ip("netns", "add", name)
            made.append(name)
            tuns.append(_interface(name))
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"{address(host)}/24", "dev", "net0")
            _ip("-n", name, "link", "set", "net0", "mtu", str(MTU), "up")
        yield tuns
    finally:
        for name in made:
            for pid in _processes(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _ip("netns", "del", name)


def _forward(tuns: list[int]) -> None:
    """Carry packets until standard input ends, which says how lines change."""
    up, down = [_Port() for _ in tuns], [_Port() for _ in tuns]
    hosts = {int(address(host).rpartition(".")[2]): host for host in range(len(tuns))}
    by_tun = {tun: host for host, tun in enumerate(tuns)}
    waiting: list[tuple[float, int, int, bytes]] = []  # due, in which order, for whom, packet
    came = 0
    while True:
        wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([0, *tuns], [], [], wait)
        if 0 in ready:
            told = sys.stdin.readline()
            if not told:
                return
            change = json.loads(told)
            for host in change["hosts"]:
                up[host].line = down[host].line = Line(**change["line"])
            print("set", flush=True)
        now = time.monotonic()
        for tun in ready:
            if tun not in by_tun:
                continue
            for _ in range(64):  # then others have their turn
                try:
                    packet = os.read(tun, 65536)
                except BlockingIOError:
                    break
                target = hosts.get(packet[19]) if packet[0] >> 4 == 4 else None
                if target is None:
                    continue
                due = up[by_tun[tun]].due(packet, now)
                due = None if due is None else down[target].due(packet, due)
                if due is not None:
                    came += 1
                    heapq.heappush(waiting, (due, came, tuns[target], packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, tun, packet = heapq.heappop(waiting)
            with contextlib.suppress(BlockingIOError):  # its queue is full: lost
                os.write(tun, packet)


def main() -> None:
    """Be the switch between the hosts of the process that started this one."""
    with _interfaces(int(sys.argv[1]), int(sys.argv[2])) as tuns:
        print("ready", flush=True)
        _forward(tuns)


if __name__ == "__main__":
    main()
