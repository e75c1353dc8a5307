"""Who is told what happens while arms are played, and what of it others can read."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fedgen.config.tree import Arm
from fedgen.console import warn
from fedgen.errors import RunError
from fedgen.files import disk
from fedgen.runs.rows import BUDGET, DIVERGED, PATIENCE, RoundRow
from fedgen.runs.shard import Shard


class Watcher:
    """Is told what happens while a comparison runs; this one shows nothing but warnings."""

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """A seed's arms begin, or go on from the rounds that they have finished.

        Or those of all seeds, so many at once.
        """

    def started(self, arm: Arm) -> None:
        """An arm is played from now on."""

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """A client of an arm's current round, or of its probe, has answered."""

    def played(self, row: RoundRow) -> None:
        """An arm has finished a round."""

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """A round is finished in every arm, rows in the order of the strategies.

        Or in one of several that are played at once.
        """

    def note(self, text: str) -> None:
        """Something was done that the user may not expect; the summary has it."""

    def ended(self, arm: Arm, why: str) -> None:
        """An arm cannot go on; the others do. This must be seen."""
        self.warn(f"{arm.name} ends here: {why}")

    def rested(self, arm: Arm, why: str) -> None:
        """An arm has ended early as it was asked to, by its patience."""
        self.note(f"{arm.name} ends here: {why}")

    def spent(self, arm: Arm, why: str) -> None:
        """An arm has ended early, as its next round is beyond its budget."""

    def warn(self, text: str) -> None:
        """Something is wrong that does not end the comparison, and must be seen."""
        warn(text)

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Several(Watcher):
    """Tells several watchers the same, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers
        self._entered = ExitStack()

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """Tell all of a start."""
        for watcher in self._watchers:
            watcher.begin(text, arms, finished, at_once)

    def started(self, arm: Arm) -> None:
        """Tell all of an arm that is played."""
        for watcher in self._watchers:
            watcher.started(arm)

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """Tell all of a client."""
        for watcher in self._watchers:
            watcher.answered(arm, done, asked)

    def played(self, row: RoundRow) -> None:
        """Tell all of an arm's round."""
        for watcher in self._watchers:
            watcher.played(row)

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """Tell all of a round."""
        for watcher in self._watchers:
            watcher.finished(rows)

    def note(self, text: str) -> None:
        """Tell all of what may not be expected."""
        for watcher in self._watchers:
            watcher.note(text)

    def ended(self, arm: Arm, why: str) -> None:
        """Tell all of an arm's end."""
        for watcher in self._watchers:
            watcher.ended(arm, why)

    def rested(self, arm: Arm, why: str) -> None:
        """Tell all of an arm whose patience has ended it."""
        for watcher in self._watchers:
            watcher.rested(arm, why)

    def spent(self, arm: Arm, why: str) -> None:
        """Tell all of an arm whose budget has ended it."""
        for watcher in self._watchers:
            watcher.spent(arm, why)

    def warn(self, text: str) -> None:
        """Tell all of what is wrong."""
        for watcher in self._watchers:
            watcher.warn(text)

    def __enter__(self) -> "Several":
        for watcher in self._watchers:
            self._entered.enter_context(watcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()


def tell_end(shard: Shard, watcher: Watcher) -> None:
    """Tell how an arm ended, if that was before its last round."""
    told = {DIVERGED: watcher.ended, PATIENCE: watcher.rested, BUDGET: watcher.spent}
    if ended := shard.ended():
        told[ended.how](shard.arm, ended.why)


NOW = "now.json"
"""Of a shard: what of the current round is done. It is there while a process has the arm, and stays
where that was killed, until the run goes on."""

OFTEN = 0.5
"""Seconds between two signs of clients that answer: quick ones must not wait for the disk."""


@dataclass(frozen=True)
class Sign:
    """A sign of life of an arm; times are seconds since the epoch.

    Attributes:
        began: When the process that plays the arm took it up.
        latest: When its latest round was finished; ``began`` before that.
        told: Seconds of the rounds in between, as their rows tell them.
        done: The clients of the current round, or of its probe, that have answered.
        asked: How many were asked; 0 before the first answer.
        at: When this was said.
    """

    began: float
    latest: float
    told: float
    done: int
    asked: int
    at: float

    @property
    def holds(self) -> bool:
        """Whether it says what can be."""
        times = self.began, self.latest, self.at
        counts = self.done, self.asked
        return (
            all(isinstance(count, int) and 0 <= count < 2**31 for count in counts)
            and all(isinstance(one, int | float) and 0 <= one < 1e12 for one in (*times, self.told))
            and self.began <= self.latest <= self.at
        )


class Signs(Watcher):
    """Says in the shards of arms how far they are, for whoever looks at the run directory.

    Results do not need it: a sign that cannot be written is left out.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._signs: dict[Arm, Sign] = {}

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        """Give a first sign of arms that take turns; others wait for whoever plays them."""
        now = time.time()
        for arm in arms if at_once == 1 else ():
            self._say(arm, Sign(now, now, 0.0, 0, 0, now))

    def started(self, arm: Arm) -> None:
        """Give the first sign of an arm that has none."""
        if arm not in self._signs:
            now = time.time()
            self._say(arm, Sign(now, now, 0.0, 0, 0, now))

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """Say how many have answered, not too often."""
        now = time.time()
        if now - self._signs[arm].at >= OFTEN:
            self._say(arm, replace(self._signs[arm], done=done, asked=asked, at=now))

    def played(self, row: RoundRow) -> None:
        """Say that the arm's next round begins."""
        for arm, sign in self._signs.items():
            if (arm.strategy, arm.seed) == (row.strategy, row.seed):
                now, told = time.time(), sign.told + row.seconds
                self._say(arm, Sign(sign.began, now, told, 0, 0, now))

    def warn(self, text: str) -> None:
        """Say nothing: it is for who watches."""

    def _say(self, arm: Arm, sign: Sign) -> None:
        self._signs[arm] = sign
        with suppress(RunError):
            disk.tell(_place(self._run, arm), json.dumps(asdict(sign)).encode())

    def __exit__(self, *_: object) -> None:
        for arm in self._signs:
            with suppress(RunError):
                disk.remove(_place(self._run, arm))


def forget(run: Path, arms: Sequence[Arm]) -> None:
    """Remove what processes that were killed have left of signs.

    Raises:
        RunError: If it cannot be removed.
    """
    for arm in arms:
        disk.remove(_place(run, arm))


def sign(run: Path, arm: Arm) -> Sign | None:
    """Return the latest sign of life of an arm; none where nobody plays it, or it does not read."""
    try:
        found = Sign(**json.loads(_place(run, arm).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if found.holds else None


def _place(run: Path, arm: Arm) -> Path:
    return Shard(run, arm).folder / NOW
