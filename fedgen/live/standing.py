"""How far an arm is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Self

from fedgen.config import budget
from fedgen.config.metrics import Metric
from fedgen.config.tree import Arm
from fedgen.runs import costs
from fedgen.runs.rows import RoundRow

RECENT = 10
"""Rounds that the pace of an arm is told of."""

WIDEST_HEADING = 13


@dataclass(frozen=True)
class Standing:
    """How far an arm is, by the rows of its finished rounds.

    Attributes:
        arm: The strategy and seed.
        round: The last round that is finished, -1 before the first.
        value: The metric on the test set, when it was last evaluated.
        best: The best one so far.
        unused: Replies that were rejected or failed.
        spent: Of the budget, in its unit.
        price: What the last round cost of it.
        recent: Seconds of the latest rounds; round 0 trains nothing, or probes.
        running: Whether somebody plays it now.
        ended: Whether it has ended before its last round.
    """

    arm: Arm
    round: int = -1
    value: float | None = None
    best: float | None = None
    unused: int = 0
    spent: float = 0.0
    price: float = 0.0
    recent: tuple[float, ...] = ()
    running: bool = False
    ended: bool = False

    @property
    def metric(self) -> Metric:
        """What decides."""
        return self.arm.config.metric

    @property
    def rounds(self) -> int:
        """The last round that is asked for."""
        return self.arm.config.run.rounds

    @property
    def over(self) -> bool:
        """Whether it plays no further round."""
        return self.ended or self.round >= self.rounds

    @property
    def pace(self) -> float | None:
        """Seconds a round, of the latest ones; the first one warms up."""
        latest = self.recent[1:] or self.recent
        return sum(latest) / len(latest) if latest else None

    @property
    def rounds_left(self) -> int:
        """Rounds that it will still play: to the last one, or to the last one within the budget."""
        if self.over:
            return 0
        rounds = self.rounds - max(self.round, 0)
        limit = budget.parse(self.arm.config.run.budget)
        if limit and self.price:  # what other rounds cost is told by the latest one
            within = math.floor((limit.amount - self.spent) / self.price)
            rounds = min(rounds, max(0, within))
        return rounds

    def take(self, row: RoundRow) -> Self:
        """Return how far it is after a round."""
        return self.take_all([row])

    def take_all(self, rows: Iterable[RoundRow]) -> Self:
        """Return how far it is after some rounds; a value that is no number is never the best."""
        metric, limit = self.metric, budget.parse(self.arm.config.run.budget)
        number, value, best, unused = self.round, self.value, self.best, self.unused
        spent, price, recent = self.spent, self.price, self.recent
        for row in rows:
            number, unused = row.round, unused + row.rejected + row.failed
            if (found := row.value("test", metric.name)) is not None:
                value = found
                if not math.isnan(found) and (best is None or metric.better(found, best)):
                    best = found
            if limit:
                price = costs.COSTS[limit.unit](row)
                spent += price
            recent = (*recent, row.seconds)[-RECENT - 1 :] if row.round else ()
        return replace(
            self,
            round=number,
            value=value,
            best=best,
            unused=unused,
            spent=spent,
            price=price,
            recent=recent,
        )


def rounds_left(standings: Sequence[Standing]) -> list[int]:
    """Return the rounds that every arm will still play.

    One that has not begun may end early where its like, at other seeds, did or will.
    """
    likes: dict[str, list[int]] = {}
    for one in standings:
        if one.round > 0:
            likes.setdefault(one.arm.strategy, []).append(one.round + one.rounds_left)
    typical = {name: round(fmean(rounds)) for name, rounds in likes.items()}
    return [
        one.rounds_left if one.round >= 0 or one.over else typical.get(one.arm.strategy, one.rounds)
        for one in standings
    ]


def figure(value: float | None) -> str:
    """Return a number as columns have it: four decimals, or three digits where it is large."""
    if value is None:
        return "-"
    return format(value, ".4f" if abs(value) < 100 else ".3g")


def heading(metric: Metric) -> str:
    """Return a metric's title where it fits above a column of figures, else its name."""
    return metric.title if len(metric.title) <= WIDEST_HEADING else metric.name[:WIDEST_HEADING]
