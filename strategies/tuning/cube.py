"""Declared genes: every client's genome as a place in the unit cube, and how places move."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from strategies.core.genes import Genes, genome_at, place_of
from strategies.core.hyperparameters import Assignment, Genome, Origin
from strategies.evolution.generation import Islands, idle, unchanged
from strategies.evolution.moves import cma, differential
from strategies.evolution.moves.cube import Place
from strategies.evolution.moves.inheritance import Child, Inheritance
from strategies.evolution.selection import dealt, rank
from strategies.streams import rng
from strategies.tuning.settings import Evolving

START_SIGMA = 0.1
"""Width of self-adaptive steps to start from, as a share of a gene's range."""

SPREADS = (0.1, 0.3)
"""Between which the step size of CMA-ES starts, near the spread of a cluster."""


class Cube:
    """Places of genomes. They are kept as real numbers: small steps of whole numbers add up.

    Args:
        seed: Seed of every draw.
        genes: The genes, of which at least one.
        usual: Returns what a client trains with beside them.
        settings: How places move.

    Attributes:
        places: Where every client is that has genes.
        sigmas: Widths of their children's steps, where those adapt themselves.
        parents: Where each was before its trial, in differential evolution.
        bars: Relative losses of those parents.
        models: The distributions of CMA-ES, by the label of a cluster.
    """

    def __init__(
        self, seed: int, genes: Genes, usual: Callable[[int], Genome], settings: Evolving
    ) -> None:
        self.seed = seed
        self.genes = genes
        self.usual = usual
        self.settings = settings
        self.places: dict[int, Place] = {}
        self.sigmas: dict[int, float] = {}
        self.parents: dict[int, Place] = {}
        self.bars: dict[int, float] = {}
        self.models: dict[int, cma.State] = {}

    def features(self, genome: Genome) -> tuple[float, ...]:
        """Return what a genome is clustered by: its place, each gene by its range."""
        return place_of(self.genes, genome)

    def born(self, client: int) -> Genome:
        """Draw a client's first genes, uniformly in the cube."""
        draw = rng(self.seed, "genes", 0, client)
        return self._settle(client, draw.random(len(self.genes)))

    def take(self, client: int, genome: Genome) -> Genome:
        """Return a client's first genes as near to a genome as their ranges allow."""
        return self._settle(client, np.array(place_of(self.genes, genome)))

    def generation(
        self,
        islands: Islands,
        losses: Mapping[int, float],
        width: float | None,
        server_round: int,
        expired: Collection[int],
        keep: Collection[int],
    ) -> dict[int, Assignment]:
        """Return what becomes of every member, its cluster still unset, and move it there.

        A cluster whose members have no losses stays as it is, as everybody does where all genes
        are the server's.

        Args:
            islands: The clusters, only members that take part in the round.
            losses: What members are ranked by, comparable between rounds.
            width: Width of mutation in decades, ``None`` for other steps.
            server_round: Round the generation is for.
            expired: Members that are no elites.
            keep: Members whose genes are not replaced by children's.
        """
        after: dict[int, Assignment] = {}
        for label, members in islands.items():
            if idle(members, losses, self.settings.control) or not self.genes:
                after |= {client: unchanged(client, now) for client, now in members.items()}
            elif self.settings.move == "differential":
                after |= self._differential(members, losses, server_round)
            elif self.settings.move == "cma-es":
                after |= self._distribution(label, members, losses, server_round)
            else:
                after |= self._inherited(members, losses, width, server_round, expired, keep)
        return after

    def copies(self, donors: Mapping[int, int | None]) -> dict[int, tuple[Place, float | None]]:
        """Return the place and the width of each member's donor, as they are now."""
        return {
            member: (self.places[donor], self.sigmas.get(donor))
            for member, donor in donors.items()
            if donor is not None
        }

    def put(self, copies: Mapping[int, tuple[Place, float | None]]) -> None:
        """Move members to where ``copies`` says, their trials forgotten."""
        for member, (place, sigma) in copies.items():
            self.places[member] = place
            if sigma is not None:
                self.sigmas[member] = sigma
            self.parents.pop(member, None)
            self.bars.pop(member, None)

    def regrouped(self) -> None:
        """Forget what was known of clusters: their labels are given anew."""
        self.models.clear()
        self.parents.clear()
        self.bars.clear()

    def _settle(self, client: int, place: Place) -> Genome:
        self.places[client] = place
        if self.settings.mutation_scale == "self":
            self.sigmas.setdefault(client, START_SIGMA)
        return self._genome(client, place)

    def _genome(self, client: int, place: Place) -> Genome:
        return genome_at(self.genes, place.tolist(), self.usual(client))

    def _inherited(
        self,
        members: Mapping[int, Assignment],
        losses: Mapping[int, float],
        width: float | None,
        server_round: int,
        expired: Collection[int],
        keep: Collection[int],
    ) -> dict[int, Assignment]:
        own = self.settings
        varies = Inheritance(
            self.genes, own.crossover, own.mutation_scale, own.mutation, width or 0.0
        )
        ranked = rank(sorted(members), losses)
        elites = 0 if own.control == "no-selection" else own.elites
        places = {member: self.places[member] for member in members}
        sigmas = {member: self.sigmas[member] for member in members if member in self.sigmas}
        after: dict[int, Assignment] = {}
        for receiver, owner in dealt(ranked, elites, own.deal, expired):
            if owner is not None:
                self.places[receiver] = places[owner]
                if owner in sigmas:
                    self.sigmas[receiver] = sigmas[owner]
                genome = self._genome(receiver, places[owner])
                after[receiver] = Assignment(genome, "elite", owner, owner, 1.0)
                continue
            if receiver in keep:
                after[receiver] = unchanged(receiver, members[receiver])
                continue
            draw = rng(self.seed, "gene-evolution", server_round, receiver)
            child = varies.child(places, sigmas, draw, mutates=own.control != "no-mutation")
            self.places[receiver] = child.place
            if child.sigma is not None:
                self.sigmas[receiver] = child.sigma
            after[receiver] = self._assignment(receiver, child, members)
        return after

    def _assignment(
        self, receiver: int, child: Child, members: Mapping[int, Assignment]
    ) -> Assignment:
        """Say whose rate and batch size were inherited, as far as they are genes."""
        genome = self._genome(receiver, child.place)
        givers = dict(zip(self.genes, child.givers, strict=True))
        parent, batch_parent = givers.get("learning_rate"), givers.get("batch_size")
        if child.other is not None:
            parent, batch_parent = child.givers[0], child.other
        inherited = [
            members[p].genome.learning_rate for p in (parent, child.other) if p is not None
        ]
        changes = "learning_rate" in self.genes and inherited
        factor = genome.learning_rate / (sum(inherited) / len(inherited)) if changes else None
        origin: Origin = "mutant" if child.other is None else "average"
        return Assignment(genome, origin, parent, batch_parent, factor)

    def _differential(
        self, members: Mapping[int, Assignment], losses: Mapping[int, float], server_round: int
    ) -> dict[int, Assignment]:
        known = {member: losses[member] for member in members if member in losses}
        tried = {member: self.places[member] for member in members}
        before = {member: self.parents.get(member, tried[member]) for member in members}
        bars = {member: self.bars[member] for member in members if member in self.bars}
        parents = differential.select(before, tried, bars, known)
        for member in members:
            if parents[member] is tried[member] and member in known:
                bars[member] = known[member]
        self.parents |= parents
        self.bars |= bars
        after: dict[int, Assignment] = {}
        for member in members:
            draw = rng(self.seed, "gene-difference", server_round, member)
            self.places[member] = differential.trial(member, parents, bars, draw)
            after[member] = self._drawn(member)
        return after

    def _distribution(
        self,
        label: int,
        members: Mapping[int, Assignment],
        losses: Mapping[int, float],
        server_round: int,
    ) -> dict[int, Assignment]:
        ids = sorted(members)
        if len(ids) < 2:  # nothing to compare with
            return {client: unchanged(client, now) for client, now in members.items()}
        there = np.array([self.places[client] for client in ids])
        state = self.models.get(label)
        if state is None:
            spread = float(np.clip(there.std(axis=0).mean(), *SPREADS))
            state = cma.start(there.mean(axis=0), spread)
        # Who has no loss is the worst, as in the other moves: training has mostly diverged there.
        state = cma.tell(state, there, [losses.get(client, math.inf) for client in ids])
        self.models[label] = state
        draw = rng(self.seed, "gene-distribution", server_round, ids[0])  # no two clusters share it
        for client, place in zip(ids, cma.ask(state, draw, len(ids)), strict=True):
            self.places[client] = place
        return {client: self._drawn(client) for client in ids}

    def _drawn(self, client: int) -> Assignment:
        return Assignment(self._genome(client, self.places[client]), "drawn")

    def state(self) -> dict[str, Any]:
        """Return all as JSON values."""
        return {
            "places": _lists(self.places),
            "sigmas": {str(c): sigma for c, sigma in sorted(self.sigmas.items())},
            "parents": _lists(self.parents),
            "bars": {str(c): bar for c, bar in sorted(self.bars.items())},
            "models": {str(label): state.as_json() for label, state in sorted(self.models.items())},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self.places, self.parents = _arrays(state["places"]), _arrays(state["parents"])
        self.sigmas = {int(c): float(sigma) for c, sigma in state["sigmas"].items()}
        self.bars = {int(c): float(bar) for c, bar in state["bars"].items()}
        self.models = {int(label): cma.State.from_json(m) for label, m in state["models"].items()}


def _lists(places: Mapping[int, Place]) -> dict[str, list[float]]:
    return {str(client): place.tolist() for client, place in sorted(places.items())}


def _arrays(lists: Mapping[str, list[float]]) -> dict[int, Place]:
    return {int(client): np.array(place, np.float64) for client, place in lists.items()}
