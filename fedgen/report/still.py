"""The first chart as it stands on a page before the library that draws charts is unpacked.

It is SVG that needs no script, stretched over the box that the chart will fill. What is drawn is
what every reader looks for: lines, bands, dots, ticks and names; the chart replaces it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

MOST_POINTS = 60
"""Of a longer line so many points, evenly chosen, the last among them."""

MOST_TICKS = 6

DASHES = {"dash": "9 9", "dot": "3 3", "dashdot": "9 3 3 3"}

Point = tuple[float, float, int]
"""Where a point lies, in percent, and its place among those of its trace."""


@dataclass(frozen=True)
class Scale:
    """An axis: its ends, exponents on a logarithmic one, and its ticks with their texts."""

    low: float
    high: float
    logarithmic: bool
    ticks: Sequence[tuple[float, str]]

    def at(self, value: float | None) -> float | None:
        """Return where a value lies, in percent of the axis; nowhere, where there is none."""
        if value is None or not math.isfinite(value) or (self.logarithmic and value <= 0):
            return None
        return self.within(math.log10(value) if self.logarithmic else value)

    def within(self, place: float) -> float:
        """Return where something lies that is given as the ends are, in percent of the axis."""
        return 100 * ((place - self.low) / (self.high - self.low))


def still(figure: go.Figure) -> str:
    """Return a figure of scatter traces as HTML; nothing, if it reaches beyond all numbers."""
    layout = figure.layout
    across = _scale(layout.xaxis, [x for trace in figure.data for x in trace.x])
    up = _scale(layout.yaxis, [y for trace in figure.data for y in trace.y])
    if not (math.isfinite(across.high - across.low) and math.isfinite(up.high - up.low)):
        return ""
    margin = ";".join(
        f"{side}:{layout.margin[side[0]]}px" for side in ("left", "right", "top", "bottom")
    )
    drawn = "".join(_grid(across, up)) + "".join(_traces(figure.data, across, up))
    return (
        f'<div class="still" style="{margin}" aria-hidden="true">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none">{drawn}</svg>'
        f"{''.join(_ticks(across, up))}{''.join(_texts(figure, across, up))}</div>"
    )


def _scale(axis: Any, values: Iterable[float | None]) -> Scale:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if axis.range is not None:
        low, high = axis.range
    else:
        low, high = min(known, default=0.0), max(known, default=1.0)
        room = 0.05 * (high - low) or 1.0
        low, high = low - room, high + room
    if low >= high:  # as huge numbers that are the same
        low, high = low - abs(low) - 1, high + abs(high) + 1
    ticks = _steps(low, high) if axis.tickvals is None else axis.tickvals
    texts = axis.ticktext or [f"{tick:,.10g}" for tick in ticks]
    if axis.showticklabels is False:
        texts = [""] * len(ticks)
    return Scale(low, high, axis.type == "log", list(zip(ticks, texts, strict=True)))


def _steps(low: float, high: float) -> list[float]:
    """Return round numbers between the ends of a linear axis."""
    if not math.isfinite(high - low):
        return []
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step = next(step for n in (1, 2, 5, 10, 20) if (high - low) / (step := n * power) <= MOST_TICKS)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(across: Scale, up: Scale) -> Iterator[str]:
    for value, _ in across.ticks:
        yield f'<path class="grid" d="M{across.at(value):.2f} 0V100"/>'
    for value, _ in up.ticks:
        yield f'<path class="grid" d="M0 {100 - (up.at(value) or 0.0):.2f}H100"/>'


def _traces(traces: Sequence[Any], across: Scale, up: Scale) -> Iterator[str]:
    before: list[Point] = []
    for trace in traces:
        points = list(_points(trace, across, up))
        mode = trace.mode or ""
        if trace.fill == "tonexty":
            yield f'<path fill="{trace.fillcolor}" d="{_path([*points, *before[::-1]])}"/>'
        before = points
        if "lines" in mode and trace.line.width != 0:
            dash = DASHES.get(trace.line.dash, "")
            yield (
                f'<path stroke="{trace.line.color}" stroke-width="{trace.line.width or 2}" '
                f'stroke-dasharray="{dash}" d="{_path(points)}"/>'
            )
        elif "markers" in mode:
            yield from _dots(trace, points)


def _points(trace: Any, across: Scale, up: Scale) -> Iterator[Point]:
    pairs = list(zip(trace.x, trace.y, range(len(trace.x)), strict=True))
    step = -(-len(pairs) // MOST_POINTS) or 1
    for x, y, place in pairs[::-step][::-1]:
        left, over = across.at(x), up.at(y)
        if left is not None and over is not None:
            yield left, 100 - over, place


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y, _ in points) if points else ""


def _dots(trace: Any, points: Sequence[Point]) -> Iterator[str]:
    """Yield lines of no length with round ends: dots stay round where the box is stretched."""
    colours, sizes = trace.marker.color, trace.marker.size
    for x, y, place in points:
        colour = colours if isinstance(colours, str) else colours[place]
        size = sizes if isinstance(sizes, int) else sizes[place]
        yield f'<path class="dot" stroke="{colour}" stroke-width="{size}" d="M{x:.2f} {y:.2f}h0"/>'


def _ticks(across: Scale, up: Scale) -> Iterator[str]:
    for value, text in across.ticks:
        yield f'<span class="below" style="left:{across.at(value):.2f}%">{escape(text)}</span>'
    for value, text in up.ticks:
        yield f'<span class="beside" style="bottom:{up.at(value):.2f}%">{escape(text)}</span>'


def _texts(figure: go.Figure, across: Scale, up: Scale) -> Iterator[str]:
    """Yield names at the ends of lines, and texts within; Plotly's texts are escaped already."""
    for label in figure.layout.annotations:
        yield (
            f'<span class="end" style="bottom:{up.within(label.y):.2f}%;color:{label.font.color}">'
            f"{label.text}</span>"
        )
    for trace in figure.data:
        if trace.mode == "text":
            for x, y, text in zip(trace.x, trace.y, trace.text, strict=True):
                place = f"left:{across.at(x):.2f}%;bottom:{up.at(y):.2f}%"
                yield f'<span class="within" style="{place}">{text}</span>'
