"""The story of hyperparameters: who is grouped, genes, fitness, and the winner's ancestors."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fedgen.analysis import lineage
from fedgen.report.charts.axes import log_axis, whole_rounds
from fedgen.report.charts.curves import finish, plain
from fedgen.report.charts.palette import COLOURS, translucent
from fedgen.report.html import Chart, Table, number
from fedgen.runs.rows import ClientRow
from strategies.core.genes import DECLARED_ONLY, KINDS
from strategies.names import without_settings

NOISE, NOISE_COLOUR = -1, "#8c8c8c"

GROUPS = {"tournament": "entrant"}
"""What clients with the same label are to a strategy, or a tuner, if not a cluster."""

MOST_FRAMES = 100
"""Rounds that the slider stops at; of longer runs, an even choice with the first and the last."""

Rows = Sequence[ClientRow]
"""The client rows of one arm whose genes evolve."""


def _declared(name: str, row: ClientRow) -> float | None:
    return row.measured.get(name)


FURTHER_GENES: dict[str, tuple[str, Callable[[ClientRow], float | None]]] = {
    "epochs": ("local epochs", lambda row: row.local_epochs),
    "momentum": ("momentum", lambda row: row.momentum),
    **{name: (name.replace("_", " "), partial(_declared, name)) for name in DECLARED_ONLY},
}
"""Genes that evolve in some runs only: by the name of their chart, what they are."""

SYMBOLS = {
    "random": "circle",
    "drawn": "circle",
    "probe": "square",
    "elite": "star",
    "kept": "star",
}
INHERITED = "diamond"


def evolved(rows: Rows) -> list[ClientRow]:
    """Return the rows whose genes were found by evolution, and can be drawn."""
    return [
        row
        for row in rows
        if row.origin not in (None, "fixed")
        and 0 < (row.learning_rate or 0) < math.inf
        and 0 < (row.batch_size or 0)
    ]


def charts(rows: Rows) -> dict[str, Callable[[], Chart]]:
    """Return what draws the charts of one arm's story, by name, in the order of telling."""
    further = {
        name: partial(genes, rows, what, gene, _base(name, map(gene, rows)))
        for name, (what, gene) in FURTHER_GENES.items()
        if any(gene(row) is not None for row in rows)
    }
    told: dict[str, Callable[[], Chart]] = {
        "clusters": partial(clusters, rows),
        "sizes": partial(sizes, rows),
        "rates": partial(genes, rows, "learning rate", lambda row: row.learning_rate, base=10),
        "batches": partial(genes, rows, "batch size", lambda row: row.batch_size, base=2),
        **further,
        "fitness": partial(fitness, rows),
    }
    if not _group(rows):
        del told["sizes"]
    inherited = any(row.parent is not None for row in rows)
    best = lineage.best_of_last_round(rows) if inherited else None
    return told if best is None else told | {"lineage": partial(ancestors, rows, best)}


def _base(gene: str, values: Iterable[float | None]) -> int | None:
    """Return 10 for a gene of which factors matter, unless there is a zero among its values."""
    factors = gene in KINDS and KINDS[gene].scale == "log"
    return 10 if factors and all(value is None or value > 0 for value in values) else None


def clusters(rows: Rows) -> Chart:
    """Draw the clients in the plane of their genes, a frame per round, coloured by group."""
    rounds = _some(sorted({row.round for row in rows}))
    labels, group = _labels(rows), _group(rows)
    frames = [
        go.Frame(name=str(at), data=[_dots(rows, at, label, group) for label in labels])
        for at in rounds
    ]
    figure = go.Figure(data=frames[-1].data, frames=frames)
    finish(figure, "batch size", "learning rate", height=460)
    figure.update_xaxes(log_axis(2, [row.batch_size or 1 for row in rows]))
    figure.update_yaxes(log_axis(10, [row.learning_rate or 1 for row in rows]))
    last = [row for row in rows if row.round == rounds[-1]]
    parts = [f"{_count(last, label)} in {_name(label, group)}" for label in _labels(last)]
    text = (
        "Every client of the cohort by its batch size and learning rate"
        f"{f', coloured by {group}' if group else ''}. In round {rounds[-1]}: "
        f"{', '.join(parts) if group else f'{len(last)} clients'}."
    )
    title = f"{group.capitalize()}s" if group else "Genes"
    return Chart(f"{title}, round by round", figure, text, _table(rows))


def _dots(rows: Rows, at: int, label: int | None, group: str) -> go.Scatter:
    mine = [row for row in rows if row.round == at and row.cluster == label]
    return go.Scatter(
        x=[row.batch_size for row in mine],
        y=[row.learning_rate for row in mine],
        text=[f"client {row.client}: {_origin(row)}" for row in mine],
        customdata=[[row.learning_rate, row.batch_size, number(row.fitness)] for row in mine],
        mode="markers",
        marker={
            "size": 11,
            "color": _colour(label),
            "opacity": 0.85,
            "line": {"width": 1, "color": "#ffffff"},
        },
        name=_name(label, group),
        hovertemplate="%{text}<br>rate %{customdata[0]:.3g}, batch %{customdata[1]}"
        "<br>fitness %{customdata[2]}<extra></extra>",
    )


def _origin(row: ClientRow) -> str:
    if row.parent is None or row.parent == row.client:
        return plain(row.origin or "")
    if row.origin == "average":
        return f"average of clients {row.parent} and {row.batch_parent}"
    return f"{plain(row.origin or '')}, rate of client {row.parent}"


def sizes(rows: Rows) -> Chart:
    """Draw how many clients each group has, round by round."""
    group = _group(rows)
    figure = go.Figure()
    rounds = sorted({row.round for row in rows})
    body = []
    counts: dict[tuple[int, int | None], int] = {}
    for row in rows:
        counts[row.round, row.cluster] = counts.get((row.round, row.cluster), 0) + 1
    for label in _labels(rows):
        name = _name(label, group)
        mine = [counts.get((at, label), 0) for at in rounds]
        figure.add_bar(
            x=rounds,
            y=mine,
            name=name,
            marker={"color": _colour(label)},
            hovertemplate=f"{name}, round %{{x}}: %{{y}} clients<extra></extra>",
        )
        body += [[name, str(at), str(n)] for at, n in zip(rounds, mine, strict=True)]
    finish(figure, "round", "clients", height=300)
    figure.update_layout(barmode="stack", bargap=0.25)
    whole_rounds(figure, rounds)
    found = sum(label is not None and label >= 0 for label in _labels(rows))
    noise = ", and noise" if NOISE in _labels(rows) else ""
    several = f"{found} {group if found == 1 else f'{group}s'}{noise}"
    text = f"Clients per {group}; {several if found else f'no {group}, all are noise'}."
    return Chart(f"Clients per {group}", figure, text, Table([group, "round", "clients"], body))


def genes(
    rows: Rows, what: str, gene: Callable[[ClientRow], float | None], base: int | None = None
) -> Chart:
    """Draw one gene of every client over the rounds, coloured by its latest group.

    Args:
        rows: Rows of one arm.
        what: The gene's name for people.
        gene: Its value.
        base: Of a logarithmic axis; ``None`` for a linear one.
    """
    figure = go.Figure()
    seen, group = set[int | None](), _group(rows)
    by_client: dict[int, list[ClientRow]] = {}
    for row in rows:
        by_client.setdefault(row.client, []).append(row)
    for client, mine in sorted(by_client.items()):
        label = mine[-1].cluster
        figure.add_scatter(
            x=[row.round for row in mine],
            y=[gene(row) for row in mine],
            mode="lines+markers",
            marker={"size": 4},
            line={"color": _colour(label), "width": 1.3},
            name=_name(label, group),
            legendgroup=str(label),
            showlegend=bool(group) and label not in seen,
            hovertemplate=f"client {client}, round %{{x}}: {what} %{{y:.3g}}<extra></extra>",
        )
        seen.add(label)
    finish(figure, "round", what)
    if base is not None:
        figure.update_yaxes(log_axis(base, [value for row in rows if (value := gene(row))]))
    rounds = sorted({row.round for row in rows if gene(row) is not None})
    whole_rounds(figure, rounds)
    ends = [
        [value for row in rows if row.round == at and (value := gene(row)) is not None]
        for at in (rounds[0], rounds[-1])
    ]
    medians = [f"{statistics.median(values):.3g}" for values in ends]
    later = f", {medians[1]} in round {rounds[-1]}" if len(rounds) > 1 else ""
    text = f"The {what} of every client. Median {medians[0]} in round {rounds[0]}{later}."
    head = ["client", "round", *_column(group), what]
    body = [
        [*(str(row.client), str(row.round)), *_cells(row, group), number(gene(row), ".4g")]
        for row in sorted(rows, key=lambda row: (row.round, row.client))
    ]
    return Chart(f"{what.capitalize()} of every client", figure, text, Table(head, body))


def fitness(rows: Rows) -> Chart:
    """Draw every group's fitness: its median, from its best member to its worst."""
    figure = go.Figure()
    body = []
    told = []
    group = _group(rows)
    for label in _labels(rows):
        by_round: dict[int, list[float]] = {}
        for row in rows:
            if row.cluster == label and row.fitness is not None and math.isfinite(row.fitness):
                by_round.setdefault(row.round, []).append(row.fitness)
        if not by_round:
            continue
        rounds = sorted(by_round)
        low, high = ([pick(by_round[at]) for at in rounds] for pick in (min, max))
        middle = [statistics.median(by_round[at]) for at in rounds]
        colour, name = _colour(label), _name(label, group)
        figure.add_scatter(
            x=[*rounds, *rounds[::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            fillcolor=translucent(colour, 0.12),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            legendgroup=name,
            showlegend=False,
        )
        figure.add_scatter(
            x=rounds,
            y=middle,
            customdata=list(zip(low, high, strict=True)),
            mode="lines+markers",
            marker={"size": 5},
            line={"color": colour, "width": 2},
            name=name,
            legendgroup=name,
            showlegend=bool(group),
            hovertemplate=f"{name}, round %{{x}}: median %{{y:.4f}}, "
            "%{customdata[0]:.4f} to %{customdata[1]:.4f}<extra></extra>",
        )
        later = f" to {middle[-1]:.4f}" if len(rounds) > 1 else ""
        told.append(f"{name}: {middle[0]:.4f}{later}")
        body += [
            [name, str(at), *(f"{value:.4f}" for value in values)]
            for at, *values in zip(rounds, middle, low, high, strict=True)
        ]
    finish(figure, "round", "fitness (lower is better)")
    played = sorted({row.round for row in rows})
    whole_rounds(figure, played)
    first = f"In round {played[0]}"
    if len(played) > 1:
        first = "From each one's first round to its last" if group else "First and last"
    text = (
        f"Median fitness of {f'every {group}' if group else 'the cohort'}, shaded from its best "
        f"client to its worst; lower is better. {first}: {'; '.join(told) or 'none known'}."
    )
    head = [group or "of", "round", "median", "best", "worst"]
    title = f"Fitness per {group}" if group else "Fitness of the cohort"
    return Chart(title, figure, text, Table(head, body))


def ancestors(rows: Rows, best: ClientRow) -> Chart:
    """Draw where the genome of the fittest client came from."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    body = []
    axes = []
    ways: tuple[tuple[lineage.Gene, str], ...] = (("learning rate", ".3g"), ("batch size", "g"))
    for place, (gene, form) in enumerate(ways, 1):
        steps = lineage.ancestry(rows, best, gene)
        told = lineage.tell(steps, form)
        body += [[gene, text] for text in told]
        figure.add_scatter(
            row=place,
            col=1,
            x=[step.round for step in steps],
            y=[step.value for step in steps],
            text=[
                str(step.client) if _arrives(steps, index) else ""
                for index, step in enumerate(steps)
            ],
            textposition="top center",
            customdata=[lineage.tell([step], form)[0] for step in steps],
            mode="lines+markers+text",
            marker={"size": 10, "symbol": [SYMBOLS.get(step.origin, INHERITED) for step in steps]},
            line={"color": COLOURS[place - 1], "width": 2},
            showlegend=False,
            cliponaxis=False,
            hovertemplate="%{customdata}<extra></extra>",
        )
        axes.append(log_axis(10 if place == 1 else 2, [step.value for step in steps]))
    finish(figure, "", "", height=460)
    for place, (gene, _) in enumerate(ways, 1):
        figure.update_yaxes(axes[place - 1], title=gene, row=place, col=1)
    figure.update_xaxes(title="round", row=2, col=1)
    whole_rounds(figure, sorted({row.round for row in rows}))
    ends = [text for gene, text in body if gene == "learning rate"]
    text = (
        f"Client {best.client} ends with the best fitness, {number(best.fitness)}, at rate "
        f"{best.learning_rate:.3g} and batch size {best.batch_size}. Numbers are the clients that "
        "held the gene: circles drew it at random, squares probed it, stars kept it, "
        f"diamonds inherited it. The rate's way, oldest first: {' '.join(ends)}"
    )
    return Chart(
        "Ancestors of the best genome", figure, text, Table(["gene", "its way"], body, prose=True)
    )


def _arrives(steps: Sequence[lineage.Step], index: int) -> bool:
    return index == 0 or steps[index - 1].client != steps[index].client


def _table(rows: Rows) -> Table:
    group = _group(rows)
    head = (
        *("client", "round", *_column(group), "learning rate", "batch size", "fitness", "origin"),
        *("rate of", "factor", "batch size of"),
    )
    body = [
        [
            *(str(row.client), str(row.round), *_cells(row, group), f"{row.learning_rate:.4g}"),
            *(str(row.batch_size), number(row.fitness), row.origin or ""),
            *(_cell(value) for value in (row.parent, row.mutation, row.batch_parent)),
        ]
        for row in sorted(rows, key=lambda row: (row.round, row.client))
    ]
    return Table(head, body)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _some(rounds: list[int]) -> list[int]:
    if len(rounds) <= MOST_FRAMES:
        return rounds
    last = len(rounds) - 1
    return [rounds[last * i // (MOST_FRAMES - 1)] for i in range(MOST_FRAMES)]


def _labels(rows: Rows) -> list[int | None]:
    return sorted({row.cluster for row in rows}, key=lambda label: -2 if label is None else label)


def _count(rows: Rows, label: int | None) -> int:
    return sum(row.cluster == label for row in rows)


def _group(rows: Rows) -> str:
    """Return what the strategy calls clients of one label, or nothing, where it has no labels."""
    if _labels(rows) == [None]:
        return ""
    chooses = without_settings(rows[0].strategy).partition("/")[0]
    return GROUPS.get(chooses, "cluster")


def _column(group: str) -> list[str]:
    return [group] if group else []


def _cells(row: ClientRow, group: str) -> list[str]:
    return [_name(row.cluster, group)] if group else []


def _colour(label: int | None) -> str:
    return NOISE_COLOUR if label is None or label < 0 else COLOURS[label % len(COLOURS)]


def _name(label: int | None, group: str) -> str:
    if label is None:
        return f"no {group}" if group else "all clients"
    return "noise" if label < 0 else f"{group} {label}"
