"""A server of one run in a process of its own, for as long as the process that plays it lives."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    assert process.stdout is not None
    with process:  # closes its standard input, and waits
        yield process.stdout.readline().strip()


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
