"""A run's genomes as an Optuna study: a trial per evolved genome, its fitness to be minimised."""

import math
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fedgen.errors import InputError, RunError
from fedgen.report.charts.evolution import evolved
from fedgen.report.results import Results
from fedgen.runs.rows import ClientRow

if TYPE_CHECKING:
    import optuna

ATTRIBUTES = (
    *("strategy", "seed", "round", "client", "cluster", "origin", "parent", "batch_parent"),
    *("mutation", "status"),
)
"""What a trial keeps of its genome beside the genes, as user attributes."""


def write(results: Results, url: str) -> int:
    """Write a run's genomes as a study named after the run directory.

    Args:
        results: The run, finished or half-done.
        url: Of the database, as in ``sqlite:///genomes.db``.

    Returns:
        How many trials the study has.

    Raises:
        InputError: If the run has no genomes, Optuna or its database cannot be had,
            or there is a study of that name.
        RunError: If writing fails; the study is deleted again.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            f"--optuna: optuna is missing ({error}), pip install 'fedgen[optuna]'"
        ) from error
    found = evolved(results.clients)
    if not found:
        raise _nothing(results)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = results.path.absolute().name
    try:
        storage = optuna.storages.get_storage(url)
        study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError as error:
        delete = (
            f"optuna delete-study --study-name {shlex.quote(name)} --storage {shlex.quote(url)}"
        )
        raise InputError(
            f"--optuna {url}: has a study {name!r} already; name another database, or delete the "
            f"study with `{delete}`"
        ) from error
    except Exception as error:
        raise InputError(
            f"--optuna {url}: expected the URL of a database that can be written, as in "
            f"sqlite:///genomes.db; received {type(error).__name__}: {error}"
        ) from error
    try:
        study.add_trials(trials(found))
    except BaseException as error:
        with suppress(Exception):  # the first error is the one to tell
            optuna.delete_study(study_name=name, storage=storage)
        if not isinstance(error, Exception):
            raise
        raise RunError(
            f"--optuna {url}: the study {name!r} cannot be written ({error}); it was not kept"
        ) from error
    return len(found)


def _nothing(results: Results) -> InputError:
    """Say why a run has no genomes: nobody evolves any, or nobody has got there yet."""
    config = results.run.config
    begun = {row.strategy for row in results.clients}
    waiting = [
        name
        for name in config.run.strategies
        if "rates" in config.section_of(name) and name not in begun
    ]
    if waiting:
        return InputError(
            f"{results.path}: has no evolved genomes yet, expected a finished round of training "
            f"of {' or '.join(waiting)}, received none; go on with: "
            f"python -m fedgen resume {shlex.quote(str(results.path))}"
        )
    return InputError(
        f"{results.path}: has no evolved genomes to export, expected a strategy that evolves "
        f"them, as genetic-cfl does; received {', '.join(config.run.strategies)}"
    )


def trials(genomes: Sequence[ClientRow]) -> "list[optuna.trial.FrozenTrial]":
    """Return a finished trial per genome; one without a finite fitness has failed.

    Args:
        genomes: At least one, all of them with genes.
    """
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    rates = [row.learning_rate or 1.0 for row in genomes]
    batches = [row.batch_size or 1 for row in genomes]
    space = {
        "learning_rate": FloatDistribution(min(rates), max(rates), log=True),
        "batch_size": IntDistribution(min(batches), max(batches), log=True),
    }
    written = []
    for row, rate, batch in zip(genomes, rates, batches, strict=True):
        known = row.fitness is not None and math.isfinite(row.fitness)
        attributes: dict[str, Any] = {name: getattr(row, name) for name in ATTRIBUTES}
        written.append(
            create_trial(
                state=TrialState.COMPLETE if known else TrialState.FAIL,
                value=row.fitness if known else None,
                params={"learning_rate": rate, "batch_size": batch},
                distributions=dict(space),
                user_attrs=attributes,
            )
        )
    return written
