"""The arms of a comparison: a federated strategy on a grid, or pooled training."""

from collections.abc import Mapping
from typing import Any, Protocol

from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import Grid

import strategies
from fedgen.config import plugins
from fedgen.config import strategies as own
from fedgen.config.sections import CENTRALISED, is_pooled
from fedgen.config.tree import Arm, Config
from fedgen.engine.plan import Moments, Plan, batch_order
from fedgen.errors import InputError, RunError
from fedgen.federation.flower import START_SECONDS
from fedgen.federation.grid import GRACE_SECONDS
from fedgen.federation.resources import Resources
from strategies import Named, parse
from strategies.core.aggregation import Arrays
from strategies.core.cohort import cohort_size
from strategies.core.genes import Genes
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import (
    OK,
    POOLED,
    ClientOutcome,
    RoundOutcome,
    StrategyError,
    Unusable,
    Update,
)
from strategies.core.settings import FixedRate
from strategies.fedavg import FedAvg
from strategies.messages.arrays import read_arrays
from strategies.streams import rng
from strategies.trials import Searched


class Player(Protocol):
    """What the round loop plays: weights in, weights and outcome out."""

    def start(self, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Do what comes before round 1."""

    def step(self, server_round: int, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Play one round."""

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return what a resumed run needs: JSON values, and arrays."""

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what ``state`` returned."""


class Federated:
    """A strategy and the grid that its clients are on."""

    def __init__(self, strategy: FedAvg, grid: Grid) -> None:
        self.strategy = strategy
        self.grid = grid

    def start(self, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Initialise the strategy; a probe changes the weights and has an outcome."""
        try:
            arrays = self.strategy.initialise(self.grid, ArrayRecord(weights))
        except Unusable:
            raise
        except StrategyError as error:
            raise RunError(str(error)) from error
        return read_arrays(arrays), self.strategy.outcome

    def step(self, server_round: int, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Play one round, in the same calls as Flower's own ``Strategy.start``."""
        try:
            messages = self.strategy.configure_train(
                server_round, ArrayRecord(weights), ConfigRecord(), self.grid
            )
            replies = self.grid.send_and_receive(messages, timeout=self.strategy.reply_timeout)
            arrays, _ = self.strategy.aggregate_train(server_round, replies)
        except Unusable:
            raise
        except StrategyError as error:
            raise RunError(str(error)) from error
        if arrays is None:
            raise RunError(f"round {server_round}: the strategy returned no weights")
        return read_arrays(arrays), self.strategy.outcome

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return the strategy's state."""
        return self.strategy.state(), self.strategy.state_arrays()

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up the strategy's state."""
        self.strategy.restore(state)
        self.strategy.restore_arrays(arrays)


class Centralised:
    """Training on the whole training set but the held-out share; a round is an epoch.

    One optimiser lives through all rounds, as in ordinary training.
    """

    def __init__(self, held: Resources, strategy: str, seed: int) -> None:
        self.engine = held.engine(seed)
        self.samples = held.partition(seed).training
        settings: FixedRate = own.read(CENTRALISED, held.config.section_of(strategy))
        self.genome = Genome(settings.learning_rate, settings.batch_size)
        self.seed = seed
        self.moments: Moments | None = None

    def start(self, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Change nothing."""
        return weights, RoundOutcome()

    def step(self, server_round: int, weights: Arrays) -> tuple[Arrays, RoundOutcome]:
        """Train one epoch."""
        draw = rng(self.seed, "centralised-order", server_round)
        dropout = rng(self.seed, "centralised-dropout", server_round)
        trained = self.engine.train(
            weights,
            Plan(
                self.genome.learning_rate,
                self.genome.batch_size,
                batch_order(self.samples, draw, 1),
                int(dropout.integers(2**31)),
                self.moments,
            ),
            keep=True,
        )
        self.moments = trained.moments
        update = Update(
            arrays=trained.weights,
            applied=Genome(trained.learning_rate, trained.batch_size),
            fitness=float("nan"),
            train_loss=trained.losses[-1],
            num_examples=len(self.samples),
            samples=len(self.samples),
            epochs=1,
            seconds=0.0,
        )
        pooled = ClientOutcome(POOLED, Assignment(self.genome, "fixed"), OK, update)
        return trained.weights, RoundOutcome((pooled,))

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return the optimiser's state."""
        if self.moments is None:
            return {"steps": 0}, []
        return {"steps": self.moments.steps}, [*self.moments.first, *self.moments.second]

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up the optimiser's state."""
        half = len(arrays) // 2
        if half:
            self.moments = Moments(arrays[:half], arrays[half:], int(state["steps"]))


def reply_timeout(config: Config) -> float | None:
    """Return how long a round waits for its replies: as if clients ran one after another.

    A client that hangs on a runtime of Flower's then ends a round late, not never. No client's
    own deadline counts the time in which its process builds the engine.
    """
    deadline = config.training.deadline
    cohort = cohort_size(config.partition.clients, config.cohort.fraction)
    return START_SECONDS + cohort * (deadline + GRACE_SECONDS) if deadline else None


def strategy_class(name: str) -> type[Any]:
    """Return the class of a strategy, fedgen's, a variant's or a user's own; or of pooled training.

    Raises:
        InputError: If it is a user's own and cannot be had.
    """
    return Centralised if is_pooled(name) else own.load(name)


def has_tuner(name: str) -> bool:
    """Return whether a tuner chooses the hyperparameters of a strategy.

    Raises:
        InputError: If it is a user's own and cannot be had.
    """
    return bool(parse(name).tuner or getattr(strategy_class(name), "own_tuner", None))


def check_strategy(arm: Arm, held: Resources) -> None:
    """Check that what plays an arm can be built.

    Raises:
        InputError: If it is a user's own and cannot be had.
        StrategyError: If it does not go with the other settings.
    """
    if strategy_class(arm.strategy) is Centralised:
        return
    try:
        build_strategy(arm, held)
    except TypeError as error:
        if not plugins.is_own(parse(arm.strategy).strategy):
            raise
        raise InputError(f"strategy {arm.strategy!r}: cannot be built ({error})") from error


def build_strategy(arm: Arm, held: Resources) -> FedAvg:
    """Build a strategy; what its section does not say has the strategy's own default.

    Raises:
        InputError: If it does not go with the schedule of the learning rate.
    """
    config = arm.config
    # Of one's own strategy the section may be empty: its constructor may pin what it inherits.
    named = parse(arm.strategy)
    section = config.trained_section_of(arm.strategy)
    settings = own.read(named.strategy, section)
    own.check_schedule(arm.strategy, config.training)
    kind = strategy_class(arm.strategy)
    strategy: FedAvg = kind(
        seed=arm.seed,
        clients=config.partition.clients,
        fraction=config.cohort.fraction,
        resample=config.cohort.resample,
        query_timeout=config.cohort.deadline,
        min_available=config.cohort.min_available,
        examples={
            client: len(mine.train) for client, mine in enumerate(held.partition(arm.seed).clients)
        },
        reply_timeout=reply_timeout(config),
        aggregation=config.aggregation.rule(),
        privacy=config.privacy.rule(),
        compression=config.messages.compression,
        arm=arm.strategy,
        statistics=held.statistics(arm.seed),
        fingerprint=held.fingerprint,
        local_epochs=config.training.local_epochs,
        local_momentum=config.training.momentum if config.training.optimizer == "sgd" else 0.0,
        local_nesterov=config.training.nesterov,
        **tuned_by(named, kind, config.section_of(arm.strategy), config.genes.declared),
        **{key: getattr(settings, key) for key in section},
    )
    return strategy


def tuned_by(
    named: Named, kind: type[FedAvg], section: Mapping[str, Any], genes: Genes
) -> dict[str, Any]:
    """Return what a strategy is told of its tuner; nothing where it has none.

    Args:
        named: What the arm's name stands for.
        kind: The strategy that trains.
        section: Settings of the tuner, where one stands before a slash.
        genes: The genes that are declared.

    Raises:
        InputError: If the strategy chooses hyperparameters itself.
    """
    if not named.tuner:
        return {"genes": genes} if getattr(kind, "own_tuner", None) else {}
    if kind.own_tuner or kind.assign is not FedAvg.assign or issubclass(kind, Searched):
        raise InputError(
            f"{named.tuner} cannot choose for {named.strategy}: it chooses hyperparameters itself"
        )
    return {
        "tuner": strategies.load(named.tuner).own_tuner,
        "tuning": own.read(named.tuner, section),
        "genes": genes,
    }
