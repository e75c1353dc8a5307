"""The tables of a report: results, costs, worst tenth, and replies that were not used."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from fedgen.analysis import statistics
from fedgen.analysis.metrics import jain
from fedgen.analysis.sentences import seeds_known, standing
from fedgen.analysis.summary import TO_TARGET, Keys
from fedgen.config.metrics import ACCURACY, Metric
from fedgen.report.html import Table, number
from fedgen.runs.rows import ClientRow, EvaluationRow, RoundRow

MOST_NAMES = 12
"""Clients or rounds that are named one by one."""


def results(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return means over seeds with their intervals.

    Args:
        summaries: The summary of every run by its name; a single run needs no name.
    """
    forms: dict[str, Callable[[float], str]] = {
        key: lambda value: f"{value:.4f}"
        for summary in summaries.values()
        for key in _metrics(Keys.of(summary["metric"]["name"]))
    }
    intervals = {*forms}
    forms |= {key: lambda value: f"{value:,g}" for key in TO_TARGET}

    def cell(key: str, name: str, summary: Mapping[str, Any]) -> str:
        value = summary["strategies"][name].get(key)
        if value is None:
            return ""
        if key in TO_TARGET:
            begun = summary["strategies"][name]["rounds"]["values"]
            pairs = zip(value["values"], begun, strict=True)
            reached = [seed for seed, rounds in pairs if rounds is not None]
            return "" if target(summary) is None else _by_seed(reached)
        if value["mean"] is None:
            return "none"
        text = forms[key](value["mean"])
        known = [seed for seed in value["values"] if seed is not None]
        if key in intervals:
            text = statistics.beside(text, known, value["interval"], forms[key])
        return f"{text}{seeds_known(summary, value['values'])}"

    measured = {key for s in summaries.values() for v in s["strategies"].values() for key in v}
    shown = [key for key in forms if key in measured]
    body = [
        [
            *(label(run, name), standing(summary, name)),
            *(cell(key, name, summary) for key in shown),
        ]
        for run, summary in summaries.items()
        for name in summary["strategies"]
    ]
    metrics = [summary["metric"] for summary in summaries.values()]
    titles = {key: _title(key, metrics) for key in shown}
    return Table(["strategy", "rounds", *titles.values()], body)


def _title(key: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return what a column is called: by the title of its metric, where it is of one."""
    for metric in metrics:
        if key in Keys.of(metric["name"]).all:
            key = key.replace(metric["name"], metric["title"])
    return key.replace("_", " ")


def _metrics(keys: Keys) -> Iterable[str]:
    """Return what is shown with its interval; the others are costs."""
    final, best, *others = keys.all
    return dict.fromkeys((final, best, "final_loss", *others))


def target(summary: Mapping[str, Any]) -> float | None:
    """Return the value of the deciding metric whose cost is stated."""
    found: float | None = summary[f"target_{summary['metric']['name']}"]
    return found


def _by_seed(values: Sequence[float | None]) -> str:
    """Return whole numbers of seeds one by one, of many their median and range."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "not reached"
    if len(values) <= statistics.FEW:
        return ", ".join("not reached" if value is None else f"{value:,g}" for value in values)
    text = f"{median(known):,g} ({known[0]:,g} to {known[-1]:,g})"
    return text if len(known) == len(values) else f"{text}, {len(known)} of {len(values)} seeds"


def label(run: str, strategy: str) -> str:
    """Return what an arm of one of several runs is called."""
    return f"{run}: {strategy}" if run else strategy


def costs(arms: Mapping[str, Sequence[Sequence[RoundRow]]]) -> Table:
    """Return what every strategy cost: means over seeds of a whole run's totals.

    Args:
        arms: Per strategy, the rounds of each seed.
    """
    rows = (row for seeds in arms.values() for mine in seeds for row in mine)
    simulated = any(row.simulated_seconds is not None for row in rows)
    body = []
    for name, seeds in arms.items():

        def mean(cost: Callable[[RoundRow], float], seeds: Any = seeds) -> float:
            return math.fsum(cost(row) for rows in seeds for row in rows) / len(seeds)

        client_epochs = mean(lambda row: row.client_epochs)
        body.append(
            [
                name,
                _range([max(row.round for row in rows) for rows in seeds]),
                f"{client_epochs:,.0f}",
                f"{mean(lambda row: 0 if row.round else row.client_epochs):,.0f}",
                f"{mean(lambda row: row.samples):,.0f}",
                f"{mean(lambda row: row.bytes_down) / 1e6:,.1f} MB",
                f"{mean(lambda row: row.bytes_up) / 1e6:,.1f} MB",
                f"{mean(lambda row: row.rejected + row.failed):,.1f}",
                f"{mean(lambda row: row.seconds):,.1f}",
                *([_simulated(seeds)] if simulated else []),
            ]
        )
    head = (
        *("strategy", "rounds", "client-epochs", "of them before round 1", "samples trained"),
        *("sent to clients", "sent back", "replies not used", "seconds"),
        *(["simulated seconds"] if simulated else []),
    )
    return Table(head, body)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _simulated(seeds: Sequence[Sequence[RoundRow]]) -> str:
    times = [row.simulated_seconds for rows in seeds for row in rows]
    known = [time for time in times if time is not None]
    return f"{math.fsum(known) / len(seeds):,.1f}" if len(known) == len(times) else "none"


def unused(clients: Sequence[ClientRow]) -> Table:
    """Return why replies were not used, the most frequent reasons first."""
    groups: dict[tuple[str, str], list[ClientRow]] = {}
    for row in clients:
        if row.status != "ok":
            groups.setdefault((row.strategy, row.status), []).append(row)
    body = [
        [
            strategy,
            f"{len(rows):,}",
            _named({row.round for row in rows}),
            _named({row.client for row in rows}),
            status,
        ]
        for (strategy, status), rows in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    return Table(["strategy", "replies", "rounds", "clients", "why"], body, prose=True)


def _named(values: set[int]) -> str:
    if len(values) > MOST_NAMES:
        return f"{len(values)} of {min(values)} to {max(values)}"
    return ", ".join(map(str, sorted(values)))


def worst_tenth(
    rows: Sequence[EvaluationRow], metric: Metric = ACCURACY, prefix: str = ""
) -> Table:
    """Return how evenly models serve all clients; means over seeds.

    Args:
        rows: Every client's figures.
        metric: What they are ranked by.
        prefix: Before its name: "own_" for the clients' own models.
    """
    fair = metric.share and metric.higher  # of errors, and of what may be negative, it says nothing
    body = []
    for strategy in dict.fromkeys(row.strategy for row in rows):
        arms = [ranked(rows, strategy, seed, metric, prefix) for seed in _seeds(rows, strategy)]
        arms = [arm for arm in arms if arm]
        if not arms:
            continue
        parts = [
            (_mean(arm), spread(arm), _mean(worst(arm)), arm[0], arm[-1])
            + ((jain(arm),) if fair else ())
            for arm in arms
        ]
        means = [math.fsum(column) / len(parts) for column in zip(*parts, strict=True)]
        body.append([strategy, f"{len(arms[0])}", *(number(mean) for mean in means)])
    head = ["strategy", "clients", f"mean {metric.title}", "spread", "of the worst tenth"]
    return Table([*head, "worst", "best", *(["Jain's index"] if fair else [])], body)


def ranked(
    rows: Sequence[EvaluationRow], strategy: str, seed: int, metric: Metric, prefix: str = ""
) -> list[float]:
    """Return an arm's figures, a client each, the worst one first."""
    mine = [row for row in rows if (row.strategy, row.seed) == (strategy, seed)]
    values = (row.value(f"{prefix}{metric.name}") for row in mine)
    return sorted((v for v in values if v is not None), reverse=not metric.higher)


def worst(arm: Sequence[float]) -> Sequence[float]:
    """Return the first tenth of ranked clients, rounded up."""
    return arm[: -(-len(arm) // 10)]


def spread(arm: Sequence[float]) -> float:
    """Return the standard deviation over clients."""
    mean = _mean(arm)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in arm) / len(arm))


def _seeds(rows: Sequence[EvaluationRow], strategy: str) -> list[int]:
    return sorted({row.seed for row in rows if row.strategy == strategy})


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
