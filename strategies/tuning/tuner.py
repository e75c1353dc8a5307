"""A tuner: what chooses every client's hyperparameters, over any strategy that trains.

A strategy says how updates become one model, and what clients do beside their optimiser's step; a
tuner says who trains with which hyperparameters. So every tuner goes with every strategy.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from strategies.core.aggregation import Arrays
from strategies.core.genes import OF_CLIENTS, OF_THE_SERVER, Genes, values_at
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome, StrategyError, mean_fitness
from strategies.evolution.moves import server
from strategies.streams import rng

if TYPE_CHECKING:
    from strategies.fedavg import FedAvg


@dataclass(frozen=True)
class Ground:
    """What a tuner knows of the strategy that it chooses for.

    Attributes:
        seed: Seed of every draw.
        arm: Name of the arm, for errors.
        cohort: Clients of a round.
        local_epochs: Epochs that a client trains where they are no gene.
        usual: Returns what a client trains with where no gene says otherwise.
    """

    seed: int
    arm: str
    cohort: int
    local_epochs: int
    usual: Callable[[int], Genome]


MIDDLE = 0.5
"""Where in their ranges the server's genes start."""


class Tuner(ABC):
    """What chooses hyperparameters.

    Args:
        ground: What it chooses for.
        settings: An instance of ``Settings``.
        genes: The genes that are declared; none for those that the tuner was designed with.

    Attributes:
        Settings: A frozen dataclass of what the tuner takes.
        selects_on_losses: Whether hyperparameters depend on what clients report.
        fitness: What clients are to report as fitness.
        weighting: How much every update weighs, if the tuner has a say in that.
        declared: Whether genes are declared.
        of_clients: The declared genes that every client has a value of.
        of_the_server: Those that the whole population has one value of.
    """

    Settings: ClassVar[type[Any]]
    selects_on_losses: ClassVar[bool] = True

    def __init__(self, ground: Ground, settings: Any, genes: Genes) -> None:
        self.ground = ground
        self.settings = settings
        self.fitness: str = getattr(settings, "fitness", "validation")
        self.weighting: Any = getattr(settings, "weighting", None)
        self.declared = bool(genes)
        self.of_clients = {name: genes[name] for name in OF_CLIENTS if name in genes}
        self.of_the_server = {name: genes[name] for name in OF_THE_SERVER if name in genes}
        self.search = server.State((MIDDLE,) * len(self.of_the_server))

    def check(self, strategy: "FedAvg") -> None:
        """Refuse a strategy that the tuner cannot choose for.

        Raises:
            StrategyError: If it cannot; the text says why.
        """
        if self.of_the_server and self.fitness != "validation":
            first = next(iter(self.of_the_server))
            raise StrategyError(
                f"{strategy.arm}: expected fitness 'validation' with genes.{first}, which "
                f"the clients' mean validation loss judges, received {self.fitness!r}"
            )

    def prepare(self, strategy: "FedAvg", grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Do what comes before round 1, as a probe, and return the weights to start from."""
        return arrays

    @abstractmethod
    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Return what every client of the cohort is to train with."""

    def serve(self, server_round: int) -> Mapping[str, float]:
        """Return the settings of the strategy's server in a round, as far as they are genes.

        All clients have them in common, so an evolution strategy tries them round by round, from
        the middle of their ranges (``strategies.evolution.moves.server``). It is asked once the
        round's replies are learnt from: these say what the round before has led to.
        """
        if not self.of_the_server:
            return {}
        self.search = server.propose(
            self.search, rng(self.ground.seed, "server-genes", server_round)
        )
        return values_at(self.of_the_server, self.search.place.tolist())

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Return what a client's config says for the tuner's sake."""
        return {}

    def model_for(self, client: int) -> Arrays | None:
        """Return the model that a client is to train, where it is not the strategy's."""
        return None

    def average(self, strategy: "FedAvg", server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Return the new model: what the strategy makes of a round, if there is but one.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        return strategy.average(server_round, outcome)

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in what became of a round."""
        if self.of_the_server:
            self.search = server.learn(self.search, mean_fitness(outcome.updates))

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, what a resumed run needs.

        It stands beside what the strategy keeps, so its keys are none of that one's.
        """
        return {"server": self.search.as_json()} if self.of_the_server else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        if self.of_the_server:
            self.search = server.State.from_json(state["server"])

    def arrays(self) -> Arrays:
        """Return, as arrays, what a resumed run needs beside ``state``."""
        return []

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up what ``arrays`` returned; called after ``restore``.

        Raises:
            ValueError: If there are some, and the tuner keeps none.
        """
        if arrays:
            raise ValueError(f"expected no arrays beside the weights, received {len(arrays)}")


def check_rates(arm: str, settings: Any, genes: Genes) -> None:
    """Refuse a range of rates beside declared genes, which say where rates lie, if they evolve.

    Raises:
        StrategyError: If the settings have one of their own.
    """
    usual, own = (getattr(one, "rates", None) for one in (type(settings)(), settings))
    if genes and own != usual:
        raise StrategyError(
            f"{arm}: expected rates {list(usual or ())} beside genes.{next(iter(genes))}, as genes "
            f"that are declared say where rates lie, received {list(own or ())}"
        )


def check_genes(strategy: "FedAvg", genes: Sequence[str]) -> None:
    """Check that a strategy applies all genes.

    Raises:
        StrategyError: Naming the first one that it does not.
    """
    for name in genes:
        if name not in strategy.applies:
            raise StrategyError(
                f"genes.{name}: {strategy.arm} cannot apply it, expected genes among "
                f"{', '.join(sorted(strategy.applies))}"
            )
