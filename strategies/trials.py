"""What searches before the training proper share: trials of pairs, and the bill for them.

A search tries pairs of one learning rate and one batch size for everybody. What it learns goes
into the training, its models do not; all that it costs is counted, in round 0.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import ClientOutcome, RoundOutcome, Unusable, Update, mean_fitness
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.replies import check_applied, check_work


@dataclass
class Trial:
    """A pair, the model that it has come to, and how well it does.

    Attributes:
        pair: What everybody trains with.
        arrays: Its model, at first the initial weights.
        rounds: How many rounds it has had.
        loss: Validation loss of the latest one, infinite before the first.
        failed: Whether too few replies could be used: then it has ended.
    """

    pair: Genome
    arrays: ArrayRecord
    rounds: int = 0
    loss: float = math.inf
    failed: bool = False


class Searched(FedAvg):
    """Federated averaging at a pair that a search finds before it starts.

    Every trial has a model of its own, which starts from the initial weights and is trained by
    federated averaging on the cohort of round 1. Its loss is the mean, by training samples, of the
    clients' validation losses after local training in its latest round; the test set has no say.
    A trial that loses more than half of the replies in a round (its weights are not finite, say)
    has failed, and the others go on.

    The models are thrown away: training then starts from the initial weights, like that of every
    strategy. All that the search costs is counted in round 0. A search that is interrupted is
    played again from its start: it draws nothing but from the seed.

    ``Settings`` have ``search_epochs``, the local epochs of a round of the search.
    """

    selects_on_losses = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._tried: Genome | None = None

    @abstractmethod
    def search(self, arrays: ArrayRecord, play: Callable[[Trial], None]) -> Trial:
        """Try pairs and return the best trial.

        Args:
            arrays: The initial weights.
            play: Plays one more round of a trial.
        """

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Choose the pair, and return the weights as they are.

        Raises:
            Unusable: If no pair could be trained.
            StrategyError: If too few clients are online.
        """
        spent = _Spent()
        best = self.search(arrays, lambda trial: self._play(grid, trial, spent))
        if spent.trials and not math.isfinite(best.loss):
            why = spent.failure or "their losses are not finite"
            text = f"none of the {spent.trials} pairs can be trained: {why}"
            raise Unusable(text, spent.outcome())
        self._tried = None
        self.genome = best.pair
        self.outcome = spent.outcome()
        return arrays

    def noise(self) -> str:
        """Give every pair of the search noise of its own, and the training after it."""
        if self._tried is None:
            return self.arm
        return f"{self.arm}/{self._tried.learning_rate!r}/{self._tried.batch_size}"

    def state(self) -> dict[str, Any]:
        """Return the chosen pair."""
        return {**super().state(), "chosen": [self.genome.learning_rate, self.genome.batch_size]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the chosen pair."""
        super().restore(state)
        rate, batch = state["chosen"]
        self.genome = Genome(float(rate), int(batch))

    def _play(self, grid: Grid, trial: Trial, spent: "_Spent") -> None:
        """Play one round of a trial, on the batches that round would have for every pair."""
        cohort = self.cohort(1)
        spent.trials += not trial.rounds
        trial.rounds += 1
        self._tried = trial.pair
        settings = {
            protocol.LEARNING_RATE: trial.pair.learning_rate,
            protocol.BATCH_SIZE: trial.pair.batch_size,
            protocol.LOCAL_EPOCHS: self.settings.search_epochs,
        }

        def check(client: int, update: Update) -> None:
            check_applied(trial.pair, update.applied)
            check_work(update, self.settings.search_epochs)

        messages = self.messages(grid, trial.rounds, trial.arrays, dict.fromkeys(cohort, settings))
        replies = grid.send_and_receive(messages, timeout=self.reply_timeout)
        judged = self.judge(replies, dict.fromkeys(cohort, Assignment(trial.pair, "fixed")), check)
        spent.add(judged)
        try:
            trial.arrays = self.average(trial.rounds, judged)
        except Unusable as error:
            trial.loss, trial.failed = math.inf, True
            spent.failure = spent.failure or str(error)
        else:
            trial.loss = mean_fitness(judged.updates)


@dataclass
class _Spent:
    """What the search has cost, by client; how many trials it had, and why the first failed."""

    latest: dict[int, ClientOutcome] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    trials: int = 0
    failure: str = ""

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
