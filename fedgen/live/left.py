"""How long a comparison still takes."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedgen.runs.rows import RoundRow

FEW, LONG = 5, 10.0
"""Rounds, or seconds of later ones, after which a strategy's pace is known: early ones compile."""


@dataclass(frozen=True)
class Course:
    """What is left of an arm.

    Attributes:
        strategy: Whose pace it has.
        rounds: How many it will still play, round 0 not counted.
        begun: Whether its round 0 is played.
        running: Whether somebody plays it now.
    """

    strategy: str
    rounds: int
    begun: bool
    running: bool


def settled(seconds: Sequence[float]) -> bool:
    """Whether rounds that took so long tell a pace: that they are many, or long."""
    return len(seconds) >= FEW or (len(seconds) >= 2 and sum(later(seconds)) >= LONG)


def later(seconds: Sequence[float]) -> Sequence[float]:
    """Return the later half of what was seen, the middle one among them."""
    return seconds[len(seconds) // 2 :]


def seconds_left(
    courses: Sequence[Course],
    starts: Mapping[str, Sequence[float]],
    rounds: Mapping[str, Sequence[float]],
    at_once: int = 1,
) -> float | None:
    """Return the seconds until all arms are played.

    An arm takes its round 0, where that is to come, and its rounds as long as its strategy's later
    ones; a strategy whose pace is not known yet is taken for a typical one. Arms that wait are
    played in their order by whoever is free first.

    Args:
        courses: All arms that are not over.
        starts: Seconds of every round 0 so far, by strategy.
        rounds: Seconds of every other round so far, by strategy, in the order of time.
        at_once: How many arms are played at the same time, at least 1.

    Returns:
        Seconds; ``None`` while no pace is known, or not all of arms that take turns.
    """
    paces = {name: fmean(later(seen)) for name, seen in rounds.items() if settled(seen)}
    fresh = {one.strategy for one in courses if one.running and one.rounds} - {*paces}
    if fresh and at_once == 1:
        return None
    if not paces:
        return None if any(one.rounds for one in courses) else 0.0
    first = {name: fmean(later(seen)) for name, seen in starts.items() if seen}
    typical, typical_first = fmean(paces.values()), fmean(first.values() or [0.0])
    lanes = [0.0] * max(1, min(at_once, len(courses)))
    for one in sorted(courses, key=lambda one: not one.running):
        mine = one.rounds * paces.get(one.strategy, typical)
        mine += 0.0 if one.begun else first.get(one.strategy, typical_first)
        heapq.heapreplace(lanes, lanes[0] + mine)
    return max(lanes)


KEPT = 1000
"""Rounds of a strategy that its pace is told of."""
TOGETHER = 0.25
"""Seconds within which rows are of one look at what is played elsewhere."""

Lane = tuple[str, int]
"""An arm that is played elsewhere, beside others."""


class Pace:
    """What rounds take, by strategy, commits and evaluation of final models included.

    Rounds that follow one another in this process are measured by the clock. Those of arms that
    are played beside one another are seen some at a time: they take what their rows say, times
    what all of those have taken by the clock.

    Args:
        earlier: Rows of another process; their seconds stand for a pace until it is known.
    """

    def __init__(self, earlier: Iterable[RoundRow]) -> None:
        self._starts: dict[str, list[float]] = {}
        self._rounds: dict[str, list[float]] = {}
        self._earlier: dict[str, list[float]] = {}
        self._since: float | None = None
        self._looks: dict[Lane, tuple[float, float]] = {}
        self._told, self._took = 1.0, 1.0  # a second that went as told, so that few are not noise
        for row in earlier:
            if row.round:
                self._earlier.setdefault(row.strategy, []).append(row.seconds)

    def start(self, now: float) -> None:
        """Begin to measure rounds that follow one another."""
        self._since = now if self._since is None else self._since

    def take(self, row: RoundRow, now: float) -> None:
        """Count a round that has followed another one, by the time since that."""
        self._keep(row, row.seconds if self._since is None else now - self._since)
        self._since = now

    def take_beside(self, row: RoundRow, now: float) -> None:
        """Count a round that was played beside others; an arm's first look has no time before."""
        lane = row.strategy, row.seed
        first, before = self._looks.get(lane, (now, now))
        self._looks[lane] = first, now
        if now - first > TOGETHER:
            self._told += row.seconds
            self._took += now - before
        self._keep(row, row.seconds)

    def _keep(self, row: RoundRow, seconds: float) -> None:
        kept = self._rounds if row.round else self._starts
        seen = kept.setdefault(row.strategy, [])
        seen.append(seconds)
        del seen[:-KEPT]

    @property
    def starts(self) -> dict[str, list[float]]:
        """Seconds of every round 0."""
        return self._scaled(self._starts)

    @property
    def rounds(self) -> dict[str, list[float]]:
        """Seconds of every other round; of another process where this one has not seen enough."""
        own = {name: seen for name, seen in self._rounds.items() if settled(seen)}
        return self._earlier | self._scaled(own)

    def _scaled(self, seconds: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
        times = self._took / self._told
        return {name: [one * times for one in seen] for name, seen in seconds.items()}
