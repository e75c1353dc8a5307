"""The charts of results, and how all charts look: curves with bands, accuracy per client."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import plotly.graph_objects as go

from fedgen.analysis import statistics
from fedgen.config.budget import CLIENT_EPOCHS, SIMULATED_SECONDS
from fedgen.config.metrics import KNOWN
from fedgen.report.charts import remarks
from fedgen.report.charts.axes import decades
from fedgen.report.charts.palette import Style, styles, translucent
from fedgen.report.html import Chart, Table, number
from fedgen.runs.costs import spent
from fedgen.runs.rows import RoundRow

LOGARITHMIC = ("test_loss", "validation_loss", "train_loss")
"""Columns that are drawn on a logarithmic axis."""

MOST_LABELS, LONGEST, LINE = 10, 24, 0.055
"""So many lines are named at their ends, in so many letters; a line of text takes such a share of
the height."""

MOST_BANDS = 4
"""Bands of more strategies than that cannot be told apart; their intervals stand in tables."""

Arms = Mapping[str, Sequence[Sequence[RoundRow]]]
"""Per strategy, the rounds of each seed."""

AXES = {
    "client-epochs": "client-epochs so far",
    "rounds": "round",
    "samples": "samples trained so far",
    "bytes": "bytes moved so far",
    "seconds": "seconds so far",
    SIMULATED_SECONDS: "seconds so far on simulated devices",
}
"""What curves can be drawn against, the fair one first; with the axis's title."""


def axes_of(arms: Arms) -> dict[str, str]:
    """Return those of ``AXES`` that there is something to draw against."""
    rows = (row for seeds in arms.values() for mine in seeds for row in mine)
    simulated = any(row.simulated_seconds is not None for row in rows)
    return {key: title for key, title in AXES.items() if key != SIMULATED_SECONDS or simulated}


def positions(rows: Sequence[RoundRow], axis: str) -> Sequence[float | None]:
    """Return where an arm's rounds lie on an axis; costs are those up to and with the round.

    Nowhere, where the axis is of simulated devices and the arm has none.
    """
    if axis == "rounds":
        return [row.round for row in rows]
    if axis == "seconds":
        return list(accumulate(row.seconds for row in rows))
    if axis == SIMULATED_SECONDS and any(row.simulated_seconds is None for row in rows):
        return [None] * len(rows)
    return spent(rows, axis)


def finish(figure: go.Figure, x: str, y: str, height: int = 380) -> go.Figure:
    """Give a figure its titles and the look of all figures; the page colours text and grid."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 30, "b": 52},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"bgcolor": "#ffffff", "bordercolor": "#57606a"},
        hovermode="closest",
    )
    figure.update_xaxes(gridcolor="#d8dee4", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="#d8dee4", zeroline=False, automargin=True)
    figure.update_xaxes(title=x, row=None, col=None)
    figure.update_yaxes(title=y, row=None, col=None)
    return figure


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, or nothing."""
    return value if value is not None and math.isfinite(value) else None


def curves(arms: Arms, field: str, what: str, axis: str = "client-epochs") -> Chart:
    """Draw a column of ``rounds.csv`` over a run: means over seeds, bands, and the seeds.

    Args:
        arms: What is compared.
        field: The column.
        what: Its name for people.
        axis: What it is drawn against at first; one of ``AXES``.
    """
    figure = go.Figure()
    offered = axes_of(arms)
    body: list[list[str]] = []
    told = []
    lowest, highest = math.inf, -math.inf
    looks = styles(arms)
    ends: dict[str, float] = {}
    paths: dict[str, remarks.Course] = {}
    for name, seeds in arms.items():
        colour, dash = looks[name]
        style = {"color": colour, "dash": dash}
        played = _common_rounds(seeds)
        common, axes = _evaluated(played, _axes(played, offered))
        for rows in seeds:
            known = [v for row in rows if (v := finite(row.column(field))) is not None]
            lowest, highest = min([lowest, *known]), max([highest, *known])
            if len(seeds) > 1:
                alone, places = _evaluated(
                    [(row,) for row in rows], {key: positions(rows, key) for key in offered}
                )
                mine = [row for (row,) in alone]
                faint = translucent(colour, 0.35 if len(arms) <= MOST_BANDS else 0.2)
                _line(figure, mine, field, places, axis, faint, name)
        if len(seeds) >= statistics.FEW and len(arms) <= MOST_BANDS:
            _band(figure, common, field, axes, axis, colour, name)
        _mean_line(figure, common, field, what, axes, axis, style, name)
        means = [_mean(rows, field) for rows in common]
        paths[name] = list(zip(axes[axis], means, strict=True))
        if known := [mean for mean in means if mean is not None]:
            ends[name] = known[-1]
        body += _curve_table(name, seeds, common, field)
        told.append(_tell(name, common, field))
    loss = field in LOGARITHMIC
    finish(figure, AXES[axis], what)
    beyond, edge = remarks.beyond(arms) if axis == CLIENT_EPOCHS else ({}, None)
    if edge is not None:
        figure.update_xaxes(range=[-0.05 * edge, 1.05 * edge])
    if math.isfinite(lowest) and (not loss or lowest > 0):
        # Bands of few seeds reach far beyond what was seen; they may be cut, the curves not.
        low, high = (math.log10(lowest), math.log10(highest)) if loss else (lowest, highest)
        margin = 0.06 * (high - low) or 0.05
        low, high = low - margin, high + margin
        figure.update_yaxes(range=[low, high], type="log" if loss else "linear")
        if loss:
            figure.update_yaxes(decades(low, high))
            ends = {name: math.log10(value) for name, value in ends.items()}
        if len(ends) <= MOST_LABELS:
            _label(figure, ends, looks, low, high)
    most = max(map(len, arms.values()), default=0)
    bands = " Thick lines are means over seeds, thin lines the seeds" if most > 1 else ""
    if most >= statistics.FEW and len(arms) <= MOST_BANDS:
        fewer = min(map(len, arms.values())) < statistics.FEW
        of = f" of {statistics.FEW} seeds or more" if fewer else ""
        bands += f", bands 95 % intervals of the mean{of}"
    bands += "." if bands else ""
    head = ["strategy", "seed", "round", what, "mean", "95 % interval", "client-epochs so far"]
    title = what[:1].upper() + what[1:]  # not capitalize: AUC and R² are what they are
    text = f"{title}. {' '.join(told)}{bands}"
    together = remarks.coinciding(paths, highest - lowest)
    dear = remarks.dwarfing(beyond, edge)
    note = " ".join(said for said in (bands.strip(), together, dear) if said)
    return Chart(title, figure, text, Table(head, body), note)


def _label(
    figure: go.Figure,
    ends: Mapping[str, float],
    looks: Mapping[str, Style],
    low: float,
    high: float,
) -> None:
    """Write names at the ends of their lines in place of a legend; the page, on a wide screen."""
    spots = _spread(ends, LINE * (high - low), high)
    longest = max(map(len, ends), default=0)
    for name, spot in spots.items():
        short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        figure.add_annotation(
            **{"x": 1, "xref": "paper", "xanchor": "left", "xshift": 6, "y": spot},
            **{"text": plain(short), "showarrow": False, "align": "left"},
            font={"color": looks[name].colour, "size": 12},
        )
    figure.update_layout(showlegend=False, margin={"r": 14 + 7 * min(longest, LONGEST)})


def _spread(ends: Mapping[str, float], apart: float, high: float) -> dict[str, float]:
    """Return where labels stand so that none overlaps another, as near to their ends as may be."""
    order, spots = sorted(ends, key=ends.__getitem__), dict(ends)
    for below, name in pairwise(order):
        spots[name] = max(spots[name], spots[below] + apart)
    for name in reversed(order):
        spots[name] = min(spots[name], high)
        high = spots[name] - apart
    return spots


def _common_rounds(seeds: Sequence[Sequence[RoundRow]]) -> list[tuple[RoundRow, ...]]:
    """Return, per round that all seeds have played, their rows."""
    played = set.intersection(*({row.round for row in rows} for rows in seeds))
    kept = [[row for row in rows if row.round in played] for rows in seeds]
    return list(zip(*kept, strict=True))


def _evaluated(
    rounds: Sequence[tuple[RoundRow, ...]], axes: Mapping[str, Sequence[float | None]]
) -> tuple[list[tuple[RoundRow, ...]], dict[str, list[float | None]]]:
    """Return the rounds that all seeds have evaluated, and where those lie on the axes."""
    kept = [place for place, rows in enumerate(rounds) if all(row.evaluated for row in rows)]
    return [rounds[i] for i in kept], {key: [at[i] for i in kept] for key, at in axes.items()}


def _axes(
    common: Sequence[tuple[RoundRow, ...]], offered: Iterable[str]
) -> dict[str, list[float | None]]:
    arms = list(zip(*common, strict=True))
    found = {}
    for axis in offered:
        by_round = zip(*(positions(rows, axis) for rows in arms), strict=True)
        found[axis] = [_middle(there) for there in by_round]
    return found


def _middle(places: Sequence[float | None]) -> float | None:
    known = [place for place in places if place is not None]
    return math.fsum(known) / len(known) if len(known) == len(places) else None


def _line(
    figure: go.Figure,
    rows: Sequence[RoundRow],
    field: str,
    axes: Mapping[str, Sequence[float | None]],
    axis: str,
    colour: str,
    name: str,
) -> None:
    figure.add_scatter(
        x=axes[axis],
        y=[finite(row.column(field)) for row in rows],
        meta={"axes": axes},
        mode="lines",
        line={"color": colour, "width": 1},
        legendgroup=name,
        showlegend=False,
        hovertemplate=f"seed {rows[0].seed}: %{{y:.4f}}<extra></extra>",
    )


def _mean(rows: tuple[RoundRow, ...], field: str) -> float | None:
    values = _known(rows, field)
    return finite(math.fsum(values) / len(values)) if values else None


def _bounds(rows: tuple[RoundRow, ...], field: str) -> statistics.Interval | None:
    values = _known(rows, field)
    if len(values) < statistics.FEW:
        return None
    name = field.partition("_")[2]
    bounds = statistics.bounds_by(KNOWN[name]) if name in KNOWN else statistics.ANY
    return statistics.interval(values, bounds)


def _known(rows: tuple[RoundRow, ...], field: str) -> list[float]:
    """Return a column's values, if all rows have one that is finite; else none."""
    values = [value for row in rows if (value := finite(row.column(field))) is not None]
    return values if len(values) == len(rows) else []


def _band(
    figure: go.Figure,
    common: Sequence[tuple[RoundRow, ...]],
    field: str,
    axes: Mapping[str, Sequence[float | None]],
    axis: str,
    colour: str,
    name: str,
) -> None:
    bounds = [_bounds(rows, field) for rows in common]
    least = 1e-9 if field in LOGARITHMIC else -math.inf  # a logarithmic axis has no 0
    for side, fill in ((0, None), (1, "tonexty")):
        figure.add_scatter(
            x=axes[axis],
            y=[b and max(b[side], least) for b in bounds],
            meta={"axes": axes},
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=translucent(colour, 0.15),
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )


def _mean_line(
    figure: go.Figure,
    common: Sequence[tuple[RoundRow, ...]],
    field: str,
    what: str,
    axes: Mapping[str, Sequence[float | None]],
    axis: str,
    style: dict[str, Any],
    name: str,
) -> None:
    count = len(common[0]) if common else 1
    mean = f"mean of {count} seeds" if count > 1 else f"seed {common[0][0].seed}" if common else ""
    figure.add_scatter(
        x=axes[axis],
        y=[_mean(rows, field) for rows in common],
        meta={"axes": axes},
        customdata=[rows[0].round for rows in common],
        mode="lines+markers",
        marker={"size": 5},
        line={**style, "width": 2.5},
        name=plain(name),
        legendgroup=name,
        hovertemplate=f"round %{{customdata}}: {what} %{{y:.4f}}<br>{mean}"
        f"<extra>{plain(name)}</extra>",
    )


def plain(name: str) -> str:
    """Return a text that Plotly shows as it is; it draws some tags."""
    return name.replace("&", "&amp;").replace("<", "&lt;")


def _curve_table(
    name: str,
    seeds: Sequence[Sequence[RoundRow]],
    common: Sequence[tuple[RoundRow, ...]],
    field: str,
) -> list[list[str]]:
    by_round = {rows[0].round: rows for rows in common}
    body = []
    for rows in seeds:
        for row, cost in zip(rows, spent(rows), strict=True):
            if not row.evaluated:
                continue
            together = by_round.get(row.round, ())
            bounds = _bounds(together, field) if together else None
            interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
            mean = number(_mean(together, field)) if len(seeds) > 1 and together else ""
            value = number(row.column(field))
            cells = [str(row.seed), str(row.round), value, mean, interval, f"{cost:,.0f}"]
            body.append([name, *cells])
    return body


def _tell(name: str, common: Sequence[tuple[RoundRow, ...]], field: str) -> str:
    means = [(rows[0].round, _mean(rows, field)) for rows in common]
    known = [(number, value) for number, value in means if value is not None]
    if not known:
        return f"{name} has no finite value."
    (first, begin), (last, end) = known[0], known[-1]
    if first == last:
        only = "the only one of all its seeds" if len(means) == 1 else "the only finite one"
        return f"{name}: {begin:.4f} in round {first}, {only}."
    return f"{name}: {begin:.4f} in round {first}, {end:.4f} in round {last}."
