"""Migration of the best genes between clusters: islands on a ring.

The island model of parallel genetic algorithms (Whitley, Rana and Heckendorn, 1999,
"The island model genetic algorithm", Journal of Computing and Information Technology 7).
"""

import math
from collections.abc import Mapping

from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.selection import Deal, rank, receivers


def migrate(
    islands: Mapping[int, Mapping[int, Genome]],
    losses: Mapping[int, float],
    deal: Deal = "owner",
) -> dict[int, Assignment]:
    """Return who takes the genes of a neighbouring cluster's best member.

    Clusters stand on a ring in order of their labels. Each takes the genes of the best member
    of the one before it, for the member that is last when its own genes are dealt (with
    ``deal = "owner"``, its worst), an elite or not. A cluster of one takes none; one without a
    finite loss is not on the ring.

    Args:
        islands: Genomes of every cluster's members, by its label, before this generation.
        losses: Loss of the members that have one; lower is better.
        deal: How the clusters deal their genes out; see ``strategies.evolution.selection.evolve``.

    Returns:
        Assignments, their cluster still unset, that overrule those of the generation.
    """
    ranked = {
        label: rank(list(members), losses)
        for label, members in sorted(islands.items())
        if any(math.isfinite(losses.get(client, math.inf)) for client in members)
    }
    ring = list(ranked)
    migrants: dict[int, Assignment] = {}
    for place, label in enumerate(ring):
        source = ring[place - 1]
        if source == label or len(ranked[label]) < 2:
            continue
        donor, receiver = ranked[source][0], receivers(ranked[label], deal)[-1]
        genome = islands[source][donor]
        migrants[receiver] = Assignment(genome, "migrant", donor, donor, 1.0)
    return migrants
