"""Federated averaging at a pair that Optuna finds before it starts, by TPE or by ASHA.

What practitioners run around a training: a search outside it, here with its cost counted. Optuna
(Akiba et al., 2019, arXiv 1907.10902; extra ``optuna``) draws the pairs and stops trials, as it
does by default but for what is said below. Trials run one after another.

Rates are drawn log-uniformly from the span of ``fedavg-tuned``'s grid, so that the searches differ
and not what is known beforehand, and batch sizes likewise from 16 to 128, as genes are.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt
from flwr.app import ArrayRecord

from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import StrategyError
from strategies.core.settings import Positive, Rate
from strategies.streams import rng
from strategies.trials import Searched, Trial

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Ranges:
    """What pairs are drawn from, and how long a round of the search is.

    Raises:
        ValueError: If the higher end of a range comes first.
    """

    rate_range: tuple[Rate, Rate] = (1e-5, 1e-2)
    """Lowest and highest learning rate that is drawn, log-uniformly."""
    batch_range: tuple[Positive, Positive] = (16, 128)
    """Smallest and largest batch size that is drawn, log-uniformly."""
    search_epochs: Positive = 1
    """Local epochs of a round of the search."""

    def __post_init__(self) -> None:
        for name in ("rate_range", "batch_range"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected the lower end first, received {[low, high]}")


class OptunaSearch(Searched):
    """Federated averaging at the best pair of an Optuna study, which is held in memory.

    A trial that has failed, or whose loss is not finite, ends and is told as infinitely bad:
    Optuna passes over what it is told has failed, and might draw the like again. The pair with
    the lowest latest loss is chosen, wherever its trial was stopped; of equals, the first.

    Raises:
        StrategyError: If Optuna cannot be had.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        try:
            import optuna  # noqa: F401  told before anything is trained
        except ImportError as error:
            raise StrategyError(
                f"{self.arm}: optuna is missing ({error}), pip install 'fedgen[optuna]'"
            ) from error

    @property
    @abstractmethod
    def most_rounds(self) -> int:
        """How many rounds a trial has that nothing stops."""

    @abstractmethod
    def study(self, seed: int) -> "optuna.Study":
        """Return a new study, which minimises."""

    def search(self, arrays: ArrayRecord, play: Callable[[Trial], None]) -> Trial:
        """Play the trials one after another."""
        from optuna.distributions import FloatDistribution, IntDistribution
        from optuna.trial import TrialState

        (slow, fast), (small, large) = self.settings.rate_range, self.settings.batch_range
        space = {
            "learning_rate": FloatDistribution(slow, fast, log=True),
            "batch_size": IntDistribution(small, large, log=True),
        }
        study = self._quietly(int(rng(self.seed, "optuna").integers(2**32)))
        best: Trial | None = None
        for _ in range(self.settings.trials):
            asked = study.ask(dict(space))
            trial = Trial(Genome(**asked.params), arrays)
            ended = pruned = False
            while not ended:
                play(trial)
                asked.report(trial.loss, trial.rounds)
                whole = trial.rounds == self.most_rounds
                # Asked of a failed trial as well: the others are ranked with it.
                pruned = not whole and asked.should_prune()
                ended = whole or pruned or not math.isfinite(trial.loss)
            if pruned:
                study.tell(asked, state=TrialState.PRUNED)
            else:
                study.tell(asked, trial.loss)
            best = trial if best is None else min(best, trial, key=lambda each: each.loss)
        assert best is not None  # there is at least one trial
        return best

    def _quietly(self, seed: int) -> "optuna.Study":
        """Return a new study without a word of Optuna's; its log is then as loud as before."""
        from optuna import logging

        before = logging.get_verbosity()
        logging.set_verbosity(max(before, logging.WARNING))
        try:
            return self.study(seed)
        finally:
            logging.set_verbosity(before)


class OptunaTPE(OptunaSearch):
    """Federated averaging, tuned first by Optuna's TPE (Bergstra et al., 2011, NeurIPS 24).

    The first ten pairs are drawn at random, the others where good trials are denser than bad ones;
    rate and batch size are modelled together, Optuna's default, where the paper takes
    them one by one.

    By default 24 trials of one round and epoch: what the search of ``fedavg-tuned`` costs, 24
    epochs of every client of the cohort.
    """

    @dataclass(frozen=True)
    class Settings(Ranges):
        """Settings of a search by TPE."""

        trials: Positive = 24
        """Pairs that are tried."""
        search_rounds: Positive = 1
        """Rounds of a trial."""

    settings: Settings

    @property
    def most_rounds(self) -> int:
        """How many rounds every trial has that does not fail."""
        return self.settings.search_rounds

    def study(self, seed: int) -> "optuna.Study":
        """Return a study in which nothing is pruned."""
        from optuna import create_study, pruners, samplers

        return create_study(sampler=samplers.TPESampler(seed=seed), pruner=pruners.NopPruner())


class OptunaASHA(OptunaSearch):
    """Federated averaging, tuned first by Optuna's ASHA (Li et al., 2018, arXiv 1810.05934).

    Pairs are drawn at random, as in the paper. After 1, ``reduction``, ``reduction`` squared, ...
    rounds a trial goes on if it is among the best 1 of ``reduction`` of those that came so far
    (the first few: if it is the best). Workers of the paper's run beside one another, and take up
    a stopped trial again once it is among the best; in one process trials run one by one,
    and Optuna leaves what it stopped. So the first trial goes on to the end unless it fails.

    By default 9 trials of at most 6 rounds. How much that costs is a matter of luck: about
    as much as the search of ``fedavg-tuned``, 24 epochs of every client of the cohort.
    """

    @dataclass(frozen=True)
    class Settings(Ranges):
        """Settings of a search by ASHA."""

        trials: Positive = 9
        """Pairs that are tried."""
        max_rounds: Positive = 6
        """Rounds of a trial that is never stopped."""
        reduction: Annotated[int, Ge(2), Lt(2**31)] = 3
        """One of so many trials goes on at a rung."""

    settings: Settings

    @property
    def most_rounds(self) -> int:
        """How many rounds a trial has that is never stopped."""
        return self.settings.max_rounds

    def study(self, seed: int) -> "optuna.Study":
        """Return a study whose trials halt at rungs."""
        from optuna import create_study, pruners, samplers

        pruner = pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=self.settings.reduction, min_early_stopping_rate=0
        )
        return create_study(sampler=samplers.RandomSampler(seed=seed), pruner=pruner)
