"""Axes with ticks that people read: of factors, and of rounds."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

FARTHEST = 300
"""Powers of ten from which on a double has no room for ticks."""


def decades(low: float, high: float) -> dict[str, list[Any]]:
    """Return what gives a logarithmic axis ticks that people read, between two exponents.

    They are 1, 2 and 5 times the powers of ten; of many, the powers; of less than a factor of 5,
    those of a linear axis. Beyond 300 digits there are none.
    """
    low, high = max(low, -FARTHEST), min(high, FARTHEST)
    if low >= high:
        return {"tickvals": [], "ticktext": []}
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits = (1, 2, 5) if high - low < 3 else (1,)
    values = [digit * 10.0**power for power in powers for digit in digits]
    inside = [value for value in values if low <= math.log10(value) <= high]
    if len(inside) < 2:
        bottom, top = 10**low, 10**high
        step = 10.0 ** math.floor(math.log10((top - bottom) / 2))
        inside = [step * n for n in range(math.ceil(bottom / step), math.floor(top / step) + 1)]
    return {"tickvals": inside, "ticktext": [f"{value:.6g}" for value in inside]}


def _ticks(base: int, values: Sequence[float]) -> dict[str, list[Any]]:
    """Return ticks at powers of a base, and between powers of 10 where they lie close together."""
    powers = [math.log(value, base) for value in values]
    low, high = math.floor(min(powers)), math.ceil(max(powers))
    between = (1, 2, 5) if base == 10 and max(powers) - min(powers) < 1.5 else (1,)
    every = max(1, (high - low) // 12)
    powers_shown = range(low, high + 1, every)
    values = [step * float(base) ** power for power in powers_shown for step in between]
    return {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def log_axis(base: int, values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis that holds some values, and the ticks next to them."""
    ticks = _ticks(base, values)
    below = [tick for tick in ticks["tickvals"] if tick <= min(values)]
    above = [tick for tick in ticks["tickvals"] if tick >= max(values)]
    ends = max(below, default=min(values)), min(above, default=max(values))
    margin = 0.04 * math.log10(ends[1] / ends[0]) + 0.04
    return {
        "type": "log",
        "range": [math.log10(ends[0]) - margin, math.log10(ends[1]) + margin],
        **ticks,
    }


def whole_rounds(figure: go.Figure, rounds: list[int]) -> None:
    """Give a chart a tick at whole rounds, at most a dozen."""
    figure.update_xaxes(dtick=max(1, (rounds[-1] - rounds[0]) // 12), tick0=rounds[0])
