"""A live table on a terminal, of any height and width."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedgen.comparison.progress.folding import fit
from fedgen.comparison.progress.lines import Lines
from fedgen.comparison.progress.table import GAP, line, table
from fedgen.config.tree import Arm
from fedgen.console import duration
from fedgen.errors import InputError
from fedgen.live.left import Course, Pace, seconds_left
from fedgen.live.standing import Standing, rounds_left
from fedgen.runs.rows import RoundRow
from fedgen.runs.run import Run
from fedgen.runs.shard import Shard
from fedgen.runs.watch import Watcher

NARROWEST = 8
"""Columns of a bar."""
MARGIN = 4
"""Columns behind it, where a terminal echoes ^C: on a line of its own it would move the table."""

Key = tuple[str, int]


@dataclass(frozen=True)
class _Bar:
    """What has been answered of what was asked, since when; the longest text that fits tells it."""

    texts: tuple[str, ...]
    done: int
    asked: int | None
    unit: str
    since: float


class LiveTable(Watcher):
    """A row per arm that is played, the time left, and a bar of the clients of the round.

    Args:
        arms: All arms of the run, in its order.
        played: Rows of rounds that are there already, by strategy and seed.
        console: Where it is shown.
        clock: Tells seconds.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        played: Mapping[Key, Sequence[RoundRow]] | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console()
        self._clock = clock
        self._played = dict(played or {})
        self._standings = {
            (arm.strategy, arm.seed): Standing(arm).take_all(
                self._played.get((arm.strategy, arm.seed), ())
            )
            for arm in arms
        }
        self._title = ""
        self._at_once = 1
        self._bar = _Bar(("",), 0, None, "clients", clock())
        self._pace = Pace(row for rows in self._played.values() for row in rows)
        self._left: float | None = None
        self._to_play: list[int] = []
        self._moves = False
        self._reckoned = self._began = clock()
        self._closed = False
        self._live = Live(console=self._console, get_renderable=self.render, auto_refresh=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._live.stop()

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """Show what arms have, as far as it was not gone back."""
        self._title, self._at_once = text, at_once
        for arm, last in zip(arms, finished, strict=True):
            key = arm.strategy, arm.seed
            rows = [row for row in self._played.get(key, ()) if row.round <= last]
            self._standings[key] = replace(Standing(arm).take_all(rows), round=last)
        self._reckon()

    def started(self, arm: Arm) -> None:
        """Show an arm's row."""
        key = arm.strategy, arm.seed
        self._standings[key] = replace(self._standings[key], running=True)
        self._reckon()
        if self._at_once == 1:
            self._pace.start(self._clock())

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """Move the clients' bar."""
        number = self._standings[arm.strategy, arm.seed].round + 1
        what = f"round {number}" if number else "probe"
        texts = f"{arm.strategy}, seed {arm.seed}, {what}", f"{arm.strategy}, {what}", what
        since = self._bar.since if self._bar.texts == texts else self._clock()
        self._bar = _Bar(texts, done, asked, "clients", since)

    def played(self, row: RoundRow) -> None:
        """Move an arm's row."""
        key = row.strategy, row.seed
        self._standings[key] = replace(self._standings[key].take(row), running=True)
        self._moves = True
        take = self._pace.take if self._at_once == 1 else self._pace.take_beside
        take(row, self._clock())
        self._reckon()

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(f"note: {text}", markup=False, highlight=False)

    def ended(self, arm: Arm, why: str) -> None:
        """Say it, and in the arm's row that it has ended."""
        super().ended(arm, why)
        self._end(arm)

    def rested(self, arm: Arm, why: str) -> None:
        """Say it, and in the arm's row that it has ended."""
        super().rested(arm, why)
        self._end(arm)

    def spent(self, arm: Arm, why: str) -> None:
        """Say in the arm's row that it has ended."""
        self._end(arm)

    def warn(self, text: str) -> None:
        """Print a loud line above the table."""
        self._console.print(f"!!! {text}", style="bold red", markup=False)

    def render(self) -> Group:
        """Return what is shown now: one line less than the terminal has, at most."""
        width, height = self._console.size
        room = max(1, height - 1)
        ends = [] if self._closed else [self._bar_line(width - MARGIN)]
        lines: list[RenderableType] = [line(self._status())] if room > len(ends) else []
        shown = fit([*self._standings.values()], room - len(ends) - len(lines) - 1)
        return Group(*lines, *table(shown, width), *ends)

    def _end(self, arm: Arm) -> None:
        key = arm.strategy, arm.seed
        self._standings[key] = replace(self._standings[key], ended=True)
        self._reckon()

    def _reckon(self) -> None:
        self._to_play = rounds_left([*self._standings.values()])
        courses = [
            Course(one.arm.strategy, rounds, one.round >= 0, one.running)
            for one, rounds in zip(self._standings.values(), self._to_play, strict=True)
            if not one.over
        ]
        self._left = seconds_left(courses, self._pace.starts, self._pace.rounds, self._at_once)
        self._reckoned = self._clock()

    def _status(self) -> str:
        standings = self._standings.values()
        over = sum(one.over for one in standings)
        told = f"{over} of {len(standings)} arms finished"
        if self._closed:
            return f"{told} in {duration(self._clock() - self._began)}"
        if over == len(standings):
            return f"last evaluation, {told}, {self._title}"
        if self._left is None:
            left = "time left: not known yet"
        else:  # it goes down while a round takes as long as it did; processes start before that
            since = self._clock() - self._reckoned if self._moves else 0.0
            left = f"time left {duration(max(0.0, self._left - since))}"
        return ", ".join(filter(None, [left, told, self._title]))

    def _bar_line(self, width: int) -> Table:
        bar = self._bar
        if self._at_once > 1:  # clients of several rounds: nobody tells of them
            done = sum(max(one.round, 0) for one in self._standings.values())
            bar = _Bar(("all arms",), done, done + sum(self._to_play), "rounds", self._began)
        asked_text = "?" if bar.asked is None else str(bar.asked)
        took = duration(self._clock() - bar.since)
        tail = f"{bar.done}/{asked_text} {bar.unit} {took}"
        space = width - len(tail) - 2 * GAP - NARROWEST
        text = next((text for text in bar.texts if len(text) <= space), bar.texts[-1])
        row = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        row.width = max(1, width)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        pulse = bar.asked is None
        drawn = ProgressBar(total=bar.asked, completed=bar.done, pulse=pulse)
        row.add_row(Text(text), drawn, Text(tail))
        return row


def watcher(run: Run) -> LiveTable | Lines:
    """Return what suits stdout: a live table on a terminal, else a line per round."""
    if not sys.stdout.isatty():
        return Lines(run.config.run.strategies)
    return LiveTable(run.arms, {(a.strategy, a.seed): rows_of(run, a) for a in run.arms})


def rows_of(run: Run, arm: Arm) -> list[RoundRow]:
    """Return the rounds that an arm has finished, none of a shard that is damaged."""
    try:
        return Shard(run.path, arm).rows("rounds.csv")
    except InputError:  # who plays the arm opens its shard, and mends it or says what is wrong
        return []
