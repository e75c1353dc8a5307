"""Federated averaging with a setting per client, and the base of the other strategies.

Flower's own ``FedAvg`` sends one shared config to everybody, samples nodes with the global
generator, and averages whatever comes back. This one assigns every client its own hyperparameters,
samples partitions from a named stream, and uses a reply only after it was checked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from strategies.core.aggregation import Aggregation, Arrays, Statistics
from strategies.core.cohort import cohort_size, draw_cohort
from strategies.core.genes import OF_CLIENTS, Genes
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.core.privacy import Privacy, noisy_mean
from strategies.core.settings import FixedRate, fixed_genome
from strategies.core.weighting import Weighting, update_weights
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays
from strategies.messages.compression import Compression
from strategies.messages.exchange import Exchange
from strategies.messages.peers import Peers
from strategies.messages.replies import (
    check_applied,
    check_work,
)
from strategies.streams import of_arm, rng
from strategies.tuning.tuner import Ground, Tuner, check_genes, check_rates


class FedAvg(Exchange):
    """Plain federated averaging (McMahan et al., 2017, arXiv 1602.05629).

    Args:
        seed: Seed of every draw, at least 0.
        clients: Number of partitions, ids 0 to ``clients - 1``.
        fraction: Share of the clients in a cohort, in (0, 1].
        resample: Draw a new cohort each round instead of one for the whole run.
        local_epochs: Epochs that a client trains per round.
        local_momentum: Momentum of the clients' SGD, in [0, 1); 0 for other optimisers.
        local_nesterov: Whether that is Nesterov's.
        weighting: Average by training samples (the default), uniformly, or by samples times the
            rank of the fitness (see ``strategies.core.weighting.rank_weights``).
        fitness: What clients report as fitness, ``"validation"`` by default.
        query_timeout: Seconds to wait for nodes to come online, counted anew whenever one did.
        min_available: Clients of a cohort that must be online, once all of the first
            one were; 0 for half of them.
        fingerprint: Of the data set that every node must have; ``""`` asks for none.
        examples: Training samples of every client, where known: who claims another is refused.
        reply_timeout: Seconds to wait for a round's replies; ``None`` for as long as it takes.
        aggregation: How updates become one model.
        privacy: Differential privacy; weights are then uniform.
        arm: Name of the arm, which has privacy noise of its own; ``""`` for the class's name.
        statistics: Which arrays, by position, are moving statistics of batch normalisation.
        compression: How clients code what they send; lossy codes are of updates.
        tuner: What chooses hyperparameters; ``None`` for the class's own, if it has one.
        tuning: Its settings; ``None`` for the strategy's, where the tuner is the class's own.
        genes: The genes that it evolves or searches; none for those that it was designed with.
        **own: Fields of ``Settings``.

    Attributes:
        Settings: A frozen dataclass of what the strategy itself takes; another one has its own.
        selects_on_losses: Whether hyperparameters depend on what clients report; no
            noise covers that.
        needs_constant_rate: Whether it reckons with one rate for all steps of a local training.
        trains_apart: Whether all clients of a round start from what the server has.
        several_models: Whether several models can be trained side by side: nothing of one is kept
            but its weights, and ``average`` is called for each, with the replies of those who
            trained it. Every class says so itself, and none inherits it.
        own_tuner: What chooses hyperparameters, in a strategy that is made by a tuner.
        applies: Names of the genes that it can apply.
        settings: What it was given of ``Settings``.
        tuner: What chooses hyperparameters; ``None`` where everybody trains alike.
        genome: What everybody trains with, where the settings say it.
        outcome: What became of the latest round (of the probe, before round 1).
        assigned: What every client of the round in progress was told to train with.

    Raises:
        StrategyError: If the cohort would be empty, or is too small for the aggregation.
    """

    Settings: ClassVar[type[Any]] = FixedRate
    settings: Any
    own_tuner: ClassVar[type[Tuner] | None] = None
    applies: ClassVar[frozenset[str]] = frozenset(OF_CLIENTS) - {"mu"}
    selects_on_losses = False
    needs_constant_rate = False
    trains_apart = True
    several_models = True

    def __init__(
        self,
        *,
        seed: int = 0,
        clients: int = 100,
        fraction: float = 0.3,
        resample: bool = False,
        local_epochs: int = 2,
        local_momentum: float = 0.0,
        local_nesterov: bool = False,
        weighting: Weighting | None = None,
        fitness: str | None = None,
        query_timeout: float = 60.0,
        min_available: int = 0,
        fingerprint: str = "",
        examples: Mapping[int, int] | None = None,
        reply_timeout: float | None = None,
        aggregation: Aggregation | None = None,
        privacy: Privacy | None = None,
        arm: str = "",
        statistics: Statistics | None = None,
        compression: Compression = "none",
        tuner: type[Tuner] | None = None,
        tuning: Any = None,
        genes: Genes | None = None,
        **own: Any,
    ) -> None:
        names = {field.name for field in fields(self.Settings)}
        shared = {"weighting": weighting, "fitness": fitness}
        own |= {key: value for key, value in shared.items() if value and key in names}
        self.settings = self.Settings(**own)
        arm = arm or type(self).__name__
        peers = Peers(seed, clients, query_timeout, min_available, fingerprint, examples or {})
        super().__init__(seed, arm, peers, privacy or Privacy(), statistics or {}, compression)
        self.genome = fixed_genome(self.settings)
        cohort = cohort_size(clients, fraction)
        self.tuner = self._tuned(tuner, tuning, cohort, local_epochs, genes or {})
        told = self.settings if self.tuner is None else self.tuner
        self.weighting: Weighting = weighting or getattr(told, "weighting", None) or "samples"
        self.fitness: str = fitness or getattr(told, "fitness", None) or "validation"
        if cohort < 1:
            raise StrategyError(f"a cohort of {fraction:g} x {clients} clients is empty")
        self.aggregation = aggregation or Aggregation()
        try:
            self.aggregation.check(cohort)
        except ValueError as error:
            raise StrategyError(str(error)) from error
        self.clients = clients
        self.fraction = fraction
        self.resample = resample
        self.local_epochs = local_epochs
        self.local_momentum = local_momentum
        self.local_nesterov = local_nesterov
        self.reply_timeout = reply_timeout
        self.outcome = RoundOutcome()
        self._initialised = False
        self.assigned: dict[int, Assignment] = {}
        if self.tuner is not None:
            self.tuner.check(self)

    # What a strategy on top of this one changes.

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Do what comes before round 1 and return the weights that it starts from."""
        return arrays

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Return what every client of the cohort is to train with."""
        if self.tuner is not None:
            return self.tuner.assign(server_round, cohort)
        return {client: Assignment(self.usual(client), "fixed") for client in cohort}

    def usual(self, client: int) -> Genome:
        """Return what a client trains with where no tuner says otherwise."""
        return self.genome

    def take_up(self, settings: Mapping[str, float]) -> None:
        """Let the server work with other settings from now on: those of ``applies`` that are its.

        Args:
            settings: Values by the names of ``strategies.core.genes.OF_THE_SERVER``.
        """

    def model_for(self, client: int, arrays: ArrayRecord) -> ArrayRecord:
        """Return what a client is to train from: a model that its tuner has for it, if it does."""
        own = None if self.tuner is None else self.tuner.model_for(client)
        return arrays if own is None else like(own, arrays)

    def applied(self, update: Update) -> Genome:
        """Return what a client says that it has applied of what it was told."""
        return update.applied

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Return what a client's config says beside its hyperparameters."""
        return {}

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse an update that is not of what was asked for.

        Args:
            client: Who sent it.
            update: What its reply holds, of the right form.

        Raises:
            ReplyError: If it was trained otherwise than ``assigned`` says; the text says how.
        """
        genome = self.assigned[client].genome
        check_applied(genome, self.applied(update))
        check_work(update, genome.local_epochs or self.local_epochs)

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in what became of a round."""

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, what a resumed run needs beside the weights."""
        tuned = {} if self.tuner is None else self.tuner.state()
        return {"initialised": self._initialised, **tuned}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self._initialised = bool(state["initialised"])
        if self.tuner is not None:
            self.tuner.restore(state)

    def state_arrays(self) -> Arrays:
        """Return, as arrays, what a resumed run needs beside ``state``."""
        return [] if self.tuner is None else self.tuner.arrays()

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up what ``state_arrays`` returned; called after ``restore``."""
        if self.tuner is not None:
            self.tuner.restore_arrays(arrays)

    # The round, in the order in which it happens.

    def initialise(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Prepare the run; idempotent, so that both callers below may call it.

        fedgen's round loop calls it before round 0 is evaluated; under Flower's own ``start`` the
        first ``configure_train`` does.

        Returns:
            The weights to start from; on a second call, the arrays given.
        """
        if not self._initialised:
            if self.tuner is not None:
                arrays = self.tuner.prepare(self, grid, arrays)
            arrays = self.prepare(grid, arrays)
            self._initialised = True
        return arrays

    def cohort(self, server_round: int) -> list[int]:
        """Return the partition ids of a round's cohort, ascending."""
        size = cohort_size(self.clients, self.fraction)
        return draw_cohort(self.seed, self.clients, size, server_round if self.resample else 0)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Build one message per cohort client, each with hyperparameters of its own."""
        arrays = self.initialise(grid, arrays)
        cohort = self.cohort(server_round)
        self.allot(server_round, cohort)
        settings = {client: {**config, **self.told(client)} for client in self.assigned}
        return self.messages(grid, server_round, arrays, settings)

    def allot(self, server_round: int, cohort: list[int]) -> None:
        """Decide what everybody trains with, in the cohort's order."""
        assigned = self.assign(server_round, cohort)
        self.assigned = {client: assigned[client] for client in cohort}

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the usable replies.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        self.outcome = self.judge_round(replies)
        if self.tuner is not None:
            # The clients' losses are of what the latest server's step led to; now comes another.
            self.tuner.learn(self.outcome)
            served = self.tuner.serve(server_round)
            self.take_up(served)
            self.outcome = replace(self.outcome, server=served)
        self.learn(self.outcome)
        if self.tuner is None:
            arrays = self.average(server_round, self.outcome)
        else:
            arrays = self.tuner.average(self, server_round, self.outcome)
        metrics = MetricRecord(
            {
                protocol.TRAIN_LOSS: self.outcome.train_loss,
                protocol.NUM_EXAMPLES: sum(update.num_examples for update in self.outcome.updates),
                "rejected": self.outcome.rejected,
                "failed": self.outcome.failed,
            }
        )
        return arrays, metrics

    def judge_round(self, replies: Iterable[Message]) -> RoundOutcome:
        """Sort out the replies to a round's messages."""
        return self.judge(replies, self.assigned, self.check_reply)

    # The parts of a round that a probe shares.

    def told(self, client: int) -> dict[str, Any]:
        """Return what the config of a client's training message says."""
        genome = self.assigned[client].genome
        further = genome.having(protocol.FURTHER.values())
        return {
            protocol.LEARNING_RATE: genome.learning_rate,
            protocol.BATCH_SIZE: genome.batch_size,
            protocol.LOCAL_EPOCHS: genome.local_epochs or self.local_epochs,
            **{key: further[name] for key, name in protocol.FURTHER.items() if name in further},
            **self.asked(client),
        }

    def asked(self, client: int) -> dict[str, Any]:
        """Return what a client is told beside its hyperparameters, in a probe as well."""
        tuned = {} if self.tuner is None else self.tuner.instructions(client)
        return {**self.instructions(client), **tuned}

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Make the new model of a round's usable updates.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        return self.mean(server_round, outcome)

    def mean(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates in partition order.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        outcome.require(server_round)
        updates = outcome.updates
        weights = self.weights(updates)
        arrays, start = [update.arrays for update in updates], read_arrays(self.reference)
        if self.privacy.kind == "central":
            draw = rng(self.seed, of_arm("central-privacy", self.noise()), server_round)
            combined = noisy_mean(arrays, start, self.privacy, self.statistics, draw)
        else:
            combined = self.aggregation.combine(arrays, weights, start, self.statistics)
        return like(combined, self.reference)

    def weights(self, updates: list[Update]) -> list[float]:
        """Return the weight of every usable update in the average, finite and positive."""
        return update_weights(updates, "uniform" if self.privacy.kind != "none" else self.weighting)

    def _tuned(
        self,
        tuner: type[Tuner] | None,
        tuning: Any,
        cohort: int,
        local_epochs: int,
        genes: Genes,
    ) -> Tuner | None:
        """Make the tuner, its settings being the strategy's own where it is the class's own."""
        kind = tuner or self.own_tuner
        if kind is None:
            if genes:
                raise StrategyError(f"{self.arm}: expected a tuner for genes, received none")
            return None
        check_genes(self, [*genes])
        settings = self.settings if tuner is None else tuning or kind.Settings()
        check_rates(self.arm, settings, genes)
        return kind(Ground(self.seed, self.arm, cohort, local_epochs, self.usual), settings, genes)
