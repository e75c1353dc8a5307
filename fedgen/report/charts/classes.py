"""How final models do class by class: which classes they take for which, and a table."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from fedgen.report.charts.curves import finish
from fedgen.report.html import Chart, Table, number
from fedgen.runs.rows import ClassRow

FEW = 20
"""Up to so many classes, every share is written into its square."""

NAMED = 3
"""Confusions that are named in words."""


def are_told_apart(rows: Sequence[ClassRow], strategy: str) -> bool:
    """Whether samples have one class each, so that one can be taken for another."""
    mine = [row for row in rows if row.strategy == strategy]
    labels = {row.label for row in mine}
    return bool(mine) and all(len(row.counts) == len(labels) for row in mine)


def confusion(rows: Sequence[ClassRow], strategy: str) -> Chart:
    """Draw which classes the test samples of each class were taken for, means over seeds.

    Args:
        rows: All rows of a run.
        strategy: Whose final models, of classes that are told apart.
    """
    mine = [row for row in rows if row.strategy == strategy]
    labels = list(dict.fromkeys(row.label for row in mine))
    total = np.zeros((len(labels), len(labels)))
    for row in mine:
        total[labels.index(row.label)] += row.counts
    shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    figure = go.Figure()
    figure.add_heatmap(
        x=labels,
        y=labels,
        z=shares.tolist(),
        zmin=0,
        zmax=1,
        colorscale=[[0, "#ffffff"], [1, "#56b4e9"]],  # which dark figures can be read on
        colorbar={"title": {"text": "share"}, "thickness": 12, "tickformat": ".0%"},
        texttemplate="%{z:.0%}" if len(labels) <= FEW else None,
        hovertemplate="of %{y}, %{z:.1%} taken for %{x}<extra></extra>",
    )
    finish(figure, "taken for", "class", height=int(180 + 24 * min(len(labels), 40)))
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category")
    return Chart(
        f"Which classes {strategy} takes for which",
        figure,
        f"Shares of each class's test samples by the class that the final models take them for, "
        f"over all seeds. {_worst(shares, labels)}",
        _table(mine, labels),
    )


def per_label(rows: Sequence[ClassRow], strategy: str) -> Table:
    """Return recall, precision and F1 of every class or label, means over seeds."""
    mine = [row for row in rows if row.strategy == strategy]
    return _table(mine, list(dict.fromkeys(row.label for row in mine)))


def _worst(shares: np.ndarray, labels: Sequence[str]) -> str:
    apart = shares.copy()
    np.fill_diagonal(apart, 0.0)
    order = np.argsort(-apart, axis=None, kind="stable")[:NAMED]
    places = [divmod(int(place), len(labels)) for place in order]
    named = [
        f"{labels[row]} for {labels[column]} ({apart[row, column]:.0%})"
        for row, column in places
        if apart[row, column] > 0
    ]
    return f"Most often: {', '.join(named)}." if named else "No class is taken for another."


def _table(rows: Sequence[ClassRow], labels: Sequence[str]) -> Table:
    body = []
    for label in labels:
        mine = [row for row in rows if row.label == label]
        figures = ([row.recall, row.precision, row.f1] for row in mine)
        means = [math.fsum(column) / len(mine) for column in zip(*figures, strict=True)]
        body.append([label, f"{mine[0].samples:,}", *(number(mean) for mean in means)])
    return Table(["class", "test samples", "recall", "precision", "F1"], body)
