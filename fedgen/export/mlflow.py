"""A run in MLflow: one MLflow run per (strategy, seed), in the experiment ``fedgen``."""

import json
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fedgen.config.tree import Arm, dump
from fedgen.errors import InputError, RunError
from fedgen.export import documents
from fedgen.export.scalars import curve, rows_of
from fedgen.report.results import Results
from fedgen.runs.rows import DIVERGED, RoundRow
from fedgen.runs.run import PROVENANCE, Run
from fedgen.runs.shard import Shard

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "fedgen"
BATCH = 100
"""Entries that are logged at once: as many parameters as MLflow takes."""

PARAM, TAG = 6000, 8000
"""Characters of a parameter's and of a tag's value; MLflow cuts off the rest without a word."""

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # --json owns stdout
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a plain folder is the simplest URI there is
    # By default a server that does not answer is asked for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def check(uri: str) -> None:
    """Check that a run can be logged: the library is there, and the server answers.

    The experiment is made, if there is none yet.

    Args:
        uri: Of an MLflow server or database.

    Raises:
        InputError: If that is not so, with what to install or to mend.
    """
    _experiment(_client(uri), uri)


def log(results: Results, uri: str) -> int:
    """Log a run's finished rounds, its settings and its files.

    Args:
        results: The run; an arm that is half-done is logged as killed.
        uri: Of an MLflow server or database.

    Returns:
        How many MLflow runs were made: one per (strategy, seed) that has a round.

    Raises:
        RunError: If MLflow does not take it, with how to log it again.
    """
    try:
        return _log_all(results, uri)
    except Exception as error:
        command = f"export {shlex.quote(str(results.path))} --mlflow {shlex.quote(uri)}"
        raise RunError(
            f"MLflow at {uri} did not take the run ({error}). Nothing of it is lost; "
            f"log it again with: python -m fedgen {command}"
        ) from error


def _log_all(results: Results, uri: str) -> int:
    """Log every arm, or none: what was made before something failed is deleted again."""
    client = _client(uri)
    experiment = _experiment(client, uri)
    made: list[str] = []
    with TemporaryDirectory() as folder:
        documents.write(results, Path(folder))
        try:
            for arm in results.run.arms:
                rows = rows_of(arm, results.rounds)
                if rows:
                    _log_arm(client, experiment, results.run, arm, rows, folder, made)
        except BaseException:
            with suppress(Exception):  # what cannot be reached cannot be tidied up
                for identifier in made:
                    client.delete_run(identifier)
            raise
    return len(made)


def _client(uri: str) -> "MlflowClient":
    if not uri:  # MLflow would take a default
        raise InputError("--mlflow: expected the URI of an MLflow server or database, received ''")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise InputError(
            f"--mlflow: mlflow-skinny is missing ({error}), pip install 'fedgen[mlflow]'"
        ) from error
    try:
        _reach_database(uri)
        return MlflowClient(tracking_uri=uri)
    except Exception as error:
        raise _refusal(uri, error) from error


def _reach_database(uri: str) -> None:
    """Open a database once: MLflow goes on trying for two minutes if that cannot be done."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES:
        import sqlalchemy

        sqlalchemy.create_engine(uri).connect().close()


def _experiment(client: "MlflowClient", uri: str) -> str:
    try:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(client.create_experiment(EXPERIMENT))
    except Exception as error:
        raise _refusal(uri, error) from error
    if found.lifecycle_stage != "active":
        raise InputError(
            f"--mlflow {uri}: its experiment {EXPERIMENT!r} is deleted, expected an active one or "
            f"none; bring it back with `mlflow experiments restore -x {found.experiment_id}`"
        )
    return str(found.experiment_id)


def _refusal(uri: str, error: Exception) -> InputError:
    return InputError(
        f"--mlflow {uri}: expected an MLflow server that answers, or a database that can be "
        "written, as in http://localhost:5000 or sqlite:///mlflow.db; received "
        f"{type(error).__name__}: {error}"
    )


def _log_arm(
    client: "MlflowClient",
    experiment: str,
    run: Run,
    arm: Arm,
    rows: Sequence[RoundRow],
    folder: str,
    made: list[str],
) -> None:
    from mlflow.entities import Metric, Param

    points = curve(rows)
    # When a round ended is not recorded, but how long each one took is.
    began = time.time() - points[-1]["cost/seconds"]
    identifier = client.create_run(
        experiment,
        start_time=_milliseconds(began),
        tags=_tags(run) | _not_finite(rows, points),
        run_name=arm.name,
    ).info.run_id
    made.append(identifier)
    params = [Param(name, _fitting(value, PARAM)) for name, value in _params(arm).items()]
    metrics = [
        Metric(name, value, _milliseconds(began + point["cost/seconds"]), row.round)
        for row, point in zip(rows, points, strict=True)
        for name, value in point.items()
        if math.isfinite(value)  # an SQL store makes 1.8e308 of infinity
    ]
    for part in _batches(params):
        client.log_batch(identifier, params=part)
    for part in _batches(metrics):
        client.log_batch(identifier, metrics=part)
    client.log_artifacts(identifier, folder)
    ended = Shard(run.path, arm).ended()
    finished = rows[-1].round >= run.config.run.rounds or (ended and ended.how != DIVERGED)
    status = "FINISHED" if finished else "FAILED" if ended else "KILLED"
    if ended:
        client.set_tag(identifier, "ended", f"round {ended.round}, {ended.how}: {ended.why}")
    client.set_terminated(identifier, status)


def _params(arm: Arm) -> dict[str, str]:
    settings = {
        f"{section}.{key}": value
        for section, part in dump(arm.config).items()
        for key, value in part.items()
    }
    return {name: _text(value) for name, value in settings.items()} | {
        "strategy": arm.strategy,
        "seed": str(arm.seed),
    }


def _tags(run: Run) -> dict[str, str]:
    made_with = {f"{PROVENANCE}.{name}": _text(value) for name, value in run.provenance.items()}
    return made_with | {"run_directory": run.path.absolute().name}


def _not_finite(rows: Sequence[RoundRow], points: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return a tag per metric that is not finite in some rounds: in which ones, and what it is."""
    found: dict[str, dict[str, list[int]]] = {}
    for row, point in zip(rows, points, strict=True):
        for name, value in point.items():
            if not math.isfinite(value):
                found.setdefault(name, {}).setdefault(str(value), []).append(row.round)
    return {
        f"not_finite.{name}": _fitting(
            "; ".join(f"{value} in rounds {_spans(rounds)}" for value, rounds in kinds.items()), TAG
        )
        for name, kinds in found.items()
    }


def _spans(numbers: Sequence[int]) -> str:
    """Return ascending numbers as people write them: 1 to 3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def _fitting(text: str, most: int) -> str:
    """Return a value as it is, or its beginning and where the rest of it is."""
    if len(text) <= most:
        return text
    end = f" ... cut, {len(text)} characters; whole in the artifacts"
    return text[: most - len(end)] + end


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _batches(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(entries), BATCH):
        yield entries[first : first + BATCH]
