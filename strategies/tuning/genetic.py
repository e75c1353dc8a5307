"""The evolution of clusters of hyperparameters, whatever becomes of what is trained with them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from strategies.core.genes import Gene, Genes
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome, StrategyError
from strategies.evolution.clustering import NOISE, cluster, features, place_all
from strategies.evolution.generation import Breeding, adapted, unchanged
from strategies.evolution.moves.schedule import share
from strategies.evolution.start import BATCHES, jitter, near_rate, random_genome
from strategies.messages import protocol
from strategies.names import GENETIC
from strategies.streams import rng
from strategies.tuning.cube import Cube
from strategies.tuning.judge import Judge
from strategies.tuning.probe import probe, probed_rate
from strategies.tuning.settings import Evolving
from strategies.tuning.tuner import Ground, Tuner

if TYPE_CHECKING:
    from strategies.fedavg import FedAvg

MOST_AT_START = 0.9
"""Momentum starts below this."""

SWITCHES = {"evolve_epochs": "local_epochs", "evolve_momentum": "momentum"}
"""Genes beside those of the design, by the settings that ask for them."""


class Evolution(Tuner):
    """Every client's hyperparameters evolve, inside clusters of alike ones.

    After Agrawal et al., 2021 (arXiv 2107.07233). A genome is a learning rate and a batch size,
    which start and vary as there; or, where genes are declared or a move asks for them, a place in
    the unit cube of their ranges (``strategies.tuning.cube``).

    Attributes:
        population: What every known client trains with, a schedule left aside.
        judge: What is known of how well they do.
        cube: Where declared genes are; ``None`` for those of the design.
        trained: The last round of every client, where a schedule makes them differ.

    Raises:
        StrategyError: If settings of the design's genes meet declared ones.
    """

    Settings = Evolving
    settings: Evolving

    def __init__(self, ground: Ground, settings: Any, genes: Genes) -> None:
        super().__init__(ground, settings, genes)
        self.seed = ground.seed
        self.breeding = Breeding(
            seed=ground.seed,
            elites=settings.elites,
            mutation=settings.mutation,
            crossover=settings.crossover,
            most_epochs=2 * ground.local_epochs,
            deal=settings.deal,
            migrate_every=settings.migrate_every,
            control=settings.control,
        )
        self.width = settings.log_width if settings.mutation_scale == "log" else None
        self.population: dict[int, Assignment] = {}
        self.judge = Judge(settings)
        self.cube = self._cube(genes)
        self.trained: dict[int, int] = {}

    @property
    def genomes(self) -> dict[int, Genome]:
        """The current genome of every client that has one."""
        return {client: assignment.genome for client, assignment in self.population.items()}

    def check(self, strategy: "FedAvg") -> None:
        """Refuse what the strategy has no use for, and a probe of what is no gene.

        Raises:
            StrategyError: If it cannot apply a gene, has no models per cluster, or hands one
                model on, so that a probe could not start everybody from it.
        """
        super().check(strategy)
        for name, gene in SWITCHES.items():
            if getattr(self.settings, name) and gene not in strategy.applies:
                raise StrategyError(
                    f"{strategy.arm}: expected {name} false, it cannot apply {gene}"
                )
        if self.settings.models != "global" and strategy.own_tuner is None:
            raise StrategyError(
                f"{strategy.arm}: expected models 'global', received {self.settings.models!r}: "
                f"{GENETIC} alone trains a model per cluster"
            )
        init = self.settings.init
        if init != "random" and not strategy.trains_apart:
            raise StrategyError(
                f"{strategy.arm}: expected init 'random', received {init!r}: a probe starts "
                "everybody from one model"
            )
        probed = {"probe": ("learning_rate", "batch_size"), "grid": ("learning_rate",)}
        for name in probed.get(init, ()):
            if self.cube is not None and name not in self.cube.genes:
                raise StrategyError(
                    f"{strategy.arm}: init {init!r} expects genes.{name}, which is not declared"
                )

    def prepare(self, strategy: "FedAvg", grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Probe if asked to, give every client of the first cohort genes, and cluster."""
        cohort = strategy.cohort(1)
        if self.settings.init in ("probe", "reference"):
            arrays = self._probe(strategy, grid, arrays, cohort)
        elif self.settings.init == "grid":
            self._try_rates(strategy, grid, arrays, cohort)
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
        losses = self.breeding.seen(islands, self.judge.losses, server_round)
        if self.width is not None:
            self.width = adapted(self.width, islands, losses, self.judge.latest)
        before = self.genomes
        generation = self._generation(islands, losses, server_round)
        for label, members in islands.items():
            for client in members:
                self.population[client] = replace(generation[client], cluster=label)
        self._welcome([client for client in cohort if client not in self.population])
        after = {client: self.population[client].genome for client in cohort}
        self.judge.changed(before, after, server_round)
        assigned = {client: self._scheduled(client, server_round) for client in cohort}
        if self.settings.schedule != "none":
            self.trained |= dict.fromkeys(cohort, server_round)
        return assigned

    def _generation(
        self,
        islands: Mapping[int, Mapping[int, Assignment]],
        losses: Mapping[int, float],
        server_round: int,
    ) -> dict[int, Assignment]:
        """Return what becomes of every member: a move, where one is due, then migration."""
        own = self.settings
        after = {c: unchanged(c, now) for members in islands.values() for c, now in members.items()}
        records = self.breeding.seen(islands, self.judge.records, server_round)
        keep = {c for part in islands.values() for c in self.judge.unbeaten(part, records)}
        expired = self.judge.expired(server_round)
        migrants = self.breeding.migrants(islands, losses, server_round)
        taken = {client: migrant.parent for client, migrant in migrants.items()}
        copies = {} if self.cube is None else self.cube.copies(taken)
        if (server_round - 1) % own.move_every == 0:
            if own.move == "halving":
                freed = self.breeding.halved(islands, losses)
                donors = {client: given.parent for client, given in freed.items()}
                copies = {} if self.cube is None else self.cube.copies(donors) | copies
                after |= freed
            elif self.cube is not None:
                after |= self.cube.generation(
                    islands, losses, self.width, server_round, expired, keep
                )
            else:
                moved = self.breeding.generation(islands, losses, self.width, server_round, expired)
                after |= {c: to for c, to in moved.items() if c not in keep or to.origin == "elite"}
        if self.cube is not None:
            self.cube.put(copies)
        return after | migrants

    def _scheduled(self, client: int, server_round: int) -> Assignment:
        """Return what a client trains with in a round: of its rate, the share that is due."""
        held, own = self.population[client], self.settings
        if own.schedule == "none":
            return held
        now = share(server_round, own.horizon, own.floor)
        genome = replace(held.genome, learning_rate=held.genome.learning_rate * now)
        if held.mutation is None:
            return replace(held, genome=genome)
        # What was inherited is the rate of the parent's last round, which had its own share.
        parent = client if held.parent is None else held.parent
        last = self.trained.get(parent, 1)
        fell = now / share(last, own.horizon, own.floor)
        return replace(held, genome=genome, mutation=held.mutation * fell)

    def _welcome(self, clients: list[int]) -> None:
        """Give newcomers random genes, and the cluster of their nearest neighbour."""
        if not clients:
            return
        drawn = {client: self._random(client) for client in clients}
        if self._all_in_one:
            placed = dict.fromkeys(clients, 0)
        else:
            labels = {c: a.cluster for c, a in self.population.items() if a.cluster is not None}
            newcomers = {client: assignment.genome for client, assignment in drawn.items()}
            of = features if self.cube is None else self.cube.features
            placed = place_all(newcomers, self.genomes, labels, self.settings.eps, of)
        for client, assignment in drawn.items():
            self.population[client] = replace(assignment, cluster=placed[client])

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Say which samples the clients of a cluster are judged on, if it is the same ones."""
        if self.fitness != "common":
            return {}
        held = self.population.get(client)
        label = NOISE if held is None or held.cluster is None else held.cluster
        return {protocol.COMMON: [label - NOISE, self.settings.common_samples]}

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in what the clients report."""
        super().learn(outcome)
        self.judge.learn(outcome)

    def state(self) -> dict[str, Any]:
        """Return genes, clusters and losses as JSON values."""
        population = {str(c): a.as_json() for c, a in sorted(self.population.items())}
        width = {} if self.width is None else {"width": self.width}
        cube = {} if self.cube is None else {"cube": self.cube.state()}
        trained = {str(client): number for client, number in sorted(self.trained.items())}
        return {
            **super().state(),
            "population": population,
            **self.judge.state(),
            **width,
            **cube,
            **({"trained": trained} if trained else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up genes, clusters and losses."""
        super().restore(state)
        self.population = {
            int(client): Assignment.from_json(values)
            for client, values in state["population"].items()
        }
        self.judge.restore(state)
        if self.width is not None:
            self.width = float(state["width"])
        if self.cube is not None:
            self.cube.restore(state["cube"])
        self.trained = {int(c): int(number) for c, number in state.get("trained", {}).items()}

    @property
    def _all_in_one(self) -> bool:
        nothing = self.cube is not None and not self.cube.genes
        return self.settings.control == "one-cluster" or nothing

    def _cube(self, genes: Genes) -> Cube | None:
        """Return where genes are places: where they are declared, or a move asks for places."""
        own = self.settings
        if genes or own.moves_places:
            for name, gene in SWITCHES.items():
                if getattr(own, name):
                    raise StrategyError(
                        f"{self.ground.arm}: expected {name} false, received true: declare "
                        f"genes.{gene} instead"
                    )
        if not genes and not own.moves_places:
            return None
        if not genes and own.rates[0] == own.rates[1]:
            raise StrategyError(
                f"{self.ground.arm}: rates: expected a range, received {[*own.rates]}: there is "
                "nowhere to move"
            )
        designed = {
            "learning_rate": Gene(*own.rates, "log"),
            "batch_size": Gene(*BATCHES, "log", whole=True),
        }
        return Cube(self.seed, self.of_clients if genes else designed, self.ground.usual, own)

    def _random(self, client: int) -> Assignment:
        if self.cube is not None:
            return Assignment(self.cube.born(client), "random")
        drawn = random_genome(rng(self.seed, "genome", 0, client), self.settings.rates)
        return Assignment(self._complete(client, drawn), "random")

    def _complete(self, client: int, genome: Genome) -> Genome:
        """Draw the genes of the design that a start gives to nobody by itself."""
        if self.settings.evolve_epochs:
            draw = rng(self.seed, "genome-epochs", 0, client)
            genome = replace(
                genome, local_epochs=int(draw.integers(1, self.breeding.most_epochs + 1))
            )
        if self.settings.evolve_momentum:
            draw = rng(self.seed, "genome-momentum", 0, client)
            genome = replace(genome, momentum=float(draw.uniform(0.0, MOST_AT_START)))
        return genome

    def _started(self, client: int, genome: Genome) -> Assignment:
        """Return the first genes of a client for which a probe has found some of them."""
        if self.cube is None:
            return Assignment(self._complete(client, genome), "probe")
        drawn = self.cube.born(client)
        probed = {name: getattr(genome, name) for name in ("learning_rate", "batch_size")}
        own = {name: value for name, value in probed.items() if name in self.cube.genes}
        return Assignment(self.cube.take(client, replace(drawn, **own)), "probe")

    def _cluster(self) -> None:
        own = self.settings
        if self._all_in_one:
            labels = dict.fromkeys(self.population, 0)
        else:
            of = features if self.cube is None else self.cube.features
            labels = cluster(self.genomes, own.eps, own.min_samples, of)
        if self.cube is not None:
            self.cube.regrouped()
        for client, label in labels.items():
            self.population[client] = replace(self.population[client], cluster=label)

    def _probe(
        self, strategy: "FedAvg", grid: Grid, arrays: ArrayRecord, cohort: list[int]
    ) -> ArrayRecord:
        strategy.outcome, kept = probe(strategy, grid, arrays, cohort)
        if self.settings.init == "probe":
            for client, genome in kept.items():
                moved = jitter(genome, rng(self.seed, "probe-jitter", 0, client))
                self.population[client] = self._started(client, moved)
            self.judge.learn(strategy.outcome)
            self.judge.forget_rounds()  # of genes that were moved since
        return strategy.mean(0, strategy.outcome)

    def _try_rates(
        self, strategy: "FedAvg", grid: Grid, arrays: ArrayRecord, cohort: list[int]
    ) -> None:
        """Start everybody's rate near the best of a log grid; the models are thrown away."""
        declared = None if self.cube is None else self.cube.genes["learning_rate"]
        low, high = self.settings.rates if declared is None else (declared.low, declared.high)
        genomes = {client: self._random(client).genome for client in cohort}
        best = probed_rate(strategy, grid, arrays, genomes, (low, high))
        for client, genome in genomes.items():
            near = near_rate(best, low, high, rng(self.seed, "rate-grid-start", 0, client))
            self.population[client] = self._started(client, replace(genome, learning_rate=near))
