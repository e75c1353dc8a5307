"""The command line. TensorFlow and Flower are imported only when training starts."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer

from fedgen import runtime
from fedgen.command import flags, hints
from fedgen.command.study import study
from fedgen.errors import FedgenError, InputError, Interrupted, without_passwords

app = typer.Typer(
    name="fedgen",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    suggest_commands=False,  # ``hints`` does
)

INTERRUPTED = Interrupted.exit_code


def _show_versions(asked: bool) -> None:
    if not asked:
        return
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from fedgen import __version__

    print(f"fedgen {__version__}\npython {platform.python_version()}")
    for name in runtime.PACKAGES:
        try:
            print(name, version(name))
        except PackageNotFoundError:
            print(name, "is not installed")
    raise typer.Exit


@app.callback()
def fedgen(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions that decide results, and exit.",
            is_eager=True,
            callback=_show_versions,
        ),
    ] = False,
) -> None:
    """Federated learning with hyperparameters that evolve, compared at equal cost."""


@app.command()
def init(folder: flags.StartPath = Path(".")) -> None:
    """Write a config, a model and a strategy to start from."""
    from fedgen.command import init

    print(init.write(folder))


@app.command()
def compare(
    config: flags.Config = None,
    rounds: flags.Rounds = None,
    strategies: flags.Strategies = None,
    sweep: flags.Sweep = None,
    controls: flags.Controls = False,
    dataset: flags.DataSet = None,
    data_dir: flags.DataDir = None,
    model: flags.Model = None,
    clients: flags.Clients = None,
    fraction: flags.Fraction = None,
    engine: flags.Engine = None,
    seeds: flags.Seeds = None,
    seed: flags.Seed = None,
    workers: flags.Workers = None,
    settings: flags.Settings = None,
    out: flags.Out = None,
    tensorboard: flags.TensorBoard = False,
    mlflow: flags.MLflow = None,
    jobs: flags.Jobs = None,
    ray: flags.Ray = None,
    watch: flags.Watch = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train all strategies from the same weights on the same clients."""
    runtime.restart_with_huge_pages()
    from fedgen.command.plan import planned
    from fedgen.comparison.request import read, settle
    from fedgen.config.toml import named, parse_setting
    from fedgen.runs import directory

    given = named(
        rounds=rounds,
        strategies=strategies,
        seeds=seeds,
        seed=seed,
        workers=workers,
        dataset=dataset,
        data_dir=data_dir,
        model=model,
        clients=clients,
        fraction=fraction,
        engine=engine,
    )
    # A flag wins over --set, which wins over the file.
    laid = [*map(parse_setting, settings or []), *given]
    request = read(config, laid, sweeps=sweep or (), controls=controls)
    if out is not None:
        directory.check_free(out)
    _check_jobs(jobs, ray)
    _tell(planned(request.config, request.names_dataset), as_json or quiet)
    _require_gpu(request.config.training, quiet)
    spread = _spread(jobs, ray)
    _require_mlflow(mlflow)
    held = settle(request, _warn)
    from fedgen.comparison import opening

    with opening.created(held, out) as run:
        _play(run, held, as_json, quiet, tensorboard, mlflow, spread, watch)


@app.command()
def resume(
    path: flags.RunPath,
    rounds: flags.MoreRounds = None,
    workers: flags.OtherWorkers = None,
    tensorboard: flags.TensorBoard = False,
    mlflow: flags.MLflow = None,
    jobs: flags.Jobs = None,
    ray: flags.Ray = None,
    watch: flags.Watch = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Go on with a run that was stopped, or add rounds to one that is finished."""
    runtime.restart_with_huge_pages()
    from fedgen.command.plan import planned
    from fedgen.runs.run import finished_how, is_finished, open_run

    config = open_run(path).config
    _check_jobs(jobs, ray)
    _tell(f"{path}: {planned(config)}", as_json or quiet)
    _require_gpu(config.training, quiet)
    spread = _spread(jobs, ray)
    _require_mlflow(mlflow)
    from fedgen.comparison import opening

    with opening.resumed(path, rounds, workers) as (run, held):
        if is_finished(run) and not (as_json or quiet):
            print(f"{path}: {finished_how(run)} Its last files are written anew.")
        _play(run, held, as_json, quiet, tensorboard, mlflow, spread, watch)


@app.command()
def report(paths: flags.RunPaths, out: flags.Page = None) -> None:
    """Draw the report of a run again, from its finished rounds, or of several side by side."""
    from fedgen.report import pages

    if len(paths) == 1 and out is None:
        print(pages.write(paths[0]))
    else:
        print(pages.write_several(paths, out or Path("report.html")))


@app.command()
def runs(folder: flags.RunsPath = Path("runs")) -> None:
    """List the runs of a directory: how far they are, and who is ahead."""
    from fedgen.command.runs import listed

    listed(folder)


@app.command()
def watch(folder: flags.WatchPath = Path("runs"), port: flags.Port = flags.PORT) -> None:
    """Serve pages of runs that follow them as they are played."""
    from fedgen.command.runs import watch

    with suppress(KeyboardInterrupt):  # the way it ends
        watch(folder, port)


@app.command()
def export(
    path: flags.RunPath,
    parquet: flags.Parquet = False,
    optuna: flags.Optuna = None,
    mlflow: flags.MLflow = None,
    tensorboard: flags.TensorBoard = False,
) -> None:
    """Hand a run, finished or half-done, on to other tools."""
    from fedgen.report.results import load

    if optuna is None and mlflow is None and not (tensorboard or parquet):
        raise InputError(
            "export: expected at least one of --parquet, --optuna URL, --mlflow URI and "
            "--tensorboard, received none"
        )
    results = load(path)
    _require_mlflow(mlflow)
    if parquet:
        from fedgen.export.parquet import write as write_tables

        print(f"Parquet: {', '.join(map(str, write_tables(results)))}")
    if tensorboard:
        runtime.import_tensorflow()
        from fedgen.export.tensorboard import write as write_events

        folder = write_events(results)
        print(f"event files: {folder}; look at them with tensorboard --logdir {folder}")
    if optuna is not None:
        from fedgen.export.optuna import write as write_study

        print(f"Optuna: {write_study(results, optuna)} trials in {without_passwords(optuna)}")
    if mlflow is not None:
        _log(results, mlflow)


app.command()(study)


@app.command()
def strategies() -> None:
    """List the strategies."""
    from fedgen.command import catalogue

    _list(catalogue.strategies_there_are())


@app.command()
def models() -> None:
    """List the models."""
    from fedgen.command import catalogue

    _list(catalogue.models_there_are())


@app.command()
def datasets() -> None:
    """List the data sets."""
    from fedgen.command import catalogue

    _list(catalogue.datasets_there_are())


@app.command()
def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    from fedgen.command.schema import schema as made

    print(json.dumps(made(), indent=2))


def _list(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines))
    for name, line in lines.items():
        print(f"{name:<{width}}  {line}")


def _check_jobs(jobs: int | None, address: str | None) -> None:
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: expected 1 or more")
    if jobs is not None and address is not None:
        raise InputError("--jobs and --ray: expected one of them, received both")


def _spread(jobs: int | None, address: str | None) -> Any:
    """Return what plays the arms elsewhere, if anything; a cluster is connected to at once."""
    if address is not None:
        from fedgen.comparison import cluster

        ray = cluster.connect(address)
        return lambda run, progress: cluster.play(run, ray, progress)
    if jobs is not None and jobs > 1:
        from fedgen.comparison import processes

        return lambda run, progress: processes.play(run, jobs, progress)
    return None


def _play(
    run: Any,
    held: Any,
    as_json: bool,
    quiet: bool,
    tensorboard: bool,
    mlflow: str | None,
    spread: Any = None,
    watched: bool = False,
) -> None:
    held.start()  # quietly, before the comparison does
    from fedgen.comparison import flow
    from fedgen.comparison.progress.live import watcher
    from fedgen.comparison.progress.results import results
    from fedgen.errors import ArmError
    from fedgen.export.tensorboard import EventFiles
    from fedgen.live.beside import beside
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
        if mlflow is not None:
            from fedgen.report.results import load

            _log(load(run.path), mlflow, silent)

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
        _warn(f"not every arm could go on: {_kept(run, failed=True)}")
        tell(error.summary)
        raise
    except Exception:
        _warn(f"stopped; {_kept(run)}")
        raise
    tell(summary)


def _tell_page(address: str, silent: bool) -> None:
    if not address:
        _warn("--watch: its server did not start; `python -m fedgen watch` says why")
    else:
        print(f"watch: {address}", file=sys.stderr if silent else sys.stdout, flush=True)


def _kept(run: Any, failed: bool = False) -> str:
    from fedgen.runs import store

    if not store.has_begun(run.path, run.arms):
        return "no round was finished, so nothing is kept."
    command = f"python -m fedgen resume {shlex.quote(str(run.path))}"
    if failed:
        return f"every finished round is kept. To try the round that failed again: {command}"
    return f"every finished round is kept. Go on with: {command}"


def _log(results: Any, uri: str, silent: bool = False) -> None:
    from fedgen.export.mlflow import log

    runs = log(results, uri)
    if not silent:
        print(f"MLflow: {runs} runs in {without_passwords(uri)}")


def _require_gpu(training: Any, quiet: bool) -> None:
    # Before anything is downloaded or written.
    from fedgen.engine import engines

    health = engines.require_gpu(training)
    if health is not None and not quiet:
        _warn(health)


def _require_mlflow(uri: str | None) -> None:
    # Before anything is trained: hours later is late to hear of a mistyped URI.
    if uri is None:
        return
    from fedgen.export.mlflow import check

    check(uri)


def _tell(line: str, silent: bool) -> None:
    # To who waits; elsewhere bad input that is found later is one line, and no other.
    if sys.stderr.isatty() and not silent:
        _warn(line)


def _warn(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _leave(code: int) -> NoReturn:
    # Threads inside compiled code would hold a normal exit up; all files are closed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Run the command line; every error a user can cause is one line on stderr."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell completes the command `fedgen`; it cannot complete `python -m fedgen`.
    completes = any(word.endswith("-completion") for word in sys.argv[1:])
    try:
        code = app(standalone_mode=False, prog_name="fedgen" if completes else None)
        if code == INTERRUPTED:  # Typer catches Ctrl-C itself, and returns what it stands for
            raise KeyboardInterrupt
    except click.exceptions.NoArgsIsHelpError as error:
        _warn(error.format_message())
        _leave(2)
    except (click.exceptions.NoSuchOption, click.exceptions.NoSuchCommand) as error:
        _warn(f"fedgen: {hints.instead(error)}")
        _leave(2)
    except click.ClickException as error:
        _warn(f"fedgen: {error.format_message()}")
        _leave(2)
    except Interrupted as error:
        _warn(error.line)
        _leave(error.exit_code)
    except FedgenError as error:
        _warn(f"fedgen: {error.line}")
        _leave(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _warn("interrupted")
        _leave(INTERRUPTED)
