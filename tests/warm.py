"""The command in processes of its own that need not import TensorFlow again.

They are forked from a server that has imported what the command imports, and that has computed
nothing: three seconds of processor time less for each. What is held of imports, of the
environment at their time, or of the interpreter's own options, takes a process of its own, and
so does what starts processes by joblib.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TextIO

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["warmed"])
HERE = Path(__file__).parent


def _server() -> None:
    """Start the server, once, so that it finds what it is to import."""
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE), given or ""])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if given is not None:
            os.environ["PYTHONPATH"] = given


def cold(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], options: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start the command in an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, *options, "-m", "fedgen", *arguments],
        cwd=cwd,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What was started in the background ignores Ctrl-C, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


class Command:
    """A process of the command, with as much of ``subprocess.Popen`` as tests use."""

    def __init__(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        _server()
        out, out_end = _CONTEXT.Pipe(duplex=False)
        err, err_end = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_serve, args=(list(arguments), str(cwd), dict(env), out_end, err_end)
        )
        self._process.start()
        out_end.close()
        err_end.close()
        self.stdout, self.stderr = _reader(out), _reader(err)
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code; of a process that a signal killed, minus its number."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, ``None`` while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("fedgen", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return what is left on both streams."""
        texts = ["", ""]

        def read(place: int, stream: TextIO) -> None:
            texts[place] = stream.read()
            stream.close()

        streams = enumerate((self.stdout, self.stderr))
        readers = [Thread(target=read, args=pair, daemon=True) for pair in streams]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()  # or pytest would wait for it at its own end
            raise
        for reader in readers:
            reader.join()
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send a signal to it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def _reader(end: Connection) -> TextIO:
    stream = open(os.dup(end.fileno()), encoding="utf-8")  # noqa: SIM115
    end.close()
    return stream


def _serve(
    arguments: list[str], cwd: str, env: dict[str, str], out: Connection, err: Connection
) -> None:
    """Be ``python -m fedgen`` in this process; or ``python SCRIPT``, if the first one is that."""
    for number, end in ((1, out), (2, err)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    # What was started in the background ignores Ctrl-C, and hands that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"})  # or it starts anew
    others = [path for path in sys.path if Path(path) != HERE]
    sys.path[:] = [cwd, *env.get("PYTHONPATH", "").split(os.pathsep), *others]
    from fedgen import runtime

    runtime.configure()
    if arguments[:1] and arguments[0].endswith(".py"):
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.argv = ["fedgen", *arguments]
        runpy.run_module("fedgen", run_name="__main__", alter_sys=True)
