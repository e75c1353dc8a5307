"""A run directory: made, opened, extended, and described by its ``config.toml``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from fedgen.config.toml import Tree, read_toml
from fedgen.config.tree import Arm, Config, build, dump, reread
from fedgen.errors import InputError
from fedgen.runs.directory import CONFIG
from fedgen.runs.shard import Shard

PROVENANCE = "provenance"


@dataclass(frozen=True)
class Run:
    """A run directory and its config."""

    path: Path
    config: Config
    provenance: Tree

    def tree(self) -> Tree:
        """Return what ``config.toml`` holds: every setting, and the provenance."""
        return dump(self.config) | {PROVENANCE: self.provenance}

    @property
    def notes(self) -> list[str]:
        """What a user must hear of how the data were read."""
        notes = self.provenance.get("notes", [])
        return [*map(str, notes)] if isinstance(notes, list) else []

    @property
    def class_names(self) -> list[str]:
        """What outputs call every class; nothing where classes are called 0, 1, 2 and so on."""
        labels = self.provenance.get("labels", [])
        return [*map(str, labels)] if isinstance(labels, list) else []

    @property
    def arms(self) -> list[Arm]:
        """All arms, in the canonical order of the CSV files."""
        run = self.config.run
        return [
            Arm(self.config, name, run.seed + offset)
            for name in run.strategies
            for offset in range(run.seeds)
        ]


def default_path(dataset: str) -> Path:
    """Return the run directory of a run that named none, for a data set's name."""
    name = f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    later = (f"{name}-{number}" for number in count(2))  # of several in one second
    paths = (Path("runs") / one for one in chain([name], later))
    return next(path for path in paths if not path.exists())


def open_run(path: Path, *, to_play: bool = False) -> Run:
    """Read a run directory's config and provenance.

    Args:
        path: The run directory.
        to_play: Look at the strategies, whose sections are then complete, also those that came
            after the run; to read a run, nobody needs them.

    Raises:
        InputError: If it is no run directory.
    """
    if (path / "study.toml").exists():
        raise InputError(
            f"{path}: is the directory of a study, expected that of a run; its page is "
            f"{path / 'study.html'}, and `python -m fedgen study` goes on with it"
        )
    if path.is_file():
        raise InputError(f"{path}: not a run directory, it is a file")
    if not (path / CONFIG).exists():
        raise InputError(f"{path}: not a run directory, it has no {CONFIG}")
    tree = read_toml(path / CONFIG)
    origin = tree.pop(PROVENANCE, {})
    if not isinstance(origin, dict):
        raise InputError(f"{path / 'config.toml'}: expected a table [{PROVENANCE}]")
    read = build if to_play else reread
    return Run(path, read(tree, str(path / CONFIG)), origin)


def is_finished(run: Run) -> bool:
    """Whether every arm has played its last round, or its last one within the budget."""
    settings = run.config.run
    shards = [Shard(run.path, arm) for arm in run.arms]
    return all(
        shard.finished_round >= settings.rounds or shard.stopped(settings.budget) is not None
        for shard in shards
    )


def finished_how(run: Run) -> str:
    """Say of a finished run what ended it, and what would add to it."""
    settings = run.config.run
    ended = [Shard(run.path, arm).finished_round < settings.rounds for arm in run.arms]
    if all(ended):
        return f"already finished; its budget of {settings.budget} is reached."
    if any(ended):
        return (
            f"already finished; the budget of {settings.budget} is reached by {sum(ended)} of "
            f"{len(ended)} arms, --rounds adds rounds to the others within it."
        )
    return "already finished; --rounds adds rounds."
