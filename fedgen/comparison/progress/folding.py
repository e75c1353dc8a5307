"""Which arms are shown where there is room for so many lines."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedgen.live.standing import Standing, figure


@dataclass(frozen=True)
class Shown:
    """What is shown: lines of text above the table and below it, and the arms that have a row."""

    above: tuple[str, ...] = ()
    rows: tuple[Standing, ...] = ()
    below: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.above) + len(self.rows) + len(self.below)


def fit(standings: Sequence[Standing], room: int) -> Shown:
    """Choose what is shown of all arms, in at most so many lines.

    Running arms come first. Finished seeds have a line each, the oldest ones one together where
    there are too many; the latest one keeps its rows until another begins. Arms of other seeds
    that are over have rows as long as there is room, then a line together. Of running arms that
    do not fit, the best ones are shown.

    Args:
        standings: All arms, in the order of the run; those that wait are not shown.
        room: Lines, at least 0.
    """
    if room < 1:
        return Shown()
    seeds: dict[int, list[Standing]] = {}
    for one in standings:
        seeds.setdefault(one.arm.seed, []).append(one)
    finished = [mine for mine in seeds.values() if all(one.over for one in mine)]
    running = [one for one in standings if one.running and not one.over]
    if finished and not running:
        finished.pop()
    folded = {one.arm.seed for mine in finished for one in mine}
    by_seed = [one for mine in seeds.values() for one in mine if one.arm.seed not in folded]
    over = [one for one in by_seed if one.over]
    rows = [one for one in by_seed if one.over or one.running]
    above = seed_lines(finished, room - len(rows))
    if len(rows) + min(1, len(finished)) <= room:
        return Shown(tuple(above), tuple(rows))
    above = [*seed_lines(finished, 1), *over_lines(over)][: max(0, room - len(running))]
    if len(running) <= room:
        return Shown(tuple(above), tuple(running))
    best = best_first(running)[: room - 1]
    more = len(running) - len(best)
    return Shown(
        rows=tuple(best), below=(f"and {more} more running" if best else f"{more} running",)
    )


def best_first(standings: Iterable[Standing]) -> list[Standing]:
    """Return arms by the value that they have now; those without one come last."""

    def key(one: Standing) -> tuple[bool, float]:
        known = one.value is not None and not math.isnan(one.value)
        value = one.value if known and one.value is not None else 0.0
        return not known, -value if one.metric.higher else value

    return sorted(standings, key=key)


def seed_lines(finished: Sequence[Sequence[Standing]], most: int) -> list[str]:
    """Return what finished seeds have come to, in at most so many lines, the oldest ones first.

    Args:
        finished: The arms of every finished seed.
        most: Lines; for less than 1 there are none.
    """
    if most < 1 or not finished:
        return []
    together = finished[: len(finished) - most + 1] if len(finished) > most else []
    lines = [_together(together)] if together else []
    for mine in finished[len(together) :]:
        values = (f"{one.arm.strategy} {figure(one.value)}" for one in best_first(mine))
        lines.append(f"seed {mine[0].arm.seed} finished: {', '.join(values)}")
    return lines


def _together(finished: Sequence[Sequence[Standing]]) -> str:
    first = [best_first(mine)[0].arm.strategy for mine in finished]
    ahead = ", ".join(f"{name} in {times}" for name, times in Counter(first).most_common())
    return f"{len(finished)} seeds finished, ahead: {ahead}"


def over_lines(over: Sequence[Standing]) -> list[str]:
    """Return what arms that are over have come to, in a line if there are any."""
    if not over:
        return []
    values: dict[str, list[float]] = {one.arm.strategy: [] for one in over}
    for one in over:
        values[one.arm.strategy] += [] if one.value is None else [one.value]
    told = (
        f"{name} {figure(fmean(mine))}" + (f" in {len(mine)}" if len(mine) > 1 else "")
        for name, mine in values.items()
        if mine
    )
    count = f"{len(over)} arm{'' if len(over) == 1 else 's'} finished"
    return [": ".join(filter(None, [count, ", ".join(told)]))]
