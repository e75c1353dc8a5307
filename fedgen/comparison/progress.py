"""What a comparison shows while it runs: a live table on a terminal, else plain lines."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedgen.analysis.ranking import ranking, told
from fedgen.analysis.sentences import endings, rounds_played, seeds_known, standing
from fedgen.config import budget
from fedgen.config.metrics import ACCURACY, Metric
from fedgen.config.tree import Arm
from fedgen.console import duration, note
from fedgen.runs import costs
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher

CELL = 22


class Lines(Watcher):
    """Prints a line per round."""

    def __init__(self, strategies: Sequence[str]) -> None:
        self._strategies = strategies
        self._mixed = False
        self._metric = ACCURACY

    def begin(self, text: str, arms: Sequence[Arm], finished: Sequence[int]) -> None:
        """Print a seed's heading; where seeds are mixed, every line says its own."""
        self._mixed = len({arm.seed for arm in arms}) > 1
        self._metric = arms[0].config.metric if arms else ACCURACY
        print(text)
        names = "".join(f" {name:>{CELL - 1}}" for name in self._strategies)
        print(f"round{names}     seconds")
        print(
            "     " + f"{_short(self._metric):>{CELL - 8}}    loss" * len(self._strategies),
            flush=True,
        )

    def note(self, text: str) -> None:
        """Print it on stderr."""
        note(text)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Print a round's line; an arm that was already there has an empty cell."""
        by_name = {row.strategy: row for row in rows}
        line = f"{rows[0].round:>5}"
        for name in self._strategies:
            row = by_name.get(name)
            cell = ""
            value = row.value("test", self._metric.name) if row else None
            if row and row.test_loss is not None:
                loss = format(row.test_loss, ".4f" if row.test_loss < 100 else ".2g")
                told = "" if value is None else f"{value:.4f}"
                cell = f"{told:>14} {loss:>7}"
            line += f"{cell:>{CELL}}"
        line += f"{sum(row.seconds for row in rows):>12.1f}"
        line += f"  seed {rows[0].seed}" if self._mixed else ""
        unused = sum(row.rejected + row.failed for row in rows)
        print(line + (f"  {unused} replies not used" if unused else ""), flush=True)


@dataclass
class _Standing:
    """How far an arm is."""

    rounds: int
    round: int
    limit: budget.Budget | None = None
    earlier: int = 0  # rounds that another process has played
    spent: float = 0.0
    price: float = 0.0
    metric: Metric = ACCURACY
    value: float | None = None
    best: float | None = None
    unused: int = 0
    ended: bool = False
    seconds: list[float] = field(default_factory=list)

    def take(self, row: RoundRow) -> None:
        self.round = row.round
        value = row.value("test", self.metric.name)
        if value is not None:
            self.value = value
            self.best = value if self.best is None else self.metric.best([value, self.best])
        self.unused += row.rejected + row.failed
        if self.limit:
            self.price = costs.COSTS[self.limit.unit](row)
            self.spent += self.price
        if row.round:  # round 0 trains nothing, or probes
            self.seconds.append(row.seconds)

    @property
    def pace(self) -> float | None:
        """Seconds a round, of the latest ones; the first one warms up."""
        latest = self.seconds[1:][-10:] or self.seconds
        return sum(latest) / len(latest) if latest else None

    @property
    def left(self) -> float | None:
        """Seconds to the last round, or to the last one within the budget."""
        rounds = self.rounds - self.round
        if self.limit and self.price:  # what other rounds cost is told by the latest one
            unspent = self.limit.amount - self.spent - self.price * self.earlier
            rounds = min(rounds, max(0, math.floor(unspent / self.price)))
        return None if self.pace is None else self.pace * rounds

    @property
    def to_go(self) -> str:
        """The time left, or that the arm has ended early, in words."""
        if self.ended:
            return f"ended in round {self.round + 1}"
        return "" if self.left is None else duration(self.left)


class LiveTable(Watcher):
    """A table with a line per arm, and under it the clients of the round in progress."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._standings: dict[tuple[str, int], _Standing] = {}
        self._titles: list[str] = []
        self._clients = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("clients"),
            TimeElapsedColumn(),
            console=self._console,
            expand=True,
        )
        self._task = self._clients.add_task("", total=None)
        self._live = Live(console=self._console, get_renderable=self.render, auto_refresh=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.update(self._task, visible=False)
        self._live.stop()

    def begin(self, text: str, arms: Sequence[Arm], finished: Sequence[int]) -> None:
        """Add a seed's lines."""
        self._titles.append(text)
        for arm, done in zip(arms, finished, strict=True):
            limit = budget.parse(arm.config.run.budget)
            metric = arm.config.metric
            standing = _Standing(arm.config.run.rounds, done, limit, max(done, 0), metric=metric)
            self._standings[arm.strategy, arm.seed] = standing

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """Move the clients' bar."""
        number = self._standings[arm.strategy, arm.seed].round + 1
        what = f"round {number}" if number else "probe"
        text = f"{arm.strategy}, seed {arm.seed}, {what}"
        if self._clients.tasks[0].description != text:
            self._clients.reset(self._task, description=text, total=asked)
        self._clients.update(self._task, completed=done, total=asked)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Bring the lines up to date."""
        for row in rows:
            self._standings[row.strategy, row.seed].take(row)

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(f"note: {text}", markup=False, highlight=False)

    def ended(self, arm: Arm, why: str) -> None:
        """Say it, and in the arm's line that nothing is left of it."""
        super().ended(arm, why)
        self._standings[arm.strategy, arm.seed].ended = True

    def rested(self, arm: Arm, why: str) -> None:
        """Say it, and in the arm's line that nothing is left of it."""
        super().rested(arm, why)
        self._standings[arm.strategy, arm.seed].ended = True

    def warn(self, text: str) -> None:
        """Print a loud line above the table."""
        self._console.print(f"!!! {text}", style="bold red", markup=False)

    def render(self) -> Group:
        """Return what is shown now."""
        table = Table(title=self._titles[-1] if self._titles else None, title_justify="left")
        table.add_column("strategy", no_wrap=True)
        metrics = {mine.metric for mine in self._standings.values()} or {ACCURACY}
        title = _short(next(iter(metrics)))
        for heading in ("seed", "round", title, "best", "not used", "s/round", "left"):
            table.add_column(heading, justify="right", no_wrap=True)
        for (strategy, seed), mine in self._standings.items():
            table.add_row(
                escape(strategy),
                str(seed),
                f"{max(mine.round, 0)}/{mine.rounds}",
                "" if mine.value is None else f"{mine.value:.4f}",
                "" if mine.best is None else f"{mine.best:.4f}",
                str(mine.unused),
                "" if mine.pace is None else f"{mine.pace:.1f}",
                mine.to_go,
            )
        return Group(table, self._clients)


def _short(metric: Metric) -> str:
    """Return a metric's title where it fits above a column of figures, else its name."""
    return metric.title if len(metric.title) <= CELL - 9 else metric.name[: CELL - 9]


def watcher(strategies: Sequence[str]) -> LiveTable | Lines:
    """Return what suits stdout: a live table on a terminal, else a line per round."""
    return LiveTable() if sys.stdout.isatty() else Lines(strategies)


def results(summary: Mapping[str, Any]) -> None:
    """Print the strategies in their order, the best first, and who wins in a sentence."""
    ranked = ranking(summary)
    played = rounds_played(summary, summary["strategies"])
    unit = "round" if played == "1" else "rounds"
    metric, title = summary["metric"]["name"], summary["metric"]["title"]
    table = Table(title=f"{summary['dataset']}, {summary['model']}, {played} {unit}")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("strategy", overflow="fold")  # a long name must not hide figures
    standings = {name: standing(summary, name) for name in summary["strategies"]}
    differ = len({*standings.values()}) > 1
    if differ:
        table.add_column("rounds", overflow="fold")
    # What they are ranked by stands first.
    shown = {} if ranked.at is None else {f"{title}\nat equal\ncost": (ranked.key, 4)}
    shown |= {f"final\n{title}": (f"final_{metric}", 4), "final\nloss": ("final_loss", 4)}
    shown |= {"client-\nepochs": ("client_epochs", 0)}
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    numbers = {place.name: str(place.number) for place in ranked.places}
    for name in (*numbers, *ranked.others):
        figures = summary["strategies"][name]
        cells = {
            key: f"{_cell(figures[key]['mean'], digits)}"
            f"{seeds_known(summary, figures[key]['values'])}"
            for key, digits in shown.values()
        }
        if figures[f"final_{metric}"]["mean"] is not None and figures["final_loss"]["mean"] is None:
            cells["final_loss"] = "not finite"
        rounds = [standings[name]] if differ else []
        table.add_row(numbers.get(name, ""), escape(name), *rounds, *cells.values())
    Console().print(table)
    for sentence in [*told(ranked), *endings(summary)]:
        Console().print(sentence, highlight=False, markup=False)
    for doubt in summary.get("doubts", ()):
        Console().print(f"mind: {doubt}", highlight=False, markup=False)
    for name, values in summary["strategies"].items():
        if "privacy" in values:
            text = f"{name}: {claim(values['privacy'])}"
            Console().print(text, highlight=False, markup=False)
    if "privacy_together" in summary:
        Console().print(f"Released together: {claim(summary['privacy_together'])}", highlight=False)


def claim(spending: Mapping[str, Any]) -> str:
    """Return what an arm may claim of privacy, as a sentence."""
    epsilon = spending["epsilon"]
    bound = "no epsilon" if epsilon is None else f"epsilon {epsilon:.3g}"
    return f"{bound} at delta {spending['delta']:g}: {spending['note']}."


def _cell(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:,.{digits}f}"
