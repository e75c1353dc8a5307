"""Rows of arms under their headings, in as many columns as there is room for."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fedgen.comparison.progress.folding import Shown
from fedgen.live.standing import Standing, figure, heading

GAP = 2
"""Spaces between columns."""

WORTH = ("round", "value", "seed", "best", "s/round", "not used")
"""Columns beside the strategy; where there is no room for all, the first ones are shown."""
ORDER = ("seed", "round", "value", "best", "not used", "s/round")


def table(shown: Shown, width: int) -> list[RenderableType]:
    """Return the rows that are shown under their headings, and the lines around them."""
    lines: list[RenderableType] = [line(text, "dim") for text in shown.above]
    if shown.rows:
        lines.append(_rows(shown.rows, width))
    return [*lines, *(line(text, "dim") for text in shown.below)]


def _rows(standings: Sequence[Standing], width: int) -> Table:
    title = heading(standings[0].metric)
    cells = [
        {
            "seed": str(one.arm.seed),
            "round": f"{max(one.round, 0)}/{one.rounds}{' ended' if one.ended else ''}",
            "value": figure(one.value),
            "best": figure(one.best),
            "not used": str(one.unused),
            "s/round": "-"
            if one.pace is None
            else format(one.pace, ".2f" if one.pace < 1 else ".1f"),
        }
        for one in standings
    ]
    names = [one.arm.strategy for one in standings]
    widths = {
        column: max(
            cell_len(title if column == "value" else column), *(len(c[column]) for c in cells)
        )
        for column in ORDER
    }
    longest = max(len("strategy"), *map(cell_len, names))
    free = width - min(longest, width // 2)
    kept: list[str] = []
    for column in WORTH:
        if free < widths[column] + GAP:
            break
        free -= widths[column] + GAP
        kept.append(column)
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("strategy", no_wrap=True)
    columns = [column for column in ORDER if column in kept]
    for column in columns:
        grid.add_column(title if column == "value" else column, justify="right", no_wrap=True)
    space = width - sum(widths[column] + GAP for column in columns)
    for one, name, mine in zip(standings, names, cells, strict=True):
        shown = (Text(mine[column]) for column in columns)
        grid.add_row(Text(shortened(name, space)), *shown, style="dim" if one.over else None)
    return grid


def shortened(name: str, width: int) -> str:
    """Return a name in at most so many cells: names differ at both ends, so the middle goes."""
    if len(name) <= width:
        return name
    head = max(0, (width - 1) // 2)
    tail = max(0, width - 1 - head)
    return f"{name[:head]}…{name[len(name) - tail :]}"


def line(text: str, style: str = "") -> Text:
    """Return a text as one line, cut where the terminal ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
