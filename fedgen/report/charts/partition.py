"""The pictures of a partition: who holds which slice, which labels, and how skewed they are."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fedgen.data.partitions.partition import effective_labels
from fedgen.report.charts.curves import finish
from fedgen.report.charts.palette import COLOURS, translucent
from fedgen.report.html import Chart, Table
from fedgen.runs.rows import PartitionRow

MOST_CLIENTS = 200
"""Clients that are drawn; the tables have them all."""


def slices(rows: Sequence[PartitionRow], cohort: set[int]) -> Chart:
    """Draw which stretch of the training set each client holds, and how many hold each sample.

    Args:
        rows: One seed's clients, all with a slice.
        cohort: Clients that took part.
    """
    shown = rows[:MOST_CLIENTS]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.2, 0.8], vertical_spacing=0.06
    )
    bounds = [(row.start or 0, row.stop or 0) for row in rows]
    edges = sorted({edge for pair in bounds for edge in pair} | {0})
    starts, stops = np.sort([b[0] for b in bounds]), np.sort([b[1] for b in bounds])
    holders = (
        np.searchsorted(starts, edges, "right") - np.searchsorted(stops, edges, "right")
    ).tolist()
    figure.add_scatter(
        x=edges,
        y=holders,
        row=1,
        col=1,
        mode="lines",
        line={"shape": "hv", "color": COLOURS[2], "width": 1.5},
        fill="tozeroy",
        fillcolor=translucent(COLOURS[2], 0.2),
        showlegend=False,
        hovertemplate="from sample %{x}: %{y} clients<extra></extra>",
    )
    others = "idle" if cohort else "no round yet"
    for name, inside, colour in (("in a cohort", True, COLOURS[0]), (others, False, COLOURS[6])):
        mine = [row for row in shown if (row.client in cohort) is inside]
        if mine:
            figure.add_bar(
                row=2,
                col=1,
                orientation="h",
                base=[row.start for row in mine],
                x=[(row.stop or 0) - (row.start or 0) for row in mine],
                y=[row.client for row in mine],
                marker={"color": colour},
                name=name,
                customdata=[[row.start, row.stop, row.train, row.validation] for row in mine],
                hovertemplate="client %{y}: samples %{customdata[0]} to %{customdata[1]}, "
                "%{customdata[2]} train, %{customdata[3]} validate<extra></extra>",
            )
    finish(figure, "", "", height=int(260 + 4.2 * len(shown)))
    figure.update_layout(bargap=0.15, barmode="overlay")
    figure.update_xaxes(title="sample of the training set", row=2, col=1)
    figure.update_yaxes(title="holders", row=1, col=1)
    figure.update_yaxes(title="client", row=2, col=1, autorange="reversed")
    sizes = [stop - start for start, stop in bounds]
    covered = [
        right - left
        for left, right, held in zip(edges, edges[1:], holders, strict=False)
        if held > 0
    ]
    text = (
        f"{len(rows):,} clients hold {min(sizes):,} to {max(sizes):,} samples each; at most "
        f"{max(holders):,} hold the same sample, and {sum(covered):,} samples have a holder."
        f"{_first(rows)}"
    )
    body = [
        [str(r.client), str(r.start), str(r.stop), f"{r.train:,}", f"{r.validation:,}"]
        for r in rows
    ]
    head = ["client", "first sample", "end", "training samples", "validation samples"]
    return Chart("Slices and overlap", figure, text, Table(head, body))


def labels(rows: Sequence[PartitionRow], names: Sequence[str] = ()) -> Chart:
    """Draw how many training samples of each class every client holds.

    Args:
        rows: One seed's clients.
        names: What classes are called, where not 0, 1, 2 and so on.
    """
    shown = [row for row in rows[:MOST_CLIENTS] if row.counts]
    classes = max((len(row.counts) for row in rows), default=0)
    named = len(names) == classes

    def padded(row: PartitionRow) -> list[int]:
        return [*row.counts, *([0] * (classes - len(row.counts)))]

    counts = [padded(row) for row in shown]
    figure = go.Figure()
    figure.add_heatmap(
        x=list(names) if named else list(range(classes)),
        y=[row.client for row in shown],
        z=counts,
        colorscale="Viridis",
        colorbar={"title": {"text": "samples"}, "thickness": 12},
        hovertemplate="client %{y}, class %{x}: %{z} samples<extra></extra>",
    )
    finish(figure, "class", "client", height=int(220 + 4.2 * len(shown)))
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(dtick=max(1, classes // 20), type="category" if named else None)
    shares = [max(row.counts) / max(1, sum(row.counts)) for row in rows if row.counts]
    text = (
        f"Training samples per client and class. The most frequent class makes up "
        f"{min(shares):.0%} to {max(shares):.0%} of a client's samples. {_tell_skew(rows)}"
        f"{_first(rows)}"
        if shares
        else "No counts of labels."
    )
    head = ["client", *(f"class {label}" for label in (names if named else range(classes)))]
    body = [[str(r.client), *(f"{count:,}" for count in padded(r))] for r in rows if r.counts]
    return Chart("Labels per client", figure, text, Table(head, body))


def label_skew(counts: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Return how far clients' labels are from everybody's: 0 for equal shares, up to 1.

    The mean over clients of the total variation distance between a client's label shares and
    those of all clients' samples together; half the distance that Zhao et al., 2018
    (arXiv 1806.00582) relate the loss of accuracy to. With C equally frequent labels, clients of
    one label each come to 1 - 1 / C; 1 would be to have no label of the others'.

    Args:
        counts: Training samples per class of every client, at least one client with any.

    Returns:
        The skew, and about what as many samples drawn at random would have: the mean deviation
        of a share p among n samples is sqrt(2 p (1 - p) / (pi n)), by the normal distribution.
    """
    table = np.array([row for row in counts if sum(row)], np.float64)
    sizes, whole = table.sum(axis=1, keepdims=True), table.sum(axis=0) / table.sum()
    distances = np.abs(table / sizes - whole).sum(axis=1) / 2
    chance = np.sqrt(2 * whole * (1 - whole) / (math.pi * sizes)).sum(axis=1) / 2
    return float(distances.mean()), float(np.minimum(chance, 1.0).mean())


def _tell_skew(rows: Sequence[PartitionRow]) -> str:
    classes = max(len(row.counts) for row in rows)
    counts = [[*row.counts, *([0] * (classes - len(row.counts)))] for row in rows]
    if not any(map(sum, counts)):
        return "Label skew: none known."
    skew, chance = label_skew(counts)
    return (
        f"Label skew {skew:.3f}: the mean total variation distance of a client's label shares from "
        "all clients' together. 0 is equal shares, 1 no label in common; as many samples drawn at "
        f"random would come to about {chance:.3f}. Effective labels per client "
        f"{effective_labels(counts):.2f}: the mean of exp(entropy of a client's label shares), 1 "
        "for one label, "
        f"{classes} for equal shares of all."
    )


def _first(rows: Sequence[PartitionRow]) -> str:
    return f" The first {MOST_CLIENTS} are drawn." if len(rows) > MOST_CLIENTS else ""
