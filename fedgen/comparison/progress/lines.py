"""Plain lines for what is no terminal: a line per round, in columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedgen.config.metrics import ACCURACY, Metric
from fedgen.config.tree import Arm
from fedgen.console import note
from fedgen.live.standing import figure, heading
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher

GAP = "  "
WIDEST = 120
"""Columns of a line that is still read as one."""


@dataclass(frozen=True)
class Columns:
    """How rows of rounds are laid out; every cell is filled, and two spaces stand between cells.

    Attributes:
        strategies: What is compared.
        metric: What is shown of every arm, beside its loss.
        apart: Whether every arm has a line of its own: where rounds do not come together, or are
            too wide for one line.
    """

    strategies: tuple[str, ...]
    metric: Metric
    apart: bool

    @classmethod
    def of(cls, strategies: Sequence[str], metric: Metric, apart: bool) -> "Columns":
        """Choose the layout."""
        beside = cls(tuple(strategies), metric, False)
        wide = max(map(len, beside.headings())) > WIDEST
        return cls(beside.strategies, metric, apart or wide)

    @property
    def pair(self) -> list[int]:
        """Widths of an arm's metric and loss."""
        return [max(9, len(heading(self.metric))), 9]

    def headings(self) -> list[str]:
        """Return the lines above the rows."""
        if self.apart:
            cells = ["seed", "strategy", heading(self.metric), "loss"]
            return [self._line("round", cells, "seconds")]
        pairs = [heading(self.metric), "loss"] * len(self.strategies)
        return [
            joined(["round", *self.strategies, "seconds"], [5, *self._groups(), 7]),
            joined(["", *pairs], [5, *self._widths()]),
        ]

    def lines(self, rows: Sequence[RoundRow]) -> list[str]:
        """Return the lines of a round."""
        if self.apart:
            return [
                self._line(
                    str(row.round),
                    [str(row.seed), row.strategy, *self._cells(row)],
                    f"{row.seconds:.1f}",
                )
                + unused([row])
                for row in rows
            ]
        by_name: Mapping[str, RoundRow] = {row.strategy: row for row in rows}
        cells = [cell for name in self.strategies for cell in self._cells(by_name.get(name))]
        seconds = f"{sum(row.seconds for row in rows):.1f}"
        return [self._line(str(rows[0].round), cells, seconds) + unused(rows)]

    def _line(self, number: str, cells: Sequence[str], seconds: str) -> str:
        return joined([number, *cells, seconds], [5, *self._widths(), 7])

    def _groups(self) -> list[int]:
        return [max(len(name), sum(self.pair) + len(GAP)) for name in self.strategies]

    def _widths(self) -> list[int]:
        """Widths of what stands between the round and the seconds; text is left-aligned."""
        value, loss = self.pair
        if self.apart:
            return [4, -max(8, *map(len, self.strategies)), value, loss]
        return [w for group in self._groups() for w in (group - loss - len(GAP), loss)]

    def _cells(self, row: RoundRow | None) -> list[str]:
        """Return an arm's metric and loss, a dash for what is not there."""
        if row is None:
            return ["-", "-"]
        return [figure(row.value("test", self.metric.name)), figure(row.test_loss)]


def joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return cells in columns of at least such widths, right-aligned, or left if negative."""
    padded = (
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, width in zip(cells, widths, strict=True)
    )
    return GAP.join(padded)


def unused(rows: Sequence[RoundRow]) -> str:
    """Return what stands behind a line where replies could not be used."""
    count = sum(row.rejected + row.failed for row in rows)
    return f"{GAP}{count} {'reply' if count == 1 else 'replies'} not used" if count else ""


class Lines(Watcher):
    """Prints a line per round.

    Args:
        strategies: What is compared.
    """

    def __init__(self, strategies: Sequence[str]) -> None:
        self._strategies = strategies
        self._columns = Columns.of(strategies, ACCURACY, False)

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """Print a seed's heading."""
        metric = arms[0].config.metric if arms else ACCURACY
        apart = at_once > 1 or len({arm.seed for arm in arms}) > 1
        self._columns = Columns.of(self._strategies, metric, apart)
        print("\n".join([text, *self._columns.headings()]), flush=True)

    def note(self, text: str) -> None:
        """Print it on stderr."""
        note(text)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Print a round's line; an arm that was already there has dashes."""
        print("\n".join(self._columns.lines(rows)), flush=True)
