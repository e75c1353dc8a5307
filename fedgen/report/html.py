"""Parts of a self-contained page: tables, charts that say what they show, the document.

Every string that comes from a file is escaped here; what stands in it is text, never markup.
"""

import base64
import gzip
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from fedgen.report.still import still
from fedgen.report.style import SCRIPT, STYLE

DIGITS = 7
"""Of a number in a chart."""

LONG = 10_000
"""Letters of a closed part from which on it is packed."""

MOST_ROWS = 1_000
"""Rows of a chart's data table; the CSV files have them all."""


@dataclass(frozen=True)
class Table:
    """A table of text; in one with prose, the last column is sentences, not figures."""

    head: Sequence[str]
    body: Sequence[Sequence[str]]
    prose: bool = False

    def html(self, label: str) -> str:
        """Return the table; a box that scrolls must be reachable by keyboard, and have a label."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        lines = "".join(f"<tr>{_line(cells)}</tr>" for cells in self.body[-MOST_ROWS:])
        hidden = len(self.body) - MOST_ROWS
        note = (
            f'<p class="note">The last {MOST_ROWS:,} rows; {hidden:,} before them are in the CSV '
            "files.</p>"
            if hidden > 0
            else ""
        )
        kind = ' class="prose"' if self.prose else ""
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
            f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>{note}"
        )


def _line(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f'<th scope="row">{escape(first)}</th>' + "".join(
        f"<td>{escape(cell)}</td>" for cell in rest
    )


@dataclass(frozen=True)
class Chart:
    """A figure, what it shows in words, and its data as a table.

    Attributes:
        title: What the chart is of.
        figure: The chart. Frames get a slider; traces with ``meta["axes"]`` follow the switch of
            the page's axes.
        text: What a person who sees it would say it shows: for those who do not see it.
        table: The data.
        note: What a person who sees it must know to read it.
    """

    title: str
    figure: go.Figure
    text: str
    table: Table
    note: str = ""

    def html(self, name: str, *, first: bool = False) -> str:
        """Return the chart with an id; ``SCRIPT`` draws it when it comes into sight.

        Args:
            name: What the id is made of.
            first: Whether it is the first one of a page, to be seen before any script has run.
        """
        key, title = f"chart-{escape(name)}", escape(self.title)  # sections have ids as well
        data = to_json(self.figure)
        note = f"<figcaption>{escape(self.note)}</figcaption>" if self.note else ""
        return (
            f"<figure><h3>{title}</h3>{note}{self._slider(key)}"
            f'<div id="{key}" class="plot" style="min-height:{self.figure.layout.height or 320}px" '
            f'role="img" aria-label="{title}" '
            f'aria-describedby="{key}-text">{still(self.figure) if first else ""}</div>'
            f'<script type="application/json" data-plot="{key}">{data}</script>'
            f'<details class="data"><summary>{title}, in words and as a table</summary>'
            f'<p id="{key}-text">{escape(self.text)}</p>'
            f"{self.table.html(self.title)}</details></figure>"
        )

    def _slider(self, key: str) -> str:
        frames = [escape(str(frame.name)) for frame in self.figure.frames]
        if len(frames) < 2:
            return ""
        last = f'value="{len(frames) - 1}" aria-valuetext="round {frames[-1]}"'
        return (
            f'<p class="slider"><label for="{key}-slider">Round</label> '
            f'<input type="range" id="{key}-slider" data-slides="{key}" min="0" '
            f'max="{len(frames) - 1}" {last}>'
            f' <output for="{key}-slider">{frames[-1]}</output></p>'
        )


def to_json(figure: go.Figure) -> str:
    """Return a figure as JSON that may stand inside a script element: its ``<`` are escaped."""
    return str(to_json_plotly(_shortened(figure.to_plotly_json())))


def _shortened(value: Any) -> Any:
    """Return a figure whose numbers have as many digits as can be seen."""
    if isinstance(value, dict):
        return {key: _shortened(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def folded(title: str, body: str, *, opened: bool) -> str:
    """Return a part that a reader opens; what is closed is not drawn, and packed if it is long."""
    mark = " open" if opened else ""
    if not opened and len(body) > LONG:
        body = f'<script type="application/gzip" class="packed">{_packed(body)}</script>'
    return f'<details class="part"{mark}><summary>{escape(title)}</summary>{body}</details>'


def section(name: str, title: str, body: str) -> str:
    """Return a part of a page with a heading, closed; ``name`` is what a link goes to."""
    return (
        f'<details class="part section" id="{escape(name)}">'
        f"<summary><h2>{escape(title)}</h2></summary>{body}</details>"
    )


def switch(title: str, choices: dict[str, str], chosen: str) -> str:
    """Return the switch of the curves' axis: its values, each with the axis's title."""
    buttons = "".join(
        f'<label><input type="radio" name="axis" value="{escape(key)}" data-title="{escape(label)}"'
        f"{' checked' if key == chosen else ''}> {escape(key)}</label>"
        for key, label in choices.items()
    )
    return f'<fieldset class="switch"><legend>{escape(title)}</legend>{buttons}</fieldset>'


def document(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return the whole page.

    It may run its own two scripts and nothing else, and may fetch nothing at all. The larger one,
    Plotly, is packed, and unpacked when the first chart is drawn.

    Args:
        title: Its title.
        lead: HTML that every reader sees first.
        sections: Id, heading, and HTML of every section; a reader opens what is of interest.
    """
    packed, library = _library()
    hashes = f"'sha256-{library}' 'sha256-{_sum(SCRIPT)}'"
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    body = "".join(section(*part) for part in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{lead}</header><main>{body}</main>"
        f'<script type="application/gzip" id="library">{packed}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


@lru_cache(maxsize=1)
def _library() -> tuple[str, str]:
    """Return Plotly, packed as text, and the hash of what is unpacked."""
    script = get_plotlyjs()
    return _packed(script), _sum(script)


def _packed(text: str) -> str:
    """Return a text as ``SCRIPT`` unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _sum(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


LARGE = 1e9
"""Numbers from which on digits say nothing: they are written with an exponent."""


def number(value: float | None, form: str = ".4f") -> str:
    """Return a number as text, or ``none`` where there is none or it is not finite."""
    if value is None or not math.isfinite(value):
        return "none"
    return format(value, form if abs(value) < LARGE else ".4g")
