"""A tournament: settings compete, each by the model that it has trained so far, in one run.

What a client's loss says of its settings is of its own model alone, after one round. Here every
entrant, a genome, has a model of its own, the average of those who train it; so it is judged by
what it has led to. Clients are dealt out anew in every round, so that no model is that of the same
few, and report how wrong the model is that they were sent, before they train it: nothing is
trained for a judgement's sake. The worst entrant falls out from time to time, and those who
trained it train the others.

Racing (Maron and Moore, 1994, "Hoeffding races", NeurIPS 6) drops what is worst so far;
successive halving (Jamieson and Talwalkar, 2016, arXiv 1502.07943) gives those that are left what
it saves; several models at once within one federation, of which one is left, are those of FedPop
(Chen et al., 2023, arXiv 2308.08634), which perturbs them as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from strategies.core.aggregation import Arrays
from strategies.core.genes import Gene, Genes, genome_at
from strategies.core.hyperparameters import Assignment
from strategies.core.outcomes import ClientOutcome, RoundOutcome, StrategyError
from strategies.core.settings import Positive, RandomRates, Rate
from strategies.evolution.judges.ranks import Record, remember
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays
from strategies.streams import rng
from strategies.tuning.probe import probed_rate
from strategies.tuning.tuner import Ground, Tuner

if TYPE_CHECKING:
    from numpy.random import Generator


STEP = 0.5
"""Decades from one rate to the next where rates start from a probe."""


@dataclass(frozen=True)
class Competing(RandomRates):
    """Settings of a tournament."""

    rates: tuple[Rate, Rate] = (1e-4, 1e-1)
    """Lowest and highest learning rate of an entrant; others lie evenly between, log-uniformly."""
    entrants: Annotated[int, Ge(2), Le(100)] = 7
    """How many there are at first, at most one per client of a cohort, which they share."""
    every: Positive = 1
    """Rounds after which another one falls out, from the second round on."""
    halflife: Annotated[float, Gt(0)] = 1.0
    """Rounds after which what was said of an entrant's model counts half."""
    init: Literal["spread", "grid"] = "spread"
    """Where rates start: all over the range; or, at a cost that is counted, around the one that is
    best for single clients after an epoch, half a decade apart."""


class Tournament(Tuner):
    """Entrants with models of their own, of which the worst falls out until one is left.

    Attributes:
        entrants: Where every entrant is in the unit cube of the genes, by number.
        left: Numbers of those that are left, ascending.
        models: Weights of every one of them.
        records: What is known of how wrong their models are.
        dealt: Which entrant every client of the round trains.

    Raises:
        StrategyError: If there is but one rate.
    """

    Settings = Competing
    settings: Competing

    def __init__(self, ground: Ground, settings: Any, genes: Genes) -> None:
        super().__init__(ground, settings, genes)
        if not genes and settings.rates[0] == settings.rates[1]:
            raise StrategyError(
                f"{ground.arm}: rates: expected a range, received {[*settings.rates]}: all "
                "entrants would be the same"
            )
        self.fitness = "sent"
        low, high = settings.rates
        self.genes = self.of_clients if genes else {"learning_rate": Gene(low, high, "log")}
        draw = rng(ground.seed, "tournament-entrants")
        entrants = min(settings.entrants, ground.cohort)
        self.entrants = spread(entrants, len(self.genes), draw)
        self.left = [*range(entrants)]
        self.models: dict[int, Arrays] = {}
        self.records: dict[int, Record] = {}
        self.dealt: dict[int, int] = {}
        self.round = 0
        self.probing = False

    def check(self, strategy: FedAvg) -> None:
        """Refuse what has more to a model than weights, and cohorts that cannot be shared.

        Raises:
            StrategyError: If the strategy does not say that it can train several models, if the
                noise of privacy is of one mean, or if an entrant would have too few clients.
        """
        if not vars(type(strategy)).get("several_models", False):
            raise StrategyError(
                f"{strategy.arm}: a tournament trains several models, and this strategy may keep "
                "more of one than its weights: expected fedavg, fedprox, fednova, delta-sgd, or a "
                "class that says several_models = True"
            )
        super().check(strategy)
        if self.settings.init == "grid" and "learning_rate" not in self.genes:
            raise StrategyError(
                f"{strategy.arm}: init 'grid' expects genes.learning_rate, which is not declared"
            )
        if strategy.privacy.kind == "central":
            raise StrategyError(
                f"{strategy.arm}: expected privacy.kind none or local, received central: its "
                "noise is reckoned for one mean of the cohort, not for one per entrant"
            )
        if len(self.entrants) < 2:
            raise StrategyError(
                f"{strategy.arm}: expected a cohort of at least 2 clients, received "
                f"{self.ground.cohort}: nobody would compete"
            )
        try:
            strategy.aggregation.check(self.ground.cohort // len(self.entrants))
        except ValueError as error:
            raise StrategyError(
                f"{strategy.arm}: of an entrant's clients, {error}; lower entrants"
            ) from error

    def prepare(self, strategy: FedAvg, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Let all entrants start from the same model, and at rates that were probed if asked to."""
        self.models = dict.fromkeys(self.left, read_arrays(arrays))
        if self.settings.init == "grid":
            gene, usual = self.genes["learning_rate"], self.ground.usual
            genomes = {client: usual(client) for client in strategy.cohort(1)}
            self.probing = True
            best = probed_rate(strategy, grid, arrays, genomes, (gene.low, gene.high))
            self.probing = False
            rates = around(gene.place(best), gene.share(STEP), len(self.entrants))
            self.entrants = [
                (rate, *others) for rate, (_, *others) in zip(rates, self.entrants, strict=True)
            ]
        return arrays

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Ask, in a probe, for the loss after training: all are sent the same model."""
        return {protocol.FITNESS: "validation"} if self.probing else {}

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Deal the cohort out among the entrants that are left, in shares that differ by one."""
        self.round = server_round
        draw = rng(self.ground.seed, "tournament-deal", server_round)
        order = draw.permutation(self.left).tolist()
        drawn = draw.permutation(cohort).tolist()
        self.dealt = {client: order[i % len(order)] for i, client in enumerate(drawn)}
        return {client: self._assignment(client) for client in cohort}

    def _assignment(self, client: int) -> Assignment:
        number = self.dealt[client]
        genome = genome_at(self.genes, self.entrants[number], self.ground.usual(client))
        return Assignment(genome, "drawn", cluster=number)

    def model_for(self, client: int) -> Arrays | None:
        """Return the model of the entrant that a client trains; none in a probe."""
        return None if self.probing else self.models[self.dealt[client]]

    def learn(self, outcome: RoundOutcome) -> None:
        """Take in how wrong the models were that clients were sent; let the worst fall out.

        An entrant whose training breaks falls out at once, unless all break.
        """
        super().learn(outcome)
        found = errors(groups(outcome))
        broken = [number for number, error in found.items() if not math.isfinite(error)]
        if len(broken) == len(self.left):
            return
        judged = self.round > 1  # in round 1 all were sent the same
        if judged:
            told = {number: error for number, error in found.items() if number not in broken}
            self.records = remember(self.records, told, self.settings.halflife)
        due = judged and len(self.left) > 1 and (self.round - 1) % self.settings.every == 0
        for number in broken or self.ranking[-1:] * due:
            self.left.remove(number)
            self.models.pop(number)
            self.records.pop(number, None)

    @property
    def ranking(self) -> list[int]:
        """Those that are left, best first; on a tie and before anything is known, as numbered."""
        known = {number: record.mean for number, record in self.records.items()}
        return sorted(self.left, key=lambda number: (known.get(number, math.inf), number))

    def average(self, strategy: FedAvg, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the updates of every entrant that is left, and return the best one's model.

        Raises:
            Unusable: If every entrant that is left got fewer than half of its replies.
        """
        dealt = {n: members for n, members in groups(outcome).items() if n in self.left}
        parts = {n: RoundOutcome(tuple(members)) for n, members in dealt.items()}
        enough = {n: part for n, part in parts.items() if not part.shortage}
        if not enough:  # nor have all of them together
            RoundOutcome(tuple(chain.from_iterable(dealt.values()))).require(server_round)
        form = strategy.reference
        for number, part in enough.items():
            strategy.reference = like(self.models[number], form)
            self.models[number] = read_arrays(strategy.average(server_round, part))
        strategy.reference = form
        return like(self.models[self.ranking[0]], form)

    def state(self) -> dict[str, Any]:
        """Return who took part, who is left, and what is known of them, as JSON values."""
        records = {str(number): record.as_json() for number, record in self.records.items()}
        places = [list(place) for place in self.entrants]
        return {**super().state(), "entrants": places, "left": self.left, "records": records}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up who is left, and what is known of them."""
        super().restore(state)
        self.entrants = [tuple(place) for place in state["entrants"]]
        self.left = [int(number) for number in state["left"]]
        records = state["records"].items()
        self.records = {int(number): Record.from_json(values) for number, values in records}

    def arrays(self) -> Arrays:
        """Return the models of those that are left, one after another."""
        return [array for _, model in sorted(self.models.items()) for array in model]

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the models of those that ``restore`` named.

        Raises:
            ValueError: If the arrays are no models of that many entrants.
        """
        size, more = divmod(len(arrays), len(self.left))
        if more:
            raise ValueError(
                f"expected the models of {len(self.left)} entrants, received {len(arrays)} arrays"
            )
        self.models = {
            number: list(arrays[place * size : (place + 1) * size])
            for place, number in enumerate(self.left)
        }


class TournamentFedAvg(FedAvg):
    """A tournament of settings, each with a model of its own, the worst falling out.

    Federated racing: several genomes train models side by side on clients that are dealt out anew
    each round, and are judged by these models.
    """

    own_tuner = Tournament
    several_models = True
    Settings = Competing
    settings: Competing
    selects_on_losses = True


def spread(entrants: int, genes: int, draw: "Generator") -> list[tuple[float, ...]]:
    """Return places that cover the unit cube.

    The first gene's lie evenly from 0 to 1, ascending. Of every other one there is one place in
    the middle of each of as many equal parts, in an order that is drawn: a Latin hypercube (McKay,
    Beckman and Conover, 1979, Technometrics 21), so that no gene goes with another.

    Args:
        entrants: How many places, at least 1.
        genes: Dimensions, at least 1.
        draw: What draws the orders.
    """
    first = [number / max(entrants - 1, 1) for number in range(entrants)]
    middles = [(number + 0.5) / entrants for number in range(entrants)]
    others = [draw.permutation(middles).tolist() for _ in range(genes - 1)]
    return [*zip(first, *others, strict=True)]


def around(middle: float, step: float, count: int) -> list[float]:
    """Return places one above another around one, or as near to it as they fit in.

    Args:
        middle: Place in [0, 1].
        step: From one to the next, greater than 0.
        count: How many.
    """
    whole = step * (count - 1)
    start = max(min(middle - whole / 2, 1.0 - whole), 0.0)
    return [min(start + step * number, 1.0) for number in range(count)]


def groups(outcome: RoundOutcome) -> dict[int, list[ClientOutcome]]:
    """Return the clients of a round by the entrant that they were dealt, ascending."""
    found: dict[int, list[ClientOutcome]] = {}
    for client in outcome.clients:
        if client.assignment is not None and client.assignment.cluster is not None:
            found.setdefault(client.assignment.cluster, []).append(client)
    return dict(sorted(found.items()))


def errors(dealt: Mapping[int, list[ClientOutcome]]) -> dict[int, float]:
    """Return how wrong the model of every entrant was, by those who were sent it.

    That is the mean of what they report, in which clients count the same: weighed by samples, one
    large client that an entrant happens to be dealt would decide. It is infinite where training
    breaks: more replies were rejected than used, as those with weights that are not finite, or a
    report is not finite. An entrant from whom no reply came has none.
    """
    found = {}
    for number, members in dealt.items():
        said = [member.update.fitness for member in members if member.update is not None]
        rejected = sum(member.status.startswith("rejected") for member in members)
        if rejected > len(said):
            found[number] = math.inf
        elif said:
            found[number] = fmean(said)
    return found
