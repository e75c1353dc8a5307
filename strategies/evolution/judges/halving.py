"""Successive halving of a cluster's genomes, inside a federation that goes on.

Jamieson and Talwalkar, 2016 (arXiv 1502.07943): train with all candidates, drop the worse half,
go on with the rest. As in ASHA (Li et al., 2018, arXiv 1810.05934) nothing starts anew or waits;
here the freed members go on with the genomes that are kept, which are thus judged by more and
more of them.
"""

import math
from collections.abc import Hashable, Mapping
from statistics import fmean


def halve(
    holders: Mapping[int, Hashable], losses: Mapping[int, float], reduction: int = 2
) -> dict[int, int]:
    """Return who takes whose genome when the worse ones give way.

    Of n distinct genomes ``floor(n / reduction)`` are kept, at least one: those with the lowest
    mean loss of the members that hold them. A member without a loss does not count; a
    genome with a loss that is not finite comes after those without one, as does a genome
    without any. Ties go to the genome whose holder has the lowest id.

    The members that held a dropped genome, in order of their ids, each take the kept one that is
    held by the fewest so far; ties go to the better genome.

    Args:
        holders: Genome of every member of one cluster; equal ones are one.
        losses: Loss of the members that have one; lower is better.
        reduction: At least 2.

    Returns:
        Of every member that gives its genome up, the member whose genome it takes: the one with
        the lowest id that holds it. Empty when no member has a finite loss.

    Raises:
        ValueError: If the reduction is less than 2.
    """
    if reduction < 2:
        raise ValueError(f"expected a reduction of at least 2, received {reduction}")
    teams: dict[Hashable, list[int]] = {}
    for member in sorted(holders):
        teams.setdefault(holders[member], []).append(member)
    if not any(math.isfinite(losses.get(member, math.inf)) for member in holders):
        return {}
    # Teams come in order of their lowest id, and sorting keeps that order among equals.
    ranked = sorted(teams.values(), key=lambda team: _mean_loss(team, losses))
    kept = ranked[: max(len(ranked) // reduction, 1)]
    sizes = [len(team) for team in kept]
    donors = {}
    for receiver in sorted(member for team in ranked[len(kept) :] for member in team):
        fewest = sizes.index(min(sizes))
        donors[receiver] = kept[fewest][0]
        sizes[fewest] += 1
    return donors


def _mean_loss(team: list[int], losses: Mapping[int, float]) -> float:
    known = [losses[member] for member in team if member in losses]
    if not known or not all(math.isfinite(loss) for loss in known):
        return math.inf
    return fmean(known)
