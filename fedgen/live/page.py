"""What a watched directory and a watched run look like: the page, and the parts that change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote
from weakref import WeakKeyDictionary

from fedgen.console import duration
from fedgen.live.standing import figure
from fedgen.live.states import RUN, ArmState, Rows, State
from fedgen.report.charts import evolution
from fedgen.report.html import Chart, to_json
from fedgen.report.podium import podium
from fedgen.report.results import Results
from fedgen.report.style import FIT, STYLE

_DRAWN: "WeakKeyDictionary[Rows, dict[str, str]]" = WeakKeyDictionary()
"""Charts of rows, as long as these are what a run has."""

MOST_CHARTS = 6
"""So many strategies' genes are drawn: those of the seed that is played."""


@dataclass(frozen=True)
class Parts:
    """What of a page changes.

    Attributes:
        html: HTML by the id of the element that it goes into.
        charts: Charts by name, each as JSON with a title, data and layout.
    """

    html: dict[str, str]
    charts: dict[str, str]


def shell(title: str, events: str, ids: Sequence[str], up: bool) -> str:
    """Return a page whose parts come by server-sent events.

    Args:
        title: Its title.
        events: Address of the events.
        ids: The parts, in their order.
        up: Whether to link to the list of runs.
    """
    link = '<p><a href="/">All runs</a></p>' if up else ""
    boxes = "".join(f'<div id="{name}"></div>' for name in ids)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/watch.css"></head>'
        f'<body data-events="{escape(events)}"><header>{link}<h1>{escape(title)}</h1></header>'
        f'<main><p id="lost" class="warning" role="status" hidden>No server '
        "answers; this page tries again. What it shows may be old. <code>python -m fedgen watch"
        "</code> serves runs.</p>"
        f'{boxes}<div id="charts"></div></main>'
        '<script src="/plotly.js" defer></script><script src="/watch.js" defer></script>'
        "</body></html>\n"
    )


def listing(states: Sequence[State], now: float) -> Parts:
    """Return the list of runs."""
    if not states:
        told = "<p>No run is here yet: <code>python -m fedgen compare</code> makes one.</p>"
        return Parts({"runs": told}, {})
    lines = "".join(_line(state, now) for state in states)
    return Parts({"runs": _table("Runs", RUN, lines)}, {})


def _line(state: State, now: float) -> str:
    told = [escape(cell) for cell in state.line(now)[1:]]
    told[1] += _bar(state.done, state.asked) if state.arms and not state.finished else ""
    link = f'<a href="/runs/{quote(state.name, safe="")}">{escape(state.name)}</a>'
    return _row(link, RUN, told)


def following(state: State, now: float) -> Parts:
    """Return what is shown of one run."""
    told = [state.data, state.engine, state.told(now)]
    left = state.left(now)
    if left is not None:
        told.append(f"about {duration(left)} left")
    status = f"<p>{escape(', '.join(filter(None, told)))}</p>"
    if state.arms and not state.finished:
        status += _bar(state.done, state.asked)
    elif state.rows:
        page = escape(str(state.rows.results.path.resolve() / "report.html"))
        status += f'<p class="note">The whole report: <code>{page}</code></p>'
    parts = {
        "status": status,
        "ranking": podium(state.rows.ranking) if state.rows else "",
        "arms": _arms(state),
    }
    return Parts(parts, _charts(state.rows) if state.rows else {})


def _arms(state: State) -> str:
    """Return how far the arms are that are being played, and their cohorts; others are counted."""
    if not state.arms or state.finished:
        return ""
    going = [arm for arm in state.arms if arm.sign and arm.left]
    ended = sum(not arm.left for arm in state.arms)
    waiting = len(state.arms) - len(going) - ended
    title = state.rows.results.metric.title if state.rows else "metric"
    head = ("arm", "round", "clients of this round", f"test {title}", "seconds a round")
    counts = {"ended": ended, "to come": waiting}
    others = [f"{count} {what}" for what, count in counts.items() if count]
    note = f'<p class="note">Of {len(state.arms)} arms, {", ".join(others)}.</p>' if others else ""
    lines = "".join(_arm(arm, head) for arm in going)
    return (_table("Arms", head, lines) if going else "") + note


def _arm(arm: ArmState, head: Sequence[str]) -> str:
    sign = arm.sign
    cohort = "waits" if sign else ""
    if sign and sign.asked:
        cohort = f"{sign.done} of {sign.asked}{_bar(sign.done, sign.asked)}"
    mine = arm.standing
    each = "" if mine.pace is None else f"{mine.pace:.2g}"
    name = f"{escape(mine.arm.strategy)}, seed {mine.arm.seed}"
    reached = f"{max(mine.round, 0)} of {mine.rounds}"
    return _row(name, head, (reached, cohort, figure(mine.value), each))


def _table(what: str, head: Sequence[str], lines: str) -> str:
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{what}"><table class="runs">'
        f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _row(name: str, head: Sequence[str], cells: Sequence[str]) -> str:
    """Return a line; its cells, HTML, say by themselves what they are where there is no head."""
    body = "".join(
        f'<td data-what="{escape(what)}">{cell}</td>'
        for what, cell in zip(head[1:], cells, strict=True)
    )
    return f'<tr><th scope="row">{name}</th>{body}</tr>'


def _charts(rows: Rows) -> dict[str, str]:
    """Return the deciding curve, loss, and how genes move in the last seed that was begun."""
    if rows not in _DRAWN:
        _DRAWN[rows] = _draw(rows.results)
    return _DRAWN[rows]


def _draw(results: Results) -> dict[str, str]:
    drawn = {name: results.charts[name] for name in [*results.curves][:1]}
    if "loss" in results.curves:
        drawn["loss"] = results.charts["loss"]
    seed = max((seed for _, seed in results.evolved), default=0)
    mine = [strategy for strategy, of in results.evolved if of == seed]
    moving = ("rates", "batches", *evolution.FURTHER_GENES)
    for strategy in mine[:MOST_CHARTS]:
        for gene in moving:
            name = f"{gene}-{strategy}-seed{seed}"
            if name in results.charts and _moves(results.charts[name]):
                drawn[name] = results.charts[name]
    return {name: _json(name, chart, mine, seed) for name, chart in drawn.items()}


def _moves(chart: Chart) -> bool:
    """Whether a gene is not the same of all clients for ever."""
    return len({y for trace in chart.figure.data for y in trace.y if y is not None}) > 1


def _json(name: str, chart: Chart, strategies: Sequence[str], seed: int) -> str:
    whose = [s for s in strategies if name.endswith(f"-{s}-seed{seed}")]
    title = f"{whose[0]}, seed {seed}: {chart.title}" if whose else chart.title
    told = {"title": title, "text": chart.text, "note": chart.note}
    figure = type(chart.figure)(chart.figure.data, chart.figure.layout)
    figure.update_traces(meta=None)  # other axes, of which this page has no switch
    return f'{json.dumps(told)[:-1]}, "figure": {to_json(figure)}}}'


def _bar(done: int, asked: int) -> str:
    return f'<progress max="{asked}" value="{done}"></progress>' if asked else ""


SHEET = f"""{STYLE}
h1 {{ overflow-wrap: anywhere }}
.runs td, .runs th {{ text-align: left }} .runs th:first-child {{ white-space: normal;
  overflow-wrap: anywhere; min-width: 9rem }} .runs td {{ min-width: 5rem }}
progress {{ display: block; width: 100%; max-width: 46rem; height: .5rem;
  accent-color: var(--link) }}
@media (max-width: 600px) {{ .runs thead {{ display: none }}
  .runs tr {{ display: block; padding: .4rem 0; border-bottom: 1px solid var(--line) }}
  .runs td, .runs th {{ display: block; border: 0; padding: .1rem 0 }} 
  .runs td:empty {{ display: none }}
  .runs td::before {{ content: attr(data-what) ": "; color: var(--soft) }} }}
"""
"""The style of both pages: the report's, and what only they have."""

FOLLOW = f"""
"use strict";
{FIT}
// Parts come as they change. A browser that has lost the server asks again by itself.
const lost = document.getElementById("lost"), boxes = document.getElementById("charts");
const config = {{ displaylogo: false, responsive: true,
  modeBarButtons: [["toImage", "resetScale2d"]] }};

function show(name, chart) {{
  let box = document.getElementById("chart-" + name);
  if (!box) {{
    const frame = document.createElement("figure");
    const title = document.createElement("h3"), note = document.createElement("figcaption");
    box = document.createElement("div");
    box.id = "chart-" + name;
    box.className = "plot";
    box.setAttribute("role", "img");
    frame.append(title, note, box);
    boxes.append(frame);
  }}
  const [title, note] = box.parentElement.children;
  title.textContent = chart.title;
  note.textContent = chart.note;
  box.setAttribute("aria-label", chart.title + ". " + chart.text);
  fit(chart.figure);
  chart.figure.layout.uirevision = "kept"; // what a reader has zoomed into stays
  Plotly.react(box, chart.figure.data, chart.figure.layout, config);
}}

const events = new EventSource(document.body.dataset.events);
events.onopen = () => {{ lost.hidden = true; }};
events.onerror = () => {{ lost.hidden = false; }};
events.onmessage = (event) => {{
  const told = JSON.parse(event.data);
  for (const [id, html] of Object.entries(told.html))
    document.getElementById(id).innerHTML = html;
  for (const [name, chart] of Object.entries(told.charts)) show(name, chart);
  for (const box of [...boxes.querySelectorAll(".plot")])
    if (!told.names.includes(box.id.slice("chart-".length))) box.parentElement.remove();
}};
"""
"""The script of both pages."""
