"""``report.html``: one self-contained page, drawn from the CSV files of one run or several."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fedgen.analysis.ranking import ranking, told
from fedgen.analysis.sentences import endings, rounds_played, sentences
from fedgen.config.metrics import ACCURACY
from fedgen.config.toml import to_toml
from fedgen.config.tree import Config, build, dump
from fedgen.files import disk
from fedgen.report import closer, tables
from fedgen.report import html as page
from fedgen.report.charts import curves
from fedgen.report.html import Table
from fedgen.report.podium import podium, table
from fedgen.report.results import Results, load
from fedgen.runs.directory import CONFIG
from strategies import REGISTRY

Sections = list[tuple[str, str, str]]
"""Id, heading and HTML of the parts of a page."""

TOLD_SEEDS, TOLD_STRATEGIES = 3, 6
"""Of so many seeds, and strategies, a story is told: a page must stay small."""

FEW = 3
"""So many strategies are named in the title."""


def write(path: Path) -> Path:
    """Draw a run's report again from its finished rounds and return its path.

    Raises:
        InputError: If the run has no finished round, or its files do not read.
        RunError: If the page cannot be written.
    """
    return draw(load(path))


def draw(results: Results) -> Path:
    """Draw a run's report and return its path.

    Raises:
        RunError: If the page cannot be written.
    """
    target = results.path / "report.html"
    disk.replace(target, one(results).encode())
    return target


def write_several(paths: Sequence[Path], target: Path) -> Path:
    """Draw several runs side by side and return the page's path.

    Raises:
        InputError: As ``write`` does.
        RunError: If the page cannot be written.
    """
    disk.replace(target, several([load(path) for path in paths]).encode())
    return target


def one(results: Results) -> str:
    """Return the page of a run as HTML."""
    run, config = results.run, results.run.config
    data = results.summary["dataset"]
    seeds = sorted({row.seed for row in results.rounds})
    note = (
        f"{data}, model {config.model.title}, {config.partition.clients:,} clients, a cohort of "
        f"{config.cohort.fraction:.0%}, {_seeds(seeds)}. {config.partition.told}"
    )
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in (note, *run.notes))
    drawn = {name: results.charts[name] for name in results.curves}
    lead = podium(ranking(results.summary)) + _warnings(results) + _deciding(drawn) + notes
    sections: Sections = [
        ("curves", "Loss and other metrics, round by round", _curves(drawn, results.arms)),
        ("results", "All figures, and differences seed by seed", _figures(results)),
        ("cost", "What it cost", _cost(results.placed)),
    ]
    if results.evaluations:
        text = "How evenly clients are served, client by client"
        sections.append(("clients", text, closer.clients(results, seeds)))
    if results.classes:
        sections.append(("classes", "Class by class", closer.classes(results)))
    sections += _stories(results)
    if results.partition:
        sections.append(("partition", "Who holds what", _partition(results)))
    sections += [
        ("unused", "Replies that were not used", _unused(results)),
        *([("privacy", "Privacy", _privacy(results))] if config.privacy.kind != "none" else []),
        ("again", "The same again", _again(results)),
        ("settings", "Settings and versions", _settings(results)),
    ]
    names = list(results.arms)
    title = ", ".join(names) if len(names) <= FEW else f"{len(names)} strategies"
    return page.document(f"{title} on {data}", lead, sections)


def several(runs: Sequence[Results]) -> str:
    """Return the page of several runs side by side as HTML."""
    named = dict(zip(_names([run.path for run in runs]), runs, strict=True))
    arms = {
        tables.label(name, strategy): seeds
        for name, run in named.items()
        for strategy, seeds in run.placed.items()
    }
    lead = (
        '<p class="note">Runs are drawn together, but only strategies of one run share clients, '
        "weights and batches: between runs no difference is tested.</p>"
    )
    drawn = {
        name: curves.curves(arms, f"test_{name}", f"test {title}")
        for name, title in _shared_metrics(list(named.values())).items()
    }
    summaries = {name: run.summary for name, run in named.items()}
    rankings = {name: ranking(summary) for name, summary in summaries.items()}
    said = "".join(
        f"<p>{escape(name)}: {escape(text)}</p>"
        for name, summary in summaries.items()
        for text in [*told(rankings[name]), *endings(summary)]
    )
    kinds = {name: (ranked.metric, ranked.unit) for name, ranked in rankings.items()}
    ranks = "".join(
        table({name: ranked for name, ranked in rankings.items() if kinds[name] == kind})
        for kind in dict.fromkeys(kinds.values())
    )
    lead = said + ranks + lead + _deciding(drawn)
    sections: Sections = [
        ("runs", "Runs", _runs(named)),
        ("results", "All figures", _results(summaries)),
        ("curves", "Loss and other metrics, round by round", _curves(drawn, arms)),
        ("cost", "What it cost", _cost(arms)),
        ("differences", "Settings that differ", _differences(named)),
    ]
    return page.document(f"{len(runs)} runs side by side", lead, sections)


def _names(paths: Sequence[Path]) -> list[str]:
    names = [path.resolve().name for path in paths]
    if len(set(names)) == len(names):
        return names
    return [f"{number}: {path}" for number, path in enumerate(paths, 1)]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _warnings(results: Results) -> str:
    ended = "".join(f'<p class="warning">{escape(text)}</p>' for text in endings(results.summary))
    doubts = "".join(
        f'<p class="warning">{escape(text)}</p>' for text in results.summary.get("doubts", ())
    )
    return ended + _leak(results) + doubts


def _figures(results: Results) -> str:
    """Return the table of all figures, and how far strategies are from the first one."""
    chart = results.charts.get("differences")
    told = "".join(f"<p>{escape(text)}</p>" for text in sentences(results.summary))
    body = page.folded(f"Each against {next(iter(results.arms))}, in words", told, opened=False)
    apart = chart.html("differences") if chart else ""
    return _results({"": results.summary}) + apart + (body if told else "")


def _shared_metrics(runs: Sequence[Results]) -> dict[str, str]:
    """Return the metrics that several runs all have, in the first one's order."""
    first, *others = (run.curves for run in runs)
    return {name: title for name, title in first.items() if all(name in o for o in others)}


def _leak(results: Results) -> str:
    config = results.run.config
    genetics = config.genetics
    compared = [name for name in config.run.strategies if name in genetics]
    ranked = [name for name in compared if genetics[name].get("fitness") == "test"]
    if not ranked:
        return ""
    return (
        '<p class="warning"><strong>This run leaks:</strong> fitness is the loss on the test set, '
        "as in the published code, so the test figures of "
        f"{escape(', '.join(ranked))} are flattered.</p>"
    )


def _results(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    ends = "; ".join(
        f"{f'{name}: ' if name else ''}{_plain(summary['equal_client_epochs'])} equal "
        f"client-epochs, {_target(summary)}{_budget(summary)}"
        for name, summary in summaries.items()
    )
    return tables.results(summaries).html("Results") + (
        '<p class="note">Means over seeds, with their values, or 95 % intervals from five on; what '
        "it took to the target seed by seed, of many seeds the median and the range. "
        "Best is the figure on the test set in the round that is best on the validation share. "
        f"{escape(ends)}.</p>"
    )


def _target(summary: Mapping[str, Any]) -> str:
    target, title = tables.target(summary), summary["metric"]["title"]
    if target is None:
        above = "above chance and above" if title == ACCURACY.title else "beyond"
        return f"no target {title}, as not every arm gets {above} every start"
    return f"target {title} {_plain(target)}"


def _budget(summary: Mapping[str, Any]) -> str:
    """Say what arms could spend, if that was limited."""
    if "budget" not in summary:
        return ""
    equal = "" if "equal_budget" not in summary else f", {_plain(summary['equal_budget'])} equal"
    return f", budget {summary['budget']}{equal}: after round 0 no strategy plays a round beyond it"


def _plain(number: float | None) -> str:
    if number is None:
        return "none"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.4g}"


def _deciding(drawn: Mapping[str, page.Chart]) -> str:
    """Return the curves of the deciding metric, which comes first; nothing where there is none."""
    return "".join(drawn[name].html(name, first=True) for name in [*drawn][:1])


def _curves(drawn: Mapping[str, page.Chart], arms: curves.Arms) -> str:
    """Return the other metrics' curves, the loss first, and the switch that moves all of them."""
    axes = curves.axes_of(arms)
    control = page.switch("Draw against", axes, next(iter(axes)))
    others = sorted([*drawn][1:], key=lambda name: name != "loss")
    return control + "".join(drawn[name].html(name) for name in others)


def _flat(config: Config) -> dict[str, Any]:
    """Return every setting by its dotted name."""
    parts = dump(config).items()
    return {f"{section}.{key}": value for section, part in parts for key, value in part.items()}


def _settings(results: Results) -> str:
    """Return what differs from the defaults, then all settings and versions."""
    usual = _flat(build({}))
    told = [
        [key, str(value), str(usual.get(key, ""))]
        for key, value in _flat(results.run.config).items()
        if value != usual.get(key)
    ]
    differing = Table(["setting", "this run", "by default"], told).html("Settings not by default")
    return f"{differing}<pre>{escape(to_toml(results.run.tree()))}</pre>"


def _cost(arms: curves.Arms) -> str:
    # The rows of a round that ended an arm are among the clients' only.
    return tables.costs(arms).html("Costs") + (
        '<p class="note">Totals of a run, means over seeds. What a strategy spends before round 1, '
        "as on a probe, is in all totals and in the curves. Clients whose reply was not used count "
        "in the bytes only; a search asks clients several times, and counts those of whom it used "
        "no reply. A round that ended an arm is not counted. Seconds go by a clock, also while "
        "strategies are played at once, by JAX or with --jobs.</p>"
    )


def _stories(results: Results) -> Sections:
    sections: Sections = []
    strategies = list(dict.fromkeys(name for name, _ in results.evolved))
    for strategy in strategies[:TOLD_STRATEGIES]:
        seeds = sorted(seed for name, seed in results.evolved if name == strategy)
        parts = []
        for seed in seeds[:TOLD_SEEDS]:
            ending = f"-{strategy}-seed{seed}"
            drawn = "".join(
                results.charts[name].html(_id(name))
                for name in results.charts
                if name.endswith(ending)
            )
            parts.append(page.folded(f"Seed {seed}", drawn, opened=len(seeds) == 1))
        name = _id(f"story-{strategy}")
        body = "".join(parts) + _untold(seeds, f"rates-{strategy}-seed{seeds[-1]}")
        sections.append((name, f"Hyperparameters of {strategy}, round by round", body))
    if untold := strategies[TOLD_STRATEGIES:]:
        seed = min(seed for name, seed in results.evolved if name == untold[0])
        example = _drawn_by_python(f"rates-{untold[0]}-seed{seed}")
        body = (
            f'<p class="note">Not told here: {escape(", ".join(untold))}. From Python, all can be '
            f"drawn: {example}</p>"
        )
        sections.append(("untold", "Hyperparameters of other strategies", body))
    return sections


def _untold(seeds: Sequence[int], example: str) -> str:
    if len(seeds) <= TOLD_SEEDS:
        return ""
    return (
        f'<p class="note">Told of {TOLD_SEEDS} of {len(seeds)} seeds. From Python, all can be '
        f"drawn: {_drawn_by_python(example)}</p>"
    )


def _drawn_by_python(chart: str) -> str:
    return f"<code>fedgen.load_run(RUN).figure({escape(chart)!r})</code>"


def _id(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _partition(results: Results) -> str:
    parts = []
    seeds = sorted({row.seed for row in results.partition})
    for seed in seeds[:TOLD_SEEDS]:
        drawn = "".join(
            results.charts[name].html(name)
            for name in (f"slices-seed{seed}", f"labels-seed{seed}")
            if name in results.charts
        )
        parts.append(page.folded(f"Seed {seed}", drawn, opened=len(seeds) == 1))
    return "".join(parts) + _untold(seeds, f"labels-seed{seeds[-1]}")


def _unused(results: Results) -> str:
    table = tables.unused(results.clients)
    if not results.clients:
        return "<p>None: no client was asked.</p>"
    if not table.body:
        return "<p>None: of every client that was asked a reply was used.</p>"
    return table.html("Replies that were not used")


def _privacy(results: Results) -> str:
    settings = results.run.config.privacy
    spendings = {
        name: values["privacy"]
        for name, values in results.summary["strategies"].items()
        if "privacy" in values
    }
    if "privacy_together" in results.summary:
        spendings["all of them, released together"] = results.summary["privacy_together"]
    body = []
    for name, spending in spendings.items():
        epsilon = spending["epsilon"]
        claim = "none" if epsilon is None else f"{epsilon:.3g}"
        noise, delta = f"{spending['noise_multiplier']:g}", f"{spending['delta']:g}"
        cells = [settings.kind, f"{settings.clip_norm:g}", noise, claim, delta]
        body.append([name, *cells, spending["note"]])
    head = ["strategy", "kind", "clip norm", "noise multiplier", "epsilon", "delta", "what it says"]
    return Table(head, body, prose=True).html("Privacy")


def _again(results: Results) -> str:
    folder = results.path
    config = shlex.quote(str(folder / CONFIG))
    commands = (
        f"python -m fedgen compare {config}\npython -m fedgen report {shlex.quote(str(folder))}"
    )
    return (
        "<p>The run's own <code>config.toml</code>, printed below, makes the same run again, to "
        "the byte on a CPU but for the seconds, and says so where data or versions are others. The "
        f"second command draws this page.</p><pre>{escape(commands)}</pre>"
    )


def _runs(named: Mapping[str, Results]) -> str:
    body = [
        [
            *(name, run.summary["dataset"], run.run.config.model.title, ", ".join(run.arms)),
            *(
                str(len({row.seed for row in run.rounds})),
                rounds_played(run.summary, run.summary["strategies"]),
            ),
        ]
        for name, run in named.items()
    ]
    return Table(["run", "data", "model", "strategies", "seeds", "rounds"], body).html("Runs")


def _differences(named: Mapping[str, Results]) -> str:
    flat = [
        _flat(run.run.config) | {f"provenance.{k}": v for k, v in run.run.provenance.items()}
        for run in named.values()
    ]
    keys = dict.fromkeys(key for tree in flat for key in tree)
    # A strategy that came after a run has no section there: no setting that differs.
    later = {k for k in keys if k.partition(".")[0] in REGISTRY and any(k not in t for t in flat)}
    body = [
        [key, *(str(tree.get(key, "")) for tree in flat)]
        for key in keys
        if key not in later and len({str(tree.get(key, "")) for tree in flat}) > 1
    ]
    if not body:
        return "<p>None.</p>"
    return Table(["setting", *named], body).html("Settings that differ")
