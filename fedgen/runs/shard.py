"""One arm's files: written by one owner, committed after every round."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedgen.config import budget
from fedgen.config.metrics import measured
from fedgen.config.tree import Arm, Config
from fedgen.errors import InputError
from fedgen.files import disk, locks
from fedgen.files.csv import parse_csv, to_csv
from fedgen.runs import checkpoints, costs
from fedgen.runs.checkpoints import Checkpoint, Damaged, Extent
from fedgen.runs.rows import BUDGET, DIVERGED, PATIENCE, ClientRow, EndedRow, RoundRow, Row
from strategies.core.genes import DECLARED_ONLY, OF_THE_SERVER
from strategies.messages import protocol

SHARDS = "shards"
ROWS: dict[str, type[Row]] = {"rounds.csv": RoundRow, "clients.csv": ClientRow}


def columns(config: Config, name: str) -> tuple[bool, list[str]]:
    """Return which columns one of ``ROWS`` has, all where there is more to tell.

    Returns:
        Whether fields of a row with a default are columns, and what of ``measured`` is.
    """
    if name == "rounds.csv":
        metrics = measured(config.data.targets, config.run.metrics)
        names = [f"{split}_{metric}" for split in ("test", "validation") for metric in metrics]
        names += [gene for gene in OF_THE_SERVER if gene in config.genes.declared]
        return config.devices.speed != "none", names
    asked = config.run.personalise == "rounds"
    names = [gene for gene in DECLARED_ONLY if gene in config.genes.declared]
    names += [f"{whose}_{config.metric.name}" for whose in protocol.MEASURED if asked]
    return config.has_further_genes, names


def written(config: Config, name: str, rows: Iterable[Row], *, header: bool = True) -> str:
    """Return rows as the text of one of ``ROWS``."""
    told, names = columns(config, name)
    return to_csv(rows, ROWS[name], header=header, optional=told, measured=names)


STOPPED = "stopped.json"
"""Says of an arm that its next round is beyond the budget; without it that round is tried again."""

FAILED = "failed.json"
"""Says of an arm why its next round cannot be used, with that round's client rows. It counts as
long as no round is committed after it; ``resume`` tries the round again."""


class Shard:
    """Rows and latest checkpoints of one arm.

    Reading needs no lock; ``open`` and ``commit`` belong to whoever holds ``owned``.

    Args:
        run: The run directory.
        arm: The strategy and seed.

    Attributes:
        folder: Where the shard is.
        latest: The checkpoint that was opened or committed last.
    """

    def __init__(self, run: Path, arm: Arm) -> None:
        self.arm = arm
        self.folder = run / SHARDS / arm.name
        self.latest: Checkpoint | None = None
        self._sums: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the shard inside a ``with`` block.

        Raises:
            InputError: If another process does, with that process's id.
        """
        disk.make_folder(self.folder.parent)
        disk.make_folder(self.folder)
        with locks.hold(self.folder):
            yield

    @property
    def opened_round(self) -> int:
        """The round that ``latest`` is of, -1 without one."""
        return -1 if self.latest is None else self.latest.round

    @property
    def finished_round(self) -> int:
        """The last round that is committed on disk, -1 before the first."""
        manifest = checkpoints.latest_manifest(self.folder)
        return -1 if manifest is None else manifest.round

    def rows(self, name: str) -> list[Any]:
        """Return the committed rows of ``rounds.csv`` or ``clients.csv``.

        Raises:
            InputError: If they are damaged.
        """
        manifest = checkpoints.latest_manifest(self.folder)
        if manifest is None and (checkpoints.numbers(self.folder) or self._has_finished_rounds()):
            raise InputError(
                f"shard {self.folder}: no checkpoint is whole; `fedgen resume` says why"
            )
        if manifest is None:
            return []
        path = self.folder / name
        try:
            content = checkpoints.check(path, manifest.rows[name], whole=False)
        except (Damaged, KeyError) as error:
            raise InputError(
                f"{error}; `fedgen resume` goes back to the last round that is whole"
            ) from error
        return parse_csv(content, path, ROWS[name])

    def open(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """Return the latest whole checkpoint and cut off rows that it does not know.

        Args:
            warn: Is told of every checkpoint that is damaged.

        Raises:
            InputError: If there are checkpoints, or rows of finished rounds, but
                no checkpoint is whole.
            RunError: If what is beyond the checkpoint cannot be cut off.
        """
        damage = []
        for number in checkpoints.numbers(self.folder):
            try:
                manifest = checkpoints.read_manifest(self.folder, number)
                checkpoint = checkpoints.read(self.folder, manifest)
                rows = {
                    name: checkpoints.check(self.folder / name, manifest.rows[name], whole=False)
                    for name in ROWS
                }
            except (Damaged, KeyError) as error:
                damage.append(str(error))
                continue
            for text in damage:
                warn(f"DAMAGED: {text}. Going on from round {number}, the one before.")
            self._take_up(rows)
            played = parse_csv(rows["rounds.csv"], self.folder / "rounds.csv", RoundRow)
            good = checkpoints.numbers(self.folder)[len(damage) :]
            checkpoints.prune(self.folder, good, self.spared(played))
            self.latest = checkpoint
            return checkpoint
        if damage or self._has_finished_rounds():
            raise InputError(
                f"shard {self.folder}: no checkpoint is whole "
                f"({'; '.join(damage) or 'none is there, but rows of finished rounds are'}). "
                "Put a copy of the folder back, or remove it to start this arm anew"
            )
        checkpoints.prune(self.folder, [])
        headers = {name: written(self.arm.config, name, []).encode() for name in ROWS}
        for name, content in headers.items():
            disk.replace(self.folder / name, content)
        self._take_up(headers)
        return None

    def commit(
        self,
        checkpoint: Checkpoint,
        rounds: Sequence[RoundRow],
        clients: Sequence[ClientRow],
        made_with: Mapping[str, Any],
        spared: Collection[int] = (),
    ) -> None:
        """Append a round's rows, then commit the checkpoint; those of spared rounds stay.

        Raises:
            RunError: If the disk does not take it; the last checkpoint stays.
        """
        for name, rows in (("rounds.csv", rounds), ("clients.csv", clients)):
            content = written(self.arm.config, name, rows, header=False).encode()
            disk.append(self.folder / name, content)
            self._sums[name].update(content)
            self._sizes[name] += len(content)
        extents = {name: Extent(self._sizes[name], self._sums[name].hexdigest()) for name in ROWS}
        checkpoints.write(self.folder, checkpoint, extents, made_with, spared)
        self.latest = checkpoint
        if (self.folder / FAILED).exists():
            disk.remove(self.folder / FAILED)

    def spared(self, rows: Sequence[RoundRow]) -> set[int]:
        """Return the rounds whose checkpoints stay: the best one, where patience is for it."""
        config = self.arm.config
        return {costs.best(rows, config.metric).round} if config.run.patience and rows else set()

    def best(self) -> Checkpoint | None:
        """Return the checkpoint of the best round, if it was spared and is whole."""
        try:
            for number in self.spared(self.rows("rounds.csv")):
                return checkpoints.read(self.folder, checkpoints.read_manifest(self.folder, number))
        except Damaged:
            pass  # of a round before the one that was gone back to
        return None

    def tired(self, rows: Sequence[RoundRow]) -> bool:
        """Whether patience is at its end after some rounds."""
        config = self.arm.config
        limit = budget.parse(config.run.patience)
        if limit is None or not rows:
            return False
        return costs.unimproved(rows, limit.unit, config.metric) >= limit.amount

    def fail(self, reason: str, clients: Sequence[ClientRow]) -> None:
        """Note that the round after ``latest`` cannot be used, in one file: all of it or nothing.

        Args:
            reason: Why not.
            clients: The rows of the clients that were asked in that round.

        Raises:
            RunError: If the disk does not take it.
        """
        text = written(self.arm.config, "clients.csv", clients)
        note = {"round": self.opened_round + 1, "reason": reason, "clients": text}
        disk.replace(self.folder / FAILED, f"{json.dumps(note)}\n".encode())

    def failed(self) -> tuple[EndedRow, list[Any]] | None:
        """Return what ``fail`` noted, if no round was committed since.

        Raises:
            InputError: If the note is damaged.
        """
        path = self.folder / FAILED
        if not path.exists():
            return None
        try:
            note = json.loads(path.read_bytes())
            number, reason, text = int(note["round"]), str(note["reason"]), str(note["clients"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(f"{path}: does not read; `fedgen resume` writes it again") from error
        if number != self.finished_round + 1:
            return None
        ended = EndedRow(self.arm.strategy, self.arm.seed, number, DIVERGED, reason)
        return ended, parse_csv(text.encode(), path, ClientRow)

    def ended(self) -> EndedRow | None:
        """Return how the arm ended before the last round that was asked for, if it did."""
        if failed := self.failed():
            return failed[0]
        settings = self.arm.config.run
        note, number = self.stop_note(settings.budget), self.finished_round + 1
        if number > settings.rounds:
            return None
        if note is None:
            return self._ended_by_patience(number)
        spent, tried = note
        why = (
            f"{settings.budget} is less than the {spent:,.10g} of all rounds up to this one"
            if tried
            else f"the rounds before it cost {spent:,.10g}, so nothing is left of {settings.budget}"
        )
        return EndedRow(self.arm.strategy, self.arm.seed, number, BUDGET, why)

    def _ended_by_patience(self, number: int) -> EndedRow | None:
        rows = self.rows("rounds.csv") if self.arm.config.run.patience else []
        if not self.tired(rows):
            return None
        found = costs.best(rows, self.arm.config.metric).round
        why = f"{self.arm.config.run.patience} were spent since round {found}, the best so far"
        return EndedRow(self.arm.strategy, self.arm.seed, number, PATIENCE, why)

    def stop(self, budget: str, spent: float, *, tried: bool) -> None:
        """Note that the round after ``latest`` is beyond a budget.

        Args:
            budget: The setting.
            spent: What would be spent after that round, or is spent already.
            tried: Whether that round was played, to know its cost.

        Raises:
            RunError: If the disk does not take it.
        """
        note = {"budget": budget, "round": self.opened_round, "spent": spent, "tried": tried}
        disk.replace(self.folder / STOPPED, f"{json.dumps(note)}\n".encode())

    def stopped(self, budget: str) -> float | None:
        """Return the ``spent`` of ``stop`` if the round after the last is beyond a budget."""
        note = self.stop_note(budget)
        return None if note is None else note[0]

    def stop_note(self, budget: str) -> tuple[float, bool] | None:
        """Return the ``spent`` and ``tried`` of ``stop``, if the next round is beyond a budget."""
        try:
            note = json.loads((self.folder / STOPPED).read_bytes())
            if (note["budget"], note["round"]) == (budget, self.finished_round):
                return float(note["spent"]), bool(note.get("tried", True))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass  # not there, or not ours: the round is played, and found beyond the budget again
        return None

    def _take_up(self, rows: Mapping[str, bytes]) -> None:
        for name, content in rows.items():
            disk.cut(self.folder / name, len(content))
            self._sums[name] = hashlib.sha256(content)
            self._sizes[name] = len(content)

    def _has_finished_rounds(self) -> bool:
        # A kill in the very first commit leaves rows of round 0, and no other.
        try:
            lines = (self.folder / "rounds.csv").read_bytes().splitlines()
        except OSError:
            return False
        return len(lines) > 2
