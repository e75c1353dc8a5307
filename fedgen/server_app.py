"""The Flower ``ServerApp``: ``compare`` on the grid of a Flower runtime."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedgen import runtime
from fedgen.comparison import flow, opening, request
from fedgen.comparison.progress.live import watcher
from fedgen.comparison.progress.results import results
from fedgen.config.tree import Config
from fedgen.data import datasets
from fedgen.engine.engines import settled
from fedgen.errors import ArmError, FedgenError, InputError
from fedgen.federation.flower import is_simulated, renew_actors
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import OUT, RESUME, from_run_config
from fedgen.runs import directory
from fedgen.runs.run import Run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play the run that the run config describes, and leave the same run directory.

    Raises:
        FedgenError: Saying in one line what to mend; Flower then reports the run
            as failed.
    """
    for handler in logging.getLogger("flwr").handlers:
        handler.addFilter(_one_line)
    runtime.require()
    config = from_run_config(context.run_config)
    if is_simulated(grid):
        renew_actors(grid, shared=settled(config.training).engine == "jax")
    out, resume = (str(context.run_config.get(key, "")) for key in (OUT, RESUME))
    named = (
        ("dataset", config.data.dataset if datasets.is_path(config.data.dataset) else ""),
        ("data-dir", config.data.data_dir),
        ("partition.file", config.partition.file),
        ("model.weights", config.model.weights),
        (OUT, out),
        (RESUME, resume),
    )
    for key, path in named:
        if path and not Path(path).is_absolute():
            raise InputError(
                f"run config: {key}={path!r}: expected an absolute path, as Flower runs its parts "
                "in directories of their own"
            )
    if out and not resume:
        directory.check_free(Path(out))
    with _opened(config, out, resume) as (run, held):
        print(f"engine: {run.provenance['engine']}")
        print(f"run directory: {run.path.absolute()}", flush=True)

        def tell(summary: Mapping[str, Any]) -> None:
            results(summary)
            print(f"report: {run.path.absolute() / 'report.html'}", flush=True)

        try:
            with watcher(run) as watching:
                summary = flow.play(run, held, watching, grid)
        except ArmError as error:  # the other arms have all their files
            tell(error.summary)
            raise
        tell(summary)


@contextmanager
def _opened(config: Config, out: str, resume: str) -> Iterator[tuple[Run, Resources]]:
    """Make a run directory, or open that of a run to go on with."""
    if resume:
        with opening.resumed(Path(resume), config.run.rounds, asked=config) as opened:
            yield opened
        return
    held = request.settle(request.Request(config, names_dataset=True), partial(print, flush=True))
    with opening.created(held, Path(out).absolute() if out else None) as run:
        yield run, held


def _one_line(record: logging.LogRecord) -> bool:
    """Let Flower log what a user can mend as one line, without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, FedgenError):
        record.msg, record.args = f"fedgen: {error.line}", ()
        record.exc_info = record.exc_text = None
    return True
