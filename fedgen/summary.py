"""``summary.json``: what a run comes to, per strategy and seed, and how strategies compare."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from fedgen import accounting, statistics
from fedgen.config import Config
from fedgen.records import RoundRow
from fedgen.sections import CENTRALISED

COMPARED = ("final_accuracy", "best_accuracy", "accuracy_at_equal_client_epochs")
"""What strategies are compared by; the first one makes the sentences."""

Rounds = Sequence[RoundRow]
"""The rounds of one arm."""


def final(rows: Rounds) -> RoundRow:
    """Return the row of the last round."""
    return max(rows, key=lambda row: row.round)


def best(rows: Rounds) -> RoundRow:
    """Return the row of the best validation accuracy, the earliest one on a tie.

    The test set has no say in it.
    """
    return max(rows, key=lambda row: (row.validation_accuracy, -row.round))


def spent(rows: Rounds) -> list[int]:
    """Return the client-epochs spent up to and with each round; a probe's are round 0's."""
    return list(accumulate(row.client_epochs for row in rows))


def within(rows: Rounds, budget: int) -> RoundRow | None:
    """Return the row of the last round within a budget of client-epochs."""
    inside = [row for row, cost in zip(rows, spent(rows), strict=True) if cost <= budget]
    return inside[-1] if inside else None


def reach(rows: Rounds, target: float) -> tuple[int, int] | None:
    """Return the first round with a test accuracy, and the client-epochs spent until then."""
    for row, cost in zip(rows, spent(rows), strict=True):
        if row.test_accuracy >= target:
            return row.round, cost
    return None


def summarise(
    config: Config, dataset: str, parameters: int | None, rows: Sequence[RoundRow]
) -> dict[str, Any]:
    """Summarise the rows of a run; values are listed in the order of the seeds.

    A value that is not finite, or that there is none of, is ``null``.
    """
    seeds = [config.run.seed + offset for offset in range(config.run.seeds)]
    arms: dict[str, dict[int, list[RoundRow]]] = {name: {} for name in config.run.strategies}
    for row in sorted(rows, key=lambda row: (row.seed, row.round)):
        if row.strategy in arms:
            arms[row.strategy].setdefault(row.seed, []).append(row)
    budget = _equal_budget(arms)
    target = config.run.target or _common_target(arms)
    values = {name: _values(name, mine, budget, target) for name, mine in arms.items()}
    described = {
        name: {key: _over_seeds(list(by_seed.values())) for key, by_seed in measured.items()}
        for name, measured in values.items()
    }
    if config.privacy.kind != "none":
        for name, mine in arms.items():
            if mine:
                spending = [accounting.spent(config, name, arm) for arm in mine.values()]
                described[name]["privacy"] = asdict(accounting.worst(spending))
    return {
        "dataset": dataset,
        "model": config.model.title,
        "parameters": parameters,
        "rounds": config.run.rounds,
        "seeds": seeds,
        "equal_client_epochs": budget,
        "target_accuracy": target,
        "strategies": described,
        "comparisons": [
            {"metric": metric, **_plain(comparison)}
            for metric in COMPARED
            for comparison in statistics.compare(
                [(name, _known(measured[metric])) for name, measured in values.items()]
            )
        ],
    }


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Say of every strategy how it stands against the first one, in a sentence."""
    told = []
    for comparison in summary["comparisons"]:
        mean = comparison["mean"]
        if comparison["metric"] != COMPARED[0] or mean is None:
            continue
        strategy, baseline = comparison["strategy"], comparison["baseline"]
        leader, other = (strategy, baseline) if mean > 0 else (baseline, strategy)
        points = f"by {100 * abs(mean):.2f} points of final test accuracy"
        head = (
            f"{leader} is ahead of {other} {points}" if mean else f"{leader} and {other} are level"
        )
        costs = [
            f"{summary['strategies'][name]['client_epochs']['mean']:,.0f}"
            for name in (leader, other)
        ]
        cost = (
            f"{costs[0]} client-epochs each"
            if costs[0] == costs[1]
            else (f"{costs[0]} against {costs[1]} client-epochs")
        )
        told.append(f"{head} ({_evidence(comparison)}), at a cost of {cost}.")
    return told


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


def _values(
    name: str, arms: Mapping[int, Rounds], budget: int | None, target: float | None
) -> dict[str, dict[int, float | None]]:
    """Measure every arm of a strategy: by metric, then by seed."""
    found: dict[str, dict[int, float | None]] = {}
    for seed, rows in arms.items():
        equal = None if budget is None or name == CENTRALISED else within(rows, budget)
        reached = None if target is None else reach(rows, target)
        measured: dict[str, float | None] = {
            "final_accuracy": final(rows).test_accuracy,
            "best_accuracy": best(rows).test_accuracy,
            "final_loss": final(rows).test_loss,
            "accuracy_at_equal_client_epochs": equal.test_accuracy if equal else None,
            "rounds_to_target": reached[0] if reached else None,
            "client_epochs_to_target": reached[1] if reached else None,
            "client_epochs": spent(rows)[-1],
            "samples": sum(row.samples for row in rows),
            "bytes": sum(row.bytes_down + row.bytes_up for row in rows),
            "seconds": round(sum(row.seconds for row in rows), 3),
        }
        for key, value in measured.items():
            found.setdefault(key, {})[seed] = value
    return found or {key: {} for key in METRICS}


METRICS = (
    *("final_accuracy", "best_accuracy", "final_loss", "accuracy_at_equal_client_epochs"),
    *("rounds_to_target", "client_epochs_to_target", "client_epochs", "samples", "bytes"),
    "seconds",
)
"""What is measured of every arm."""


def _equal_budget(arms: Mapping[str, Mapping[int, Rounds]]) -> int | None:
    """Return the client-epochs that every federated arm has spent at least."""
    totals = [
        spent(rows)[-1]
        for name, mine in arms.items()
        if name != CENTRALISED
        for rows in mine.values()
    ]
    return min(totals, default=None)


def _common_target(arms: Mapping[str, Mapping[int, Rounds]]) -> float | None:
    """Return the highest test accuracy that every arm reaches."""
    tops = [
        max(row.test_accuracy for row in rows) for mine in arms.values() for rows in mine.values()
    ]
    return min(tops, default=None)


def _known(by_seed: Mapping[int, float | None]) -> dict[int, float]:
    return {seed: value for seed, value in by_seed.items() if value is not None}


def _plain(comparison: statistics.Comparison) -> dict[str, Any]:
    return {
        "strategy": comparison.strategy,
        "baseline": comparison.baseline,
        "mean": _finite(comparison.mean),
        "values": list(comparison.differences),
        "interval": list(comparison.interval) if comparison.interval else None,
        "p": comparison.p,
        "significant": comparison.significant,
    }


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    whole = bool(known) and len(known) == len(values)
    bounds = statistics.interval(known) if whole else None
    return {
        "mean": _finite(math.fsum(known) / len(known)) if whole else None,
        "values": [None if value is None else _finite(value) for value in values],
        "interval": list(bounds) if bounds else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
