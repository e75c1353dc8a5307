"""The charts of results, and how all charts look: curves with bands, accuracy per client."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go

from fedgen.analysis import statistics
from fedgen.config.budget import SIMULATED_SECONDS
from fedgen.config.metrics import ACCURACY, KNOWN, Metric
from fedgen.report.html import Chart, Table, number
from fedgen.report.tables import ranked, worst
from fedgen.runs.costs import spent
from fedgen.runs.rows import EvaluationRow, RoundRow

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's palette: told apart with colour blindness, too."""

LOGARITHMIC = ("test_loss", "validation_loss", "train_loss")
"""Columns that are drawn on a logarithmic axis."""

DASHES = ("solid", "dash", "dot", "dashdot")

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
        margin={"l": 64, "r": 16, "t": 12, "b": 52},
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


def translucent(colour: str, opacity: float) -> str:
    """Return a colour of the palette that lets others through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


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
    for place, (name, seeds) in enumerate(arms.items()):
        colour = COLOURS[place % len(COLOURS)]
        style = {"color": colour, "dash": DASHES[place // len(COLOURS) % len(DASHES)]}
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
                _line(figure, mine, field, places, axis, translucent(colour, 0.35), name)
        if len(seeds) >= statistics.FEW:
            _band(figure, common, field, axes, axis, colour, name)
        _mean_line(figure, common, field, what, axes, axis, style, name)
        body += _curve_table(name, seeds, common, field)
        told.append(_tell(name, common, field))
    loss = field in LOGARITHMIC
    finish(figure, AXES[axis], what)
    if math.isfinite(lowest) and (not loss or lowest > 0):
        # Bands of few seeds reach far beyond what was seen; they may be cut, the curves not.
        low, high = (math.log10(lowest), math.log10(highest)) if loss else (lowest, highest)
        margin = 0.06 * (high - low) or 0.05
        figure.update_yaxes(range=[low - margin, high + margin], type="log" if loss else "linear")
    most = max(map(len, arms.values()), default=0)
    bands = " Thick lines are means over seeds, thin lines the seeds" if most > 1 else ""
    if most >= statistics.FEW:
        fewer = min(map(len, arms.values())) < statistics.FEW
        of = f" of {statistics.FEW} seeds or more" if fewer else ""
        bands += f", bands 95 % intervals of the mean{of}"
    bands += "." if bands else ""
    head = ["strategy", "seed", "round", what, "mean", "95 % interval", "client-epochs so far"]
    title = what[:1].upper() + what[1:]  # not capitalize: AUC and R² are what they are
    text = f"{title}. {' '.join(told)}{bands}"
    return Chart(title, figure, text, Table(head, body))


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


def clients(rows: Sequence[EvaluationRow], metric: Metric = ACCURACY) -> Chart:
    """Draw the metric of the final models on every client, the worst tenth marked.

    Where clients' own models were measured, they are drawn beside, dashed.
    """
    figure = go.Figure()
    told, counts = [], []
    for place, strategy in enumerate(dict.fromkeys(row.strategy for row in rows)):
        seeds = sorted({row.seed for row in rows if row.strategy == strategy})
        for prefix, whose, dash in (("", "", "solid"), ("own_", ", own models", "dash")):
            arms = [found for s in seeds if (found := ranked(rows, strategy, s, metric, prefix))]
            if not arms:
                continue
            count = min(map(len, arms))
            counts.append(count)
            figure.add_scatter(
                x=[100 * (i + 1) / count for i in range(count)],
                y=[math.fsum(arm[i] for arm in arms) / len(arms) for i in range(count)],
                mode="lines+markers",
                marker={"size": 4},
                line={
                    "color": COLOURS[place % len(COLOURS)],
                    "shape": "hv",
                    "width": 2,
                    "dash": dash,
                },
                name=plain(f"{strategy}{whose}"),
                hovertemplate="%{y:.4f}<extra></extra>",
            )
            low = [math.fsum(worst(arm)) / len(worst(arm)) for arm in arms]
            told.append(f"{strategy}{whose}: {math.fsum(low) / len(low):.4f} in the worst tenth.")
    fewest = min(counts, default=1)
    tenth = 100 * -(-fewest // 10) / fewest  # as many clients as ``worst`` takes
    figure.add_vrect(x0=0, x1=tenth, fillcolor=COLOURS[1], opacity=0.12, line_width=0)
    finish(figure, "clients, worst first (%)", metric.title)
    more = list(dict.fromkeys(name for row in rows for name in row.measured))
    body = [
        [
            *(row.strategy, str(row.seed), str(row.client), f"{row.samples:,}"),
            *(number(row.accuracy), number(row.loss)),
            *(number(row.measured.get(name)) for name in more),
        ]
        for row in rows
    ]
    text = (
        f"The {metric.title} of each final model on every client's own samples, in the cohort or "
        f"not; the shaded part is the worst tenth, one client at least. {' '.join(told)}"
    )
    head = ["strategy", "seed", "client", "samples", "accuracy", "loss"]
    head += [name.replace("_", " ") for name in more]
    return Chart(f"The {metric.title} on every client", figure, text, Table(head, body))
