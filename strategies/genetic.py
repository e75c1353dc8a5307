"""Genetic clustered federated learning.

After Agrawal et al., 2021 (arXiv 2107.07233): clients are clustered by their
hyperparameters, and each cluster evolves its own. Unlike the published CIFAR-10
code, the evolved learning rate is the one that trains (the client reports what
its optimiser used, and a reply that disagrees is rejected), clients train in
parallel from the global weights, and fitness does not look at the test set.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from flwr.app import ArrayRecord, MessageType
from flwr.serverapp import Grid

from strategies.clustering import cluster, place
from strategies.evolution import Assignment, Deal, Genome, evolve, jitter, probe_grid, random_genome
from strategies.fedavg import FedAvg, Weighting
from strategies.outcomes import RoundOutcome
from strategies.replies import Update, check_probe, check_work
from strategies.streams import rng

Init = Literal["random", "probe", "reference"]
Fitness = Literal["validation", "improvement", "test"]


class GeneticCFL(FedAvg):
    """Federated averaging in which every client's hyperparameters evolve.

    Args:
        init: How genes start. ``"random"`` draws them; ``"probe"`` lets every
            cohort client try a small grid and starts from its best;
            ``"reference"`` starts from the probe's weights with random genes.
        fitness: What clients minimise: their ``"validation"`` loss, its
            ``"improvement"`` over the global model's, or the loss on the global
            ``"test"`` set, which leaks and is only there to replay the reference.
        eps: DBSCAN's radius.
        min_samples: DBSCAN's size of a core neighbourhood.
        elites: Members of a cluster that keep their genes.
        mutation: Step of the learning rate's mutation.
        recluster_every: Cluster again every so many rounds; 0 for once.
        deal: Who gets whose genes; see ``strategies.evolution.evolve``.
        weighting: Average by training samples, or uniformly.
        **common: What ``FedAvg`` takes; its own learning rate and batch size
            have no effect here.
    """

    selects_on_losses = True

    def __init__(
        self,
        *,
        init: Init = "random",
        fitness: Fitness = "validation",
        eps: float = 0.15,
        min_samples: int = 2,
        elites: int = 2,
        mutation: float = 0.1,
        recluster_every: int = 0,
        deal: Deal = "owner",
        weighting: Weighting = "samples",
        **common: Any,
    ) -> None:
        super().__init__(weighting=weighting, fitness=fitness, **common)
        self.init = init
        self.eps = eps
        self.min_samples = min_samples
        self.elites = elites
        self.mutation = mutation
        self.recluster_every = recluster_every
        self.deal: Deal = deal
        self.population: dict[int, Assignment] = {}
        self.losses: dict[int, float] = {}

    @property
    def genomes(self) -> dict[int, Genome]:
        """The current genome of every client that has one."""
        return {client: assignment.genome for client, assignment in self.population.items()}

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Probe if asked to, give every client of the first cohort genes, and cluster."""
        cohort = self.cohort(1)
        if self.init != "random":
            arrays = self._probe(grid, arrays, cohort)
        for client in cohort:
            if client not in self.population:
                self.population[client] = self._random(client)
        self._cluster()
        return arrays

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Evolve every cluster whose members have losses; newcomers draw random genes."""
        if self.recluster_every and server_round > 1:
            if (server_round - 1) % self.recluster_every == 0:
                self._cluster()
        settled = [client for client in cohort if client in self.population]
        clusters: dict[int | None, dict[int, Genome]] = {}
        for client in settled:
            current = self.population[client]
            clusters.setdefault(current.cluster, {})[client] = current.genome
        for label, members in clusters.items():
            if any(client in self.losses for client in members):
                generation = evolve(
                    members,
                    self.losses,
                    seed=self.seed,
                    server_round=server_round,
                    elites=self.elites,
                    mutation=self.mutation,
                    deal=self.deal,
                )
            else:
                generation = {client: self._unchanged(client) for client in members}
            for client, assignment in generation.items():
                self.population[client] = replace(assignment, cluster=label)
        for client in cohort:
            if client not in self.population:
                newcomer = self._random(client)
                labels = {c: a.cluster for c, a in self.population.items() if a.cluster is not None}
                label = place(newcomer.genome, self.genomes, labels, self.eps)
                self.population[client] = replace(newcomer, cluster=label)
        return {client: self.population[client] for client in cohort}

    def learn(self, outcome: RoundOutcome) -> None:
        """Keep every finite fitness; a client without one in this round has none at all."""
        for client in outcome.clients:
            self.losses.pop(client.client, None)
            if client.update is not None and math.isfinite(client.update.fitness):
                self.losses[client.client] = client.update.fitness

    def state(self) -> dict[str, Any]:
        """Return genes, clusters and losses as JSON values."""
        return {
            **super().state(),
            "population": {str(c): asdict(a) for c, a in sorted(self.population.items())},
            "losses": {str(c): loss for c, loss in sorted(self.losses.items())},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up genes, clusters and losses."""
        super().restore(state)
        self.population = {
            int(client): Assignment(**{**values, "genome": Genome(**values["genome"])})
            for client, values in state["population"].items()
        }
        self.losses = {int(client): float(loss) for client, loss in state["losses"].items()}

    def _random(self, client: int) -> Assignment:
        return Assignment(random_genome(rng(self.seed, "genome", 0, client)), "random")

    def _unchanged(self, client: int) -> Assignment:
        current = self.population[client]
        if current.origin in ("random", "probe"):
            return current
        return Assignment(current.genome, "elite", client, client, 1.0)

    def _cluster(self) -> None:
        labels = cluster(self.genomes, self.eps, self.min_samples)
        for client, label in labels.items():
            self.population[client] = replace(self.population[client], cluster=label)

    def _probe(self, grid: Grid, arrays: ArrayRecord, cohort: list[int]) -> ArrayRecord:
        grids = {client: probe_grid(rng(self.seed, "probe-grid", 0, client)) for client in cohort}
        settings = {
            client: {"learning-rates": rates, "batch-sizes": batches}
            for client, (rates, batches) in grids.items()
        }
        messages = self.messages(grid, 0, arrays, settings, f"{MessageType.TRAIN}.probe")

        def check(client: int, update: Update) -> None:
            rates, batches = grids[client]
            check_probe(rates, batches, update.applied)
            check_work(update, len(rates) * len(batches))

        replies = grid.send_and_receive(messages, timeout=self.reply_timeout)
        judged = self.judge(replies, dict.fromkeys(cohort), check)
        # A client reports its rate in float32; what it kept is the grid's own number.
        kept: dict[int, Genome] = {}
        for outcome in judged.clients:
            if outcome.update is not None:
                rate, batch = (
                    outcome.update.applied.learning_rate,
                    outcome.update.applied.batch_size,
                )
                nominal = min(grids[outcome.client][0], key=lambda offered: abs(offered - rate))
                kept[outcome.client] = Genome(nominal, batch)
        rows = [
            replace(o, assignment=Assignment(kept[o.client], "probe")) if o.client in kept else o
            for o in judged.clients
        ]
        self.outcome = replace(judged, clients=tuple(rows))
        if self.init == "probe":
            for client, genome in kept.items():
                moved = jitter(genome, rng(self.seed, "probe-jitter", 0, client))
                self.population[client] = Assignment(moved, "probe")
            self.learn(self.outcome)
        return self.average(0, self.outcome)
