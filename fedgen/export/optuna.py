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
from strategies.core.genes import OF_CLIENTS

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
    from optuna.trial import TrialState, create_trial

    all_genes = [_genes(row) for row in genomes]
    names = {name for genes in all_genes for name in genes}
    space = {name: _range(name, [g[name] for g in all_genes if name in g]) for name in names}
    written = []
    for row, genes in zip(genomes, all_genes, strict=True):
        known = row.fitness is not None and math.isfinite(row.fitness)
        attributes: dict[str, Any] = {name: getattr(row, name) for name in ATTRIBUTES}
        written.append(
            create_trial(
                state=TrialState.COMPLETE if known else TrialState.FAIL,
                value=row.fitness if known else None,
                params=genes,
                distributions={name: space[name] for name in genes},
                user_attrs=attributes,
            )
        )
    return written


def _genes(row: ClientRow) -> dict[str, float]:
    found = {name: getattr(row, name, row.measured.get(name)) for name in OF_CLIENTS}
    return {name: value for name, value in found.items() if value is not None}


def _range(name: str, values: Sequence[float]) -> "optuna.distributions.BaseDistribution":
    """Return what holds all values of a gene, on the scale that suits it and them."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, kind = min(values), max(values), OF_CLIENTS[name]
    log = kind.scale == "log" and low > 0
    if kind.whole:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)
