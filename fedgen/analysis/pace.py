"""How long it takes until a run ends, by what its rounds have taken so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LATEST = 10
"""Rounds that tell an arm's pace."""


@dataclass(frozen=True)
class Pace:
    """What an arm's rounds take.

    Attributes:
        strategy: Its strategy: arms of one strategy take alike.
        seconds: Of every finished round that trained, in order.
        left: Rounds that it has still to play.
        played: Seconds of the rounds that its present process has played; 0 where nobody plays it.
        since: How long that process has played it, in seconds of the clock on the wall.
    """

    strategy: str
    seconds: Sequence[float]
    left: int
    played: float = 0.0
    since: float = 0.0

    @property
    def each(self) -> float | None:
        """Seconds a round, of the latest ones; the first one warms up."""
        latest = self.seconds[1:][-LATEST:] or self.seconds
        return fmean(latest) if latest else None


def seconds_left(arms: Sequence[Pace]) -> float | None:
    """Return the seconds until all arms are played; ``None`` where nothing tells.

    What is left to do is every arm's rounds at its pace: of one that has not begun, the pace of its
    strategy's other arms, or else of all. It is done as fast as work was done until now: the
    seconds of rounds that a second on the wall held, which is below 1 where processes share cores
    with others or arms are evaluated, and above it where arms are played side by side.
    """
    if not any(arm.left for arm in arms):
        return 0.0
    known: dict[str, list[float]] = {arm.strategy: [] for arm in arms}
    for arm in arms:
        if arm.each is not None:
            known[arm.strategy].append(arm.each)
    paces = [pace for mine in known.values() for pace in mine]
    at_once = math.fsum(arm.played / arm.since for arm in arms if arm.since > 0)
    if not paces or not at_once:
        return None
    each = {name: fmean(mine or paces) for name, mine in known.items()}
    return math.fsum(arm.left * (arm.each or each[arm.strategy]) for arm in arms) / at_once
