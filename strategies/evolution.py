"""Evolution of hyperparameters inside one cluster.

One generation after Genetic CFL (Agrawal et al., 2021, arXiv 2107.07233): sort
by loss, keep the best, let everybody else inherit a learning rate (mutated by
one step) and a batch size from members drawn at random.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from strategies.streams import rng

Deal = Literal["owner", "index"]
Origin = Literal["random", "probe", "elite", "mutant", "fixed", "drawn", "kept"]

PROBE_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
PROBE_BATCHES = (16, 32, 64, 128)
PROBE_TRIES = (3, 2)
"""How many of these rates and batch sizes a client tries, in all pairs, one epoch each."""


@dataclass(frozen=True)
class Genome:
    """Hyperparameters that one client trains with.

    Attributes:
        learning_rate: Step size of the optimiser, greater than 0.
        batch_size: Samples in a full batch, at least 1.
    """

    learning_rate: float
    batch_size: int


@dataclass(frozen=True)
class Assignment:
    """A genome together with where it came from.

    Attributes:
        genome: What the client is told to use.
        origin: How the genome came about.
        parent: Client whose learning rate was inherited, if any.
        batch_parent: Client whose batch size was inherited, if any.
        mutation: Factor on the inherited learning rate, if any.
        cluster: Label of the client's cluster, ``None`` where there is none.
    """

    genome: Genome
    origin: Origin
    parent: int | None = None
    batch_parent: int | None = None
    mutation: float | None = None
    cluster: int | None = None


def random_genome(generator: np.random.Generator) -> Genome:
    """Draw ``rate = 10^U(-7, -3)`` and ``batch = round(2^U(4, 7))``."""
    rate = 10.0 ** generator.uniform(-7, -3)
    return Genome(float(rate), round(2.0 ** generator.uniform(4, 7)))


def probe_grid(generator: np.random.Generator) -> tuple[list[float], list[int]]:
    """Draw the 3 learning rates and 2 batch sizes that a client probes, without replacement."""
    rates = generator.choice(PROBE_RATES, size=PROBE_TRIES[0], replace=False)
    batches = generator.choice(PROBE_BATCHES, size=PROBE_TRIES[1], replace=False)
    return rates.tolist(), batches.tolist()


def jitter(kept: Genome, generator: np.random.Generator) -> Genome:
    """Move a probed genome by at most half a step of the probe's grid.

    ``log10 rate`` and ``log2 batch`` each move by U(-0.5, 0.5); the batch size
    stays in [16, 128]. On the bare grid no two different points lie within the
    default eps of each other.
    """
    rate = 10.0 ** (math.log10(kept.learning_rate) + generator.uniform(-0.5, 0.5))
    batch = 2.0 ** (math.log2(kept.batch_size) + generator.uniform(-0.5, 0.5))
    return Genome(float(rate), min(max(round(batch), PROBE_BATCHES[0]), PROBE_BATCHES[-1]))


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
    deal: Deal = "owner",
) -> dict[int, Assignment]:
    """Return the next generation of one cluster.

    Args:
        genomes: Genome of every member of the cluster, by client.
        losses: Loss of the members that have one; lower is better.
        seed: Seed of the run; draws come from its stream ``"evolution"``.
        server_round: Round the generation is for.
        elites: How many of the best keep their genes, at least 0.
        mutation: Step m; factors are 1 - m, 1 and 1 + m, a third each.
        deal: ``"owner"``: an elite's genes stay on its own client.
            ``"index"``: best, second and offspring are dealt to the members in
            order of their ids, as the published code does.

    Returns:
        An assignment for every member, its cluster still unset.

    Raises:
        ValueError: If ``elites`` is negative.
    """
    if elites < 0:
        raise ValueError(f"elites must be at least 0. Received: {elites}")
    members = sorted(genomes)
    ranked = rank(members, losses)
    best = ranked[:elites]
    receivers = members if deal == "index" else ranked
    factors = (round(1 - mutation, 12), 1.0, round(1 + mutation, 12))

    offspring: dict[int, Assignment] = {}
    for place, receiver in enumerate(receivers):
        if place < len(best):
            owner = best[place]
            offspring[receiver] = Assignment(genomes[owner], "elite", owner, owner, 1.0)
            continue
        draw = rng(seed, "evolution", server_round, receiver)
        parent = members[draw.integers(len(members))]
        factor = factors[draw.integers(len(factors))]
        batch_parent = members[draw.integers(len(members))]
        child = Genome(genomes[parent].learning_rate * factor, genomes[batch_parent].batch_size)
        offspring[receiver] = Assignment(child, "mutant", parent, batch_parent, factor)
    return offspring
