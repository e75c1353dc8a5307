"""Exponentiated gradient over a set of configurations, while the one model trains.

FedEx (Khodak et al., 2021, arXiv 2106.04502): clients draw from a distribution over k
configurations, and their validation losses move it. What the paper leaves open is as in the
authors' code (github.com/mkhodak/FedEx), where nothing else is said.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from strategies.core.genes import Genes, genome_at
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import RoundOutcome
from strategies.core.settings import RandomRates, ZeroToOne
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.streams import rng
from strategies.tuning.tuner import Ground, Tuner

Schedule = Literal["aggressive", "adaptive", "constant"]


@dataclass(frozen=True)
class Exponentiated(RandomRates):
    """Settings of the exponentiated gradient over configurations."""

    configurations: Annotated[int, Ge(1), Le(10_000)] = 16
    """How many configurations are drawn at the start."""
    schedule: Schedule = "aggressive"
    """Step size, over sqrt(2 log k): by the round's gradient, by all so far, or alone."""
    baseline: ZeroToOne = 0.0
    """Discount of the baseline: 0 for the latest round's mean loss, 1 for that of all."""


class Configurations(Tuner):
    """Clients draw from a few configurations by probabilities that their losses move."""

    Settings = Exponentiated
    settings: Exponentiated

    def __init__(self, ground: Ground, settings: Any, genes: Genes) -> None:
        super().__init__(ground, settings, genes)
        self.seed = ground.seed
        count = self.settings.configurations
        draws = [rng(self.seed, "fedex-configurations", 0, number) for number in range(count)]
        self.configurations = [random_genome(draw, self.settings.rates) for draw in draws]
        self.places = [draw.random(len(self.of_clients)).tolist() for draw in draws]
        self.belief = Belief((1 / count,) * count)
        self._drawn: dict[int, int] = {}

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        """Let every client draw a configuration by theta."""
        theta = self.belief.theta
        self._drawn = {
            client: int(rng(self.seed, "fedex", server_round, client).choice(len(theta), p=theta))
            for client in cohort
        }
        return {c: Assignment(self._genome(c, j), "drawn") for c, j in self._drawn.items()}

    def _genome(self, client: int, number: int) -> Genome:
        if not self.declared:
            return self.configurations[number]
        return genome_at(self.of_clients, self.places[number], self.ground.usual(client))

    def learn(self, outcome: RoundOutcome) -> None:
        """Move theta by what the configurations came to."""
        super().learn(outcome)
        used = [(o.client, o.update) for o in outcome.clients if o.update is not None]
        trials = [
            Trial(self._drawn[client], update.fitness, float(update.num_examples))
            for client, update in used
        ]
        self.belief = step(self.belief, trials, self.settings.schedule, self.settings.baseline)

    def state(self) -> dict[str, Any]:
        """Return the distribution, and what its step size and baseline rest on."""
        belief = self.belief
        return {
            **super().state(),
            "theta": list(belief.theta),
            "losses": belief.losses,
            "rounds": belief.rounds,
            "squares": belief.squares,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the distribution."""
        super().restore(state)
        self.belief = Belief(
            tuple(map(float, state["theta"])),
            *(float(state[key]) for key in ("losses", "rounds", "squares")),
        )


class FedEx(FedAvg):
    """Exponentiated gradient over k configurations (FedEx; Khodak et al., arXiv 2106.04502).

    The k configurations are drawn once, as the genes of ``genetic-cfl`` are. Every client of a
    round draws one of them by theta, trains with it, and reports its validation loss.

    Differences from the paper: clients weigh by their training samples, as the server does not know
    how many they validate on (about the same share everywhere); losses are cross-entropies,
    the authors' are error rates. Theta is never frozen.
    """

    own_tuner = Configurations
    Settings = Exponentiated
    settings: Exponentiated
    selects_on_losses = True


@dataclass(frozen=True)
class Trial:
    """One client's reply.

    Attributes:
        configuration: Number of the configuration that it used.
        loss: Its validation loss after local training; may be non-finite.
        weight: Its weight, greater than 0.
    """

    configuration: int
    loss: float
    weight: float


@dataclass(frozen=True)
class Belief:
    """What is known of the configurations.

    Attributes:
        theta: Probability of each one; their sum is 1.
        losses: Discounted sum of the rounds' mean losses.
        rounds: Discounted number of rounds; 0 before the first one.
        squares: Sum over the rounds of the largest absolute gradient entry, squared.
    """

    theta: tuple[float, ...]
    losses: float = 0.0
    rounds: float = 0.0
    squares: float = 0.0


def step(belief: Belief, trials: Sequence[Trial], schedule: Schedule, discount: float) -> Belief:
    """Take one step of exponentiated gradient (Khodak et al., 2021, algorithm 2).

    Of client i, c_i is the configuration, L_i the loss and w_i the share of all weights. With a
    baseline b the gradient is estimated as ``g_j = sum_{i: c_i = j} w_i (L_i - b) / theta_j``;
    then ``theta_j <- theta_j exp(-eta g_j)``, normalised. The baseline is the discounted mean
    of the rounds before, ``b = sum_s discount^(t-1-s) mean_s / sum_s discount^(t-1-s)``. In
    round 1, which has none before it, it is that round's own mean (the authors' code takes 0,
    which punishes whatever is drawn first). The step size is, with ``e = sqrt(2 log k)``,

    - ``"aggressive"``: ``e / max |g|``, which the authors' experiments use;
    - ``"adaptive"``: ``e / sqrt(sum over rounds of max |g|^2)``;
    - ``"constant"``: ``e``.

    Args:
        belief: What is known before the round.
        trials: The round's usable replies. A non-finite loss counts as the worst finite one.
        schedule: Rule of the step size.
        discount: Of the baseline, in [0, 1].

    Returns:
        What is known after the round; the same without any finite loss.
    """
    finite = [trial.loss for trial in trials if math.isfinite(trial.loss)]
    if not finite:
        return belief
    worst = max(finite)
    total = sum(trial.weight for trial in trials)
    shares = [trial.weight / total for trial in trials]
    losses = [trial.loss if math.isfinite(trial.loss) else worst for trial in trials]
    mean = sum(share * loss for share, loss in zip(shares, losses, strict=True))
    baseline = belief.losses / belief.rounds if belief.rounds else mean

    theta = np.array(belief.theta)
    gradient = np.zeros_like(theta)
    for trial, share, loss in zip(trials, shares, losses, strict=True):
        gradient[trial.configuration] += share * (loss - baseline) / theta[trial.configuration]
    largest = float(np.abs(gradient).max())
    squares = belief.squares + largest**2
    divisor = {"aggressive": largest, "adaptive": math.sqrt(squares), "constant": 1.0}[schedule]
    rate = math.sqrt(2 * math.log(len(theta))) / divisor if divisor > 0 else math.inf
    if rate < math.inf:  # a gradient that is too small to be divided by tells nothing
        logits = np.log(theta) - rate * gradient
        theta = np.exp(np.maximum(logits - logits.max(), LEAST))
        theta /= theta.sum()
    return Belief(
        tuple(theta.tolist()),
        mean + discount * belief.losses,
        1 + discount * belief.rounds,
        squares,
    )


LEAST = -40.0
"""Least log of a probability, less the likeliest one's. So none becomes 0, which has no log, and
what is as good as never drawn (4e-18) makes no gradient that numbers cannot hold."""
