"""What logs a run elsewhere: found and checked before training, told of the run after it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fedgen.errors import RunError, without_passwords

if TYPE_CHECKING:
    from fedgen.report.results import Results

Tracker = Callable[["Results"], str]
"""Logs a run, and returns what it did, for people."""


def trackers(mlflow: str | None, wandb: bool) -> list[Tracker]:
    """Return what logs a run, once it is sure to answer: hours later is late to hear of a typo.

    Args:
        mlflow: The URI of an MLflow server or database; ``None`` for none.
        wandb: Whether Weights & Biases takes it.

    Raises:
        InputError: If a library is missing, or a server does not answer.
    """
    found: list[Tracker] = []
    if mlflow is not None:
        from fedgen.export import mlflow as tracking

        uri = mlflow
        tracking.check(uri)
        found.append(
            lambda results: f"MLflow: {tracking.log(results, uri)} runs in {without_passwords(uri)}"
        )
    if wandb:
        from fedgen.export import wandb as weights

        weights.check()
        found.append(weights.log)
    return found


def log(results: "Results", trackers: Sequence[Tracker], silent: bool = False) -> None:
    """Let every tracker log a run, also if another one cannot.

    Args:
        results: The run.
        trackers: What logs it.
        silent: Whether nothing is printed of it.

    Raises:
        RunError: If one did not take the run, with how to log it again.
    """
    failed: list[str] = []
    for tracker in trackers:
        try:
            said = tracker(results)
        except RunError as error:
            failed.append(str(error))
            continue
        if not silent:
            print(said)
    if failed:
        raise RunError(". ".join(failed))
