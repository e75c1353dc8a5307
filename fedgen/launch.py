"""Flower's runtimes on this machine: started, given one run, and stopped, all of it.

    python -m fedgen.launch simulate "dataset='digits' rounds=3 clients=10"
    python -m fedgen.launch deploy "dataset='digits' rounds=3 clients=10"

``simulate`` runs all clients on Ray under a SuperLink of its own; ``deploy`` starts
a SuperLink and a SuperNode per client with TLS and node authentication. Everything
listens on 127.0.0.1 and keeps its state in a private directory.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from fedgen.config.tree import Config
from fedgen.deployment.credentials import write_certificates, write_node_key
from fedgen.deployment.simulation import federation_config, visible_gpus
from fedgen.deployment.superlink import (
    CONNECTION,
    PROJECT,
    defaults,
    play,
    program,
    read_given,
    register,
)
from fedgen.engine.engines import settled
from fedgen.engine.plan import LANES
from fedgen.errors import FedgenError, InputError, RunError
from fedgen.federation.resources import Resources, absolute
from fedgen.federation.run_config import OUT, RESUME, from_run_config, to_run_config
from fedgen.runs import directory
from fedgen.runs.run import default_path, open_run

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

START_SECONDS, STOP_SECONDS = 90.0, 15.0

_ENVIRONMENT = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "PYTHONUNBUFFERED": "1",
    # Seconds between two looks for something to start; 1 otherwise.
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    # Ray starts its workers at the lowest priority; on a busy machine they never come up.
    "RAY_worker_niceness": "0",
}


_given_ports: set[int] = set()


class Runtime:
    """A SuperLink and what belongs to it, alive inside a ``with`` block.

    Args:
        simulation: Start a SuperLink that simulates; otherwise one that SuperNodes
            connect to.
        backend: Keras' back end in all of its processes, as Flower imports TensorFlow, and with it
            Keras, before fedgen knows the run's engine.
        address: Where the SuperLink listens, and SuperNodes find it.

    Attributes:
        home: The private directory, removed at the end.
        nodes: The processes of the SuperNodes, by partition id.
    """

    def __init__(
        self, simulation: bool, backend: str = "tensorflow", address: str = "127.0.0.1"
    ) -> None:
        self.simulation = simulation
        self.address = address
        self.home = Path(tempfile.mkdtemp(prefix="fedgen-"))
        self.port = free_port()
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._completed = False
        self._environment = os.environ | {
            name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()
        }
        # Flower's programs start one another by name.
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._environment |= {"FLWR_HOME": str(self.home / "flwr"), "PATH": programs}
        self._environment["KERAS_BACKEND"] = backend
        if not os.environ.get("RAY_ADDRESS"):
            # Else Ray joins whatever cluster somebody has started on this machine, and
            # listens on its outer address; the switch keeps it to 127.0.0.1 on Linux, too.
            self._environment |= {"RAY_ADDRESS": "local", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

    def __enter__(self) -> "Runtime":
        try:
            self._start_superlink()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with _undisturbed():
            self._stop()
            shutil.rmtree(self.home, ignore_errors=True)

    def add_node(self, partition: int, partitions: int) -> None:
        """Start a SuperNode; one that was started before keeps its identity."""
        self._await_superlink()
        key = self.home / f"node-{partition}"
        if not key.exists():
            write_node_key(key)
            register(key.with_suffix(".pub"), self._environment, self.placed("flwr", []))
        self.nodes[partition] = self._start(
            f"supernode-{partition}",
            ["flower-supernode", "--superlink", f"{self.address}:{self.port}"]
            + ["--root-certificates", str(self.home / "ca.pem")]
            + ["--auth-supernode-private-key", str(key)]
            + ["--host", "127.0.0.1", "--port", str(free_port())]
            + ["--node-config", f"partition-id={partition} num-partitions={partitions}"],
        )

    def run(self, run_config: Mapping[str, Any], federation: str = "", app: Path = PROJECT) -> None:
        """Play one run, its log on stdout.

        Raises:
            RunError: If it was not completed, with Flower's reason.
        """
        self._await_superlink()
        try:
            play(run_config, self._environment, federation, app, self.placed("flwr", []))
        except RunError:
            self._check_superlink()
            raise
        self._completed = True

    def answers(self) -> bool:
        """Return whether the SuperLink can be reached."""
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def placed(self, name: str, command: list[str]) -> list[str]:
        """Return what starts a part of the runtime where it belongs: here, on this machine.

        Args:
            name: ``superlink``, ``supernode-PARTITION``, or ``flwr``.
            command: The part itself, which takes the place of what is returned.
        """
        return command

    def _check_superlink(self) -> None:
        """Raise ``RunError`` if the SuperLink, the first process that was started, has ended."""
        status = self._children[0].poll()
        if status is not None:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise RunError(f"the SuperLink {how} before the run was done")

    def _start_superlink(self) -> None:
        command = ["flower-superlink", "--host", self.address, "--port", str(self.port)]
        connection: dict[str, Any] = {"address": f"{self.address}:{self.port}"}
        if self.simulation:  # one process on the loopback device speaks to itself
            command += ["--simulation", "--insecure"]
            connection["insecure"] = True
        else:
            write_certificates(self.home, self.address)
            command += ["--enable-supernode-auth"]
            for flag, name in (("ca-certfile", "ca.pem"), ("certfile", "server.pem")):
                command += [f"--ssl-{flag}", str(self.home / name)]
            command += ["--ssl-keyfile", str(self.home / "server.key")]
            connection["root-certificates"] = str(self.home / "ca.pem")
        flwr_home = self.home / "flwr"
        flwr_home.mkdir()
        settings = {"superlink": {"default": CONNECTION, CONNECTION: connection}}
        (flwr_home / "config.toml").write_text(tomli_w.dumps(settings))
        self._start("superlink", command)

    def _await_superlink(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._children[0].poll() is not None or time.monotonic() > deadline:
                written = (self.home / "superlink.log").read_text(errors="replace")
                last = written.strip().splitlines()[-1:]
                raise RunError(f"the SuperLink did not start: {' '.join(last)}")
            time.sleep(0.1)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C is for us, and we stop the others in order. In
            # the private directory, because Ray's workers import from there first.
            child = subprocess.Popen(
                self.placed(name, [program(command[0]), *command[1:]]),
                env=self._environment,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def _stop(self) -> None:
        """End every process that was started for this runtime, directly or not.

        After a run that was completed, there is nothing that they would have to finish.
        """
        end, seconds = psutil.Process.terminate, STOP_SECONDS
        if self._completed:
            end, seconds = psutil.Process.kill, 1.0
        while processes := self._processes():
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    end(process)
            deadline = time.monotonic() + seconds
            while any(map(_lives, processes)) and time.monotonic() < deadline:
                time.sleep(0.05)
            end, seconds = psutil.Process.kill, 1.0
        for child in self._children:
            child.wait()

    def _processes(self) -> list[psutil.Process]:
        # Ray detaches its processes from their parents; the environment stays with them.
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("FLWR_HOME") == self._environment["FLWR_HOME"]
                if ours and _lives(process):
                    found.append(process)
        return found


def _lives(process: psutil.Process) -> bool:
    """Return whether a process is there; one that ended, and nobody asked how, is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on, another one each time."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def read_run_config(text: str) -> dict[str, Any]:
    """Read a text in ``--run-config`` form and check it before anything is played.

    Returns:
        All keys, with absolute paths.

    Raises:
        InputError: If a key is unknown, a value is wrong, the data set cannot be
            had, or the run directory is not free.
    """
    return _checked(*_asked(text))


def _checked(config: Config, out: str, resume: str) -> dict[str, Any]:
    held = Resources(absolute(config))
    if resume:
        return {**to_run_config(held.config), RESUME: str(Path(resume).absolute())}
    path = Path(out or default_path(held.dataset.name)).absolute()
    directory.check_free(path)
    return {**to_run_config(held.config), OUT: str(path)}


def _asked(text: str) -> tuple[Config, str, str]:
    """Return what can be read without looking at data: the config, ``out`` and ``resume``."""
    given = read_given(text)
    out, resume = given.get(OUT, ""), given.get(RESUME, "")
    if out and resume and Path(out).absolute() != Path(resume).absolute():
        raise InputError(
            f"run config: resume={resume!r} and out={out!r}: expected one run directory; a run "
            "goes on where it is"
        )
    # Of a run that goes on, what is not said is as it was.
    unsaid = to_run_config(open_run(Path(resume).absolute()).config) if resume else defaults()
    return from_run_config(unsaid | given), out, resume


@contextlib.contextmanager
def _to_go_on(run_config: Mapping[str, Any]) -> Iterator[None]:
    """Say of a run that failed, but has begun, how to go on with it."""
    path = run_config[RESUME] or run_config[OUT]
    try:
        yield
    except RunError as error:
        if not (Path(path) / directory.CONFIG).exists():
            raise
        raise RunError(f"{error.line}; to go on: the same command with resume='{path}'") from error


def simulate(text: str) -> None:
    """Play a run on Ray, with a node per client."""
    if find_spec("ray") is None:
        raise InputError("Ray is not installed: pip install -e '.[simulation]'")
    config, *paths = _asked(text)
    engine = settled(config.training).engine
    with Runtime(simulation=True, backend=engine) as flower:
        run_config = _checked(config, *paths)  # while the SuperLink comes up
        with _to_go_on(run_config):
            together = config.run.workers or LANES * visible_gpus() if engine == "jax" else 0
            flower.run(run_config, federation_config(run_config["clients"], together))


def deploy(text: str) -> None:
    """Play a run on a SuperLink and a SuperNode per client."""
    config, *paths = _asked(text)
    with Runtime(simulation=False, backend=settled(config.training).engine) as flower:
        run_config = _checked(config, *paths)
        clients = run_config["clients"]
        for partition in range(clients):
            flower.add_node(partition, clients)
        with _to_go_on(run_config):
            flower.run(run_config)


def main(arguments: list[str]) -> int:
    """Run one of the two commands and return the exit code."""
    commands = {"simulate": simulate, "deploy": deploy}
    if not 1 <= len(arguments) <= 2 or arguments[0] not in commands:
        print(
            f"fedgen: expected simulate or deploy, and one RUN-CONFIG: {arguments}", file=sys.stderr
        )
        return 2
    for sign in _INTERRUPTS:
        if signal.getsignal(sign) is not signal.SIG_IGN or sign != signal.SIGHUP:  # nohup
            signal.signal(sign, _interrupt)
    try:
        commands[arguments[0]]("".join(arguments[1:]))
    except FedgenError as error:
        print(f"fedgen: {error.line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    return 0


def _interrupt(*_: object) -> None:
    for sign in _INTERRUPTS:  # a second one must not end the stopping
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore interrupts, where the main thread is the one to stop things."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in _INTERRUPTS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
