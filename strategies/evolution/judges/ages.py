"""Ages of genomes: nobody stays an elite for ever on the luck of old evaluations.

Aging evolution removes the oldest, not the worst (Real et al., 2019, "Regularized evolution for
image classifier architecture search", arXiv 1802.01548), so that only genes which do well again
and again stay. ALPS (Hornby, 2006, "ALPS: the age-layered population structure for reducing the
problem of premature convergence", GECCO) limits ages, too; there a child inherits its parents'
age, here a genome is new whenever it differs from what its member had.
"""

from collections.abc import Hashable, Mapping


def since(
    known: Mapping[int, int],
    before: Mapping[int, Hashable],
    after: Mapping[int, Hashable],
    server_round: int,
) -> dict[int, int]:
    """Return of every member the round from which on it has had its genome.

    Args:
        known: What this returned for the rounds before.
        before: Genome of every member so far.
        after: Its genome in this round; members that are not in it stay as they are.
        server_round: This round.
    """
    fresh = {
        member: server_round
        for member, genome in after.items()
        if member not in known or before.get(member) != genome
    }
    return {**known, **fresh}


def ages(known: Mapping[int, int], server_round: int) -> dict[int, int]:
    """Return the age of every member's genome: 0 in the round in which it is new.

    Raises:
        ValueError: If one is from a later round.
    """
    late = [member for member, start in known.items() if start > server_round]
    if late:
        raise ValueError(f"expected genomes of round {server_round} or before, not those of {late}")
    return {member: server_round - start for member, start in known.items()}


def expired(known: Mapping[int, int], server_round: int, limit: int) -> set[int]:
    """Return the members whose genome is older than the limit, who are to be no elites.

    Args:
        known: What ``since`` returned.
        server_round: This round.
        limit: Most rounds that a genome may be kept for after its first, at least 0.

    Raises:
        ValueError: If the limit is negative, or a genome from a later round.
    """
    if limit < 0:
        raise ValueError(f"expected a limit of at least 0, received {limit}")
    return {member for member, age in ages(known, server_round).items() if age > limit}
