"""The list of the runs of a directory, and the pages that follow them."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedgen.console import shown
from fedgen.errors import InputError
from fedgen.live.states import RUN, read, runs_in


def listed(folder: Path) -> None:
    """Print the runs of a directory.

    Raises:
        InputError: If there is no such directory, or no run in it.
    """
    table = Table()
    for name in RUN:
        table.add_column(name, overflow="fold")
    for line in lines(folder, time.time()):
        table.add_row(*(Text(shown(cell)) for cell in line))  # text, never markup
    Console().print(table)


def lines(folder: Path, now: float) -> list[tuple[str, ...]]:
    """Return what is listed of each run of a directory, in the order of ``states.RUN``.

    Args:
        folder: What runs are directories of; or a run itself.
        now: Seconds since the epoch.

    Raises:
        InputError: If there is no such directory, or no run in it.
    """
    found = runs_in(folder)
    if not found:
        raise InputError(
            f"{folder}: expected directories of runs, as `compare` makes them, received none"
        )
    return [read(path).line(now) for path in found]


def watch(folder: Path, port: int) -> None:
    """Serve pages of the runs of a directory until it is interrupted.

    Raises:
        InputError: If there is no such directory, or the port cannot be had.
    """
    from fedgen.live.server import watching

    server = watching(folder, port)
    print(f"watch: {server.address}")
    print("Ctrl-C ends it; runs go on.", flush=True)
    server.serve()
