"""How often a 95 % interval holds the true mean, by method, distribution and number of seeds.

    python -m benchmarks.coverage [--json]

Samples of a known mean are drawn, and every method's interval is made of each: that of
``fedgen.analysis.statistics``, Student's t, the percentile bootstrap (Efron, 1979), which fedgen
used from ten seeds on until 0.1, and the studentised bootstrap ("bootstrap-t"; Efron, 1981).
Beside the coverage stands the median width, as a multiple of Student's. All draws have fixed
streams.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import special

from fedgen.analysis import statistics
from strategies.streams import rng

SEEDS = (3, 5, 6, 8, 9, 10, 12, 20, 30, 50)
SAMPLES, RESAMPLES = 4_000, 600

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
Bounds = tuple[np.ndarray, np.ndarray]

DISTRIBUTIONS: dict[str, tuple[float, Draw]] = {
    "normal": (0.0, lambda random, shape: random.normal(size=shape)),
    "exponential": (1.0, lambda random, shape: random.exponential(size=shape)),
    "log-normal": (math.exp(0.5), lambda random, shape: random.lognormal(size=shape)),
    "beta(20, 1)": (20 / 21, lambda random, shape: random.beta(20, 1, size=shape)),
    "beta(2, 2)": (0.5, lambda random, shape: random.beta(2, 2, size=shape)),
    "97 % of 360": (0.97, lambda random, shape: random.binomial(360, 0.97, size=shape) / 360),
}
"""True mean and draws; the last three lie within 0 and 1, as accuracies do."""


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        distribution: What was drawn from.
        seeds: Values per sample.
        method: What made the intervals.
        coverage: Share of intervals that hold the true mean.
        error: Standard error of that share.
        width: Median width, as a multiple of Student's.
    """

    distribution: str
    seeds: int
    method: str
    coverage: float
    error: float
    width: float


def ours(samples: np.ndarray) -> Bounds:
    """Return fedgen's intervals, not cut to any bounds."""
    low, high = statistics.unskewed(samples)
    return low, high


def student(samples: np.ndarray) -> Bounds:
    """Return Student's intervals."""
    n = samples.shape[1]
    half = special.stdtrit(n - 1, 0.975) * samples.std(1, ddof=1) / math.sqrt(n)
    return samples.mean(1) - half, samples.mean(1) + half


def bootstrapped(samples: np.ndarray) -> tuple[Bounds, Bounds]:
    """Return the percentile and the studentised bootstrap's, with equal resamples for all."""
    n = samples.shape[1]
    drawn = rng(0, "bootstrap").integers(n, size=(RESAMPLES, n))
    weights = (drawn[..., None] == np.arange(n)).mean(1).T
    mean, error = samples.mean(1), samples.std(1, ddof=1) / math.sqrt(n)
    means = samples @ weights
    variances = np.maximum(samples**2 @ weights - means**2, 0)
    apart = means - mean[:, None]
    # A resample of equal values has no error: its t is without end.
    errors = np.where(variances > 1e-12, np.sqrt(variances / (n - 1)), 1e-12)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    least, most = np.percentile(apart / errors, [2.5, 97.5], axis=1)
    return (low, high), (mean - most * error, mean - least * error)


def cells(distribution: str, seeds: int, samples: int = SAMPLES) -> list[Cell]:
    """Measure every method on samples of one size."""
    mean, draw = DISTRIBUTIONS[distribution]
    drawn = draw(rng(seeds, f"coverage of {distribution}"), (samples, seeds))
    percentile, studentised = bootstrapped(drawn)
    found = {
        "fedgen": ours(drawn),
        "Student's t": student(drawn),
        "percentile bootstrap": percentile,
        "bootstrap-t": studentised,
    }
    widths = {method: float(np.median(high - low)) for method, (low, high) in found.items()}
    result = []
    for method, (low, high) in found.items():
        share = float(((low <= mean) & (mean <= high)).mean())
        error = math.sqrt(share * (1 - share) / samples)
        width = widths[method] / widths["Student's t"]
        result.append(Cell(distribution, seeds, method, share, error, width))
    return result


def main() -> None:
    """Print the table, as text or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    table = []
    if not as_json:
        print(f"{SAMPLES:,} samples a cell: coverage in percent (standard error), width")
    for distribution in DISTRIBUTIONS:
        for seeds in SEEDS:
            row = cells(distribution, seeds)
            table += row
            if as_json:
                continue
            if seeds == SEEDS[0]:
                print(f"\n{distribution:12} seeds  " + "".join(f"{c.method:24}" for c in row))
            told = (
                f"{100 * c.coverage:5.1f} ({100 * c.error:.1f}) "
                + (f"x {c.width:.2f}" if c.width < 100 else "no end")
                for c in row
            )
            print(f"{'':12} {seeds:5}  " + "".join(f"{text:24}" for text in told), flush=True)
    if as_json:
        print(json.dumps({"samples": SAMPLES, "cells": [asdict(cell) for cell in table]}))


if __name__ == "__main__":
    main()
