"""The command line. TensorFlow and Flower are imported only when training starts."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import click
import typer

from fedgen import runtime
from fedgen.command import flags, hints
from fedgen.command.study import study
from fedgen.errors import FedgenError, InputError, Interrupted, without_passwords
from fedgen.playing import check_jobs, play, require_gpu, spread_over, tell_who_waits, warn

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
    wandb: flags.WandB = False,
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
    from fedgen.export.trackers import trackers
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
    check_jobs(jobs, ray)
    tell_who_waits(planned(request.config, request.names_dataset), as_json or quiet)
    require_gpu(request.config.training, quiet)
    spread = spread_over(jobs, ray)
    logs = trackers(mlflow, wandb)
    held = settle(request, warn)
    from fedgen.comparison import opening

    with opening.created(held, out) as run:
        play(run, held, as_json, quiet, tensorboard, logs, spread, watch)


@app.command()
def resume(
    path: flags.RunPath,
    rounds: flags.MoreRounds = None,
    workers: flags.OtherWorkers = None,
    tensorboard: flags.TensorBoard = False,
    mlflow: flags.MLflow = None,
    wandb: flags.WandB = False,
    jobs: flags.Jobs = None,
    ray: flags.Ray = None,
    watch: flags.Watch = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Go on with a run that was stopped, or add rounds to one that is finished."""
    runtime.restart_with_huge_pages()
    from fedgen.command.plan import planned
    from fedgen.export.trackers import trackers
    from fedgen.runs.run import finished_how, is_finished, open_run

    config = open_run(path).config
    check_jobs(jobs, ray)
    tell_who_waits(f"{path}: {planned(config, rounds=rounds)}", as_json or quiet)
    require_gpu(config.training, quiet)
    spread = spread_over(jobs, ray)
    logs = trackers(mlflow, wandb)
    from fedgen.comparison import opening

    with opening.resumed(path, rounds, workers) as (run, held):
        if is_finished(run) and not (as_json or quiet):
            print(f"{path}: {finished_how(run)} Its last files are written anew.")
        play(run, held, as_json, quiet, tensorboard, logs, spread, watch)


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
    wandb: flags.WandB = False,
    tensorboard: flags.TensorBoard = False,
) -> None:
    """Hand a run, finished or half-done, on to other tools."""
    from fedgen.export.trackers import log, trackers
    from fedgen.report.results import load

    if optuna is None and mlflow is None and not (tensorboard or parquet or wandb):
        raise InputError(
            "export: expected at least one of --parquet, --optuna URL, --mlflow URI, --wandb and "
            "--tensorboard, received none"
        )
    results = load(path)
    logs = trackers(mlflow, wandb)
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
    log(results, logs)


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
        warn(error.format_message())
        _leave(2)
    except (click.exceptions.NoSuchOption, click.exceptions.NoSuchCommand) as error:
        warn(f"fedgen: {hints.instead(error)}")
        _leave(2)
    except click.ClickException as error:
        warn(f"fedgen: {error.format_message()}")
        _leave(2)
    except Interrupted as error:
        warn(error.line)
        _leave(error.exit_code)
    except FedgenError as error:
        warn(f"fedgen: {error.line}")
        _leave(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        warn("interrupted")
        _leave(INTERRUPTED)
