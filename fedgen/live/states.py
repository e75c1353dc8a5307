"""How far a run is, whether it is being played, and who is ahead: read from its files alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fedgen.analysis.pace import Pace, seconds_left
from fedgen.analysis.ranking import Ranking, ranking, written
from fedgen.config import budget
from fedgen.config.tree import Arm
from fedgen.console import duration
from fedgen.errors import InputError
from fedgen.report.results import Results, load
from fedgen.runs import costs, watch
from fedgen.runs.directory import CONFIG
from fedgen.runs.rows import RoundRow
from fedgen.runs.run import Run, is_finished, open_run
from fedgen.runs.shard import SHARDS, Shard

RUN = ("run", "data", "how far", "time left", "best so far", "engine")
"""What a list tells of a run."""

SILENT = 60.0
"""Seconds without a sign of life after which it is said."""


class Rows:
    """A run's rows as they were read, and what is worked out of them once.

    Args:
        results: The rows.
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def ranking(self) -> Ranking:
        """Who is ahead."""
        return ranking(self.results.summary)

    @property
    def best(self) -> str:
        """Who is ahead, and by what figure, in words."""
        level = self.ranking.level if self.ranking.places else ()
        names = " and ".join(place.name for place in level)
        return f"{names}: {written(self.ranking, level[0].mean)}" if level else ""


@dataclass(frozen=True)
class ArmState:
    """How far an arm is.

    Attributes:
        strategy: Its strategy.
        seed: Its seed.
        round: The last round that is finished, 0 before the first.
        rounds: How many were asked for.
        value: The deciding metric on the test set, the latest there is.
        pace: What its rounds take.
        sign: Its sign of life, if it is being played.
        ended: Why it ended early, if it did.
    """

    strategy: str
    seed: int
    round: int
    rounds: int
    value: float | None
    pace: Pace
    sign: watch.Sign | None
    ended: str


@dataclass(frozen=True)
class State:
    """A run as its files have it.

    Attributes:
        name: Its directory's.
        data: Its data set.
        engine: What trains, and on what.
        arms: Its arms, in the run's order; none of a run that was passed on without its shards.
        finished: Whether nothing is left to play.
        changed: When a file of its shards was written last, in seconds since the epoch.
        broken: Why it cannot be read, if it cannot.
        rows: Its rows, if a round is finished.
    """

    name: str
    data: str = ""
    engine: str = ""
    arms: Sequence[ArmState] = ()
    finished: bool = False
    changed: float = 0.0
    broken: str = ""
    rows: Rows | None = None

    @property
    def played(self) -> bool:
        """Whether somebody plays it, or was killed while doing so."""
        return any(arm.sign for arm in self.arms)

    @property
    def done(self) -> int:
        """Rounds that are finished, of all arms; those that an arm's early end spares count."""
        return sum(arm.rounds - arm.pace.left for arm in self.arms)

    @property
    def asked(self) -> int:
        """Rounds that were asked for, of all arms."""
        return sum(arm.rounds for arm in self.arms)

    def silent(self, now: float) -> float:
        """Return the seconds since the last sign of life, or the last change of a file."""
        return max(now - max([self.changed, *(arm.sign.at for arm in self.arms if arm.sign)]), 0.0)

    def left(self, now: float) -> float | None:
        """Return the seconds until it ends; ``None`` where nothing tells."""
        if self.finished or not self.played or self.silent(now) > SILENT:
            return None
        left = seconds_left([arm.pace for arm in self.arms])
        return None if left is None else max(left - max(now - self.changed, 0.0), 0.0)

    def line(self, now: float) -> tuple[str, ...]:
        """Return what a list tells of it, in the order of ``RUN``."""
        left, best = self.left(now), self.rows.best if self.rows else ""
        told = "" if left is None else duration(left)
        return self.name, self.data, self.told(now), told, best, self.engine

    def told(self, now: float) -> str:
        """Return how far it is, in words."""
        if self.broken:
            return f"cannot be read: {self.broken}"
        if not self.arms:
            return "rows alone"  # as somebody passed it on
        if self.finished:
            return "finished"
        rounds, silent = f"{self.done} of {self.asked} rounds", self.silent(now)
        if not self.played:
            return f"{rounds}, stopped {duration(silent)} ago" if self.changed else rounds
        return rounds if silent < SILENT else f"{rounds}, no sign of life for {duration(silent)}"


def runs_in(folder: Path) -> list[Path]:
    """Return the directories of the runs of a directory by name, or itself if it is a run.

    Raises:
        InputError: If there is no such directory.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a directory of runs, received none")
    if (folder / CONFIG).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))


def read_rows(run: Run) -> Rows | None:
    """Read a run's rows; there are none before its first round is finished.

    Raises:
        InputError: If they do not read.
    """
    begun = any(Shard(run.path, arm).finished_round >= 0 for arm in run.arms)
    return Rows(load(run.path)) if begun or (run.path / "rounds.csv").exists() else None


def read(path: Path, rows_of: Callable[[Run], Rows | None] = read_rows) -> State:
    """Return the state of a run; one that does not read says why.

    Args:
        path: The run directory.
        rows_of: Reads its rows, or has them already.
    """
    name = path.resolve().name
    try:
        run = open_run(path)
        data, engine = (str(run.provenance.get(key, "")) for key in ("dataset", "engine"))
        data = data or run.config.data.dataset
        rows = rows_of(run)
        if not (path / SHARDS).is_dir():
            return State(name, data, engine, finished=True, rows=rows)
        arms = _arms(run, rows.results if rows else None)
        files = [file.stat().st_mtime for file in (path / SHARDS).glob("*/*.csv")]
        changed = max(files, default=0.0)
        return State(name, data, engine, arms, is_finished(run), changed, rows=rows)
    except InputError as error:
        return State(name, broken=str(error))
    except FileNotFoundError as error:  # a directory that is moved away while it is read
        return State(name, broken=f"{error.filename} is gone")


def _arms(run: Run, results: Results | None) -> list[ArmState]:
    rows: dict[tuple[str, int], list[RoundRow]] = {}
    for row in results.rounds if results else ():
        rows.setdefault((row.strategy, row.seed), []).append(row)
    ended = {(row.strategy, row.seed): row.why for row in results.ended} if results else {}
    return [_arm(run, arm, rows.get((arm.strategy, arm.seed), []), ended) for arm in run.arms]


def _arm(
    run: Run, arm: Arm, rows: Sequence[RoundRow], ended: Mapping[tuple[str, int], str]
) -> ArmState:
    settings, metric = run.config.run, run.config.metric
    limit = budget.parse(settings.budget)
    left = settings.rounds - max((row.round for row in rows), default=0)
    if (arm.strategy, arm.seed) in ended:
        left = 0
    elif limit and rows and (price := costs.COSTS[limit.unit](rows[-1])):
        left = min(left, max(0, math.floor(costs.left(limit, rows) / price)))
    found = watch.sign(run.path, arm)
    trained = [row for row in rows if row.round]
    played = [row.seconds for row in rows if found and row.round > found.since]
    since = found.at - found.began if found else 0.0
    values = [value for row in rows if (value := row.value("test", metric.name)) is not None]
    return ArmState(
        arm.strategy,
        arm.seed,
        max((row.round for row in rows), default=0),
        settings.rounds,
        values[-1] if values else None,
        Pace(arm.strategy, [row.seconds for row in trained], left, math.fsum(played), since),
        found,
        ended.get((arm.strategy, arm.seed), ""),
    )
