"""What a reader sees first: who wins in a sentence, and the strategies ranked."""

import re
from collections.abc import Mapping, Sequence
from html import escape

from fedgen.analysis import statistics
from fedgen.analysis.ranking import Place, Ranking, told, written
from fedgen.report.charts.palette import Style, styles
from fedgen.report.tables import label

SHADES = {"solid": "", "dash": "6 3", "dot": "2 3", "dashdot": "6 3 2 3"}
"""The dashes of a line as SVG has them."""


def podium(ranked: Ranking) -> str:
    """Return who wins, the ranked table, and who is not ranked."""
    first, *others = told(ranked)
    rest = "".join(f'<p class="note">{escape(text)}</p>' for text in others)
    return f"{lead(first)}{table({'': ranked})}{rest}"


def lead(text: str) -> str:
    """Return the sentence that a page begins with; no line ends before a percent sign."""
    return f'<p class="lead">{escape(text).replace(" %", "&nbsp;%")}</p>'


def table(rankings: Mapping[str, Ranking]) -> str:
    """Return the strategies of runs in one table, the best first.

    Args:
        rankings: Those of every run by its name; a single run needs none. All have one metric and
            unit.
    """
    entries = [(run, r, place) for run, r in rankings.items() for place in r.places]
    if not entries:
        return ""
    metric = entries[0][1].metric
    entries.sort(key=lambda entry: -entry[2].mean if metric.higher else entry[2].mean)
    looks = styles(label(run, name) for run, ranked in rankings.items() for name in ranked.listed)
    most = max(place.spent for *_, place in entries) or 1
    lines = "".join(
        _line(called, ranked, place, looks[called], place.spent / most)
        for run, ranked, place in entries
        if (called := label(run, place.name))
    )
    equal = any(ranked.at is not None for ranked in rankings.values())
    head = (
        "strategy",
        f"test {metric.title}{' at equal cost' if equal else ''}",
        f"cost, {entries[0][1].unit}",
    )
    return framed(head, lines)


def framed(head: Sequence[str], lines: str, kind: str = "") -> str:
    """Return the ranked table of some lines of HTML; of cases, names are long."""
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    rows = f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody>"
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Ranking">'
        f'<table class="ranked {kind}">{rows}</table></div>'
    )


def bar(share: float, text: str) -> str:
    """Return the cell of a cost: a bar of a share of the largest, and the number."""
    return (
        f'<td><span class="bar" style="width:{100 * share:.0f}%"></span>'
        f"<small>{escape(text)}</small></td>"
    )


def _line(called: str, ranked: Ranking, place: Place, look: Style, share: float) -> str:
    around = statistics.told(place.values, place.interval, lambda value: _bare(ranked, value))
    seeds = f"<small>{escape(around)}</small>" if around else ""
    swatch = (
        '<svg width="22" height="8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" '
        f'stroke="{look.colour}" stroke-width="3" stroke-dasharray="{SHADES[look.dash]}"/></svg>'
    )
    number = f"{place.number}. " if called == place.name else ""  # of one run
    return (
        f'<tr class="{"best" if place in ranked.level else ""}">'
        f'<th scope="row">{number}{swatch}{_breakable(called)}</th>'
        f"<td>{escape(written(ranked, place.mean))}{seeds}</td>"
        f"{bar(share, f'{place.spent:,.10g}')}</tr>"
    )


def _breakable(name: str) -> str:
    """Return a name that may be broken behind what joins its parts."""
    return re.sub(r"([/+@:])", r"\1<wbr>", escape(name))


def _bare(ranked: Ranking, value: float) -> str:
    return f"{100 * value:.2f}" if ranked.metric.share else f"{value:.4g}"
