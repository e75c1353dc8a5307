"""fedgen from Python: ``fedgen.compare`` and ``fedgen.load_run``."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedgen.comparison import opening
from fedgen.comparison.progress.live import watcher
from fedgen.comparison.request import read, settle
from fedgen.config import plugins
from fedgen.config.toml import named, parse_name
from fedgen.data import datasets
from fedgen.errors import InputError
from fedgen.report import results
from fedgen.report.results import Results
from fedgen.runs.run import default_path
from fedgen.runs.watch import Watcher

Arrays = Sequence[ArrayLike]
"""``x_train, y_train, x_test, y_test``."""


def compare(
    config: str | Path | None = None,
    *,
    rounds: int | None = None,
    strategies: str | type[Any] | Sequence[str | type[Any]] | None = None,
    controls: bool = False,
    dataset: str | Path | Arrays | None = None,
    data_dir: str | Path | None = None,
    model: str | Callable[..., Any] | None = None,
    clients: int | None = None,
    fraction: float | None = None,
    engine: str | None = None,
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
        rounds: Training rounds, at least 1.
        strategies: Names, ``module:Class`` of one's own, or classes; a list, or names separated by
            commas.
        controls: Add all controls of genetic-cfl.
        dataset: A name, a path or ``hf:NAME``, as ``data.dataset`` has it (``docs/data.md``), or
            the arrays themselves, ``(x_train, y_train, x_test, y_test)`` as an ``.npz`` file has
            them. They are written into the run directory as ``data.npz``, so that the run can be
            resumed.
        data_dir: Where to look for data first.
        model: A name, a ``.toml`` file, ``module:function`` of one's own, or the function. One that
            a notebook or script defines is known to this process alone: the run can be read, but
            not resumed elsewhere.
        clients: How many clients there are.
        fraction: Share of them in a cohort, in (0, 1].
        engine: tensorflow, jax, or auto.
        seeds: How many seeds.
        seed: The first seed.
        workers: Clients trained at once; 0 for what suits the device.
        settings: Any other setting by its dotted name, as in ``{"genetic-cfl.init": "probe"}``.
        out: The run directory; by default a new one in ``runs``.
        quiet: Show nothing but warnings.

    Returns:
        What the run came to; an interrupted run is in its directory all the same.

    Raises:
        InputError: If anything given is wrong.
        RunError: If a round fails.
    """
    path = Path(out) if out is not None else None
    with ExitStack() as stack:
        if dataset is not None and not isinstance(dataset, str | Path | tuple | list):
            raise InputError(
                f"dataset: expected a name, a path or the arrays ({', '.join(datasets.NPZ_KEYS)}), "
                f"received {type(dataset).__name__}"
            )
        if arrays := _four(dataset) if isinstance(dataset, tuple | list) else None:
            path = path or default_path("arrays")
            dataset = datasets.hold(path.absolute() / "data.npz", arrays)
            stack.callback(datasets.release, dataset)  # also where the run is refused
        named_model = plugins.give(model) if callable(model) else model
        given = named(
            rounds=rounds,
            strategies=strategies if strategies is None else _names(strategies, named_model),
            seeds=seeds,
            seed=seed,
            workers=workers,
            dataset=dataset if dataset is None else str(dataset),
            data_dir=data_dir if data_dir is None else str(data_dir),
            model=named_model,
            clients=clients,
            fraction=fraction,
            engine=engine,
        )
        # As with flags, a parameter wins over settings, which win over the file.
        others = {name: value for name, value in (settings or {}).items() if value is not None}
        laid = [*((*parse_name(name), value) for name, value in others.items()), *given]
        request = read(Path(config) if config is not None else None, laid, controls=controls)
        held = settle(request, _warn)
        from fedgen.comparison import flow

        with opening.created(held, path) as run:
            if arrays is not None:
                datasets.write(Path(held.config.data.dataset))
            if not quiet:
                print(f"run directory: {run.path}", flush=True)
            with Watcher() if quiet else watcher(run) as watching:
                flow.play(run, held, watching)
    return load_run(run.path)


def load_run(path: str | Path) -> Results:
    """Read a run directory, also of a run that is still going on.

    Raises:
        InputError: If it is none, has no finished round, or its files do not read.
    """
    return results.load(Path(path))


def _names(
    strategies: str | type[Any] | Sequence[str | type[Any]], model: str | None
) -> str | list[str]:
    if isinstance(strategies, str):
        return strategies
    names: list[str] = []
    for one in [strategies] if isinstance(strategies, type) else strategies:
        taken = [*names, *([model] if model else [])]
        names.append(one if isinstance(one, str) else plugins.give(one, taken))
    return names


def _four(arrays: Arrays) -> list[NDArray[Any]]:
    if len(arrays) != len(datasets.NPZ_KEYS):
        raise InputError(
            f"dataset: expected the arrays ({', '.join(datasets.NPZ_KEYS)}), received a "
            f"{type(arrays).__name__} of {len(arrays)}"
        )
    try:
        return [np.asarray(array) for array in arrays]
    except ValueError as error:  # rows of different lengths
        raise InputError(f"dataset: expected arrays, received others ({error})") from error


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
