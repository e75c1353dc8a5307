"""Differential evolution: steps are differences between members, so that they shrink as these meet.

Storn and Price, 1997 ("Differential evolution", Journal of Global Optimization 11), in the form
current-to-pbest/1/bin of JADE (Zhang and Sanderson, 2009, IEEE Transactions on Evolutionary
Computation 13). Whole populations train in a federation, and for few rounds. Steps towards one of
the best members bring all of them near good places sooner than rand/1 does; that it is one of
several keeps the luckiest evaluation from leading everybody; and two peers are enough.

A trial is judged in a later round than its parent was, when all losses are lower. So each counts
relative to the median of its own round.
"""

import math
from collections.abc import Mapping
from statistics import median

import numpy as np

from strategies.evolution.moves.cube import Place, reflect

FEWEST = 3
"""Members without which nobody makes a step: oneself, and two whose difference is taken."""


def relative(losses: Mapping[int, float]) -> dict[int, float]:
    """Return the finite losses of one round, less their median; other members have none."""
    finite = {member: loss for member, loss in losses.items() if math.isfinite(loss)}
    middle = median(finite.values()) if finite else 0.0
    return {member: loss - middle for member, loss in finite.items()}


def trial(
    member: int,
    places: Mapping[int, Place],
    losses: Mapping[int, float],
    draw: np.random.Generator,
    *,
    weight: float = 0.5,
    crossover: float = 0.9,
    share: float = 0.2,
) -> Place:
    """Return where a member tries to go.

    ``v = x + F (x_best - x) + F (x_a - x_b)``, reflected into the cube, with a and b distinct
    peers drawn at random; of v the trial takes each gene with probability CR, one of them surely,
    and the others of x. The best is drawn from ``ceil(share n)`` members, at least two, so that
    noise does not choose alone; it may be the member itself, and then adds nothing.

    Args:
        member: Whose trial it is.
        places: Where all n members are. With fewer than ``FEWEST`` the trial is the member's own
            place: what then makes steps is another move.
        losses: Relative losses; members without a finite one are the worst, ties go to lower ids.
        draw: What draws.
        weight: F, how much of a difference a step is, in (0, 1].
        crossover: CR, in [0, 1].
        share: Share of members that count as the best, in (0, 1].

    Raises:
        ValueError: If F, CR or the share is out of its range.
    """
    if not (0 < weight <= 1 and 0 <= crossover <= 1 and 0 < share <= 1):
        raise ValueError(
            "expected a weight and a share in (0, 1] and a crossover in [0, 1], "
            f"received {weight}, {share} and {crossover}"
        )
    here = places[member]
    if len(places) < FEWEST:
        return here.copy()

    def key(one: int) -> tuple[float, int]:
        loss = losses.get(one, math.inf)
        return (loss if math.isfinite(loss) else math.inf, one)

    best = sorted(places, key=key)[: max(math.ceil(share * len(places)), 2)]
    leader = places[best[draw.integers(len(best))]]
    peers = [peer for peer in sorted(places) if peer != member]
    one, other = (places[peer] for peer in draw.choice(peers, 2, replace=False).tolist())
    there = reflect(here + weight * (leader - here) + weight * (one - other))
    taken = draw.random(len(here)) < crossover
    taken[draw.integers(len(here))] = True
    return np.where(taken, there, here)


def select(
    parents: Mapping[int, Place],
    trials: Mapping[int, Place],
    parents_losses: Mapping[int, float],
    trials_losses: Mapping[int, float],
) -> dict[int, Place]:
    """Return every member's place after its trial was held against it.

    A trial takes over that is no worse (Storn and Price, 1997: equal ones do, so that flat
    ground is crossed). One without a finite loss never does; a parent without one always loses to
    one with.

    Args:
        parents: Where the members were before.
        trials: Where some of them tried to go.
        parents_losses: Loss of each parent relative to its round's median, as ``relative``.
        trials_losses: Loss of each trial relative to its own round's.
    """
    after = dict(parents)
    for member, place in trials.items():
        mine = parents_losses.get(member, math.inf)
        bar = mine if math.isfinite(mine) else math.inf
        loss = trials_losses.get(member, math.inf)
        if math.isfinite(loss) and loss <= bar:
            after[member] = place
    return after
