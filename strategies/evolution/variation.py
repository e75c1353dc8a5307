"""How genes change on their way to a child: mutation, its width, and the mean of two parents.

Functions of plain numbers; ``strategies.evolution`` says whose they are.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

Scale = Literal["step", "log", "self"]
Crossover = Literal["none", "average", "whole"]

RATES = (1e-8, 1.0)
"""Between which mutation on the log scale keeps learning rates."""

WIDTHS = (0.01, 1.0)
"""Between which the adaptive width stays, in decades."""

MOST_MOMENTUM = 0.99
"""Mutation keeps momentum at or below this."""


@dataclass(frozen=True)
class Variation:
    """How children differ from their parents.

    Without mutation (a step or width of 0) no gene mutates.

    Attributes:
        mutation: Step m of factors, in [0, 1): 1 - m, 1 or 1 + m, a third each (Agrawal et
            al., 2021, arXiv 2107.07233).
        width: Standard deviation s, in decades, of factors 10^N(0, s), which then take the
            place of the steps: as likely doubled as halved, as evolution strategies mutate
            scale parameters (Beyer and Schwefel, 2002, Natural Computing 1); ``None`` for steps.
        crossover: ``"none"``, ``"average"`` of two parents, or ``"whole"`` genomes of one.
        most_epochs: Local epochs stay in [1, most_epochs].
    """

    mutation: float = 0.1
    width: float | None = None
    crossover: Crossover = "none"
    most_epochs: int = 1

    def factor(self, draw: np.random.Generator) -> float:
        """Draw what a learning rate is multiplied with."""
        if self.width is not None:
            return float(10.0 ** (self.width * draw.standard_normal()))
        factors = (round(1 - self.mutation, 12), 1.0, round(1 + self.mutation, 12))
        return factors[draw.integers(len(factors))]

    def bound(self, rate: float) -> float:
        """Keep a rate within ``RATES`` on the log scale, whose steps have no bound."""
        return rate if self.width is None else min(max(rate, RATES[0]), RATES[1])

    def epochs(self, inherited: int, draw: np.random.Generator) -> int:
        """Add -1, 0 or 1, a third each."""
        if not (self.mutation if self.width is None else self.width):
            return inherited
        return min(max(inherited + int(draw.integers(-1, 2)), 1), self.most_epochs)

    def momentum(self, inherited: float, draw: np.random.Generator) -> float:
        """Multiply what momentum lacks to 1 by a factor as of a rate, and stay in [0, 0.99].

        A momentum m averages over about 1 / (1 - m) steps: that is what mutates in proportion.
        """
        factor = self.factor(draw)
        if factor == 1:
            return inherited
        return min(max(1 - (1 - inherited) * factor, 0.0), MOST_MOMENTUM)


def adapt(width: float, successes: int, mutants: int) -> float:
    """Adapt the width by the 1/5 success rule.

    ``width exp((p - 1/5) / d)`` with p the share of successful mutants and damping
    d = sqrt(n + 1), n = 1 gene (Rechenberg, 1973; in this form Hansen, Arnold and Auger,
    2015, "Evolution strategies", Springer Handbook of Computational Intelligence): more
    than one success in five widens the steps, fewer narrow them.

    Args:
        width: Standard deviation in decades.
        successes: Mutants that did better than what they are compared with.
        mutants: How many there were; with none, the width stays.

    Returns:
        The next width, within ``WIDTHS``.
    """
    if not mutants:
        return width
    adapted = width * math.exp((successes / mutants - 0.2) / math.sqrt(2))
    return min(max(adapted, WIDTHS[0]), WIDTHS[1])


def count_successes(elites: Collection[float], mutants: Collection[float]) -> tuple[int, int]:
    """Count the mutants of one cluster and round that did better than its elites.

    Losses fall from round to round whatever the genes are, so a mutant is held against
    the elites of its own round: against their median, since the best of several would be
    the luckiest. Mutation that changes nothing then succeeds in about half of the cases, and the
    width grows.

    Args:
        elites: Finite losses of the members that kept their genes.
        mutants: Finite losses of the members that inherited.

    Returns:
        Successes and mutants; (0, 0) without an elite to compare with.
    """
    if not elites:
        return 0, 0
    bar = float(np.median(list(elites)))
    return sum(loss < bar for loss in mutants), len(mutants)
