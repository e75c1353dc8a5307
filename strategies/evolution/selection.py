"""Evolution of hyperparameters inside one cluster.

One generation after Genetic CFL (Agrawal et al., 2021, arXiv 2107.07233): sort
by loss, keep the best, let everybody else inherit a learning rate (mutated by
one step) and a batch size from members drawn at random.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

from strategies.core.hyperparameters import Assignment, Genome, Origin
from strategies.evolution.variation import Crossover, Variation
from strategies.streams import rng

Deal = Literal["owner", "index"]


def rank(members: list[int], losses: Mapping[int, float]) -> list[int]:
    """Sort members by loss, best first.

    A missing or non-finite loss sorts last; ties go to the lower id.
    """

    def key(client: int) -> tuple[float, int]:
        loss = losses.get(client, math.inf)
        return (loss if math.isfinite(loss) else math.inf, client)

    return sorted(members, key=key)


def evolve(
    genomes: Mapping[int, Genome],
    losses: Mapping[int, float],
    *,
    seed: int,
    server_round: int,
    elites: int = 2,
    mutation: float = 0.1,
    width: float | None = None,
    crossover: Crossover = "none",
    most_epochs: int = 1,
    deal: Deal = "owner",
    expired: Collection[int] = (),
) -> dict[int, Assignment]:
    """Return the next generation of one cluster.

    Args:
        genomes: Genome of every member of the cluster, by client; all with the same genes.
        losses: Loss of the members that have one; lower is better.
        seed: Seed of the run; draws come from its stream ``"evolution"``, and for epochs
            and momentum from streams of their own.
        server_round: Round the generation is for.
        elites: How many of the best keep their genes, at least 0.
        mutation: Step m; factors are 1 - m, 1 and 1 + m, a third each.
        width: Standard deviation, in decades, of mutation on the log scale, which then
            takes the place of the steps; ``None`` for steps.
        crossover: ``"none"``: a rate of one parent and a batch size of another, drawn
            independently. ``"average"``: the mean of two parents, as in the published MNIST
            code; the same two, drawn in the same way, for all genes. ``"whole"``: all genes of
            the parent that gives the rate.
        most_epochs: Mutation keeps local epochs in [1, most_epochs], where they are a gene.
        deal: ``"owner"``: an elite's genes stay on its own client.
            ``"index"``: best, second and offspring are dealt to the members in
            order of their ids, as the published code does.
        expired: Members that are no elites, however good.

    Without mutation (a step or width of 0) no gene mutates, and whose genes are
    inherited is drawn as with it.

    Returns:
        An assignment for every member, its cluster still unset.

    Raises:
        ValueError: If ``elites`` is negative.
    """
    if elites < 0:
        raise ValueError(f"elites must be at least 0. Received: {elites}")
    varies = Variation(mutation, width, crossover, most_epochs)
    ranked = rank(sorted(genomes), losses)
    return {
        receiver: _child(genomes, varies, seed, server_round, receiver)
        if owner is None
        else Assignment(genomes[owner], "elite", owner, owner, 1.0)
        for receiver, owner in dealt(ranked, elites, deal, expired)
    }


def dealt(
    ranked: list[int], elites: int, deal: Deal, expired: Collection[int] = ()
) -> list[tuple[int, int | None]]:
    """Return every member and the elite whose genes it is dealt, ``None`` for a child's.

    Args:
        ranked: The members of one cluster, best first.
        elites: How many of the best keep their genes.
        deal: Who is dealt whose; see ``evolve``.
        expired: Members that are no elites, however good.
    """
    best = [member for member in ranked if member not in expired][:elites]
    others = [member for member in ranked if member not in best]
    owners = [*best, *([None] * len(others))]
    return list(zip(receivers([*best, *others], deal), owners, strict=True))


def receivers(ranked: list[int], deal: Deal) -> list[int]:
    """Return the members in the order in which genes are dealt, the best ones first."""
    return sorted(ranked) if deal == "index" else ranked


def _child(
    genomes: Mapping[int, Genome], varies: Variation, seed: int, server_round: int, receiver: int
) -> Assignment:
    members = sorted(genomes)
    draw = rng(seed, "evolution", server_round, receiver)
    parent = members[draw.integers(len(members))]
    factor = varies.factor(draw)
    batch_parent = members[draw.integers(len(members))]
    average, whole = varies.crossover == "average", varies.crossover == "whole"
    batch_parent = parent if whole else batch_parent
    child = (
        _mean(genomes[parent], genomes[batch_parent])
        if average
        else replace(genomes[parent], batch_size=genomes[batch_parent].batch_size)
    )
    rate = varies.bound(child.learning_rate * factor)
    if rate != child.learning_rate * factor:
        factor = rate / child.learning_rate
    child = replace(child, learning_rate=rate)
    if child.local_epochs is not None:
        draw = rng(seed, "evolution-epochs", server_round, receiver)
        giver = child if average or whole else genomes[members[draw.integers(len(members))]]
        epochs = varies.epochs(giver.local_epochs or child.local_epochs, draw)
        child = replace(child, local_epochs=epochs)
    if child.momentum is not None:
        draw = rng(seed, "evolution-momentum", server_round, receiver)
        giver = child if average or whole else genomes[members[draw.integers(len(members))]]
        momentum = varies.momentum(giver.momentum or 0.0, draw)
        child = replace(child, momentum=momentum)
    origin: Origin = "average" if average else "mutant"
    return Assignment(child, origin, parent, batch_parent, factor)


def _mean(one: Genome, other: Genome) -> Genome:
    """Return the mean of two genomes gene by gene; whole numbers are rounded, a half to even."""
    epochs, momentum = one.local_epochs, one.momentum
    if epochs is not None and other.local_epochs is not None:
        epochs = round((epochs + other.local_epochs) / 2)
    if momentum is not None and other.momentum is not None:
        momentum = (momentum + other.momentum) / 2
    return Genome(
        (one.learning_rate + other.learning_rate) / 2,
        round((one.batch_size + other.batch_size) / 2),
        epochs,
        momentum,
    )
