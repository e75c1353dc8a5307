"""``summary.json``: what a run comes to, per strategy and seed."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedgen import accounting
from fedgen.config import Config
from fedgen.records import RoundRow


def final(rows: Sequence[RoundRow]) -> RoundRow:
    """Return the row of the last round."""
    return max(rows, key=lambda row: row.round)


def best(rows: Sequence[RoundRow]) -> RoundRow:
    """Return the row of the best validation accuracy, the earliest one on a tie.

    The test set has no say in it.
    """
    return max(rows, key=lambda row: (row.validation_accuracy, -row.round))


def summarise(
    config: Config, dataset: str, parameters: int, rows: Sequence[RoundRow]
) -> dict[str, Any]:
    """Summarise the rows of a run; values are listed in the order of the seeds.

    A value that is not finite is ``null``: JSON has no other word for it.
    """
    seeds = [config.run.seed + offset for offset in range(config.run.seeds)]
    strategies = {}
    for name in config.run.strategies:
        arms = [[row for row in rows if (row.strategy, row.seed) == (name, seed)] for seed in seeds]
        arms = [arm for arm in arms if arm]
        strategies[name] = {
            "final_accuracy": _over_seeds([final(arm).test_accuracy for arm in arms]),
            "best_accuracy": _over_seeds([best(arm).test_accuracy for arm in arms]),
            "final_loss": _over_seeds([final(arm).test_loss for arm in arms]),
            "client_epochs": _over_seeds([sum(row.client_epochs for row in arm) for arm in arms]),
            "samples": _over_seeds([sum(row.samples for row in arm) for arm in arms]),
            "bytes": _over_seeds([sum(r.bytes_down + r.bytes_up for r in arm) for arm in arms]),
            "seconds": _over_seeds([round(sum(row.seconds for row in arm), 3) for arm in arms]),
        }
        if config.privacy.kind != "none" and arms:
            spending = accounting.worst([accounting.spent(config, name, arm) for arm in arms])
            strategies[name]["privacy"] = asdict(spending)
    return {
        "dataset": dataset,
        "model": config.model.name,
        "parameters": parameters,
        "rounds": config.run.rounds,
        "seeds": seeds,
        "strategies": strategies,
    }


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    mean = math.fsum(values) / len(values) if values else math.nan
    return {"mean": _finite(mean), "values": [_finite(value) for value in values]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
