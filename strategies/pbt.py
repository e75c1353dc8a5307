"""Population-based tuning of the clients' hyperparameters, without clusters.

Population Based Training (Jaderberg et al., 2017, arXiv 1711.09846), which FedPop (Chen et al.,
2023, arXiv 2308.08634) brought to federated learning; FedPop also evolves whole runs and their
servers' settings, here there is one run. Every client is a member of the population, its
fitness is its loss after local training, and since all start from the one global model,
an exploit copies hyperparameters and no weights.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Le

from strategies.core.genes import Genes, genome_at
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome
from strategies.core.settings import RATES, Positive, RandomRates, ZeroToOne
from strategies.evolution.moves.cube import Place, reflect
from strategies.evolution.selection import rank
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng
from strategies.tuning.tuner import Ground, Tuner

FACTORS = (0.8, 1.2)
"""What a copied hyperparameter is multiplied by, half of the time each, as in the paper."""


@dataclass(frozen=True)
class Exploiting(RandomRates):
    """Settings of population-based tuning."""

    fitness: Literal["validation", "improvement"] = "validation"
    """What clients minimise: the loss after local training, or its gain on the global one."""
    quantile: Annotated[float, Gt(0), Le(0.5)] = 0.2
    """Share of the cohort that copies from as large a share of the best (the paper's
    truncation selection)."""
    redraw: ZeroToOne = 0.0
    """Probability that a hyperparameter is drawn anew instead of copied and perturbed."""
    every: Positive = 1
    """Rounds between two selections."""


class Population(Tuner):
    """The worst of the cohort copy the best, and perturb what they copied."""

    Settings = Exploiting
    settings: Exploiting

    def __init__(self, ground: Ground, settings: Any, genes: Genes) -> None:
        super().__init__(ground, settings, genes)
        self.seed = ground.seed
        self.genomes: dict[int, Genome] = {}
        self.losses: dict[int, float] = {}
        self.places: dict[int, Place] = {}

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Let the worst of the cohort copy the best; newcomers draw random genes."""
        own = self.settings
        members = {client: self.genomes[client] for client in cohort if client in self.genomes}
        assigned = {c: Assignment(g, "kept", c, c, 1.0) for c, g in members.items()}
        due = (server_round - 1) % own.every == 0
        if due and self.declared:
            assigned |= self._select_places(members, server_round)
        elif due:
            assigned |= select(
                members,
                self.losses,
                seed=self.seed,
                server_round=server_round,
                quantile=own.quantile,
                redraw=own.redraw,
                rates=own.rates,
            )
        for client in cohort:
            if client not in assigned:
                assigned[client] = Assignment(self._random(client), "random")
        self.genomes |= {client: assignment.genome for client, assignment in assigned.items()}
        return assigned

    def _random(self, client: int) -> Genome:
        if not self.declared:
            return random_genome(rng(self.seed, "genome", 0, client), self.settings.rates)
        self.places[client] = rng(self.seed, "genes", 0, client).random(len(self.of_clients))
        return self._genome(client)

    def _genome(self, client: int) -> Genome:
        return genome_at(self.of_clients, self.places[client].tolist(), self.ground.usual(client))

    def _select_places(
        self, members: Mapping[int, Genome], server_round: int
    ) -> dict[int, Assignment]:
        """Exploit and explore as ``select`` does, with the genes that are declared.

        Each is drawn anew, or moved by a factor of 0.8 or 1.2 (a linear one by a fifth of its
        range), and reflected at the ends of its range.
        """
        best, worst = truncate(sorted(members), self.losses, self.settings.quantile)
        before, changed = dict(self.places), {}
        for client in worst if best else []:
            draw = rng(self.seed, "pbt", server_round, client)
            parent = best[draw.integers(len(best))]
            steps = [g.shift(FACTORS[draw.integers(2)]) for g in self.of_clients.values()]
            anew = draw.random(len(steps)) < self.settings.redraw
            moved = reflect(before[parent] + np.array(steps))
            self.places[client] = np.where(anew, draw.random(len(steps)), moved)
            copied = {name for name, drawn in zip(self.of_clients, anew, strict=True) if not drawn}
            changed[client] = self._perturbed(client, parent, copied)
        return changed

    def _perturbed(self, client: int, parent: int, copied: Collection[str]) -> Assignment:
        """Say which of its rate and batch size a client has copied, and what the rate became."""
        genome = self._genome(client)
        from_rate = parent if "learning_rate" in copied else None
        return Assignment(
            genome,
            "mutant" if copied else "drawn",
            parent=from_rate,
            batch_parent=parent if "batch_size" in copied else None,
            mutation=None
            if from_rate is None
            else genome.learning_rate / self.genomes[parent].learning_rate,
        )

    def learn(self, outcome: RoundOutcome) -> None:
        """Keep every finite fitness; a client without one in this round has none at all."""
        super().learn(outcome)
        for client in outcome.clients:
            self.losses.pop(client.client, None)
            if client.update is not None and math.isfinite(client.update.fitness):
                self.losses[client.client] = client.update.fitness

    def state(self) -> dict[str, Any]:
        """Return genes and losses as JSON values."""
        genomes = {str(c): [g.learning_rate, g.batch_size] for c, g in self.genomes.items()}
        losses = {str(c): loss for c, loss in self.losses.items()}
        places = {str(c): place.tolist() for c, place in self.places.items()}
        return {
            **super().state(),
            "genomes": genomes,
            "losses": losses,
            **({"places": places} if self.declared else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up genes and losses."""
        super().restore(state)
        places = state.get("places", {})
        self.places = {int(c): np.array(place, np.float64) for c, place in places.items()}
        self.genomes = {int(c): Genome(float(r), int(b)) for c, (r, b) in state["genomes"].items()}
        if self.declared:
            self.genomes = {client: self._genome(client) for client in self.genomes}
        self.losses = {int(c): float(loss) for c, loss in state["losses"].items()}


class PBT(FedAvg):
    """Population-based tuning over all cohort clients (Jaderberg et al., arXiv 1711.09846)."""

    own_tuner = Population
    Settings = Exploiting
    settings: Exploiting
    selects_on_losses = True


def select(
    genomes: Mapping[int, Genome],
    losses: Mapping[int, float],
    *,
    seed: int,
    server_round: int,
    quantile: float = 0.2,
    redraw: float = 0.0,
    rates: tuple[float, float] = RATES,
) -> dict[int, Assignment]:
    """Return new genes for the worst members: exploit, then explore.

    Every one of the worst copies a member drawn uniformly from the best, and perturbs both
    hyperparameters independently: times 0.8 or 1.2, or drawn anew from the ranges
    that they started in.

    Args:
        genomes: Genome of every member, by client.
        losses: Loss of the members that have one; lower is better, none is worst.
        seed: Seed of the run; draws come from its stream ``"pbt"``.
        server_round: Round that the genes are for.
        quantile: Share of the members that is replaced, at least one of two or more.
        redraw: Probability that a hyperparameter is drawn anew.
        rates: Range of a rate that is drawn anew.

    Returns:
        An assignment for every replaced member; none without a loss among the best.
    """
    best, worst = truncate(sorted(genomes), losses, quantile)
    if not best:
        return {}
    return {
        client: _explore(best, genomes, rng(seed, "pbt", server_round, client), redraw, rates)
        for client in worst
    }


def truncate(
    members: list[int], losses: Mapping[int, float], quantile: float
) -> tuple[list[int], list[int]]:
    """Return the best members, those without a loss left out, and as many of the worst.

    Args:
        members: Who takes part.
        losses: Loss of those that have one; lower is better, none is worst.
        quantile: Share of the members that is replaced, at least one of two or more.
    """
    ranked = rank(members, losses)
    count = min(max(1, math.floor(quantile * len(ranked) + 1e-9)), len(ranked) // 2)
    best = [client for client in ranked[:count] if client in losses]
    return best, ranked[len(ranked) - count :]


def _explore(
    best: list[int],
    genomes: Mapping[int, Genome],
    draw: np.random.Generator,
    redraw: float,
    rates: tuple[float, float],
) -> Assignment:
    parent = best[draw.integers(len(best))]
    factor, batch_factor = (FACTORS[draw.integers(len(FACTORS))] for _ in range(2))
    new_rate, new_batch = draw.random(2) < redraw
    fresh = random_genome(draw, rates)
    copied = genomes[parent]
    return Assignment(
        Genome(
            fresh.learning_rate if new_rate else copied.learning_rate * factor,
            fresh.batch_size if new_batch else max(1, round(copied.batch_size * batch_factor)),
        ),
        "drawn" if new_rate and new_batch else "mutant",
        parent=None if new_rate else parent,
        batch_parent=None if new_batch else parent,
        mutation=None if new_rate else factor,
    )
