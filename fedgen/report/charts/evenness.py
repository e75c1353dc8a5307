"""The chart of how evenly a final model serves clients."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from fedgen.config.metrics import ACCURACY, Metric
from fedgen.report.charts.curves import finish, plain
from fedgen.report.charts.palette import COLOURS, styles
from fedgen.report.html import Chart, Table, number
from fedgen.report.tables import ranked, worst
from fedgen.runs.rows import EvaluationRow


def clients(rows: Sequence[EvaluationRow], metric: Metric = ACCURACY) -> Chart:
    """Draw the metric of the final models on every client, the worst tenth marked.

    Where clients' own models were measured, they are drawn beside, with open marks.
    """
    figure = go.Figure()
    told, counts = [], []
    looks = styles(dict.fromkeys(row.strategy for row in rows))
    for strategy, look in looks.items():
        seeds = sorted({row.seed for row in rows if row.strategy == strategy})
        for prefix, whose in (("", ""), ("own_", ", own models")):
            arms = [found for s in seeds if (found := ranked(rows, strategy, s, metric, prefix))]
            if not arms:
                continue
            count = min(map(len, arms))
            counts.append(count)
            figure.add_scatter(
                x=[100 * (i + 1) / count for i in range(count)],
                y=[math.fsum(arm[i] for arm in arms) / len(arms) for i in range(count)],
                mode="lines+markers",
                marker={"size": 4, "symbol": "circle-open" if prefix else "circle"},
                line={"color": look.colour, "dash": look.dash, "shape": "hv", "width": 2},
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
