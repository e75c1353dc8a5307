"""What a reader must be told of curves: who lies on whom, and whose search was dear."""

import math
from collections.abc import Mapping, Sequence

from fedgen.runs.costs import spent
from fedgen.runs.rows import RoundRow

CLOSE = 0.004
"""Curves that are nowhere farther apart than such a share of the height lie on one another."""

Seeds = Sequence[Sequence[RoundRow]]
"""The rounds of each seed of a strategy."""

Course = Sequence[tuple[float | None, float | None]]
"""Where a curve goes."""


def coinciding(paths: Mapping[str, Course], height: float) -> str:
    """Say whose curves lie on one another."""
    groups: list[list[str]] = []
    for name, path in paths.items():
        alike = (group for group in groups if _alike(paths[group[0]], path, CLOSE * height))
        if group := next(alike, None):
            group.append(name)
        else:
            groups.append([name])
    return " ".join(
        f"{', '.join(others)} and {last} lie on one another." for *others, last in groups if others
    )


def _alike(one: Course, other: Course, least: float) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) > 0 and all(
        x == z and y is not None and w is not None and abs(y - w) <= least
        for (x, y), (z, w) in pairs
    )


def beyond(
    arms: Mapping[str, Seeds],
) -> tuple[dict[str, float], float | None]:
    """Return whose search costs more than the cheapest other run, and where the others end.

    Nowhere, if they take up half of the width all the same, or nobody is left to compare.
    """
    whole = {name: max(spent(rows)[-1] for rows in seeds) for name, seeds in arms.items()}
    least = min((spent(rows)[-1] for seeds in arms.values() for rows in seeds), default=0)
    searches = {
        name: math.fsum(rows[0].client_epochs for rows in seeds) / len(seeds)
        for name, seeds in arms.items()
    }
    dear = {name: cost for name, cost in searches.items() if cost > least > 0}
    rest = [end for name, end in whole.items() if name not in dear]
    squeezed = len(rest) > 1 and 0 < max(rest) < max(whole.values()) / 2
    return dear, max(rest) if squeezed else None


def dwarfing(beyond: Mapping[str, float], edge: float | None) -> str:
    """Say where curves begin whose search was dear."""
    return " ".join(
        f"{name} begins at {cost:,.0f} client-epochs{_where(cost, edge)}: so much its search cost."
        for name, cost in beyond.items()
    )


def _where(cost: float, edge: float | None) -> str:
    if edge is None:
        return ""
    return ", beyond the right edge" if cost >= edge else ", and goes on beyond the right edge"
