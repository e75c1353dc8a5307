"""Federated averaging at a rate and batch size that are chosen before it starts.

The opponent that a tuner has to beat: one setting for everybody, found by successive halving
(Jamieson and Talwalkar, 2016, arXiv 1502.07943) on the clients' validation data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import MinLen
from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import ClientOutcome, RoundOutcome, Unusable, Update
from strategies.core.settings import Positive, Rate
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.replies import check_applied, check_work


class FedAvgTuned(FedAvg):
    """Federated averaging, tuned first by successive halving (arXiv 1502.07943).

    Every pair of the grid has a model of its own, which starts from the initial weights and is
    trained by federated averaging on the cohort of round 1. After each rung the better half,
    rounded up, goes on, with twice the rounds: all rungs cost about the same. A pair's score is the
    mean, by training samples, of the clients' validation losses after local training in its
    latest round; the test set has no say.
    A pair that loses more than half of the replies in a round (its weights are not finite,
    say) is out.

    The models are thrown away: training then starts from the initial weights, like that of every
    strategy. All that the search costs is counted in round 0.
    """

    @dataclass(frozen=True)
    class Settings:
        """Settings of FedAvg whose rate and batch size are chosen first."""

        learning_rates: Annotated[tuple[Rate, ...], MinLen(1)] = (1e-2, 1e-3, 1e-4, 1e-5)
        """Learning rates of the grid."""
        batch_sizes: Annotated[tuple[Positive, ...], MinLen(1)] = (16, 64)
        """Batch sizes of the grid."""
        search_rounds: Positive = 1
        """Rounds of every pair in the first rung; each rung after it doubles them."""
        search_epochs: Positive = 1
        """Local epochs of a round of the search."""

    settings: Settings
    selects_on_losses = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.settings
        self.pairs = [Genome(rate, size) for rate in own.learning_rates for size in own.batch_sizes]
        self._tried: Genome | None = None

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Choose the pair, and return the weights as they are.

        Raises:
            Unusable: If no pair could be trained.
            StrategyError: If too few clients are online.
        """
        runs = [_Run(pair, arrays) for pair in self.pairs]
        spent = _Spent()
        for rounds in rungs(len(runs), self.settings.search_rounds):
            for run in runs:
                for _ in range(rounds):
                    if run.reason is None:
                        self._play(grid, run, spent)
            runs.sort(key=lambda run: run.loss)  # stable: of equals, the earlier in the grid
            runs = runs[: math.ceil(len(runs) / 2)]
        if len(self.pairs) > 1 and not math.isfinite(runs[0].loss):
            why = next((run.reason for run in runs if run.reason), "their losses are not finite")
            text = f"none of the {len(self.pairs)} pairs can be trained: {why}"
            raise Unusable(text, spent.outcome())
        self._tried = None
        self.genome = runs[0].pair
        self.outcome = spent.outcome()
        return arrays

    def noise(self) -> str:
        """Give every pair of the search noise of its own, and the training after it."""
        if self._tried is None:
            return self.arm
        return f"{self.arm}/{self._tried.learning_rate!r}/{self._tried.batch_size}"

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Give everybody the chosen pair."""
        return {client: Assignment(self.genome, "fixed") for client in cohort}

    def state(self) -> dict[str, Any]:
        """Return the chosen pair."""
        return {**super().state(), "chosen": [self.genome.learning_rate, self.genome.batch_size]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the chosen pair."""
        super().restore(state)
        rate, batch = state["chosen"]
        self.genome = Genome(float(rate), int(batch))

    def _play(self, grid: Grid, run: "_Run", spent: "_Spent") -> None:
        """Play one round of a pair, on the batches that round would have for every pair."""
        cohort = self.cohort(1)
        run.rounds += 1
        self._tried = run.pair
        settings = {
            protocol.LEARNING_RATE: run.pair.learning_rate,
            protocol.BATCH_SIZE: run.pair.batch_size,
            protocol.LOCAL_EPOCHS: self.settings.search_epochs,
        }

        def check(client: int, update: Update) -> None:
            check_applied(run.pair, update.applied)
            check_work(update, self.settings.search_epochs)

        messages = self.messages(grid, run.rounds, run.arrays, dict.fromkeys(cohort, settings))
        replies = grid.send_and_receive(messages, timeout=self.reply_timeout)
        judged = self.judge(replies, dict.fromkeys(cohort, Assignment(run.pair, "fixed")), check)
        spent.add(judged)
        try:
            run.arrays = self.average(run.rounds, judged)
        except Unusable as error:
            run.loss, run.reason = math.inf, str(error)
        else:
            run.loss = validation_loss(judged.updates)


@dataclass
class _Run:
    """A pair of the grid, the model that it has come to, and how well it does."""

    pair: Genome
    arrays: ArrayRecord
    rounds: int = 0
    loss: float = math.inf
    reason: str | None = None


@dataclass
class _Spent:
    """What the search has cost, by client."""

    latest: dict[int, ClientOutcome] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0

    def add(self, outcome: RoundOutcome) -> None:
        """Count a round: a client's costs add up in its latest usable reply."""
        self.bytes_down += outcome.bytes_down
        self.bytes_up += outcome.bytes_up
        for mine in outcome.clients:
            before = self.latest.get(mine.client)
            if before is None or before.update is None:
                self.latest[mine.client] = mine
            elif mine.update is not None:
                update = replace(
                    mine.update,
                    epochs=before.update.epochs + mine.update.epochs,
                    samples=before.update.samples + mine.update.samples,
                    seconds=before.update.seconds + mine.update.seconds,
                )
                self.latest[mine.client] = replace(mine, update=update)

    def outcome(self) -> RoundOutcome:
        """Return it as the outcome of one round; who had a usable reply in any is ok."""
        clients = tuple(self.latest[client] for client in sorted(self.latest))
        return RoundOutcome(clients, self.bytes_down, self.bytes_up)


def rungs(pairs: int, first: int) -> list[int]:
    """Return how many rounds each rung adds to every pair in it, until one pair is left.

    Args:
        pairs: Number of pairs, at least 1; one pair needs no rung.
        first: Rounds in the first rung; every rung after it doubles them.
    """
    return [first * 2**rung for rung in range(math.ceil(math.log2(pairs)))]


def validation_loss(updates: Sequence[Update]) -> float:
    """Return the mean validation loss by training samples.

    A loss that is not finite counts as the worst finite one; infinite where those are fewer
    than half.
    """
    finite = [update.fitness for update in updates if math.isfinite(update.fitness)]
    if not finite or 2 * len(finite) < len(updates):
        return math.inf
    worst = max(finite)
    total = sum(update.num_examples for update in updates)
    losses = [u.fitness if math.isfinite(u.fitness) else worst for u in updates]
    return sum(u.num_examples * x for u, x in zip(updates, losses, strict=True)) / total
