"""A run as the command line plays it: told, watched, logged, and what is kept if it ends early."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fedgen.errors import InputError, Interrupted

if TYPE_CHECKING:
    from fedgen.comparison.flow import Spread
    from fedgen.config.sections.training import Training
    from fedgen.export.trackers import Tracker
    from fedgen.federation.resources import Resources
    from fedgen.runs.run import Run


def check_jobs(jobs: int | None, address: str | None) -> None:
    """Check what arms are to be spread over.

    Raises:
        InputError: If it cannot be.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: expected 1 or more")
    if jobs is not None and address is not None:
        raise InputError("--jobs and --ray: expected one of them, received both")


def spread_over(jobs: int | None, address: str | None) -> "Spread | None":
    """Return what plays the arms elsewhere, if anything; a cluster is connected to at once."""
    if address is not None:
        from fedgen.comparison import cluster

        ray = cluster.connect(address)
        return lambda run, progress: cluster.play(run, ray, progress)
    if jobs is not None and jobs > 1:
        from fedgen.comparison import processes

        return lambda run, progress: processes.play(run, jobs, progress)
    return None


def play(
    run: "Run",
    held: "Resources",
    as_json: bool,
    quiet: bool,
    tensorboard: bool,
    logs: "Sequence[Tracker]",
    spread: "Spread | None" = None,
    watched: bool = False,
) -> None:
    """Play a run and print what it comes to.

    Args:
        run: What is played.
        held: The data, model and engine that it is played with.
        as_json: Print the summary as JSON, and nothing else.
        quiet: Print nothing but warnings and errors.
        tensorboard: Write event files as rounds come.
        logs: What logs the run when it is played.
        spread: What plays the arms elsewhere.
        watched: Serve a page beside the run, and print its address.

    Raises:
        Interrupted: If it is interrupted, with how to go on.
        RunError: As ``flow.play``, with what was kept.
    """
    held.start()  # quietly, before the comparison does
    from fedgen.comparison import flow
    from fedgen.comparison.progress.live import watcher
    from fedgen.comparison.progress.results import results
    from fedgen.errors import ArmError
    from fedgen.export.tensorboard import EventFiles
    from fedgen.export.trackers import log
    from fedgen.live.beside import beside
    from fedgen.report.results import load
    from fedgen.runs.watch import Several, Watcher

    silent = as_json or quiet
    if not silent:
        print(f"engine: {run.provenance['engine']}")
        print(f"run directory: {run.path}", flush=True)

    def tell(summary: Mapping[str, Any]) -> None:
        if as_json:
            print(json.dumps(summary))
        elif not quiet:
            results(summary)
            print(f"report: {run.path / 'report.html'}")
            config = shlex.quote(str(run.path / "config.toml"))
            print(f"again, exactly: python -m fedgen compare {config}")
        if logs:
            log(load(run.path), logs, silent)

    try:
        watching = [Watcher() if silent else watcher(run)]
        with ExitStack() as stack:
            if watched:
                _tell_page(stack.enter_context(beside(run.path)), silent)
            events = [EventFiles(run.path)] if tensorboard else []
            told = stack.enter_context(Several([*watching, *events]))
            summary = flow.play(run, held, told, spread=spread)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {_kept(run)}") from None
    except ArmError as error:  # the other arms have all their files
        warn(f"not every arm could go on: {_kept(run, failed=True)}")
        tell(error.summary)
        raise
    except Exception:
        warn(f"stopped; {_kept(run)}")
        raise
    tell(summary)


def _tell_page(address: str, silent: bool) -> None:
    if not address:
        warn("--watch: its server did not start; `python -m fedgen watch` says why")
    else:
        print(f"watch: {address}", file=sys.stderr if silent else sys.stdout, flush=True)


def _kept(run: "Run", failed: bool = False) -> str:
    from fedgen.runs import store

    if not store.has_begun(run.path, run.arms):
        return "no round was finished, so nothing is kept."
    command = f"python -m fedgen resume {shlex.quote(str(run.path))}"
    if failed:
        return f"every finished round is kept. To try the round that failed again: {command}"
    return f"every finished round is kept. Go on with: {command}"


def require_gpu(training: "Training", quiet: bool) -> None:
    """Check, before anything is downloaded or written, that a GPU is there if one is asked for."""
    from fedgen.engine import engines

    health = engines.require_gpu(training)
    if health is not None and not quiet:
        warn(health)


def tell_who_waits(line: str, silent: bool) -> None:
    """Print a line on a terminal; elsewhere bad input found later is one line, and no other."""
    if sys.stderr.isatty() and not silent:
        warn(line)


def warn(*lines: str) -> None:
    """Print lines on stderr."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
