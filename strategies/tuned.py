"""Federated averaging at a rate and batch size that are chosen before it starts.

The opponent that a tuner has to beat: one setting for everybody, found by successive halving
(Jamieson and Talwalkar, 2016, arXiv 1502.07943) on the clients' validation data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MinLen
from flwr.app import ArrayRecord

from strategies.core.hyperparameters import Genome
from strategies.core.settings import Positive, Rate
from strategies.trials import Searched, Trial


class FedAvgTuned(Searched):
    """Federated averaging, tuned first by successive halving (arXiv 1502.07943).

    Every pair of the grid is a trial (see ``strategies.trials``). After each rung the better half,
    rounded up, goes on, with twice the rounds: all rungs cost about the same.
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

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.settings
        self.pairs = [Genome(rate, size) for rate in own.learning_rates for size in own.batch_sizes]

    def search(self, arrays: ArrayRecord, play: Callable[[Trial], None]) -> Trial:
        """Halve the grid until one pair is left; a pair alone is not tried."""
        trials = [Trial(pair, arrays) for pair in self.pairs]
        for rounds in rungs(len(trials), self.settings.search_rounds):
            for trial in trials:
                for _ in range(rounds):
                    if not trial.failed:
                        play(trial)
            trials.sort(key=lambda trial: trial.loss)  # stable: of equals, the earlier in the grid
            trials = trials[: math.ceil(len(trials) / 2)]
        return trials[0]


def rungs(pairs: int, first: int) -> list[int]:
    """Return how many rounds each rung adds to every pair in it, until one pair is left.

    Args:
        pairs: Number of pairs, at least 1; one pair needs no rung.
        first: Rounds in the first rung; every rung after it doubles them.
    """
    return [first * 2**rung for rung in range(math.ceil(math.log2(pairs)))]
