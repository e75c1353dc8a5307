"""A run directory: made, opened, extended, and described by its ``config.toml``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from fedgen.config.toml import Tree, read_toml
from fedgen.config.tree import Arm, Config, build, dump, reread
from fedgen.errors import InputError
from fedgen.runs.directory import CONFIG
from fedgen.runs.rows import BUDGET, DIVERGED, PATIENCE
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
    """Whether every arm has played its last round, or has ended early as it was asked to."""
    shards = [Shard(run.path, arm) for arm in run.arms]
    return all(
        ended.how != DIVERGED
        if (ended := shard.ended())
        else shard.finished_round >= run.config.run.rounds
        for shard in shards
    )


def finished_how(run: Run) -> str:
    """Say of a finished run what ended it, and what would add to it."""
    ended = [found.how for arm in run.arms if (found := Shard(run.path, arm).ended())]
    what = " and ".join(
        f"its {setting} of {getattr(run.config.run, setting)} is {word}"
        for how, setting, word in (
            (BUDGET, "budget", "reached"),
            (PATIENCE, "patience", "at its end"),
        )
        if how in ended
    )
    if not ended:
        return "already finished; --rounds adds rounds."
    if len(ended) == len(run.arms):
        return f"already finished; {what}."
    return (
        f"already finished; {what} for {len(ended)} of {len(run.arms)} arms, --rounds adds rounds "
        "to the others."
    )
