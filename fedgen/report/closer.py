"""The parts of a page that look closer: client by client, and class by class."""

from collections.abc import Sequence

from fedgen.report import html as page
from fedgen.report import tables
from fedgen.report.charts.classes import per_label
from fedgen.report.results import Results


def clients(results: Results, seeds: Sequence[int]) -> str:
    """Return how evenly the final models serve clients, tables and chart."""
    return (
        _evenness(results) + _mean_note(results, seeds) + results.charts["clients"].html("clients")
    )


def classes(results: Results) -> str:
    """Return how the final models do class by class, a fold per strategy."""
    parts = []
    for place, strategy in enumerate(dict.fromkeys(row.strategy for row in results.classes)):
        name = f"classes-{strategy}"
        if name in results.charts:
            body = results.charts[name].html("".join(c if c.isalnum() else "-" for c in name))
        else:
            body = per_label(results.classes, strategy).html(f"Labels, {strategy}")
        parts.append(page.folded(strategy, body, opened=place == 0))
    return "".join(parts)


def _evenness(results: Results) -> str:
    """Return the tables of how evenly models serve clients: the global ones, and their own."""
    rows, metric = results.evaluations_placed, results.metric
    title = f"{metric.title[:1].upper()}{metric.title[1:]} over clients"
    own = tables.worst_tenth(rows, metric, "own_")
    found = tables.worst_tenth(rows, metric).html(title)
    return found + (own.html(f"{title}, each by its own model") if own.body else "")


def _mean_note(results: Results, seeds: Sequence[int]) -> str:
    what = "Means over seeds of the" if len(seeds) > 1 else "The"
    fine = "a client with 40 cannot be told apart more finely than by 2.5 points"
    extremes = f": {fine}" if results.metric.name == "accuracy" else ""
    return (
        f'<p class="note">{what} final models on every client\'s own test samples, else on '
        f"its validation samples, which trained nobody. Few samples make extremes{extremes}.</p>"
    )
