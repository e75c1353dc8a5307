"""fedgen from Python: ``fedgen.compare`` and ``fedgen.load_run``."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedgen import intake, results
from fedgen import run as runs
from fedgen.config import Setting, parse_name
from fedgen.progress import Silent, watcher
from fedgen.results import Results


def compare(
    config: str | Path | None = None,
    *,
    rounds: int | None = None,
    strategies: str | Sequence[str] | None = None,
    controls: bool = False,
    dataset: str | Path | None = None,
    data_dir: str | Path | None = None,
    model: str | None = None,
    clients: int | None = None,
    fraction: float | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Results:
    """Train all strategies from the same weights on the same clients, as the command does.

    Args:
        config: Path of a TOML file with settings; what follows wins over it.
        rounds: Training rounds, at least 0.
        strategies: Names, or ``module:Class`` of one's own; a list, or separated by commas.
        controls: Add all controls of genetic-cfl.
        dataset: cifar10, mnist, digits, or the path of an ``.npz`` file.
        data_dir: Where to look for data first.
        model: A name, a ``.toml`` file, or ``module:function`` of one's own.
        clients: How many clients there are.
        fraction: Share of them in a cohort, in (0, 1].
        seeds: How many seeds.
        seed: The first seed.
        workers: Clients trained at once; 0 for one per core.
        settings: Any other setting by its dotted name, as in ``{"genetic-cfl.init": "probe"}``.
        out: The run directory; by default a new one in ``runs``.
        quiet: Show nothing but warnings.

    Returns:
        What the run came to; an interrupted run is in its directory all the same.

    Raises:
        InputError: If anything given is wrong.
        RunError: If a round fails.
    """
    given: dict[str, Any] = {
        **(settings or {}),
        "run.rounds": rounds,
        "run.strategies": strategies if strategies is None else _names(strategies),
        "run.seeds": seeds,
        "run.seed": seed,
        "run.workers": workers,
        "data.dataset": dataset if dataset is None else str(dataset),
        "data.data_dir": data_dir if data_dir is None else str(data_dir),
        "model.name": model,
        "partition.clients": clients,
        "cohort.fraction": fraction,
    }
    laid: list[Setting] = [
        (*parse_name(name), value) for name, value in given.items() if value is not None
    ]
    request = intake.read(Path(config) if config is not None else None, laid, controls=controls)
    checked = intake.settle(request, _warn)
    from fedgen import comparison

    with runs.created(checked, Path(out) if out is not None else None) as run:
        if not quiet:
            print(f"run directory: {run.path}", flush=True)
        with Silent() if quiet else watcher(run.config.run.strategies) as watching:
            comparison.play(run, watching)
    return load_run(run.path)


def load_run(path: str | Path) -> Results:
    """Read a run directory, also of a run that is still going on.

    Raises:
        InputError: If it is none, has no finished round, or its files do not read.
    """
    return results.load(Path(path))


def _names(strategies: str | Sequence[str]) -> str | list[str]:
    return strategies if isinstance(strategies, str) else list(strategies)


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
