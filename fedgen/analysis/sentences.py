"""What a summary says in sentences: who is ahead, at what cost, and how sure that is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedgen.analysis import statistics
from fedgen.analysis.summary import Keys
from fedgen.config.budget import CLIENT_EPOCHS
from fedgen.config.sections import is_pooled
from fedgen.runs.rows import BUDGET, DIVERGED, PATIENCE, EndedRow


def fair(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return one comparison of every strategy with the first one, at equal cost where there is one.

    By the final metric where both have cost the same, else within equal budgets.
    """
    keys = _keys(summary)
    by_metric: dict[str, dict[str, Mapping[str, Any]]] = {}
    for comparison in summary["comparisons"]:
        if comparison["mean"] is not None:
            by_metric.setdefault(comparison["metric"], {})[comparison["strategy"]] = comparison
    by_epochs = cost_unit(summary) == CLIENT_EPOCHS
    at_equal = keys.at_equal_cost if by_epochs else keys.at_equal_budget
    chosen = []
    for strategy, comparison in by_metric.get(keys.final, {}).items():
        equal = by_metric.get(at_equal, {}).get(strategy)
        same = _cost_the_same(comparison, summary)
        chosen.append(comparison if equal is None or same else equal)
    return chosen


def cost(summary: Mapping[str, Any]) -> str:
    """Say at what cost the strategies of ``fair`` are compared."""
    compared = fair(summary)
    unequal = [
        comparison["strategy"]
        for comparison in compared
        if comparison["metric"] == _keys(summary).final and not _cost_the_same(comparison, summary)
    ]
    if not unequal:
        return "within equal cost"
    whatever = "after the last round, at another cost than the first one's"
    if len(unequal) == len(compared):
        return whatever
    return f"within equal cost ({', '.join(unequal)}: {whatever})"


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Say of every strategy how it stands against the first one, in a sentence."""
    unit = cost_unit(summary)
    return [
        _at_the_end(comparison, summary, unit)
        if comparison["metric"] == _keys(summary).final
        else _within_equal_cost(comparison, summary, unit)
        for comparison in fair(summary)
    ]


def endings(summary: Mapping[str, Any]) -> list[str]:
    """Say which arms have no result, and why: they ended early, or have not begun."""
    told = []
    groups: dict[tuple[str, int, str, str], list[int]] = {}
    for row in summary["ended"]:
        if not EndedRow(**row).compared:
            key = (row["strategy"], row["round"], row["how"], row["why"])
            groups.setdefault(key, []).append(row["seed"])
    for (strategy, number, _, why), seeds in groups.items():
        reason = why.removeprefix(f"round {number}: ")
        told.append(
            f"{strategy} ended in round {number} on {name_seeds(seeds)}, and is not "
            f"compared there: {reason}."
        )
    out = {(row["strategy"], row["seed"]) for row in summary["ended"]}
    for strategy, figures in summary["strategies"].items():
        pairs = zip(summary["seeds"], figures["rounds"]["values"], strict=True)
        waiting = [seed for seed, value in pairs if value is None and (strategy, seed) not in out]
        if waiting:
            told.append(f"{strategy} has no finished round yet on {name_seeds(waiting)}.")
    return told


def name_seeds(seeds: Sequence[int]) -> str:
    """Name some seeds."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def rounds_played(summary: Mapping[str, Any], strategies: Iterable[str]) -> str:
    """Say how many rounds some strategies have played: of how many, where that is fewer."""
    known = [
        value
        for name in strategies
        for value in summary["strategies"][name]["rounds"]["values"]
        if value is not None
    ]
    if not known:
        return f"0 of {summary['rounds']}"
    low, high = min(known), max(known)
    text = f"{low}" if low == high else f"{low} to {high}"
    return text if low == summary["rounds"] else f"{text} of {summary['rounds']}"


def standing(summary: Mapping[str, Any], strategy: str) -> str:
    """Return a strategy's rounds for a table, and what ended its arms early."""
    ends: dict[tuple[str, int], list[int]] = {}
    for row in summary["ended"]:
        if row["strategy"] == strategy:
            ends.setdefault((row["how"], row["round"]), []).append(row["seed"])
    told = [f"{_how(how, number)} ({name_seeds(seeds)})" for (how, number), seeds in ends.items()]
    return "; ".join([rounds_played(summary, [strategy]), *told])


def place(summary: Mapping[str, Any], strategy: str, seeds: int) -> str:
    """Return what a table or chart without a column of rounds calls a strategy.

    Args:
        summary: The run's summary.
        strategy: The strategy.
        seeds: Of how many seeds the table tells; they are counted where others lack.

    Returns:
        Its name, and in brackets how arms ended that are not compared.
    """
    asked = len(summary["seeds"])
    notes = [] if seeds == asked else [f"{seeds} of {asked} seeds"]
    ends: dict[tuple[str, int], list[int]] = {}
    for row in summary["ended"]:
        if row["strategy"] == strategy and not EndedRow(**row).compared:
            ends.setdefault((row["how"], row["round"]), []).append(row["seed"])
    notes += [f"{_how(how, number)} on {name_seeds(on)}" for (how, number), on in ends.items()]
    return f"{strategy} ({'; '.join(notes)})" if notes else strategy


def _how(how: str, number: int) -> str:
    what = {DIVERGED: "diverged", BUDGET: "its budget ended it", PATIENCE: "patience ended it"}
    return f"{what[how]} in round {number}"


def seeds_known(summary: Mapping[str, Any], values: Sequence[float | None]) -> str:
    """Return of how many seeds a mean is, where it is not of all."""
    known, asked = sum(value is not None for value in values), len(summary["seeds"])
    return "" if known in (0, asked) else f" ({known} of {asked} seeds)"


def _paired(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> list[int]:
    """Return the places of the seeds that both sides have."""
    sides = [
        summary["strategies"][comparison[side]][comparison["metric"]]["values"]
        for side in ("strategy", "baseline")
    ]
    return [place for place, pair in enumerate(zip(*sides, strict=True)) if None not in pair]


def _spent(comparison: Mapping[str, Any], summary: Mapping[str, Any], name: str) -> list[float]:
    """Return what a side cost on the seeds that both have."""
    values = summary["strategies"][name][cost_unit(summary).replace("-", "_")]["values"]
    return [value for at in _paired(comparison, summary) if (value := values[at]) is not None]


def _cost_the_same(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    sides = [_spent(comparison, summary, comparison[side]) for side in ("strategy", "baseline")]
    pooled = any(is_pooled(comparison[one]) for one in ("strategy", "baseline"))
    return sides[0] == sides[1] and not pooled


def cost_unit(summary: Mapping[str, Any]) -> str:
    """Return the unit in which costs are equal."""
    unit: str = summary.get("budget", CLIENT_EPOCHS).partition("=")[0].strip()
    return unit


def _at_the_end(comparison: Mapping[str, Any], summary: Mapping[str, Any], unit: str) -> str:
    names = comparison["strategy"], comparison["baseline"]
    title = summary["metric"]["title"]
    so_far = f"test {title} after {rounds_played(summary, names)} rounds"
    what = so_far if _goes_on(summary, names) else f"final test {title}"
    head = _head(comparison, what, summary)
    costs = _costs(comparison, summary)
    cost = (
        f"{costs[0]} {unit} each"
        if costs[0] == costs[1]
        else (f"{costs[0]} against {costs[1]} {unit}")
    )
    return f"{head} ({_evidence(comparison, summary)}), at a cost of {cost}."


def _goes_on(summary: Mapping[str, Any], strategies: Iterable[str]) -> bool:
    """Whether a seed of some strategies has rounds before it."""
    ended = {(row["strategy"], row["seed"]) for row in summary["ended"]}
    return any(
        (value is None or value < summary["rounds"]) and (name, seed) not in ended
        for name in strategies
        for seed, value in zip(
            summary["seeds"], summary["strategies"][name]["rounds"]["values"], strict=True
        )
    )


def _within_equal_cost(comparison: Mapping[str, Any], summary: Mapping[str, Any], unit: str) -> str:
    equal = summary["equal_client_epochs" if unit == CLIENT_EPOCHS else "equal_budget"]
    head = _head(comparison, f"test {summary['metric']['title']} within equal cost", summary)
    costs = _costs(comparison, summary)
    names = comparison["strategy"], comparison["baseline"]
    runs = "whole runs"
    if _goes_on(summary, names):
        runs = f"the rounds so far ({rounds_played(summary, names)})"
    return (
        f"{head} ({_evidence(comparison, summary)}): each after its last round within "
        f"{equal:,.10g} {unit}, as {runs} cost {costs[0]} against {costs[1]}."
    )


def _head(comparison: Mapping[str, Any], what: str, summary: Mapping[str, Any]) -> str:
    leader, other = _standing(comparison, summary)
    size = abs(comparison["mean"])
    if not summary["metric"]["share"]:
        if size <= statistics.RESOLUTION:
            return f"{leader} and {other} are level in {what}"
        return f"{leader} is ahead of {other} by {size:.4g} in {what}"
    if round(100 * size, 2) == 0:
        return f"{leader} and {other} are level in {what}"
    return f"{leader} is ahead of {other} by {100 * size:.2f} points of {what}"


def _keys(summary: Mapping[str, Any]) -> Keys:
    return Keys.of(summary["metric"]["name"])


def _costs(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    spent = [_spent(comparison, summary, name) for name in _standing(comparison, summary)]
    return [f"{math.fsum(mine) / len(mine):,.10g}" if mine else "none" for mine in spent]


def _standing(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return the better of the two, and the other one; the baseline comes first on a tie."""
    strategy, baseline = comparison["strategy"], comparison["baseline"]
    gain = _sign(summary) * comparison["mean"]
    return (strategy, baseline) if gain > 0 else (baseline, strategy)


def _sign(summary: Mapping[str, Any]) -> int:
    return 1 if summary["metric"]["higher"] else -1


def _evidence(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    count, asked = len(comparison["values"]), len(summary["seeds"])
    seeds = f"{count}" if count == asked else f"{count} of {asked}"
    if comparison["interval"] is None:
        only = "one seed" if count == asked else f"one seed of {asked}"
        return f"{only}: one observation, no interval"
    share = summary["metric"]["share"]
    # As _standing says who is named first: what it is ahead by, where it is.
    unit = (100 if share else 1) * (
        _sign(summary) if _sign(summary) * comparison["mean"] > 0 else -_sign(summary)
    )
    low, high = sorted(unit * bound for bound in comparison["interval"])
    values = [unit * value for value in comparison["values"]]
    # What rounds to 0 has no sign.
    told = statistics.told(
        values,
        (low, high),
        lambda value: f"{round(value, 2) + 0.0:.2f}" if share else f"{value + 0.0:.4g}",
    )
    text = (
        f"{told}, {seeds} seeds"
        if count < statistics.FEW
        else (f"95 % interval {told}, {seeds} seeds")
    )
    if not comparison["counted"]:
        return f"{text}, none of which differs"
    if comparison["p"] is None and comparison["counted"] < count:
        return f"{text}, {comparison['counted']} of which differ: too few for a claim"
    if comparison["p"] is None:
        return f"{text}: too few for a claim of significance"
    verdict = "significant" if comparison["significant"] else "not significant"
    return f"{text}, Wilcoxon p = {comparison['p']:.3g} after Holm: {verdict}"
