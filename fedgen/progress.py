"""What a comparison shows while it runs: a table on stdout, a bar on stderr."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fedgen.records import RoundRow
from fedgen.summary import sentences

CELL = 22


class Silent:
    """Shows nothing."""

    def begin(self, text: str, samples: int) -> None:
        """Ignore the start."""

    def trained(self, samples: int) -> None:
        """Ignore a client."""

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Ignore a round."""

    def warn(self, text: str) -> None:
        """Say it all the same: what was damaged must be seen."""
        warn(text)


class Terminal:
    """Prints a line per round and, where stderr is a terminal, a bar with the time left."""

    def __init__(self, strategies: Sequence[str]) -> None:
        self._strategies = strategies
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("samples"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            redirect_stdout=sys.stdout.isatty(),
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "Terminal":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, text: str, samples: int) -> None:
        """Start a seed's table and bar."""
        self._bar.reset(self._task, description=text, total=samples)
        print(text)
        print("round" + "".join(f"{name:>{CELL}}" for name in self._strategies) + "     seconds")
        print("     " + f"{'accuracy':>{CELL - 8}}    loss" * len(self._strategies), flush=True)

    def trained(self, samples: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, samples)

    def warn(self, text: str) -> None:
        """Print a loud line on stderr."""
        warn(text)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Print a round's line; an arm that was already there has an empty cell."""
        by_name = {row.strategy: row for row in rows}
        line = f"{rows[0].round:>5}"
        for name in self._strategies:
            row = by_name.get(name)
            cell = f"{row.test_accuracy:>14.4f}{row.test_loss:>8.4f}" if row else ""
            line += f"{cell:>{CELL}}"
        line += f"{sum(row.seconds for row in rows):>12.1f}"
        unused = sum(row.rejected + row.failed for row in rows)
        print(line + (f"  {unused} replies not used" if unused else ""), flush=True)


def warn(text: str) -> None:
    """Print a loud line on stderr."""
    print(f"!!! {text}", file=sys.stderr, flush=True)


def results(summary: dict[str, Any]) -> None:
    """Print the table of results: means over seeds, cost beside accuracy."""
    table = Table(title=f"{summary['dataset']}, {summary['model']}, {summary['rounds']} rounds")
    table.add_column("strategy", no_wrap=True)
    for heading in ("final accuracy", "best accuracy", "final loss", "client-epochs", "seconds"):
        table.add_column(heading, justify="right", no_wrap=" " not in heading)
    for name, values in summary["strategies"].items():
        means = {key: value["mean"] for key, value in values.items() if "mean" in value}
        cells = [_cell(means[key], 4) for key in ("final_accuracy", "best_accuracy", "final_loss")]
        costs = [_cell(means["client_epochs"], 0), _cell(means["seconds"], 0)]
        table.add_row(name, *cells, *costs)
    Console().print(table)
    for sentence in sentences(summary):
        Console().print(sentence, highlight=False)
    for name, values in summary["strategies"].items():
        if "privacy" in values:
            Console().print(f"{name}: {claim(values['privacy'])}", highlight=False)


def claim(spending: Mapping[str, Any]) -> str:
    """Return what an arm may claim of privacy, as a sentence."""
    epsilon = spending["epsilon"]
    bound = "no epsilon" if epsilon is None else f"epsilon {epsilon:.3g}"
    return f"{bound} at delta {spending['delta']:g}: {spending['note']}."


def _cell(value: float | None, digits: int) -> str:
    return "not finite" if value is None else f"{value:,.{digits}f}"
