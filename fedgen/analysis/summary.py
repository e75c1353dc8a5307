"""``summary.json``: what a run comes to, per strategy and seed, and how strategies compare."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedgen.analysis import privacy, statistics
from fedgen.config import budget
from fedgen.config.budget import CLIENT_EPOCHS, Budget
from fedgen.config.metrics import ACCURACY, Metric
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Config
from fedgen.runs import costs
from fedgen.runs.costs import best, spent
from fedgen.runs.rows import EndedRow, RoundRow


@dataclass(frozen=True)
class Keys:
    """Names of what strategies are compared by, all of the metric that decides.

    Attributes:
        final: After the last round: makes the sentences, if costs are equal.
        best: On the test set in the round that is best on the validation share.
        at_equal_cost: Within equal client-epochs: makes the sentences otherwise.
        at_equal_budget: Likewise, within a budget of another unit.
    """

    final: str
    best: str
    at_equal_cost: str
    at_equal_budget: str

    @classmethod
    def of(cls, metric: str) -> "Keys":
        """Return those of a metric by its name."""
        return cls(
            f"final_{metric}",
            f"best_{metric}",
            f"{metric}_at_equal_client_epochs",
            f"{metric}_at_equal_budget",
        )

    @property
    def all(self) -> tuple[str, str, str, str]:
        """All of them."""
        return *self.compared, self.at_equal_budget

    @property
    def compared(self) -> tuple[str, str, str]:
        """What is compared in every run."""
        return self.final, self.best, self.at_equal_cost


Rounds = Sequence[RoundRow]
"""The rounds of one arm."""


def final(rows: Rounds) -> RoundRow:
    """Return the row of the last round that was evaluated."""
    return max((row for row in rows if row.evaluated), key=lambda row: row.round)


def within(rows: Rounds, amount: float, unit: str = CLIENT_EPOCHS) -> RoundRow | None:
    """Return the row of the last round within a budget; none, if that was not evaluated.

    An earlier round has cost less, and is no round at equal cost.
    """
    inside = [row for row, cost in zip(rows, spent(rows, unit), strict=True) if cost <= amount]
    return inside[-1] if inside and inside[-1].evaluated else None


def reach(rows: Rounds, target: float, metric: Metric = ACCURACY) -> tuple[int, float] | None:
    """Return the first round whose test metric is as good, and the client-epochs until then.

    Of rounds that were evaluated: with ``run.evaluate_every`` an earlier one may have had it.
    """
    for row, cost in zip(rows, spent(rows), strict=True):
        value = row.value("test", metric.name)
        if value is not None and metric.reaches(value, target):
            return row.round, cost
    return None


def summarise(
    config: Config,
    dataset: str,
    parameters: int | None,
    rows: Sequence[RoundRow],
    ended: Sequence[EndedRow] = (),
    classes: int = 0,
) -> dict[str, Any]:
    """Summarise the rows of a run; values are listed in the order of the seeds.

    A value that is not finite, or that there is none of, is ``null``, so every list of values is
    as long as that of the seeds. Means are over the seeds that there is a value of. An arm that
    has diverged, or whose budget buys no round, has no metric or loss that is its result: it
    limits neither the equal budget nor the common target.

    Args:
        config: The run's settings.
        dataset: What it was played on.
        parameters: How many weights the model has, where that is known.
        rows: The committed rounds.
        ended: Which arms ended before the last round.
        classes: How many classes there are, 0 if unknown: a common target is above chance.
    """
    seeds = [config.run.seed + offset for offset in range(config.run.seeds)]
    arms: dict[str, dict[int, list[RoundRow]]] = {name: {} for name in config.run.strategies}
    for row in sorted(rows, key=lambda row: (row.seed, row.round)):
        if row.strategy in arms:
            arms[row.strategy].setdefault(row.seed, []).append(row)
    limit = budget.parse(config.run.budget)
    out = {(row.strategy, row.seed) for row in ended if not row.compared}
    whole = {
        name: {seed: mine for seed, mine in by_seed.items() if (name, seed) not in out}
        for name, by_seed in arms.items()
    }
    equal = _equal_budget(whole, CLIENT_EPOCHS, limit)
    metric = config.metric
    keys = Keys.of(metric.name)
    target = config.run.target or _common_target(whole, metric, classes)
    values = {name: _values(name, mine, equal, target, metric) for name, mine in arms.items()}
    compared: tuple[str, ...] = keys.compared
    told: dict[str, Any] = {}
    if config.devices.speed != "none":
        for name, mine in arms.items():
            values[name]["simulated_seconds"] = _simulated(name, mine)
    if limit:
        told["budget"] = config.run.budget
    if limit and limit.unit != CLIENT_EPOCHS:
        compared = (*compared, keys.at_equal_budget)
        told["equal_budget"] = amount = _equal_budget(whole, limit.unit, limit)
        for name, mine in arms.items():
            values[name][keys.at_equal_budget] = _at_equal(name, mine, amount, limit.unit, metric)
    for name, seed in sorted(out):
        for key in (*compared, "final_loss"):
            if seed in arms.get(name, {}):
                values[name][key][seed] = None
    described = {
        name: {
            key: _over_seeds(key, [by_seed.get(seed) for seed in seeds], _bounds(key, metric, keys))
            for key, by_seed in measured.items()
        }
        for name, measured in values.items()
    }
    if config.privacy.kind != "none":
        for name, mine in arms.items():
            if mine:
                spending = [privacy.spent(config, name, arm) for arm in mine.values()]
                described[name]["privacy"] = asdict(privacy.worst(spending))
        if sum(map(len, arms.values())) > 1:
            told["privacy_together"] = asdict(privacy.spent_together(config, arms))
    return {
        "dataset": dataset,
        "model": config.model.title,
        "parameters": parameters,
        "rounds": config.run.rounds,
        "seeds": seeds,
        "equal_client_epochs": equal,
        **told,
        f"target_{metric.name}": target,
        "metric": asdict(metric),
        "ended": [asdict(row) for row in ended],
        "strategies": described,
        "comparisons": [
            {"metric": key, **_plain(comparison)}
            for key in compared
            for comparison in statistics.compare(
                [(name, _known(measured[key])) for name, measured in values.items()],
                statistics.SHARES_APART if metric.share else statistics.ANY,
            )
        ],
    }


def _values(
    name: str,
    arms: Mapping[int, Rounds],
    equal: float | None,
    target: float | None,
    metric: Metric,
) -> dict[str, dict[int, float | None]]:
    """Measure every arm of a strategy: by metric, then by seed."""
    keys = Keys.of(metric.name)
    found: dict[str, dict[int, float | None]] = {key: {} for key in measured_by(metric.name)}
    at_equal = _at_equal(name, arms, equal, CLIENT_EPOCHS, metric)
    for seed, rows in arms.items():
        reached = None if target is None else reach(rows, target, metric)
        measured: dict[str, float | None] = {
            keys.final: final(rows).value("test", metric.name),
            keys.best: best(rows, metric).value("test", metric.name),
            "final_loss": final(rows).test_loss,
            keys.at_equal_cost: at_equal[seed],
            "rounds_to_target": reached[0] if reached else None,
            "client_epochs_to_target": reached[1] if reached else None,
            "rounds": rows[-1].round,
            "client_epochs": spent(rows)[-1],
            "samples": sum(row.samples for row in rows),
            "bytes": sum(row.bytes_down + row.bytes_up for row in rows),
            "seconds": round(sum(row.seconds for row in rows), 3),
        }
        for key, value in measured.items():
            found[key][seed] = value
    return found


def measured_by(metric: str) -> tuple[str, ...]:
    """Return the names of what is measured of every arm."""
    keys = Keys.of(metric)
    own = dict.fromkeys((keys.final, keys.best, "final_loss", keys.at_equal_cost))
    return (
        *own,
        *("rounds_to_target", "client_epochs_to_target", "rounds", "client_epochs", "samples"),
        *("bytes", "seconds"),
    )


TO_TARGET = ("rounds_to_target", "client_epochs_to_target")
"""What has no mean where an arm does not get there: that of those which do would flatter."""


def _at_equal(
    name: str, arms: Mapping[int, Rounds], amount: float | None, unit: str, metric: Metric
) -> dict[int, float | None]:
    """Return the metric of the last round within a budget; pooled training has no clients."""
    rows = {
        seed: None if amount is None or is_pooled(name) else within(mine, amount, unit)
        for seed, mine in arms.items()
    }
    return {seed: row.value("test", metric.name) if row else None for seed, row in rows.items()}


def _simulated(name: str, arms: Mapping[int, Rounds]) -> dict[int, float | None]:
    return {
        seed: None if is_pooled(name) else spent(rows, budget.SIMULATED_SECONDS)[-1]
        for seed, rows in arms.items()
    }


def _equal_budget(
    arms: Mapping[str, Mapping[int, Rounds]], unit: str, limit: Budget | None
) -> float | None:
    """Return what every federated arm has spent at least.

    An arm whose budget leaves less than its latest round cost, or that has no round but 0, has
    spent the budget: what is left of it buys no whole round, and must not cut the others short.
    """
    totals = [
        _used(rows, unit, limit)
        for name, mine in arms.items()
        if not is_pooled(name)
        for rows in mine.values()
    ]
    return min(totals, default=None)


def _used(rows: Rounds, unit: str, limit: Budget | None) -> float:
    if limit and limit.unit == unit:
        last = rows[-1]
        if last.round == 0 or costs.left(limit, rows) < costs.COSTS[unit](last):
            return int(limit.amount) if limit.amount.is_integer() else limit.amount
    return spent(rows, unit)[-1]


def _common_target(
    arms: Mapping[str, Mapping[int, Rounds]], metric: Metric, classes: int
) -> float | None:
    """Return the best test metric that every arm reaches.

    None, where it is no better than a model that is not trained, or an accuracy than chance.
    """
    every = [rows for mine in arms.values() for rows in mine.values()]
    tops = [metric.best(known) for rows in every if (known := _known_values(rows, metric))]
    if not tops or len(tops) < len(every):
        return None
    top = metric.worst(tops)
    starts = [row for rows in every for row in rows if row.round == 0]
    # A probe's round 0 has trained; a search's has not, though it has cost.
    free = _known_values([row for row in starts if not row.client_epochs], metric)
    bars = free or _known_values(starts, metric)
    if metric.name == ACCURACY.name:
        bars = [*bars, 1 / classes if classes else 0.0]
    return top if not bars or metric.better(top, metric.best(bars)) else None


def _known_values(rows: Rounds, metric: Metric) -> list[float]:
    values = (row.value("test", metric.name) for row in rows)
    return [value for value in values if value is not None]


def _bounds(key: str, metric: Metric, keys: Keys) -> statistics.Interval:
    """Return where the values of a key lie."""
    if key not in (*keys.compared, keys.at_equal_budget):
        return statistics.AMOUNT
    return statistics.bounds_by(metric)


def _known(by_seed: Mapping[int, float | None]) -> dict[int, float]:
    return {seed: value for seed, value in by_seed.items() if value is not None}


def _plain(comparison: statistics.Comparison) -> dict[str, Any]:
    return {
        "strategy": comparison.strategy,
        "baseline": comparison.baseline,
        "mean": _finite(comparison.mean),
        "values": list(comparison.differences),
        "interval": list(comparison.interval) if comparison.interval else None,
        "counted": comparison.counted,
        "p": comparison.p,
        "p_method": None if comparison.p is None else statistics.EXACT,
        "significant": comparison.significant,
    }


def _over_seeds(
    key: str, values: Sequence[float | None], bounds_of: statistics.Interval
) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    # What it took to the target has no mean where a seed has not reached it.
    told = bool(known) and (len(known) == len(values) or key not in TO_TARGET)
    bounds = statistics.interval(known, bounds_of) if told else None
    return {
        "mean": _finite(math.fsum(known) / len(known)) if told else None,
        "values": [None if value is None else _finite(value) for value in values],
        "interval": list(bounds) if bounds else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
