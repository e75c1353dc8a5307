"""The chart of differences: how far every strategy is from the first one."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fedgen.analysis import statistics
from fedgen.config.metrics import ACCURACY, Metric
from fedgen.report.charts.curves import finish, plain
from fedgen.report.charts.palette import COLOURS, translucent
from fedgen.report.html import Chart, Table, number


def differences(
    comparisons: Sequence[Mapping[str, Any]], cost: str, metric: Metric = ACCURACY
) -> Chart:
    """Draw how far every strategy is from the first one: paired means and their 95 % intervals.

    Of fewer than ``statistics.FEW`` seeds the seeds are drawn in place of the interval.

    Args:
        comparisons: Those of ``summary.json``, one for every other strategy; means and
            intervals are known.
        cost: At what cost they are compared, as in "within equal cost".
        metric: What is compared: shares in points, others as they are.
    """
    order = sorted(comparisons, key=lambda comparison: comparison["mean"])
    size, unit = (100, ", points") if metric.share else (1, "")
    form = _points if metric.share else _amount
    points = " points" if metric.share else ""
    baseline = order[0]["baseline"]
    means = [size * comparison["mean"] for comparison in order]
    few = [len(comparison["values"]) < statistics.FEW for comparison in order]
    bounds = [
        [mean, mean] if seeds else [size * bound for bound in comparison["interval"]]
        for comparison, mean, seeds in zip(order, means, few, strict=True)
    ]
    apart = [
        not seeds and (low > 0 or high < 0) for (low, high), seeds in zip(bounds, few, strict=True)
    ]
    told = [
        statistics.told(c["values"], c["interval"], lambda value: form(size * value)) for c in order
    ]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": COLOURS[-1], "width": 1})
    figure.add_scatter(
        x=means,
        y=[plain(comparison["strategy"]) for comparison in order],
        error_x={
            "symmetric": False,
            "array": [high - mean for (_, high), mean in zip(bounds, means, strict=True)],
            "arrayminus": [mean - low for (low, _), mean in zip(bounds, means, strict=True)],
            "color": COLOURS[0],
        },
        mode="markers",
        marker={
            "size": 9,
            "color": COLOURS[0],
            "symbol": ["circle" if far else "circle-open" for far in apart],
        },
        customdata=[
            f"{'seeds' if seeds else '95 % interval'} {text}"
            for seeds, text in zip(few, told, strict=True)
        ],
        hovertemplate="%{y}: %{x:+.4g}" + points + "<br>%{customdata}<extra></extra>",
    )
    if any(few):
        shown = [
            (plain(comparison["strategy"]), size * value)
            for comparison, seeds in zip(order, few, strict=True)
            for value in comparison["values"]
            if seeds
        ]
        figure.add_scatter(
            x=[value for _, value in shown],
            y=[name for name, _ in shown],
            mode="markers",
            marker={"size": 5, "color": translucent(COLOURS[0], 0.4)},
            hovertemplate="%{y}: %{x:+.4g}" + points + ", a seed<extra></extra>",
        )
        figure.update_layout(showlegend=False)
    finish(figure, f"test {metric.title}, difference{unit}", "", height=110 + 24 * len(order))
    body = [
        [
            *(comparison["strategy"], form(mean), text),
            *(str(len(comparison["values"])), number(comparison["p"])),
        ]
        for comparison, mean, text in zip(order, means, told, strict=True)
    ][::-1]
    counts = sorted({len(comparison["values"]) for comparison in order})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    pairs = zip(order, means, strict=True)
    named = [f"{comparison['strategy']} {form(mean)}" for comparison, mean in pairs]
    ends = named[::-1] if len(named) < 5 else [*named[:-3:-1], "...", *named[1::-1]]
    drawn = " and ".join(
        [
            *(["95 % intervals, filled where the interval leaves out 0"] if not all(few) else []),
            *(["the seeds where they are fewer than five"] if any(few) else []),
        ]
    )
    text = (
        f"Test {metric.title} {cost}, minus that of {baseline}, seed by seed ({seeds} seeds): "
        f"means{' in' + points if points else ''}, with {drawn}. {', '.join(ends)}."
    )
    what = "95 % interval" if not any(few) else "every seed" if all(few) else "interval or seeds"
    head = ["strategy", points.strip() or metric.title, what, "seeds", "p after Holm"]
    return Chart(f"Differences to {baseline}", figure, text, Table(head, body))


def _points(value: float) -> str:
    """Return points with their sign; what rounds to 0 has none."""
    return f"{value:+.2f}" if round(value, 2) else "0.00"


def _amount(value: float) -> str:
    return f"{value + 0.0:+.4g}"
