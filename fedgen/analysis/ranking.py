"""Who wins: the strategies of a summary ranked at equal cost, and how sure the first place is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedgen.analysis import statistics
from fedgen.analysis.sentences import cost_unit, name_seeds
from fedgen.analysis.summary import Keys
from fedgen.config.budget import CLIENT_EPOCHS
from fedgen.config.metrics import Metric
from fedgen.config.sections import is_pooled
from fedgen.runs.rows import EndedRow

LEVEL = 5e-5
"""Shares that differ by less are level: as percentages they read the same to two places."""


@dataclass(frozen=True)
class Place:
    """A strategy's place.

    Attributes:
        number: 1 for the best; strategies with the same values share a number.
        name: The strategy.
        mean: Its mean of the deciding metric.
        values: The metric by seed, in the order of the seeds that are ranked.
        interval: That of the mean at 95 %; ``None`` for fewer than two seeds.
        spent: What its whole runs cost, the mean over those seeds, in the ranking's unit.
        behind: The best one's lead over it, seed by seed, with p; ``None`` for the best.
    """

    number: int
    name: str
    mean: float
    values: Sequence[float]
    interval: statistics.Interval | None
    spent: float
    behind: statistics.Comparison | None


@dataclass(frozen=True)
class Ranking:
    """Who wins.

    Attributes:
        metric: What decides.
        seeds: The seeds that every ranked strategy has a value of.
        at: What every strategy has spent where it is measured, in ``unit``; ``None`` where all
            runs cost the same, and are measured at their ends.
        unit: What costs are counted in.
        key: What the summary calls what strategies are ranked by.
        places: The ranked strategies, the best first.
        others: Those that are not ranked, and why.
        listed: All of them, as the run lists them.
    """

    metric: Metric
    seeds: Sequence[int]
    at: float | None
    unit: str
    key: str
    places: Sequence[Place]
    others: Mapping[str, str]
    listed: Sequence[str]

    @property
    def level(self) -> Sequence[Place]:
        """Whoever is level with the best, the best one itself first."""
        best = self.places[0].mean
        least = LEVEL if self.metric.share else statistics.RESOLUTION
        return [place for place in self.places if abs(place.mean - best) < least]


def ranking(summary: Mapping[str, Any]) -> Ranking:
    """Rank the strategies of a summary by the deciding metric on the test set, at equal cost.

    Where all runs cost the same they are compared at their ends, else each after its last round
    within what every strategy has spent. Seeds count that all ranked strategies have begun; whoever
    has no figure on one of them, as it diverged or its search is dearer, is not ranked. p of a lead
    is that of the exact signed-rank test after Holm over all leads, and after Bonferroni over who
    might have led, as the first place is one that was picked for its figures.
    """
    metric = Metric(**summary["metric"])
    unit = cost_unit(summary)
    figures: Mapping[str, Mapping[str, Any]] = summary["strategies"]
    others = {name: "trained on pooled data" for name in figures if is_pooled(name)}
    lost: dict[str, list[int]] = {}
    for row in summary["ended"]:
        if not EndedRow(**row).compared:
            lost.setdefault(row["strategy"], []).append(row["seed"])
    others |= {name: f"no result on {name_seeds(seeds)}" for name, seeds in lost.items()}
    names = [name for name in figures if name not in others]
    key, at = _measured_by(summary, names, unit)
    asked = summary["seeds"]
    columns: dict[str, list[Any]] = {}
    for name in names:
        rounds, column = figures[name]["rounds"]["values"], figures[name][key]["values"]
        lines = list(zip(asked, column, rounds, strict=True))
        if missing := [seed for seed, value, played in lines if played and value is None]:
            within = "" if at is None else f" within {at:,.10g} {unit}"
            others[name] = f"no figure{within} on {name_seeds(missing)}"
        elif not any(rounds):
            others[name] = "not begun yet"
        else:
            columns[name] = [value if played else None for _, value, played in lines]
    kept = [i for i in range(len(asked)) if all(c[i] is not None for c in columns.values())]
    values = {name: [column[i] for i in kept] for name, column in columns.items()}
    if not kept or not columns:
        others |= dict.fromkeys(columns, "no seed that all of them have begun")
    elif at == 0:
        others |= dict.fromkeys(columns, "not everybody has trained yet")
    if not kept or not columns or at == 0:
        return Ranking(metric, (), at, unit, key, (), others, [*figures])
    means = {name: math.fsum(mine) / len(mine) for name, mine in values.items()}
    sign = -1 if metric.higher else 1
    ordered = sorted(means, key=lambda name: sign * means[name])  # stable: as they were listed
    bounds = statistics.SHARES_APART if metric.share else statistics.ANY
    leads = statistics.compare(
        [(name, dict(enumerate(values[name]))) for name in ordered], bounds, picked=len(ordered)
    )
    costs = {name: figures[name][unit.replace("-", "_")]["values"] for name in ordered}
    places: list[Place] = []
    for place, (name, behind) in enumerate(zip(ordered, [None, *leads], strict=True), 1):
        same = next((p.number for p in places if list(p.values) == values[name]), place)
        spent = math.fsum(costs[name][i] or 0 for i in kept) / len(kept)
        around = statistics.interval(values[name], statistics.bounds_by(metric))
        places.append(Place(same, name, means[name], values[name], around, spent, behind))
    return Ranking(metric, [asked[i] for i in kept], at, unit, key, places, others, [*figures])


def _measured_by(
    summary: Mapping[str, Any], names: Sequence[str], unit: str
) -> tuple[str, float | None]:
    """Return the key of the figures that strategies are ranked by, and the cost it is taken at."""
    keys = Keys.of(summary["metric"]["name"])
    costs = [summary["strategies"][name][unit.replace("-", "_")]["values"] for name in names]
    if all(cost == costs[0] for cost in costs):
        return keys.final, None
    if unit == CLIENT_EPOCHS:
        return keys.at_equal_cost, summary["equal_client_epochs"]
    return keys.at_equal_budget, summary["equal_budget"]


def told(ranked: Ranking) -> list[str]:
    """Say who wins, whose runs cost more, and who is not ranked, a sentence each."""
    out = [f"{name} is not ranked: {why}." for name, why in ranked.others.items()]
    return [text for text in (winner(ranked), dearer(ranked), *out) if text]


def winner(ranked: Ranking) -> str:
    """Say in a sentence who is best at equal cost, by how much, and how sure that is."""
    if not ranked.places:
        return "No strategy has a figure at equal cost yet."
    best, *rest = ranked.places
    figure = f"a test {ranked.metric.title} of {written(ranked, best.mean)}"
    at = best.spent if ranked.at is None else ranked.at
    cost = f"{at:,.10g} {ranked.unit}"
    if len(ranked.level) > 1:
        names = _listed([place.name for place in ranked.level])
        return f"{names} are level: {figure}, {cost} each."
    if not rest:
        return f"{best.name}: {figure} for {cost}."
    ahead = abs(best.mean - rest[0].mean)
    by = f"{100 * ahead:.2f} points" if ranked.metric.share else f"{ahead:.4g}"
    return (
        f"{best.name} is best: {figure} at equal cost ({cost}), {by} ahead of {rest[0].name}; "
        f"{_how_sure(ranked)}."
    )


def _how_sure(ranked: Ranking) -> str:
    lead = ranked.places[1].behind
    assert lead is not None
    sign = -1 if ranked.metric.higher else 1
    ahead, seeds = sum(sign * value > 0 for value in lead.differences), len(lead.differences)
    if seeds == 1:
        return "one seed proves nothing"
    told = f"ahead on {ahead} of {seeds} seeds"
    if lead.p is None:
        return f"{told}, too few to be sure"
    sure = "sure" if lead.significant else "not sure"
    return f"{told}, p = {lead.p:.2g} after correction: {sure}"


def dearer(ranked: Ranking) -> str:
    """Say whose whole runs cost more than what strategies are compared at; or nothing."""
    if ranked.at is None:
        return ""
    beyond = [place for place in ranked.places if place.spent > ranked.at]
    told = _listed([f"{place.name} ({place.spent:,.10g})" for place in beyond])
    return f"Whole runs cost more: {told}; what is beyond does not count here." if told else ""


def written(ranked: Ranking, value: float) -> str:
    """Write a value of the deciding metric: a share in percent."""
    return f"{100 * value:.2f} %" if ranked.metric.share else f"{value:.4g}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last
