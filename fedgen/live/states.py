"""How far a run is, whether it is being played, and who is ahead: read from its files alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fedgen.analysis.ranking import Ranking, ranking, written
from fedgen.console import duration
from fedgen.errors import InputError
from fedgen.live.left import Course, seconds_left
from fedgen.live.standing import Standing, rounds_left
from fedgen.report.results import Results, load
from fedgen.runs import watch
from fedgen.runs.directory import CONFIG
from fedgen.runs.rows import DIVERGED, RoundRow
from fedgen.runs.run import Run, open_run
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

    @cached_property
    def by_arm(self) -> list[list[RoundRow]]:
        """The rounds of every arm, in the run's order."""
        rows: dict[tuple[str, int], list[RoundRow]] = {}
        for row in self.results.rounds:
            rows.setdefault((row.strategy, row.seed), []).append(row)
        return [rows.get((arm.strategy, arm.seed), []) for arm in self.results.run.arms]

    @cached_property
    def standings(self) -> list[Standing]:
        """How far every arm is, in the run's order."""
        ended = {(row.strategy, row.seed) for row in self.results.ended}
        return [
            replace(Standing(arm).take_all(rows), ended=(arm.strategy, arm.seed) in ended)
            for arm, rows in zip(self.results.run.arms, self.by_arm, strict=True)
        ]

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
        standing: What it has come to; it runs where there is a sign.
        left: Rounds that it will still play.
        rows: The rounds that it has finished.
        sign: Its sign of life, if it is being played.
    """

    standing: Standing
    left: int
    rows: Sequence[RoundRow]
    sign: watch.Sign | None


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
        """Rounds that are finished, of all arms."""
        return sum(max(arm.standing.round, 0) for arm in self.arms)

    @property
    def asked(self) -> int:
        """Rounds of all arms, without those that an early end spares."""
        return self.done + sum(arm.left for arm in self.arms)

    def silent(self, now: float) -> float:
        """Return the seconds since the last sign of life, or the last change of a file."""
        return max(now - max([self.changed, *(arm.sign.at for arm in self.arms if arm.sign)]), 0.0)

    def left(self, now: float) -> float | None:
        """Return the seconds until it ends; ``None`` where nothing tells."""
        if self.finished or not self.played or self.silent(now) > SILENT:
            return None
        left = _seconds_left(self.arms)
        if left is None:
            return None
        left -= max(now - self.changed, 0.0)
        return left if left > 0 else None  # a round takes longer than was thought

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
        InputError: If there is no such directory, or it cannot be looked into.
    """
    try:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: expected a directory of runs, received none; `python -m fedgen "
                "compare` makes its runs in the directory `runs`"
            )
        if (folder / CONFIG).exists():
            return [folder]
        return sorted(path for path in folder.iterdir() if _may_be_run(path))
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror})") from error


def _may_be_run(path: Path) -> bool:
    try:
        return (path / CONFIG).exists()
    except PermissionError:
        return path.is_dir()  # whoever reads it says so


def called(path: Path) -> str:
    """Return what a run is called: its directory, or the link to it."""
    return path.name if path.name not in ("", "..") else path.resolve().name


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
    name = called(path)
    try:
        run = open_run(path)
        data, engine = (str(run.provenance.get(key, "")) for key in ("dataset", "engine"))
        data = data or run.config.data.dataset
        rows = rows_of(run)
        if not (path / SHARDS).is_dir():
            return State(name, data, engine, finished=True, rows=rows)
        arms = _arms(run, rows)
        files = [file.stat().st_mtime for file in (path / SHARDS).glob("*/*.csv")]
        changed = max(files, default=0.0)
        failed = any(row.how == DIVERGED for row in rows.results.ended) if rows else False
        finished = not failed and not any(arm.left for arm in arms)
        return State(name, data, engine, arms, finished, changed, rows=rows)
    except InputError as error:
        return State(name, broken=str(error))
    except OSError as error:  # not ours to look into, or moved away while it is read
        return State(name, broken=f"{error.filename}: {error.strerror}")


def _arms(run: Run, rows: Rows | None) -> list[ArmState]:
    standings = rows.standings if rows else [Standing(arm) for arm in run.arms]
    signs = [watch.sign(run.path, arm) for arm in run.arms]
    standings = [
        replace(standing, running=sign is not None)
        for standing, sign in zip(standings, signs, strict=True)
    ]
    played = rows.by_arm if rows else [[] for _ in run.arms]
    return list(map(ArmState, standings, rounds_left(standings), played, signs))


def _seconds_left(arms: Sequence[ArmState]) -> float | None:
    """Return the seconds until all arms are played, by what their rows and signs say.

    Arms that were taken up together take turns. Rounds take as much longer than their rows
    say as those did that the present processes have played.
    """
    since: dict[float, float] = {}
    for arm in arms:
        if arm.sign:
            took = arm.sign.latest - arm.sign.began
            since[arm.sign.began] = max(since.get(arm.sign.began, 0.0), took)
    told = math.fsum(arm.sign.told for arm in arms if arm.sign)
    # A second that went as told is counted, so that few of them are not noise.
    times = (1 + math.fsum(since.values())) / (1 + told)
    starts: dict[str, list[float]] = {}
    rounds: dict[str, list[float]] = {}
    for arm in arms:
        for row in arm.rows:
            kept = rounds if row.round else starts
            kept.setdefault(row.strategy, []).append(times * row.seconds)
    courses = [
        Course(arm.standing.arm.strategy, arm.left, bool(arm.rows), arm.sign is not None)
        for arm in arms
        if arm.left
    ]
    lanes = {arm.sign.began for arm in arms if arm.sign and arm.left}
    return seconds_left(courses, starts, rounds, max(1, len(lanes)))
