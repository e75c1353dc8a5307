"""A run as it can be looked at: its rows, its summary, and its charts by name."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedgen.analysis.doubts import doubts
from fedgen.analysis.sentences import cost, endings, fair, place, sentences
from fedgen.analysis.summary import summarise
from fedgen.config.metrics import KNOWN, Metric, measured
from fedgen.data.partitions.partition import effective_labels
from fedgen.errors import InputError, unknown
from fedgen.files.csv import MEASURED
from fedgen.runs import store
from fedgen.runs.rows import ClassRow, ClientRow, EndedRow, EvaluationRow, PartitionRow, RoundRow
from fedgen.runs.run import Run, open_run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from fedgen.report.html import Chart


class Charts(Mapping[str, "Chart"]):
    """Charts by name, each drawn when it is first asked for: a run of many arms has hundreds.

    Args:
        makers: What draws them.
    """

    def __init__(self, makers: "Mapping[str, Callable[[], Chart]]") -> None:
        self._makers = makers
        self._drawn: dict[str, Chart] = {}

    def __getitem__(self, name: str) -> "Chart":
        if name not in self._drawn:
            self._drawn[name] = self._makers[name]()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Results:
    """What a run has come to so far.

    Rows are frozen dataclasses; ``table`` returns them with all columns of the CSV files, for
    ``pandas.DataFrame(run.table("rounds"))`` and polars'.

    Attributes:
        run: The run's directory, config and provenance.
        rounds: A row per strategy, seed and round.
        clients: A row per cohort client and round.
        evaluations: A row per strategy, seed and client: the final model on its validation samples.
        partition: A row per seed and client: what it holds.
        ended: A row per arm that ended before the last round that was asked for.
        parameters: How many weights the model has, where that is known.
        classes: A row per strategy, seed and class: the final model on its test samples.
    """

    run: Run
    rounds: Sequence[RoundRow]
    clients: Sequence[ClientRow]
    evaluations: Sequence[EvaluationRow] = ()
    partition: Sequence[PartitionRow] = ()
    ended: Sequence[EndedRow] = ()
    parameters: int | None = None
    classes: Sequence[ClassRow] = ()

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.run.path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds, of the rounds there are."""
        classes = max((len(row.counts) for row in self.partition), default=0)
        run = self.run
        dataset = str(run.provenance.get("dataset", run.config.data.dataset))
        found = summarise(run.config, dataset, self.parameters, self.rounds, self.ended, classes)
        named = {"labels": run.class_names, "notes": run.notes}
        summary = found | {name: values for name, values in named.items() if values}
        counts: dict[int, list[Sequence[int]]] = {}
        for row in self.partition:
            if any(row.counts):
                counts.setdefault(row.seed, []).append(row.counts)
        if counts:
            values = [effective_labels(mine) for _, mine in sorted(counts.items())]
            summary["effective_labels"] = {"mean": sum(values) / len(values), "values": values}
        if misleading := doubts(run.config, summary, self.clients, self.partition):
            summary["doubts"] = misleading
        return summary

    @cached_property
    def arms(self) -> dict[str, list[list[RoundRow]]]:
        """Per strategy, the rounds of each seed, in order."""
        found: dict[str, dict[int, list[RoundRow]]] = {}
        for row in sorted(self.rounds, key=lambda row: row.round):
            found.setdefault(row.strategy, {}).setdefault(row.seed, []).append(row)
        order = [name for name in self.run.config.run.strategies if name in found]
        names = [*order, *(name for name in found if name not in order)]
        return {name: [rows for _, rows in sorted(found[name].items())] for name in names}

    @cached_property
    def placed(self) -> dict[str, list[list[RoundRow]]]:
        """The arms, by what tables and charts call each strategy: with its early end, if any."""
        return {place(self.summary, name, len(arms)): arms for name, arms in self.arms.items()}

    @cached_property
    def evaluations_placed(self) -> list[EvaluationRow]:
        """The evaluations, by what tables and charts call each strategy."""
        arms = {(row.strategy, row.seed) for row in self.evaluations}
        seeds = Counter(strategy for strategy, _ in arms)
        names = {name: place(self.summary, name, count) for name, count in seeds.items()}
        return [replace(row, strategy=names[row.strategy]) for row in self.evaluations]

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return rows as a CSV file has them, its columns by name, the metrics among them.

        Args:
            name: ``"rounds"``, ``"clients"``, ``"evaluations"``, ``"partition"``, ``"classes"`` or
                ``"ended"``. ``pandas.DataFrame`` and ``polars.DataFrame`` take what is returned.

        Raises:
            InputError: If there is no such table.
        """
        kinds = ("rounds", "clients", "evaluations", "partition", "classes", "ended")
        if name not in kinds:
            raise unknown("table", name, kinds)
        rows = getattr(self, name)
        measured = dict.fromkeys(key for row in rows for key in getattr(row, MEASURED, ()))
        return [
            {key: value for key, value in vars(row).items() if key != MEASURED}
            | {key: row.measured.get(key) for key in measured}
            for row in rows
        ]

    @property
    def metric(self) -> Metric:
        """The metric that decides."""
        return self.run.config.metric

    @cached_property
    def curves(self) -> dict[str, str]:
        """Names and titles of the metrics of the rounds, the deciding one first."""
        config = self.run.config
        names = ("accuracy", *measured(config.data.targets, config.run.metrics), "loss")
        known = {self.metric.name: self.metric.title} | {
            name: KNOWN[name].title if name in KNOWN else name.replace("_", " ") for name in names
        }
        return {
            name: title
            for name, title in known.items()
            if any(row.value("test", name) is not None for row in self.rounds)
        }

    @cached_property
    def charts(self) -> Mapping[str, "Chart"]:
        """The charts by name, each with its text and its data as a table; drawn when asked for."""
        from fedgen.report.charts import classes, contrasts, curves, evenness, evolution
        from fedgen.report.charts import partition as holdings

        drawn: dict[str, Callable[[], Chart]] = {
            name: partial(curves.curves, self.placed, f"test_{name}", f"test {title}")
            for name, title in self.curves.items()
        }
        compared = [c for c in fair(self.summary) if c["interval"]]
        if compared:
            told = cost(self.summary), self.metric
            drawn["differences"] = partial(contrasts.differences, compared, *told)
        for (strategy, seed), rows in self.evolved.items():
            for name, chart in evolution.charts(rows).items():
                drawn[f"{name}-{strategy}-seed{seed}"] = chart
        if self.evaluations:
            drawn["clients"] = partial(evenness.clients, self.evaluations_placed, self.metric)
        for strategy in dict.fromkeys(row.strategy for row in self.classes):
            if classes.are_told_apart(self.classes, strategy):
                drawn[f"classes-{strategy}"] = partial(classes.confusion, self.classes, strategy)
        for seed in sorted({row.seed for row in self.partition}):
            mine = [row for row in self.partition if row.seed == seed]
            if all(row.start is not None and row.stop is not None for row in mine):
                cohort = {row.client for row in self.clients if row.seed == seed}
                drawn[f"slices-seed{seed}"] = partial(holdings.slices, mine, cohort)
            if any(row.counts for row in mine):
                drawn[f"labels-seed{seed}"] = partial(holdings.labels, mine, self.run.class_names)
        return Charts(drawn)

    @cached_property
    def evolved(self) -> dict[tuple[str, int], list[ClientRow]]:
        """The clients' rows of every arm whose genes evolve, by strategy and seed."""
        from fedgen.report.charts import evolution

        found: dict[tuple[str, int], list[ClientRow]] = {}
        for row in evolution.evolved(self.clients):
            found.setdefault((row.strategy, row.seed), []).append(row)
        return found

    def figure(self, name: str, axis: str | None = None) -> "Figure":
        """Return a chart of the report as a Plotly figure.

        Args:
            name: One of ``charts``: accuracy, loss, clients, ...
            axis: What ``"accuracy"`` or another metric is drawn against: client-epochs, rounds,
                samples, bytes, seconds, or simulated-seconds where devices are simulated.

        Raises:
            InputError: If there is no such chart or axis.
        """
        from fedgen.report.charts import curves

        if name not in self.charts:
            raise unknown("figure", name, self.charts)
        if axis is None:
            return _with_slider(self.charts[name].figure)
        axes = curves.axes_of(self.arms)
        if axis not in axes:
            raise unknown("axis", axis, axes)
        if name not in self.curves:
            raise InputError(f"figure {name!r}: expected no axis, received {axis!r}")
        title = f"test {self.curves[name]}"
        return curves.curves(self.placed, f"test_{name}", title, axis).figure

    def _repr_html_(self) -> str:
        from fedgen.report import tables

        said = [*sentences(self.summary), *endings(self.summary)]
        told = "".join(f"<p>{escape(text)}</p>" for text in said)
        names = ", ".join(f"<code>{escape(name)}</code>" for name in self.charts)
        return (
            f"<p><strong>{escape(str(self.path))}</strong></p>{told}"
            f"{tables.results({'': self.summary}).html('Results')}<p>Figures: {names}</p>"
        )


def load(path: Path) -> Results:
    """Read a run directory, also of a run that is still going on.

    Raises:
        InputError: If it is none, has no finished round, or its files do not read.
    """
    run = open_run(path)
    rows = store.read_rows(path, run.arms)
    if not rows["rounds.csv"]:
        raise InputError(f"{path}: no round is finished yet, there is nothing to show")
    return Results(
        run,
        rows["rounds.csv"],
        rows["clients.csv"],
        store.read_extra(path, store.EVALUATION),
        store.read_extra(path, store.PARTITION),
        store.read_ended(path, run.arms),
        _parameters(path),
        store.read_extra(path, store.CLASSES),
    )


def _with_slider(figure: "Figure") -> "Figure":
    """Return a figure with a slider over its frames; in the page, a native control moves them."""
    if not figure.frames:
        return figure
    at_once = {"mode": "immediate", "transition": {"duration": 0}, "frame": {"duration": 0}}
    steps = [
        {"label": frame.name, "method": "animate", "args": [[frame.name], at_once]}
        for frame in figure.frames
    ]
    slider = {
        "active": len(steps) - 1,
        "steps": steps,
        "currentvalue": {"prefix": "round "},
        "pad": {"t": 50},
    }
    return type(figure)(figure).update_layout(sliders=[slider])


def _parameters(path: Path) -> int | None:
    """Return how many weights the model has, if the run has said so."""
    try:
        counted = json.loads((path / "summary.json").read_bytes())["parameters"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # not finished, or not ours; the number decides nothing
    return counted if isinstance(counted, int) else None
