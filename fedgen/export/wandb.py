"""A run in Weights & Biases: one of its runs per (strategy, seed), in one group.

Where it goes is what its environment says: ``WANDB_PROJECT``, ``WANDB_ENTITY``, and
``WANDB_MODE=offline`` for none but the run directory. Nobody is asked for a key.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fedgen.config.tree import Arm, dump
from fedgen.errors import FedgenError, InputError, RunError, one_line
from fedgen.export import documents
from fedgen.export.scalars import curve, rows_of
from fedgen.files import disk
from fedgen.report.results import Results
from fedgen.runs.rows import DIVERGED, RoundRow
from fedgen.runs.run import PROVENANCE
from fedgen.runs.shard import Shard

if TYPE_CHECKING:
    import wandb

PROJECT = "fedgen"
"""What the project is called, unless the environment says otherwise."""

FOLDER = "wandb"
"""Where the library keeps what it sends, in a run's directory."""

SECONDS = 60
"""How long a server may take to begin a run, and to take the end of one."""

_ENVIRONMENT = {
    "WANDB_ERROR_REPORTING": "false",  # to its makers
    "WANDB_SILENT": "true",
}

FINISHED, FAILED, KILLED = 0, 1, 255
"""Exit codes, by which the library tells how a run ended."""


def check() -> None:
    """Check that a run can be logged: the library is there, and a server knows who logs.

    Raises:
        InputError: If that is not so, with what to install or to mend.
    """
    with _session():
        pass


def log(results: Results) -> str:
    """Log a run's finished rounds, its settings and its files.

    Args:
        results: The run; an arm that is half-done is logged as killed.

    Returns:
        How many runs were made and where, for people: one per (strategy, seed) that has a round.

    Raises:
        RunError: If they are not taken, with how to log it again.
    """
    try:
        with _session() as settings, TemporaryDirectory() as folder:
            documents.write(results, Path(folder))
            disk.make_folder(results.path / FOLDER)
            project = settings.project or PROJECT
            made = 0
            for arm in results.run.arms:
                if rows := rows_of(arm, results.rounds):
                    _log_arm(results, arm, rows, folder, project)
                    made += 1
            offline = settings.mode in ("offline", "dryrun")
    except Exception as error:
        why = str(error) if isinstance(error, FedgenError) else one_line(error)
        again = f"python -m fedgen export {shlex.quote(str(results.path))} --wandb"
        raise RunError(
            f"Weights & Biases did not take the run ({why}). Nothing of it is lost; log it again "
            f"with: {again}, or without a network with: WANDB_MODE=offline {again}"
        ) from error
    if offline:
        kept = shlex.quote(str(results.path / FOLDER))
        return f"W&B: {made} runs offline; send them with: wandb sync {kept}/offline-run-*"
    return f"W&B: {made} runs in the project {project}"


@contextmanager
def _session() -> "Iterator[wandb.Settings]":
    """Let the library work inside a ``with`` block, and leave no thread, process or hook of it.

    Raises:
        InputError: If it is missing, or cannot log as the environment is.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import wandb
    except ImportError as error:
        raise InputError(
            f"--wandb: wandb is missing ({error}), pip install 'fedgen[wandb]'"
        ) from error
    hooks: Any = sys.exit, sys.excepthook  # each of its runs wraps them, and none gives them back
    try:
        yield _settings()
    finally:
        wandb.teardown()
        sys.exit, sys.excepthook = hooks


def _settings() -> "wandb.Settings":
    """Return what the environment says, once a server, if there is to be one, knows who logs."""
    import wandb

    without = "or log without a network: WANDB_MODE=offline"
    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in ("online", "offline", "dryrun"):
        raise InputError(f"--wandb: expected WANDB_MODE online or offline, received {mode!r}")
    try:
        settings = wandb.setup().settings
        if settings.mode == "disabled":
            raise InputError("--wandb: expected WANDB_MODE online or offline, received 'disabled'")
        known = settings.mode in ("offline", "dryrun") or wandb.login(prompt=False, verify=True)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "--wandb: expected WANDB_... variables that hold, and a server that answers and knows "
            f"the API key, received {one_line(error)}; mend them, {without}"
        ) from error
    if not known:
        raise InputError(
            "--wandb: expected an API key, there is none; do `wandb login`, or set WANDB_API_KEY, "
            f"{without}"
        )
    return settings


def _log_arm(
    results: Results, arm: Arm, rows: Sequence[RoundRow], folder: str, project: str
) -> None:
    import wandb

    run = wandb.init(
        project=project,
        id=token_hex(4),  # WANDB_RUN_ID would be that of every arm
        resume="never",
        reinit="create_new",
        name=arm.name,
        group=results.path.absolute().name,
        dir=str(results.path),
        config=_config(results, arm),
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            symlink=False,  # the files lie in a folder that goes
            host="",
            init_timeout=SECONDS,
            finish_timeout=SECONDS,
            finish_timeout_raises=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    code = FAILED
    try:
        for row, point in zip(rows, curve(rows), strict=True):
            run.log(point, step=row.round)
        for path in sorted(Path(folder).iterdir()):
            run.save(str(path), base_path=folder, policy="now")
        ended = Shard(results.path, arm).ended()
        if ended:
            run.summary["ended"] = f"round {ended.round}, {ended.how}: {ended.why}"
        asked = results.run.config.run.rounds
        finished = rows[-1].round >= asked or (ended and ended.how != DIVERGED)
        code = FINISHED if finished else FAILED if ended else KILLED
    finally:
        run.finish(exit_code=code)


def _config(results: Results, arm: Arm) -> dict[str, Any]:
    return dump(arm.config) | {
        "strategy": arm.strategy,
        "seed": arm.seed,
        PROVENANCE: dict(results.run.provenance),
    }
