"""The charts of a study: a panel per metric, training curves, cost against accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from fedgen.analysis.statistics import FEW, Interval
from fedgen.report.charts.curves import finish, finite, plain
from fedgen.report.charts.palette import COLOURS, DASHES, translucent
from fedgen.report.html import Chart, Table, number
from fedgen.study.cases import METRICS, Case, Study, describe
from fedgen.study.fits.outcome import Epoch
from fedgen.study.ranking import Standing, spread

TIMES = ("train_seconds", "predict_seconds")

WIDE = 100
"""A scale is logarithmic where the largest value is so many times the smallest."""


@dataclass(frozen=True)
class Layout:
    """How cases lie in a panel.

    Attributes:
        axis: The setting along the horizontal axis; "" for a single case.
        ordered: Whether its values are numbers, so that lines join them.
        groups: The settings that tell series apart.
        cases: The cases, in the order of the study.
    """

    axis: str
    ordered: bool
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
        if not self.axis:
            return case.title
        value = getattr(case.settings, self.axis)
        return value if self.ordered else plain(describe(self.axis, value))

    def series(self, case: Case) -> str:
        """Return which series a case belongs to."""
        texts = (describe(name, getattr(case.settings, name)) for name in self.groups)
        return ", ".join(text for text in texts if text) or "all cases"


def layout(study: Study, cases: Sequence[Case]) -> Layout:
    """Choose the axis: the first of [axes] whose values are numbers, else the first that varies."""
    ordered = [name for name, values in study.axes.items() if _numbers(values)]
    axis = next(iter([*ordered, *study.varied]), "")
    groups = [name for name in study.varied if name != axis]

    def told_apart(names: Sequence[str]) -> bool:
        keys = [tuple(getattr(case.settings, name) for name in (*names, axis)) for case in cases]
        return len(set(keys)) == len(keys)

    # What follows from the others, as an initialiser may, would only split series.
    for name in reversed(groups[:]):
        fewer = [other for other in groups if other != name]
        if axis and told_apart(fewer):
            groups = fewer
    return Layout(axis, bool(ordered), tuple(groups), tuple(cases))


def _numbers(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(type(value) in (int, float) for value in values)


def panel(metric: str, where: Layout, standings: Sequence[Standing]) -> Chart:
    """Draw a metric of all cases against the study's axis: means, intervals, and the repeats."""
    name, figure = METRICS[metric], go.Figure()
    shown = [s for s in standings if s.mean(metric) is not None]
    for place, series in enumerate(where.names):
        mine = [s for s in shown if where.series(s.case) == series]
        mine.sort(key=lambda s: where.positions.index(where.position(s.case)))
        _series(figure, metric, where, mine, series, place)
    finish(figure, where.axis.replace("_", " ") or "case", name, height=420)
    if not where.ordered:
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=where.positions)
        figure.update_layout(scattermode="group", scattergap=0.5)
    elif _spread(where.positions):
        ticks = [f"{value:g}" for value in where.positions]
        figure.update_xaxes(type="log", tickvals=where.positions, ticktext=ticks)
    _fit(figure, metric, [value for s in shown for value in s.values(metric)])
    body = [
        [s.case.title, str(len(s.values(metric))), number(s.mean(metric)), spread(s, metric)]
        for s in standings
    ]
    table = Table(["case", "repeats", f"mean {name}", "every one, or 95 % interval"], body)
    return Chart(name.capitalize(), figure, _told(metric, shown), table)


def _series(
    figure: go.Figure,
    metric: str,
    where: Layout,
    standings: Sequence[Standing],
    series: str,
    place: int,
) -> None:
    colour = COLOURS[place % len(COLOURS)]
    means = [s.mean(metric) or 0.0 for s in standings]
    bounds = [_bar(s, metric) for s in standings]
    figure.add_scatter(
        x=[where.position(s.case) for s in standings],
        y=means,
        error_y={
            "array": [b[1] - m if b else 0 for b, m in zip(bounds, means, strict=True)],
            "arrayminus": [m - b[0] if b else 0 for b, m in zip(bounds, means, strict=True)],
            "visible": any(bounds),
            "thickness": 1,
        },
        text=[plain(s.case.title) for s in standings],
        mode="lines+markers" if where.ordered else "markers",
        marker={
            "size": 9,
            "color": colour,
            "symbol": ["circle" if s.sound else "x" for s in standings],
        },
        line={"color": colour, "dash": DASHES[place // len(COLOURS) % len(DASHES)]},
        offsetgroup=str(place),
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
        offsetgroup=str(place),
        legendgroup=series,
        showlegend=False,
        hoverinfo="skip",
    )


def _fit(figure: go.Figure, metric: str, values: Sequence[float]) -> None:
    """Fit the vertical axis to what was seen: intervals of few repeats reach far beyond it."""
    if not values:
        return
    low, high = min(values), max(values)
    log = metric in (*TIMES, "zero_one_loss") and _spread(values)
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = 0.06 * (high - low) or 0.05 * (abs(high) or 1)
    figure.update_yaxes(type="log" if log else "linear", range=[low - margin, high + margin])


def _told(metric: str, standings: Sequence[Standing]) -> str:
    if not standings:
        return "No fit has a value."
    ranked = sorted(standings, key=lambda s: s.mean(metric) or 0.0)
    low, high = ranked[0], ranked[-1]
    text = (
        f"Lowest: {low.case.title}, {number(low.mean(metric))}. "
        f"Highest: {high.case.title}, {number(high.mean(metric))}."
    )
    if any(s.interval(metric) for s in standings):
        text += " Small points are the repeats."
    if any(_bar(s, metric) for s in standings):
        text += " Bars are 95 % intervals of the mean over repeats."
    if not all(s.sound for s in standings):
        text += " A cross is a case with a diverged or failed fit."
    return text


def _spread(values: Sequence[float]) -> bool:
    """Whether values want a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= WIDE


def _bar(standing: Standing, metric: str) -> Interval | None:
    """Return the interval to draw; few repeats say more themselves."""
    return standing.interval(metric) if len(standing.values(metric)) >= FEW else None


def curves(what: str, where: Layout, fits: Sequence[tuple[Case, Sequence[Epoch]]]) -> Chart:
    """Draw training and validation loss or accuracy of Keras fits, epoch by epoch.

    Args:
        what: ``"loss"`` or ``"accuracy"``.
        where: How the study's panels call its cases.
        fits: The epochs of every fit, with its case; at least one.
    """
    figure = go.Figure()
    first = fits[0][1][0].seed
    for case, epochs in fits:
        place = where.cases.index(case)
        name = plain(f"{where.position(case)}, {where.series(case)}")
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
    finish(figure, "epoch", what, height=420 + 12 * len(where.cases))
    if what == "loss":
        figure.update_yaxes(type="log")
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
        marker={
            "size": [15 if s.case.key == best else 9 for s in shown],
            "symbol": ["star" if s.case.key == best else "circle" for s in shown],
            "color": [COLOURS[1] if s.case.key == best else COLOURS[0] for s in shown],
        },
        showlegend=False,
        hovertemplate="%{text}<br>%{y:.4f} after %{x:.3g} s<extra></extra>",
    )
    finish(figure, "seconds to train", "test accuracy", height=420)
    if _spread([s.mean("train_seconds") or 0.0 for s in shown]):
        figure.update_xaxes(type="log")
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
    if best:
        text += " The star is the chosen case."
    head = ["case", "seconds to train", "test accuracy", "parameters"]
    return Chart("Cost against accuracy", figure, text, Table(head, body))
