"""The command line. TensorFlow and Flower are imported only when training starts."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer

from fedgen import runtime
from fedgen.errors import FedgenError, InputError

app = typer.Typer(
    name="fedgen",
    help="Federated learning with hyperparameters that evolve, compared at equal cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130

Rounds = Annotated[int | None, typer.Option(help="Training rounds.")]
Workers = Annotated[
    int | None, typer.Option(help="Clients trained at once; 0 for one per core.", metavar="N")
]
Jobs = Annotated[
    int | None, typer.Option(help="Processes to spread the arms over.", metavar="N", min=1)
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Ray cluster to spread the arms over.", metavar="ADDRESS|auto"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


@app.command()
def compare(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Settings; flags win.")
    ] = None,
    rounds: Rounds = None,
    strategies: Annotated[
        str | None,
        typer.Option(help="What `strategies` lists, or MODULE:CLASS; separated by commas."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="What `datasets` lists: a name, or an .npz file.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option(help="Where to look for data first.", metavar="DIR")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="What `models` lists, a .toml file, or MODULE:FUNCTION.")
    ] = None,
    clients: Annotated[int | None, typer.Option(help="How many clients there are.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Share of them in a cohort.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    workers: Workers = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.", metavar="DIR")] = None,
    jobs: Jobs = None,
    ray: Ray = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train all strategies from the same weights on the same clients."""
    runtime.restart_with_huge_pages()
    from fedgen import intake, store
    from fedgen import run as runs
    from fedgen.config import parse_setting

    flags: dict[tuple[str, str], Any] = {
        ("run", "rounds"): rounds,
        ("run", "strategies"): strategies,
        ("run", "seeds"): seeds,
        ("run", "seed"): seed,
        ("run", "workers"): workers,
        ("data", "dataset"): dataset,
        ("data", "data_dir"): data_dir,
        ("model", "name"): model,
        ("partition", "clients"): clients,
        ("cohort", "fraction"): fraction,
    }
    given = [(section, key, value) for (section, key), value in flags.items() if value is not None]
    # A flag wins over --set, which wins over the file.
    request = intake.read(config, [*map(parse_setting, settings or []), *given])
    if out is not None:
        store.check_free(out)
    _require_gpu(quiet)
    spread = _spread(jobs, ray)
    checked = intake.settle(request, _warn)
    with runs.created(checked, out) as run:
        _play(run, as_json, quiet, spread)


@app.command()
def resume(
    path: RunPath,
    rounds: Rounds = None,
    workers: Workers = None,
    jobs: Jobs = None,
    ray: Ray = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped, or add rounds to one that is finished."""
    runtime.restart_with_huge_pages()
    from fedgen import run as runs

    runs.open_run(path)
    _require_gpu(quiet)
    spread = _spread(jobs, ray)
    with runs.resumed(path, rounds, workers) as run:
        if runs.is_finished(run) and not (as_json or quiet):
            print(
                f"{path}: already finished; --rounds adds rounds. Its last files are written anew."
            )
        _play(run, as_json, quiet, spread)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The page of several runs; report.html here by default.", metavar="FILE"),
    ] = None,
) -> None:
    """Draw the report of a run again, from its finished rounds, or of several side by side."""
    from fedgen import report as drawing

    if len(paths) == 1 and out is None:
        print(drawing.write(paths[0]))
    else:
        print(drawing.write_several(paths, out or Path("report.html")))


@app.command()
def strategies() -> None:
    """List the strategies."""
    from fedgen import catalogue

    _list(catalogue.strategies_there_are())


@app.command()
def models() -> None:
    """List the models."""
    from fedgen import catalogue

    _list(catalogue.models_there_are())


@app.command()
def datasets() -> None:
    """List the data sets."""
    from fedgen import catalogue

    _list(catalogue.datasets_there_are())


def _list(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines))
    for name, line in lines.items():
        print(f"{name:<{width}}  {line}")


def _spread(jobs: int | None, address: str | None) -> Any:
    """Return what plays the arms elsewhere, if anything; a cluster is connected to at once."""
    if jobs is not None and address is not None:
        raise InputError("--jobs and --ray: expected one of them, received both")
    if address is not None:
        from fedgen import cluster

        ray = cluster.connect(address)
        return lambda run, progress: cluster.play(run, ray, progress)
    if jobs is not None and jobs > 1:
        from fedgen import jobs as processes

        return lambda run, progress: processes.play(run, jobs, progress)
    return None


def _play(run: Any, as_json: bool, quiet: bool, spread: Any = None) -> None:
    from fedgen import comparison
    from fedgen.progress import Silent, results, watcher

    command = f"python -m fedgen resume {shlex.quote(str(run.path))}"
    runtime.import_tensorflow()
    silent = as_json or quiet
    if not silent:
        print(f"run directory: {run.path}", flush=True)
    try:
        with Silent() if silent else watcher(run.config.run.strategies) as watching:
            summary = comparison.play(run, watching, spread=spread)
    except KeyboardInterrupt:
        _warn(f"interrupted; every finished round is kept. Go on with: {command}")
        _leave(INTERRUPTED)
    except Exception:
        _warn(f"stopped; every finished round is kept. Go on with: {command}")
        raise
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        results(summary)
        print(f"report: {run.path / 'report.html'}")
        config = shlex.quote(str(run.path / "config.toml"))
        print(f"again, exactly: python -m fedgen compare {config}")


def _require_gpu(quiet: bool) -> None:
    # Before anything is downloaded or written.
    health = runtime.require_gpu()
    if health is not None and not quiet:
        _warn(health)


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
        app(standalone_mode=False, prog_name="fedgen" if completes else None)
    except click.exceptions.NoArgsIsHelpError as error:
        _warn(error.format_message())
        _leave(2)
    except click.ClickException as error:
        _warn(f"fedgen: {error.format_message()}")
        _leave(2)
    except FedgenError as error:
        _warn(f"fedgen: {error.line}")
        _leave(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _warn("interrupted")
        _leave(INTERRUPTED)
