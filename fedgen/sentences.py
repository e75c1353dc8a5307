"""What a summary says in sentences: who is ahead, at what cost, and how sure that is."""

from collections.abc import Mapping
from typing import Any

from fedgen.budget import CLIENT_EPOCHS
from fedgen.summary import AT_EQUAL_BUDGET, AT_EQUAL_COST, COMPARED


def fair(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return one comparison of every strategy with the first one, at equal cost where there is one.

    By final accuracy where both have cost the same, else within equal budgets.
    """
    by_metric: dict[str, dict[str, Mapping[str, Any]]] = {}
    for comparison in summary["comparisons"]:
        if comparison["mean"] is not None:
            by_metric.setdefault(comparison["metric"], {})[comparison["strategy"]] = comparison
    unit = _unit(summary)
    at_equal = AT_EQUAL_COST if unit == CLIENT_EPOCHS else AT_EQUAL_BUDGET
    chosen = []
    for strategy, comparison in by_metric.get(COMPARED[0], {}).items():
        costs = [
            summary["strategies"][name][unit.replace("-", "_")]
            for name in (strategy, comparison["baseline"])
        ]
        equal = by_metric.get(at_equal, {}).get(strategy)
        if equal is None or costs[0]["values"] == costs[1]["values"]:
            chosen.append(comparison)
        else:
            chosen.append(equal)
    return chosen


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Say of every strategy how it stands against the first one, in a sentence."""
    unit = _unit(summary)
    return [
        _at_the_end(comparison, summary, unit)
        if comparison["metric"] == COMPARED[0]
        else _within_equal_cost(comparison, summary, unit)
        for comparison in fair(summary)
    ]


def _unit(summary: Mapping[str, Any]) -> str:
    """Return the unit in which costs are equal."""
    unit: str = summary.get("budget", CLIENT_EPOCHS).partition("=")[0].strip()
    return unit


def _at_the_end(comparison: Mapping[str, Any], summary: Mapping[str, Any], unit: str) -> str:
    head = _head(comparison, "final test accuracy")
    costs = _costs(comparison, summary, unit)
    cost = (
        f"{costs[0]} {unit} each"
        if costs[0] == costs[1]
        else (f"{costs[0]} against {costs[1]} {unit}")
    )
    return f"{head} ({_evidence(comparison)}), at a cost of {cost}."


def _within_equal_cost(comparison: Mapping[str, Any], summary: Mapping[str, Any], unit: str) -> str:
    equal = summary["equal_client_epochs" if unit == CLIENT_EPOCHS else "equal_budget"]
    head = _head(comparison, "test accuracy at equal cost")
    costs = _costs(comparison, summary, unit)
    return (
        f"{head} ({_evidence(comparison)}): each after its last round within {equal:,.10g} {unit}, "
        f"as whole runs cost {costs[0]} against {costs[1]}."
    )


def _head(comparison: Mapping[str, Any], what: str) -> str:
    leader, other = _standing(comparison)
    mean = comparison["mean"]
    if not mean:
        return f"{leader} and {other} are level"
    return f"{leader} is ahead of {other} by {100 * abs(mean):.2f} points of {what}"


def _costs(comparison: Mapping[str, Any], summary: Mapping[str, Any], unit: str) -> list[str]:
    key = unit.replace("-", "_")
    means = [summary["strategies"][name][key]["mean"] for name in _standing(comparison)]
    return ["none" if mean is None else f"{mean:,.0f}" for mean in means]


def _standing(comparison: Mapping[str, Any]) -> tuple[str, str]:
    strategy, baseline = comparison["strategy"], comparison["baseline"]
    return (strategy, baseline) if comparison["mean"] > 0 else (baseline, strategy)


def _evidence(comparison: Mapping[str, Any]) -> str:
    seeds = len(comparison["values"])
    if comparison["interval"] is None:
        return "one seed: one observation, no interval"
    sign = 1 if comparison["mean"] >= 0 else -1
    low, high = sorted(100 * sign * bound for bound in comparison["interval"])
    text = f"95 % interval {low:.2f} to {high:.2f}, {seeds} seeds"
    if comparison["p"] is None:
        return f"{text}: too few for a claim of significance"
    verdict = "significant" if comparison["significant"] else "not significant"
    return f"{text}, Wilcoxon p = {comparison['p']:.3g} after Holm: {verdict}"
