"""Genetic clustered federated learning.

After Agrawal et al., 2021 (arXiv 2107.07233): clients are clustered by their
hyperparameters, and each cluster evolves its own. Unlike the published CIFAR-10
code, the evolved learning rate is the one that trains (the client reports what
its optimiser used, and a reply that disagrees is rejected), clients train in
parallel from the global weights, and fitness does not look at the test set.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from statistics import fmean, median
from typing import Any, Literal

from flwr.app import ArrayRecord, MessageType
from flwr.serverapp import Grid

from strategies.clustering import NOISE, cluster, place
from strategies.controls import Control, shuffle
from strategies.evolution import Assignment, Deal, Genome, evolve, jitter, probe_grid, random_genome
from strategies.fedavg import FedAvg, Weighting
from strategies.migration import Islands, migrate
from strategies.outcomes import RoundOutcome
from strategies.replies import Update, check_probe, check_work
from strategies.streams import rng
from strategies.variation import Crossover, Scale, adapt, count_successes

Init = Literal["random", "probe", "reference"]
Fitness = Literal["validation", "improvement", "test"]


MOST_AT_START = 0.9
"""Momentum starts below this."""


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
        weighting: Average by training samples, uniformly, or by training samples
            times the rank of this round's fitness.
        mutation_scale: ``"step"``, or ``"log"`` for steps of any size on the log scale, whose
            width adapts to how the mutants do (``strategies.variation``).
        log_width: Width to start from on the log scale: a standard deviation in decades, in
            [0.01, 1].
        crossover: ``"none"``, or ``"average"``: children are the mean of two parents.
        migrate_every: Let the best genes move to the next cluster every so many rounds; 0 for
            never.
        fitness_window: Rank by the mean over so many of the latest rounds in which a client
            had the same genes, if greater than 1. Losses fall from round to round, so each
            then counts relative to its round's median.
        evolve_epochs: Let local epochs be a gene, from 1 to twice ``local_epochs``.
        evolve_momentum: Let SGD's momentum be a gene, at first in [0, 0.9).
        control: What to take out of the evolution, if anything (``strategies.controls``).
            Weights of the average are left as they are.
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
        mutation_scale: Scale = "step",
        log_width: float = 0.1,
        crossover: Crossover = "none",
        migrate_every: int = 0,
        fitness_window: int = 1,
        evolve_epochs: bool = False,
        evolve_momentum: bool = False,
        control: Control = "none",
        **common: Any,
    ) -> None:
        super().__init__(weighting=weighting, fitness=fitness, **common)
        self.init = init
        self.eps = eps
        self.min_samples = min_samples
        self.elites = 0 if control == "no-selection" else elites
        self.mutation = 0.0 if control == "no-mutation" else mutation
        self.recluster_every = recluster_every
        self.deal: Deal = deal
        self.width: float | None = None
        if mutation_scale == "log":
            self.width = 0.0 if control == "no-mutation" else log_width
        self.crossover: Crossover = crossover
        self.migrate_every = migrate_every
        self.fitness_window = fitness_window
        self.evolve_epochs = evolve_epochs
        self.evolve_momentum = evolve_momentum
        self.control = control
        self.population: dict[int, Assignment] = {}
        self.losses: dict[int, float] = {}
        self.history: dict[int, list[float]] = {}
        self.latest: set[int] = set()

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
        islands: dict[int, dict[int, Genome]] = {}
        for client in cohort:
            if client in self.population:
                current = self.population[client]
                label = NOISE if current.cluster is None else current.cluster
                islands.setdefault(label, {})[client] = current.genome
        generation = self._generation(server_round, islands)
        for label, members in islands.items():
            for client, genome in members.items():
                if generation[client].genome != genome:
                    self.history.pop(client, None)
                self.population[client] = replace(generation[client], cluster=label)
        for client in cohort:
            if client not in self.population:
                newcomer = self._random(client)
                labels = {c: a.cluster for c, a in self.population.items() if a.cluster is not None}
                label = (
                    place(newcomer.genome, self.genomes, labels, self.eps)
                    if self.control != "one-cluster"
                    else 0
                )
                self.population[client] = replace(newcomer, cluster=label)
        return {client: self.population[client] for client in cohort}

    def learn(self, outcome: RoundOutcome) -> None:
        """Keep every finite fitness; a client without one in this round has none at all."""
        known = {
            client.client: client.update.fitness
            for client in outcome.clients
            if client.update is not None and math.isfinite(client.update.fitness)
        }
        for client in outcome.clients:
            self.losses.pop(client.client, None)
            if client.client not in known:
                self.history.pop(client.client, None)
        if self.fitness_window > 1 and known:
            middle = median(known.values())
            for number, fitness in known.items():
                past = [*self.history.get(number, []), fitness - middle]
                self.history[number] = past[-self.fitness_window :]
            known = {number: fmean(self.history[number]) for number in known}
        self.losses |= known
        self.latest = set(known)

    def state(self) -> dict[str, Any]:
        """Return genes, clusters and losses as JSON values."""
        kept: dict[str, Any] = {
            **super().state(),
            "population": {str(c): a.as_json() for c, a in sorted(self.population.items())},
            "losses": {str(c): loss for c, loss in sorted(self.losses.items())},
        }
        if self.width is not None:
            kept |= {"width": self.width, "latest": sorted(self.latest)}
        if self.fitness_window > 1:
            kept["history"] = {str(c): past for c, past in sorted(self.history.items())}
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up genes, clusters and losses."""
        super().restore(state)
        self.population = {
            int(client): Assignment.from_json(values)
            for client, values in state["population"].items()
        }
        self.losses = {int(client): float(loss) for client, loss in state["losses"].items()}
        if self.width is not None:
            self.width = float(state["width"])
            self.latest = {int(client) for client in state["latest"]}
        if self.fitness_window > 1:
            self.history = {
                int(client): [float(loss) for loss in past]
                for client, past in state["history"].items()
            }

    @property
    def most_epochs(self) -> int:
        """Most local epochs that a gene can stand for."""
        return 2 * self.local_epochs

    def _generation(self, server_round: int, islands: Islands) -> dict[int, Assignment]:
        """Return what becomes of every member of the clusters, its cluster still unset."""
        everybody = [client for members in islands.values() for client in members]
        if self.control == "elites-only":
            return {client: self._unchanged(client) for client in everybody}
        losses = self._seen(server_round, islands)
        self._adapt(everybody, losses)
        generation: dict[int, Assignment] = {}
        for members in islands.values():
            if not any(client in losses for client in members):
                generation |= {client: self._unchanged(client) for client in members}
                continue
            generation |= evolve(
                members,
                losses,
                seed=self.seed,
                server_round=server_round,
                elites=self.elites,
                mutation=self.mutation,
                width=self.width,
                crossover=self.crossover,
                most_epochs=self.most_epochs,
                deal=self.deal,
            )
        if self.migrate_every and server_round > 1:
            if (server_round - 1) % self.migrate_every == 0:
                generation |= migrate(islands, losses, self.deal)
        return generation

    def _seen(self, server_round: int, islands: Islands) -> dict[int, float]:
        """Return the losses as evolution sees them."""
        if self.control not in ("shuffled-fitness", "no-selection"):
            return self.losses
        shuffled: dict[int, float] = {}
        for members in islands.values():
            shuffled |= shuffle(list(members), self.losses, self.seed, server_round)
        return shuffled

    def _adapt(self, clients: Collection[int], losses: Mapping[int, float]) -> None:
        """Adapt the width of mutation to how the mutants of the latest round did."""
        if not self.width:  # no mutation, or steps
            return
        elites: dict[int | None, list[float]] = {}
        mutants: dict[int | None, list[float]] = {}
        for client in clients:
            current = self.population[client]
            if client in self.latest and client in losses:
                kind = elites if current.origin == "elite" else mutants
                if current.origin in ("elite", "mutant", "average"):
                    kind.setdefault(current.cluster, []).append(losses[client])
        counts = [count_successes(elites.get(c, []), m) for c, m in mutants.items()]
        self.width = adapt(self.width, sum(s for s, _ in counts), sum(n for _, n in counts))

    def _random(self, client: int) -> Assignment:
        drawn = random_genome(rng(self.seed, "genome", 0, client))
        return Assignment(self._complete(client, drawn), "random")

    def _complete(self, client: int, genome: Genome) -> Genome:
        """Draw the genes that a start gives to nobody by itself."""
        if self.evolve_epochs:
            draw = rng(self.seed, "genome-epochs", 0, client)
            genome = replace(genome, local_epochs=int(draw.integers(1, self.most_epochs + 1)))
        if self.evolve_momentum:
            draw = rng(self.seed, "genome-momentum", 0, client)
            genome = replace(genome, momentum=float(draw.uniform(0.0, MOST_AT_START)))
        return genome

    def _unchanged(self, client: int) -> Assignment:
        current = self.population[client]
        if current.origin in ("random", "probe"):
            return current
        return Assignment(current.genome, "elite", client, client, 1.0)

    def _cluster(self) -> None:
        if self.control == "one-cluster":
            labels = dict.fromkeys(self.population, 0)
        else:
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
                self.population[client] = Assignment(self._complete(client, moved), "probe")
            self.learn(self.outcome)
            self.history.clear()  # of genes that were moved since
        return self.average(0, self.outcome)
