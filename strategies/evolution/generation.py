"""From one generation of clusters to the next: what evolution sees, does, and leaves alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.judges.halving import halve
from strategies.evolution.migration import migrate
from strategies.evolution.selection import Deal, evolve
from strategies.evolution.variants import Control, Known, shuffle
from strategies.evolution.variation import Crossover, adapt, count_successes

Islands = Mapping[int, Mapping[int, Assignment]]
"""What the members of every cluster trained with, by the cluster's label."""

KEPT, INHERITED = ("elite",), ("mutant", "average")
"""Origins of genes that were kept, and of those that mutated."""


@dataclass(frozen=True)
class Breeding:
    """How clusters evolve; see ``strategies.genetic.GeneticCFL`` for what the settings mean.

    Attributes:
        seed: Seed of the run.
        elites: Members of a cluster that keep their genes.
        mutation: Step of the learning rate's mutation.
        crossover: Whose genes a child inherits.
        most_epochs: Most local epochs that a gene can stand for.
        deal: Who gets whose genes.
        migrate_every: Rounds between two migrations, 0 for none.
        control: What is taken out.
    """

    seed: int
    elites: int
    mutation: float
    crossover: Crossover
    most_epochs: int
    deal: Deal
    migrate_every: int
    control: Control

    def seen(
        self, islands: Islands, losses: Mapping[int, Known], server_round: int
    ) -> Mapping[int, Known]:
        """Return losses, or ranks, as evolution sees them: shuffled, where they decide nothing."""
        if self.control not in ("shuffled-fitness", "no-selection"):
            return losses
        shuffled: dict[int, Known] = {}
        for members in islands.values():
            shuffled |= shuffle(list(members), losses, self.seed, server_round)
        return shuffled

    def generation(
        self,
        islands: Islands,
        losses: Mapping[int, float],
        width: float | None,
        server_round: int,
        expired: Collection[int] = (),
    ) -> dict[int, Assignment]:
        """Return what becomes of every member, its cluster still unset.

        A cluster whose members have no losses stays as it is.

        Args:
            islands: The clusters, only members that take part in the round.
            losses: Losses as ``seen``.
            width: Width of mutation on the log scale, ``None`` for steps.
            server_round: Round the generation is for.
            expired: Members that are no elites.
        """
        genomes = _genomes(islands)
        after: dict[int, Assignment] = {}
        for label, members in islands.items():
            if idle(members, losses, self.control):
                after |= {client: unchanged(client, now) for client, now in members.items()}
                continue
            mutates = self.control != "no-mutation"
            after |= evolve(
                genomes[label],
                losses,
                seed=self.seed,
                server_round=server_round,
                elites=0 if self.control == "no-selection" else self.elites,
                mutation=self.mutation if mutates else 0.0,
                width=width if mutates or width is None else 0.0,
                crossover=self.crossover,
                most_epochs=self.most_epochs,
                deal=self.deal,
                expired=expired,
            )
        return after

    def migrants(
        self, islands: Islands, losses: Mapping[int, float], server_round: int
    ) -> dict[int, Assignment]:
        """Return who takes the genes of a neighbouring cluster's best member in this round.

        Args:
            islands: The clusters, as they were before this generation.
            losses: Losses as ``seen``.
            server_round: Round the generation is for.
        """
        every = self.migrate_every
        due = every > 0 and server_round > 1 and (server_round - 1) % every == 0
        if not due or self.control == "elites-only":
            return {}
        return migrate(_genomes(islands), losses, self.deal)

    def halved(self, islands: Islands, losses: Mapping[int, float]) -> dict[int, Assignment]:
        """Return who takes whose genes when the worse half of every cluster's gives way."""
        freed: dict[int, Assignment] = {}
        for members in islands.values() if self.control != "elites-only" else ():
            genomes = {client: current.genome for client, current in members.items()}
            for receiver, donor in halve(genomes, losses).items():
                freed[receiver] = Assignment(genomes[donor], "migrant", donor, donor, 1.0)
        return freed


def _genomes(islands: Islands) -> dict[int, dict[int, Genome]]:
    return {
        label: {client: current.genome for client, current in members.items()}
        for label, members in islands.items()
    }


def idle(members: Collection[int], losses: Mapping[int, float], control: Control) -> bool:
    """Return whether a cluster stays as it is: nothing moves it, or none of it has a loss."""
    return control == "elites-only" or not any(member in losses for member in members)


def unchanged(client: int, current: Assignment) -> Assignment:
    """Return what a client goes on with that keeps its genes, whatever its loss was."""
    if current.origin in ("random", "probe"):
        return current
    return Assignment(current.genome, "elite", client, client, 1.0)


def adapted(
    width: float, islands: Islands, losses: Mapping[int, float], latest: Collection[int]
) -> float:
    """Return the width of mutation after the latest round's mutants were held against its elites.

    Args:
        width: Width on the log scale, in decades.
        islands: The clusters, with what their members trained with in the latest round.
        losses: Losses as evolution sees them.
        latest: Clients whose losses are of the latest round; others say nothing about it.
    """
    successes = mutants = 0
    for members in islands.values():
        by_origin: dict[str, list[float]] = {}
        for client, current in members.items():
            if client in latest and client in losses:
                by_origin.setdefault(current.origin, []).append(losses[client])
        kept, inherited = (
            [loss for origin in origins for loss in by_origin.get(origin, [])]
            for origins in (KEPT, INHERITED)
        )
        better, tried = count_successes(kept, inherited)
        successes, mutants = successes + better, mutants + tried
    return adapt(width, successes, mutants)
