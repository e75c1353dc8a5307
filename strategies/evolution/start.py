"""How genes start: drawn, or probed on a small grid."""

import math

import numpy as np

from strategies.core.hyperparameters import Genome
from strategies.core.settings import RATES

PROBE_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
PROBE_BATCHES = (16, 32, 64, 128)
BATCHES = (16, 128)
"""Between which random batch sizes are drawn."""
PROBE_TRIES = (3, 2)
"""How many of these rates and batch sizes a client tries, in all pairs, one epoch each."""


def random_genome(generator: np.random.Generator, rates: tuple[float, float] = RATES) -> Genome:
    """Draw a rate log-uniformly and ``batch = round(2^U(4, 7))``.

    Args:
        generator: What draws.
        rates: Lowest and highest learning rate; ``10^U(-7, -3)`` by default.
    """
    rate = 10.0 ** generator.uniform(math.log10(rates[0]), math.log10(rates[1]))
    return Genome(float(rate), round(2.0 ** generator.uniform(4, 7)))


def probe_grid(generator: np.random.Generator) -> tuple[list[float], list[int]]:
    """Draw the 3 learning rates and 2 batch sizes that a client probes, without replacement."""
    rates = generator.choice(PROBE_RATES, size=PROBE_TRIES[0], replace=False)
    batches = generator.choice(PROBE_BATCHES, size=PROBE_TRIES[1], replace=False)
    return rates.tolist(), batches.tolist()


def jitter(kept: Genome, generator: np.random.Generator) -> Genome:
    """Move a probed genome by at most half a step of the probe's grid.

    ``log10 rate`` and ``log2 batch`` each move by U(-0.5, 0.5); the batch size
    stays in [16, 128]. On the bare grid no two different points lie within the
    default eps of each other.
    """
    rate = 10.0 ** (math.log10(kept.learning_rate) + generator.uniform(-0.5, 0.5))
    batch = 2.0 ** (math.log2(kept.batch_size) + generator.uniform(-0.5, 0.5))
    return Genome(float(rate), min(max(round(batch), PROBE_BATCHES[0]), PROBE_BATCHES[-1]))


def grid_rates(low: float, high: float) -> list[float]:
    """Return rates from one to another, both included, about half a decade apart.

    Args:
        low: Lowest rate, greater than 0.
        high: Highest one, above it.
    """
    steps = max(round(2 * math.log10(high / low)), 1)
    return [float(rate) for rate in np.geomspace(low, high, steps + 1)]


def near_rate(best: float, low: float, high: float, generator: np.random.Generator) -> float:
    """Move a rate by at most half a step of ``grid_rates``, within its ends, log-uniformly."""
    moved = best * 10.0 ** generator.uniform(-0.25, 0.25)
    return float(min(max(moved, low), high))
