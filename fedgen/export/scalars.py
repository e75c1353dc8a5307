"""The scalars of a round: what TensorBoard and MLflow plot of it, under the same names."""

from collections.abc import Iterable, Mapping
from itertools import accumulate, islice

from fedgen.config.tree import Arm
from fedgen.runs.rows import RoundRow
from strategies.core.genes import OF_THE_SERVER


def scalars(before: Mapping[str, float], row: RoundRow) -> dict[str, float]:
    """Return a round's scalars by name; costs are those up to and with it.

    Args:
        before: The scalars of the round before, empty for the first one.
        row: The round; without a trained client there is no training loss, without an evaluation
            nothing else.
    """
    costs: dict[str, float] = {
        "cost/client-epochs": row.client_epochs,
        "cost/samples": row.samples,
        "cost/bytes": row.bytes_down + row.bytes_up,
        "cost/seconds": row.seconds,
    }
    if row.simulated_seconds is not None:
        costs["cost/simulated-seconds"] = row.simulated_seconds
    measured = {
        "accuracy/test": row.test_accuracy,
        "accuracy/validation": row.validation_accuracy,
        "loss/test": row.test_loss,
        "loss/validation": row.validation_loss,
        "loss/train": row.train_loss,
        **{_scalar(name): value for name, value in row.measured.items()},
    }
    return {
        **{name: value for name, value in measured.items() if value is not None},
        "replies/rejected": row.rejected,
        "replies/failed": row.failed,
        **{name: before.get(name, 0) + cost for name, cost in costs.items()},
    }


def _scalar(column: str) -> str:
    """Return what a column is called there: its metric, then its split; or a server's gene."""
    if column in OF_THE_SERVER:
        return f"server/{column}"
    split, _, name = column.partition("_")
    return f"{name}/{split}"


def rows_of(arm: Arm, rows: Iterable[RoundRow]) -> list[RoundRow]:
    """Return the rounds of one arm, in their order."""
    return [row for row in rows if (row.strategy, row.seed) == (arm.strategy, arm.seed)]


def curve(rows: Iterable[RoundRow]) -> list[dict[str, float]]:
    """Return the scalars of an arm's rounds, in their order."""
    none: dict[str, float] = {}
    return list(islice(accumulate(rows, scalars, initial=none), 1, None))
