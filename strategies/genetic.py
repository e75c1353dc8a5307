"""Genetic clustered federated learning.

After Agrawal et al., 2021 (arXiv 2107.07233): clients are clustered by their
hyperparameters, and each cluster evolves its own. Unlike the published CIFAR-10
code, the evolved learning rate is the one that trains (the client reports what
its optimiser used, and a reply that disagrees is rejected), clients train in
parallel from the global weights, and fitness does not look at the test set.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from flwr.app import ArrayRecord, MessageType
from flwr.serverapp import Grid

from strategies.core.aggregation import Arrays
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.core.settings import BelowOne, Count, Positive, RandomRates, Rate
from strategies.core.weighting import Weighting
from strategies.evolution.clustering import NOISE, cluster, place_all
from strategies.evolution.generation import Breeding, adapted
from strategies.evolution.heads import ClusterModels
from strategies.evolution.history import History, averages, remember
from strategies.evolution.selection import Deal
from strategies.evolution.start import jitter, probe_grid, random_genome
from strategies.evolution.variants import Control
from strategies.evolution.variation import Crossover, Scale
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import like
from strategies.messages.replies import check_probe, check_work
from strategies.streams import rng

MOST_AT_START = 0.9
"""Momentum starts below this."""


class GeneticCFL(FedAvg):
    """Federated averaging in which every client's hyperparameters evolve.

    Raises:
        StrategyError: If clusters have models of their own, and the aggregation is not the mean
            or privacy is central.
    """

    @dataclass(frozen=True)
    class Settings(RandomRates):
        """Settings of the evolution; ``rates`` are those that random genes start with."""

        init: Literal["random", "probe", "reference"] = "random"
        """How genes start: drawn; from the best of a small grid that every client of the cohort
        probes; or, as in the published code, drawn, with the weights that such a probe ends at."""
        fitness: Literal["validation", "improvement", "test"] = "validation"
        """What clients minimise: their validation loss, its improvement over the global model's,
        or the loss on the test set, which leaks and only replays the reference."""
        eps: Rate = 0.15
        """Radius of DBSCAN."""
        min_samples: Positive = 2
        """Neighbourhood that makes a core point of DBSCAN."""
        elites: Count = 2
        """Members of a cluster that keep their genes."""
        mutation: BelowOne = 0.1
        """Step of the learning rate's mutation: times 1 - m, 1 or 1 + m."""
        recluster_every: Count = 0
        """Cluster again every so many rounds; 0 for once, after the start."""
        deal: Deal = "owner"
        """Elites keep genes on their own client, or genes are dealt in index order."""
        weighting: Weighting = "samples"
        """Weights of the average; "fitness" multiplies samples with the rank of the fitness."""
        mutation_scale: Scale = "step"
        """Steps of the setting above, or steps of any size on the log scale, whose width adapts
        to how the mutants do (``strategies.evolution.variation``)."""
        log_width: Annotated[float, Ge(0.01), Le(1)] = 0.1
        """Width of "log" to start from: a standard deviation, in decades."""
        crossover: Crossover = "none"
        """Children take genes from one parent each, or the mean of two (the MNIST code)."""
        migrate_every: Count = 0
        """The best genes move to the next cluster every so many rounds; 0 for never."""
        fitness_window: Positive = 1
        """Rank by the mean of so many of a genome's latest rounds, each relative to its median,
        as losses fall from round to round."""
        evolve_epochs: bool = False
        """Let local epochs be a gene, from 1 to twice training.local_epochs."""
        evolve_momentum: bool = False
        """Let momentum be a gene, from 0 to 0.99; needs training.optimizer "sgd"."""
        models: Literal["global", "per-cluster"] = "global"
        """Everybody trains from one model; or every cluster from, and into, its own (cluster-head
        aggregation). Their mean by weight, which nobody trains from, is evaluated."""
        control: Control = "none"
        """What is taken out of the evolution, to see whether it matters; weights of the average
        are left as they are (``strategies.evolution.variants``)."""

    settings: Settings
    selects_on_losses = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.settings
        apart = own.models == "per-cluster"
        if apart and (self.aggregation.kind != "mean" or self.privacy.kind == "central"):
            raise StrategyError(
                f"{self.arm}.models 'per-cluster' needs aggregation.kind 'mean' and privacy.kind "
                "'none' or 'local', as a cluster may be one client, "
                f"received {self.aggregation.kind!r} and {self.privacy.kind!r}"
            )
        self.breeding = Breeding(
            seed=self.seed,
            elites=own.elites,
            mutation=own.mutation,
            crossover=own.crossover,
            most_epochs=2 * self.local_epochs,
            deal=own.deal,
            migrate_every=own.migrate_every,
            control=own.control,
        )
        self.width = own.log_width if own.mutation_scale == "log" else None
        self.population: dict[int, Assignment] = {}
        self.losses: dict[int, float] = {}
        self.history: History = {}
        self.latest: set[int] = set()
        self.heads = ClusterModels()

    @property
    def genomes(self) -> dict[int, Genome]:
        """The current genome of every client that has one."""
        return {client: assignment.genome for client, assignment in self.population.items()}

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Probe if asked to, give every client of the first cohort genes, and cluster."""
        cohort = self.cohort(1)
        if self.settings.init != "random":
            arrays = self._probe(grid, arrays, cohort)
        for client in cohort:
            if client not in self.population:
                self.population[client] = self._random(client)
        self._cluster()
        return arrays

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Evolve every cluster whose members have losses; newcomers draw random genes."""
        if self.settings.recluster_every and server_round > 1:
            if (server_round - 1) % self.settings.recluster_every == 0:
                self._cluster()
        islands: dict[int, dict[int, Assignment]] = {}
        for client in cohort:
            if client in self.population:
                current = self.population[client]
                label = NOISE if current.cluster is None else current.cluster
                islands.setdefault(label, {})[client] = current
        losses = self.breeding.seen(islands, self.losses, server_round)
        if self.width is not None:
            self.width = adapted(self.width, islands, losses, self.latest)
        generation = self.breeding.generation(islands, losses, self.width, server_round)
        for label, members in islands.items():
            for client, current in members.items():
                if generation[client].genome != current.genome:
                    self.history.pop(client, None)
                self.population[client] = replace(generation[client], cluster=label)
        self._welcome([client for client in cohort if client not in self.population])
        return {client: self.population[client] for client in cohort}

    def _welcome(self, clients: list[int]) -> None:
        """Give newcomers random genes, and the cluster of their nearest neighbour."""
        if not clients:
            return
        drawn = {client: self._random(client) for client in clients}
        if self.settings.control == "one-cluster":
            placed = dict.fromkeys(clients, 0)
        else:
            labels = {c: a.cluster for c, a in self.population.items() if a.cluster is not None}
            newcomers = {client: assignment.genome for client, assignment in drawn.items()}
            placed = place_all(newcomers, self.genomes, labels, self.settings.eps)
        for client, assignment in drawn.items():
            self.population[client] = replace(assignment, cluster=placed[client])

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
        if self.settings.fitness_window > 1:
            self.history = remember(self.history, known, self.settings.fitness_window)
            means = averages(self.history)
            known = {client: means[client] for client in known}
        self.losses |= known
        self.latest = set(known)

    def model_for(self, client: int, arrays: ArrayRecord) -> ArrayRecord:
        """Return the model of a client's cluster, or the global one where it has none yet."""
        current = self.population.get(client)
        label = current.cluster if current is not None else None
        if label is None or label not in self.heads.models:
            return arrays
        return like(self.heads.models[label], arrays)

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates, and those of every cluster on their own if asked to."""
        mean = super().average(server_round, outcome)
        if self.settings.models == "per-cluster" and server_round > 0:
            self.heads.average(outcome, self.weights(outcome.updates))
        return mean

    def state(self) -> dict[str, Any]:
        """Return genes, clusters and losses as JSON values."""
        kept: dict[str, Any] = {
            **super().state(),
            "population": {str(c): a.as_json() for c, a in sorted(self.population.items())},
            "losses": {str(c): loss for c, loss in sorted(self.losses.items())},
        }
        if self.width is not None:
            kept |= {"width": self.width, "latest": sorted(self.latest)}
        if self.settings.models == "per-cluster":
            kept["models"] = sorted(self.heads.models)
        if self.settings.fitness_window > 1:
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
        if self.settings.fitness_window > 1:
            self.history = {
                int(client): [float(loss) for loss in past]
                for client, past in state["history"].items()
            }
        if self.settings.models == "per-cluster":
            self.heads.models = {int(label): [] for label in state["models"]}

    def state_arrays(self) -> Arrays:
        """Return the models of the clusters."""
        return self.heads.arrays()

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the models of the clusters that ``restore`` named."""
        self.heads.restore(sorted(self.heads.models), arrays)

    def _random(self, client: int) -> Assignment:
        drawn = random_genome(rng(self.seed, "genome", 0, client), self.settings.rates)
        return Assignment(self._complete(client, drawn), "random")

    def _complete(self, client: int, genome: Genome) -> Genome:
        """Draw the genes that a start gives to nobody by itself."""
        if self.settings.evolve_epochs:
            draw = rng(self.seed, "genome-epochs", 0, client)
            genome = replace(
                genome, local_epochs=int(draw.integers(1, self.breeding.most_epochs + 1))
            )
        if self.settings.evolve_momentum:
            draw = rng(self.seed, "genome-momentum", 0, client)
            genome = replace(genome, momentum=float(draw.uniform(0.0, MOST_AT_START)))
        return genome

    def _cluster(self) -> None:
        if self.settings.control == "one-cluster":
            labels = dict.fromkeys(self.population, 0)
        else:
            labels = cluster(self.genomes, self.settings.eps, self.settings.min_samples)
        self.heads.regroup({c: a.cluster for c, a in self.population.items()}, labels)
        for client, label in labels.items():
            self.population[client] = replace(self.population[client], cluster=label)

    def _probe(self, grid: Grid, arrays: ArrayRecord, cohort: list[int]) -> ArrayRecord:
        grids = {client: probe_grid(rng(self.seed, "probe-grid", 0, client)) for client in cohort}
        settings = {
            client: {protocol.LEARNING_RATES: rates, protocol.BATCH_SIZES: batches}
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
        if self.settings.init == "probe":
            for client, genome in kept.items():
                moved = jitter(genome, rng(self.seed, "probe-jitter", 0, client))
                self.population[client] = Assignment(self._complete(client, moved), "probe")
            self.learn(self.outcome)
            self.history.clear()  # of genes that were moved since
        return self.average(0, self.outcome)
