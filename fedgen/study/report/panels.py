"""The charts of a study: cases row by row, against a number, epoch by epoch, against cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from fedgen.analysis.statistics import FEW, Interval
from fedgen.report.charts.axes import decades
from fedgen.report.charts.curves import finish, finite, plain
from fedgen.report.charts.palette import COLOURS, DASHES, translucent
from fedgen.report.html import Chart, Table, number
from fedgen.study.cases import METRICS, Case, Study, describe
from fedgen.study.fits.outcome import Epoch
from fedgen.study.ranking import Standing, spread

TIMES = ("train_seconds", "predict_seconds")

WIDE = 100
"""A scale is logarithmic where the largest value is so many times the smallest."""

MOST, LONGEST, ROW = 40, 60, 38
"""So many cases have a row of their own, their names in so many letters, so many pixels high."""


@dataclass(frozen=True)
class Layout:
    """How cases lie in a chart against a number.

    Attributes:
        axis: The setting along the horizontal axis.
        groups: The settings that tell series apart.
        cases: The cases, in the order of the study.
    """

    axis: str
    groups: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def positions(self) -> list[Any]:
        """All positions, in the order of the study."""
        return list(dict.fromkeys(map(self.position, self.cases)))

    @property
    def names(self) -> list[str]:
        """All series, in the order of the study."""
        return list(dict.fromkeys(map(self.series, self.cases)))

    def position(self, case: Case) -> Any:
        """Return where a case lies on the axis."""
        return getattr(case.settings, self.axis)

    def series(self, case: Case) -> str:
        """Return which series a case belongs to."""
        texts = (describe(name, getattr(case.settings, name)) for name in self.groups)
        return ", ".join(text for text in texts if text) or "all cases"


def layout(study: Study, cases: Sequence[Case]) -> Layout | None:
    """Lay cases out along the first of [axes] whose values are numbers, if there is one."""
    axis = next((name for name, values in study.axes.items() if _numbers(values)), "")
    if not axis:
        return None
    groups = [name for name in study.varied if name != axis]

    def told_apart(names: Sequence[str]) -> bool:
        keys = [tuple(getattr(case.settings, name) for name in (*names, axis)) for case in cases]
        return len(set(keys)) == len(keys)

    # What follows from the others, as an initialiser may, would only split series.
    for name in reversed(groups[:]):
        fewer = [other for other in groups if other != name]
        if told_apart(fewer):
            groups = fewer
    return Layout(axis, tuple(groups), tuple(cases))


def _numbers(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(type(value) in (int, float) for value in values)


def dots(metric: str, standings: Sequence[Standing], best: str) -> Chart:
    """Draw a metric of cases, a row each: the mean, its interval, and the repeats.

    Names stand above their rows, so that they take no width from the dots, on a phone either.

    Args:
        metric: What is drawn.
        standings: The cases, the best first.
        best: Hash of the chosen one; "" for none.
    """
    figure, rows = go.Figure(), standings[:MOST]
    height = dict(zip((s.case.key for s in rows), range(len(rows) - 1, -1, -1), strict=True))
    shown = [s for s in rows if s.mean(metric) is not None]
    values = [value for s in shown for value in s.values(metric)]
    if any(len(s.values(metric)) > 1 for s in shown):
        repeats = [(value, height[s.case.key]) for s in shown for value in s.values(metric)]
        figure.add_scatter(
            x=[finite(x) for x, _ in repeats],
            y=[y for _, y in repeats],
            mode="markers",
            marker={"size": 6, "color": translucent(COLOURS[0], 0.6), "opacity": 1},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=[s.mean(metric) for s in shown],
        y=[height[s.case.key] for s in shown],
        error_x=_bars(metric, shown),
        text=[plain(s.case.title) for s in shown],
        mode="markers",
        marker=_markers(shown, best, 11),
        hovertemplate="%{text}: %{x:.4g}<extra></extra>",
    )
    finish(figure, METRICS[metric], "", height=100 + ROW * len(rows))
    log, low, high = _span(metric, values)
    figure.add_scatter(
        x=[10**low if log else low] * len(rows),
        y=[height[s.case.key] + 0.32 for s in rows],
        text=[plain(_short(s.case.title)) for s in rows],
        mode="text",
        textposition="middle right",
        textfont={"size": 11},
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.update_layout(showlegend=False, margin={"l": 12})
    figure.update_xaxes(_scale(log, low, high))
    lines = {"tickvals": [*height.values()], "showticklabels": False}
    figure.update_yaxes(range=[-0.6, len(rows) - 0.1], title="", **lines)
    fewer = f" The best {MOST} of {len(standings)} cases." if len(standings) > MOST else ""
    note = f"{_legend(metric, shown, best)}{fewer}".strip()
    return _chart(metric, figure, standings, note)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _markers(shown: Sequence[Standing], best: str, size: int) -> dict[str, Any]:
    """Return the markers of cases, the best one larger."""
    marks = [_mark(s, best) for s in shown]
    return {
        "size": [15 if s.case.key == best else size for s in shown],
        "opacity": 1,
        "line": {"width": 0},
        "symbol": [symbol for symbol, _ in marks],
        "color": [colour for _, colour in marks],
    }


def _mark(standing: Standing, best: str) -> tuple[str, str]:
    """Return the symbol and colour of a case."""
    if standing.case.key == best:
        return "star", COLOURS[1]
    return ("circle" if standing.sound else "x"), COLOURS[0]


def panel(metric: str, where: Layout, standings: Sequence[Standing]) -> Chart:
    """Draw a metric of all cases against a number: means, intervals, and the repeats."""
    figure = go.Figure()
    shown = [s for s in standings if s.mean(metric) is not None]
    for place, series in enumerate(where.names):
        mine = [s for s in shown if where.series(s.case) == series]
        mine.sort(key=lambda s: where.positions.index(where.position(s.case)))
        _series(figure, metric, where, mine, series, place)
    finish(figure, where.axis.replace("_", " "), METRICS[metric], height=420)
    if _spread(where.positions):
        ticks = [f"{value:g}" for value in where.positions]
        figure.update_xaxes(type="log", tickvals=where.positions, ticktext=ticks)
    values = [value for s in shown for value in s.values(metric)]
    figure.update_yaxes(_scale(*_span(metric, values)))
    return _chart(metric, figure, standings, _legend(metric, shown, ""))


def _chart(metric: str, figure: go.Figure, standings: Sequence[Standing], note: str) -> Chart:
    """Return a metric's chart with its text and its data."""
    name = METRICS[metric]
    body = [
        [s.case.title, str(len(s.values(metric))), number(s.mean(metric)), spread(s, metric)]
        for s in standings
    ]
    table = Table(["case", "repeats", f"mean {name}", "every one, or 95 % interval"], body)
    shown = [s for s in standings if s.mean(metric) is not None]
    return Chart(name.capitalize(), figure, f"{_told(metric, shown)} {note}".strip(), table, note)


def _series(
    figure: go.Figure,
    metric: str,
    where: Layout,
    standings: Sequence[Standing],
    series: str,
    place: int,
) -> None:
    colour = COLOURS[place % len(COLOURS)]
    figure.add_scatter(
        x=[where.position(s.case) for s in standings],
        y=[s.mean(metric) for s in standings],
        error_y=_bars(metric, standings),
        text=[plain(s.case.title) for s in standings],
        mode="lines+markers",
        marker={
            "size": 9,
            "color": colour,
            "symbol": ["circle" if s.sound else "x" for s in standings],
        },
        line={"color": colour, "dash": DASHES[place // len(COLOURS) % len(DASHES)]},
        legendgroup=series,
        name=plain(series),
        hovertemplate="%{text}: %{y:.4g}<extra></extra>",
    )
    if all(len(s.values(metric)) < 2 for s in standings):
        return
    repeats = [(where.position(s.case), value) for s in standings for value in s.values(metric)]
    figure.add_scatter(
        x=[x for x, _ in repeats],
        y=[finite(y) for _, y in repeats],
        mode="markers",
        marker={"size": 5, "color": translucent(colour, 0.4)},
        legendgroup=series,
        showlegend=False,
        hoverinfo="skip",
    )


def _bars(metric: str, standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the bars of the intervals; few repeats say more themselves."""
    bounds = [_bar(s, metric) for s in standings]
    means = [s.mean(metric) or 0.0 for s in standings]
    return {
        "array": [b[1] - m if b else 0 for b, m in zip(bounds, means, strict=True)],
        "arrayminus": [m - b[0] if b else 0 for b, m in zip(bounds, means, strict=True)],
        "visible": any(bounds),
        "thickness": 1,
    }


def _span(metric: str, values: Sequence[float]) -> tuple[bool, float, float]:
    """Return whether a scale is logarithmic, and its ends: as exponents, if it is.

    It fits what was seen: intervals of few repeats reach far beyond it.
    """
    if not values:
        return False, 0.0, 1.0
    low, high = min(values), max(values)
    log = metric in (*TIMES, "zero_one_loss") and _spread(values)
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = 0.06 * (high - low) or 0.05 * (abs(high) or 1)
    return log, low - margin, high + margin


def _scale(log: bool, low: float, high: float) -> dict[str, Any]:
    ticks = decades(low, high) if log else {}
    return {"type": "log" if log else "linear", "range": [low, high], **ticks}


def _told(metric: str, standings: Sequence[Standing]) -> str:
    if not standings:
        return "No fit has a value."
    ranked = sorted(standings, key=lambda s: s.mean(metric) or 0.0)
    low, high = ranked[0], ranked[-1]
    return (
        f"Lowest: {low.case.title}, {number(low.mean(metric))}. "
        f"Highest: {high.case.title}, {number(high.mean(metric))}."
    )


def _legend(metric: str, standings: Sequence[Standing], best: str) -> str:
    """Say what the marks stand for, those that there are."""
    parts = []
    if any(s.case.key == best for s in standings):
        parts.append("The star is the chosen case.")
    if any(len(s.values(metric)) > 1 for s in standings):
        parts.append("Small points are the repeats.")
    if any(_bar(s, metric) for s in standings):
        parts.append("Bars are 95 % intervals of the mean over repeats.")
    if not all(s.sound for s in standings):
        parts.append("A cross is a case with a diverged or failed fit.")
    return " ".join(parts)


def _spread(values: Sequence[float]) -> bool:
    """Whether values want a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= WIDE


def _bar(standing: Standing, metric: str) -> Interval | None:
    return standing.interval(metric) if len(standing.values(metric)) >= FEW else None


def curves(what: str, fits: Sequence[tuple[Case, Sequence[Epoch]]]) -> Chart:
    """Draw training and validation loss or accuracy of Keras fits, epoch by epoch.

    Args:
        what: ``"loss"`` or ``"accuracy"``.
        fits: The epochs of every fit, with its case; at least one.
    """
    figure = go.Figure()
    first = fits[0][1][0].seed
    places = {key: place for place, key in enumerate(dict.fromkeys(c.key for c, _ in fits))}
    for case, epochs in fits:
        place, name = places[case.key], plain(case.title)
        for part, dash in {"train": "dot", "validation": "solid"}.items():
            figure.add_scatter(
                x=[epoch.epoch for epoch in epochs],
                y=[finite(getattr(epoch, f"{part}_{what}")) for epoch in epochs],
                mode="lines" if place < len(COLOURS) else "lines+markers",
                line={"color": COLOURS[place % len(COLOURS)], "dash": dash, "width": 1.5},
                name=name,
                legendgroup=str(place),
                showlegend=part == "validation" and epochs[0].seed == first,
                hovertemplate=f"epoch %{{x}}, seed {epochs[0].seed}: %{{y:.4f}}"
                f"<extra>{name}, {part}</extra>",
            )
    finish(figure, "epoch", what, height=420 + 12 * len(places))
    drawn = [y for trace in figure.data for y in trace.y if y]
    if what == "loss" and drawn:
        low, high = math.log10(min(drawn)), math.log10(max(drawn))
        figure.update_yaxes(_scale(True, low - 0.04, high + 0.04))
    body = [
        [
            *(case.title, str(epoch.seed), str(epoch.epoch)),
            number(getattr(epoch, f"train_{what}")),
            number(getattr(epoch, f"validation_{what}")),
        ]
        for case, epochs in fits
        for epoch in epochs
    ]
    held_out = (
        "on the share that is held out"
        if fits[0][1][0].validated_on == "held-out"
        else "on the test set, as no share is held out"
    )
    ends = [
        (math.inf if (v := finite(getattr(epochs[-1], f"validation_{what}"))) is None else v, case)
        for case, epochs in fits
    ]
    least, most = min(ends, key=lambda end: end[0]), max(ends, key=lambda end: end[0])
    text = (
        f"{what.capitalize()} after every epoch: dotted on what trains, measured while it trains; "
        f"solid {held_out}. At the end, {least[1].title} has the lowest on the solid lines "
        f"({number(least[0])}) and {most[1].title} the highest ({number(most[0])})."
    )
    head = ["case", "seed", "epoch", f"train {what}", f"validation {what}"]
    return Chart(f"{what.capitalize()} per epoch", figure, text, Table(head, body))


def cost(standings: Sequence[Standing], best: str) -> Chart:
    """Draw test accuracy against the seconds that training took.

    Args:
        standings: The cases.
        best: Hash of the chosen one; "" for none.
    """
    shown = [s for s in standings if s.mean("accuracy") is not None]
    figure = go.Figure()
    figure.add_scatter(
        x=[s.mean("train_seconds") for s in shown],
        y=[s.mean("accuracy") for s in shown],
        text=[plain(s.case.title) for s in shown],
        mode="markers",
        marker=_markers(shown, best, 9),
        showlegend=False,
        hovertemplate="%{text}<br>%{y:.4f} after %{x:.3g} s<extra></extra>",
    )
    finish(figure, "seconds to train", "test accuracy", height=420)
    seconds = [s.mean("train_seconds") or 0.0 for s in shown]
    figure.update_xaxes(_scale(*_span("train_seconds", seconds)))
    body = [
        [
            *(s.case.title, number(s.mean("train_seconds"), ".2f"), number(s.mean("accuracy"))),
            number(s.mean("parameters"), ",.0f"),
        ]
        for s in standings
    ]
    fastest = min(shown, key=lambda s: s.mean("train_seconds") or 0.0, default=None)
    text = "Mean test accuracy against mean seconds to train."
    if fastest is not None:
        text += (
            f" The fastest is {fastest.case.title}: {number(fastest.mean('accuracy'))} after "
            f"{number(fastest.mean('train_seconds'), '.2f')} s."
        )
    note = "The star is the chosen case." if best else ""
    head = ["case", "seconds to train", "test accuracy", "parameters"]
    return Chart("Test accuracy against seconds to train", figure, text, Table(head, body), note)
