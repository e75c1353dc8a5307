"""Who is told what happens while arms are played."""

from collections.abc import Sequence
from contextlib import ExitStack

from fedgen.config.tree import Arm
from fedgen.console import warn
from fedgen.runs.rows import RoundRow


class Watcher:
    """Is told what happens while a comparison runs; this one shows nothing but warnings."""

    def begin(self, text: str, arms: Sequence[Arm], finished: Sequence[int]) -> None:
        """A seed's arms begin, or go on from the rounds that they have finished."""

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """A client of an arm's current round, or of its probe, has answered."""

    def finished(self, rows: Sequence[RoundRow]) -> None:
        """A round is finished in every arm; rows in the order of the strategies."""

    def note(self, text: str) -> None:
        """Something was done that the user may not expect; the summary has it."""

    def ended(self, arm: Arm, why: str) -> None:
        """An arm cannot go on; the others do. This must be seen."""
        self.warn(f"{arm.name} ends here: {why}")

    def rested(self, arm: Arm, why: str) -> None:
        """An arm has ended early as it was asked to, by its patience."""
        self.note(f"{arm.name} ends here: {why}")

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

    def begin(self, text: str, arms: Sequence[Arm], finished: Sequence[int]) -> None:
        """Tell all of a start."""
        for watcher in self._watchers:
            watcher.begin(text, arms, finished)

    def answered(self, arm: Arm, done: int, asked: int) -> None:
        """Tell all of a client."""
        for watcher in self._watchers:
            watcher.answered(arm, done, asked)

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
