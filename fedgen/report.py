"""``report.html``: one self-contained page, drawn from the run's CSV files alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from fedgen import disk, store
from fedgen.config import to_toml
from fedgen.errors import InputError
from fedgen.records import ClientRow, RoundRow
from fedgen.run import Run, summarise_run
from fedgen.summary import COMPARED, sentences, spent

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's palette: told apart with colour blindness, too."""

NOISE_COLOUR = "#8c8c8c"

MEASURED = (*COMPARED, "final_loss")
"""What is shown with its interval; the others are costs."""

STYLE = """
:root { color-scheme: light; font-family: system-ui, sans-serif; line-height: 1.5 }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p, li { max-width: 60rem } .note { color: #57606a }
.warning { border-left: .3rem solid #d55e00; padding-left: .8rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid #d8dee4 }
th:first-child, td:first-child, .prose :last-child { text-align: left } td { vertical-align: top }
.lead { font-size: 1.1rem }
pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: .85rem }
"""


def write(run: Run) -> Path:
    """Draw a run's report again from its finished rounds and return its path.

    Raises:
        InputError: If the run has no finished round, or its files do not read.
        RunError: If the page cannot be written.
    """
    rows = store.read_rows(run.path, run.arms)
    if not rows["rounds.csv"]:
        raise InputError(f"{run.path}: no round is finished yet, there is nothing to draw")
    target = run.path / "report.html"
    disk.replace(target, page(run, rows["rounds.csv"], rows["clients.csv"]).encode())
    return target


def page(run: Run, rounds: Sequence[RoundRow], clients: Sequence[ClientRow]) -> str:
    """Return the page as HTML; every string that comes from a file is escaped."""
    origin, summary = run.provenance, summarise_run(run, rounds, parameters=0)
    data = escape(str(origin.get("dataset", run.config.data.dataset)))
    seeds = sorted({row.seed for row in rounds})
    evolved = [row for row in clients if row.cluster is not None]
    sections = [
        _section("Results", _results(summary)),
        _section("Accuracy per round", _figure(_curves(rounds, "test_accuracy", "test accuracy"))),
        _section("Loss per round", _figure(_curves(rounds, "test_loss", "test loss", log=True))),
    ]
    for strategy in dict.fromkeys(row.strategy for row in evolved):
        first = min(row.seed for row in evolved if row.strategy == strategy)
        rows = [row for row in evolved if (row.strategy, row.seed) == (strategy, first)]
        last = max(row.round for row in rows)
        final = [row for row in rows if row.round == last]
        title = f"{escape(strategy)}, seed {first}"
        sections += [
            _section(f"Clusters in round {last} ({title})", _figure(_scatter(final))),
            _section(f"Cluster sizes ({title})", _figure(_sizes(final))),
            _section(f"Learning rate of every client ({title})", _figure(_rates(rows))),
        ]
    sections += [
        _section("Every round", _round_table(rounds)),
        _section("Replies that were not used", _unused(clients)),
        *([_section("Privacy", _privacy(run, summary))] if _private(run) else []),
        _section("Settings and versions", f"<pre>{escape(to_toml(run.tree()))}</pre>"),
    ]
    note = (
        f"{data}, model {escape(run.config.model.name)}, {run.config.partition.clients} clients, "
        f"cohort fraction {run.config.cohort.fraction:g}, seeds {', '.join(map(str, seeds))}. "
        "Clients hold contiguous slices of a shuffled set: nearly IID, overlapping, unequal."
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>fedgen: {data}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>"
        f'<h1>fedgen comparison</h1><p class="note">{note}</p>{_leak(run)}'
        f"{''.join(sections)}</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _leak(run: Run) -> str:
    genetic = "genetic-cfl" in run.config.run.strategies
    if not genetic or run.config.genetic_cfl.fitness != "test":
        return ""
    return (
        '<p class="warning"><strong>This run leaks:</strong> fitness is the loss on the test set, '
        "as in the published code, so genetic-cfl's test figures are flattered.</p>"
    )


def _figure(figure: go.Figure) -> str:
    figure.update_layout(
        template="plotly_white",
        height=380,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.08},
    )
    config = {"displaylogo": False, "responsive": True}
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    return text


def _colour(names: Sequence[str], name: str) -> str:
    return COLOURS[list(names).index(name) % len(COLOURS)]


def _curves(rows: Sequence[RoundRow], field: str, label: str, log: bool = False) -> go.Figure:
    figure = go.Figure()
    names = list(dict.fromkeys(row.strategy for row in rows))
    for name in names:
        seeds = sorted({row.seed for row in rows if row.strategy == name})
        for seed in seeds:
            arm = [row for row in rows if (row.strategy, row.seed) == (name, seed)]
            figure.add_scatter(
                x=[row.round for row in arm],
                y=[getattr(row, field) for row in arm],
                customdata=spent(arm),
                mode="lines+markers",
                name=escape(name),
                legendgroup=name,
                showlegend=seed == seeds[0],
                line={"color": _colour(names, name)},
                hovertemplate=f"round %{{x}}<br>{label} %{{y:.4f}}<br>seed {seed}"
                "<br>%{customdata} client-epochs so far",
            )
    figure.update_xaxes(title="round", dtick=max(1, len({row.round for row in rows}) // 12))
    figure.update_yaxes(title=label, type="log" if log else "linear")
    return figure


def _cluster_colour(label: int) -> str:
    return NOISE_COLOUR if label < 0 else COLOURS[label % len(COLOURS)]


def _cluster_name(label: int) -> str:
    return "noise" if label < 0 else f"cluster {label}"


def _labels(rows: Sequence[ClientRow]) -> list[int]:
    return sorted({row.cluster for row in rows if row.cluster is not None})


def _has_genes(row: ClientRow) -> bool:
    # Rows may be anybody's: a logarithm of what is not positive there is none.
    return 0 < (row.learning_rate or 0) < math.inf and 0 < (row.batch_size or 0)


def _scatter(rows: Sequence[ClientRow]) -> go.Figure:
    figure = go.Figure()
    for label in _labels(rows):
        members = [r for r in rows if r.cluster == label and _has_genes(r)]
        figure.add_scatter(
            x=[math.log10(r.learning_rate or 1) for r in members],
            y=[math.log2(r.batch_size or 1) for r in members],
            text=[f"client {r.client}: {escape(r.origin or '')}" for r in members],
            customdata=[[r.learning_rate, r.batch_size, r.fitness] for r in members],
            mode="markers",
            marker={"size": 11, "color": _cluster_colour(label), "line": {"width": 1}},
            name=_cluster_name(label),
            hovertemplate="%{text}<br>rate %{customdata[0]:.3g}<br>batch %{customdata[1]}"
            "<br>fitness %{customdata[2]:.4f}",
        )
    figure.update_xaxes(title="log10 learning rate")
    figure.update_yaxes(title="log2 batch size")
    return figure


def _sizes(rows: Sequence[ClientRow]) -> go.Figure:
    labels = _labels(rows)
    sizes = [sum(row.cluster == label for row in rows) for label in labels]
    figure = go.Figure()
    figure.add_bar(
        x=[_cluster_name(label) for label in labels],
        y=sizes,
        text=sizes,
        marker={"color": [_cluster_colour(label) for label in labels]},
        hovertemplate="%{x}: %{y} clients<extra></extra>",
    )
    figure.update_yaxes(title="clients")
    return figure


def _rates(rows: Sequence[ClientRow]) -> go.Figure:
    figure = go.Figure()
    seen: set[int] = set()
    for client in sorted({row.client for row in rows}):
        mine = [row for row in rows if row.client == client and _has_genes(row)]
        label = mine[-1].cluster if mine and mine[-1].cluster is not None else -1
        figure.add_scatter(
            x=[row.round for row in mine],
            y=[row.learning_rate for row in mine],
            mode="lines+markers",
            marker={"size": 4},
            line={"color": _cluster_colour(label), "width": 1.3},
            name=_cluster_name(label),
            legendgroup=str(label),
            showlegend=label not in seen,
            hovertemplate=f"client {client}<br>round %{{x}}<br>rate %{{y:.3g}}<extra></extra>",
        )
        seen.add(label)
    figure.update_xaxes(title="round", dtick=max(1, len({row.round for row in rows}) // 12))
    figure.update_yaxes(title="learning rate", type="log", exponentformat="power")
    return figure


def _table(head: Sequence[str], body: Sequence[Sequence[str]], *, prose: bool = False) -> str:
    """Return a table; in one with prose, the last column is text."""
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in body
    )
    kind = ' class="prose"' if prose else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{cells}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _results(summary: Mapping[str, Any]) -> str:
    form: dict[str, Callable[[float], str]] = {
        "final_accuracy": lambda value: f"{value:.4f}",
        "best_accuracy": lambda value: f"{value:.4f}",
        "final_loss": lambda value: f"{value:.4f}",
        "accuracy_at_equal_client_epochs": lambda value: f"{value:.4f}",
        "rounds_to_target": lambda value: f"{value:,.1f}",
        "client_epochs_to_target": lambda value: f"{value:,.0f}",
        "client_epochs": lambda value: f"{value:,.0f}",
        "samples": lambda value: f"{value:,.0f}",
        "bytes": lambda value: f"{value / 1e6:,.1f} MB",
        "seconds": lambda value: f"{value:,.1f}",
    }

    def cell(key: str, value: Mapping[str, Any]) -> str:
        if value["mean"] is None:
            return "none"
        text = form[key](value["mean"])
        if value["interval"] is None or key not in MEASURED:
            return text
        low, high = map(form[key], value["interval"])
        return f"{text} [{low},\N{NO-BREAK SPACE}{high}]"

    body = [
        [name, *(cell(key, values[key]) for key in form)]
        for name, values in summary["strategies"].items()
    ]
    head = ["strategy", *(key.replace("_", " ") for key in form)]
    told = "".join(f'<p class="lead">{escape(text)}</p>' for text in sentences(summary))
    return (
        told
        + _table(head, body)
        + '<p class="note">Means over seeds, with 95 % intervals where there are several. '
        "Best accuracy is the test accuracy of the round with the best validation accuracy. "
        "Costs are totals of the run; a probe is counted. "
        f"Equal client-epochs: {_plain(summary['equal_client_epochs'])}. "
        f"Target: a test accuracy of {_plain(summary['target_accuracy'])}.</p>"
    )


def _plain(number: float | None) -> str:
    return "none" if number is None else f"{number:,.4g}"


def _round_table(rounds: Sequence[RoundRow]) -> str:
    total: dict[tuple[str, int], int] = {}
    body = []
    for row in rounds:
        arm = (row.strategy, row.seed)
        total[arm] = total.get(arm, 0) + row.client_epochs
        body.append(
            [
                f"{row.strategy}, seed {row.seed}",
                str(row.round),
                f"{row.test_accuracy:.4f}",
                f"{row.test_loss:.4f}",
                f"{row.validation_accuracy:.4f}",
                f"{total[arm]:,}",
                f"{row.rejected + row.failed}",
                f"{row.seconds:.1f}",
            ]
        )
    head = [
        "arm",
        "round",
        "test accuracy",
        "test loss",
        "validation accuracy",
        "client-epochs so far",
        "replies not used",
        "seconds",
    ]
    return _table(head, body)


def _private(run: Run) -> bool:
    return run.config.privacy.kind != "none"


def _privacy(run: Run, summary: Mapping[str, Any]) -> str:
    kind, norm = run.config.privacy.kind, run.config.privacy.clip_norm
    body = []
    for name, values in summary["strategies"].items():
        spending = values.get("privacy")
        if spending:
            epsilon = spending["epsilon"]
            claim = "none" if epsilon is None else f"{epsilon:.3g}"
            noise, delta = f"{spending['noise_multiplier']:g}", f"{spending['delta']:g}"
            body.append([name, kind, f"{norm:g}", noise, claim, delta, spending["note"]])
    head = ["strategy", "kind", "clip norm", "noise multiplier", "epsilon", "delta", "what it says"]
    return _table(head, body, prose=True)


def _unused(clients: Sequence[ClientRow]) -> str:
    bad = [row for row in clients if row.status != "ok"]
    if not bad:
        return "<p>None: every reply passed every check.</p>"
    body = [[f"{r.strategy}, seed {r.seed}", str(r.round), str(r.client), r.status] for r in bad]
    return _table(["arm", "round", "client", "why"], body, prose=True)
