"""What runs there are in a directory, how far they are, and who is ahead."""

import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedgen.analysis.ranking import ranking, written
from fedgen.console import duration
from fedgen.errors import InputError
from fedgen.report.results import load
from fedgen.runs.directory import CONFIG
from fedgen.runs.run import Run, is_finished, open_run
from fedgen.runs.shard import SHARDS, Shard


@dataclass(frozen=True)
class Listed:
    """A run of a list, as text."""

    name: str
    data: str
    status: str
    best: str
    engine: str


def listed(folder: Path) -> None:
    """Print the runs of a directory.

    Raises:
        InputError: As ``runs_in``.
    """
    found = runs_in(folder)
    table = Table()
    for field in fields(Listed):
        table.add_column(field.name, overflow="fold")
    for run in found:
        table.add_row(*map(Text, astuple(run)))  # text, never markup
    Console().print(table)


def runs_in(folder: Path, now: float | None = None) -> list[Listed]:
    """Return the runs of a directory by name, read from their files alone.

    Args:
        folder: What runs are directories of; or a run itself.
        now: Seconds since the epoch; of a run that is not finished its latest change is told.

    Raises:
        InputError: If there is no such directory, or no run in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a directory of runs, received none")
    alone = (folder / CONFIG).exists()
    paths = [folder] if alone else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if not paths:
        raise InputError(
            f"{folder}: expected directories of runs, as `compare` makes them, received none"
        )
    return [_listed(path, time.time() if now is None else now) for path in paths]


def _listed(path: Path, now: float) -> Listed:
    name = path.resolve().name
    try:
        run = open_run(path)
        data, engine = (str(run.provenance.get(key, "")) for key in ("dataset", "engine"))
        return Listed(name, data or run.config.data.dataset, _status(run, now), _best(run), engine)
    except InputError as error:
        return Listed(name, "", f"cannot be read: {error}", "", "")


def _status(run: Run, now: float) -> str:
    if not (run.path / SHARDS).is_dir():
        return "rows alone"  # as somebody passed it on
    if is_finished(run):
        return "finished"
    rounds = [max(Shard(run.path, arm).finished_round, 0) for arm in run.arms]
    asked = run.config.run.rounds * len(rounds)
    files = [path.stat().st_mtime for path in (run.path / SHARDS).glob("*/*")]
    changed = f", {duration(max(now - max(files), 0))} ago" if files else ""
    return f"{sum(rounds)} of {asked} rounds{changed}"


def _best(run: Run) -> str:
    try:
        ranked = ranking(load(run.path).summary)
    except InputError:
        return ""  # no round is finished yet
    level = ranked.level if ranked.places else ()
    names = " and ".join(place.name for place in level)
    return f"{names}: {written(ranked, level[0].mean)}" if level else ""
