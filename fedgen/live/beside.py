"""A server of one run in a process of its own, for as long as the process that plays it lives."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 1.0
"""Seconds that the server has to end."""


@contextmanager
def beside(run: Path) -> Iterator[str]:
    """Serve a run inside a ``with`` block, and give the address; none if there is no server.

    A process of its own, as drawing must not take time from training. It ends when its standard
    input does, so also where this process is killed.

    Args:
        run: The run directory.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # it draws; as it only reads, nothing is lost
            process.kill()
            process.wait()
        process.stdout.close()


def main(run: Path) -> None:
    """Serve a run until standard input ends."""
    from fedgen.live.server import watching

    server = watching(run, 0)

    def wait() -> None:
        sys.stdin.read()
        server.end()

    threading.Thread(target=wait, daemon=True).start()
    print(server.address, flush=True)
    server.serve()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:  # Ctrl-C in a terminal reaches both processes
        sys.exit(0)
