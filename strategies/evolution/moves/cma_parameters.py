"""Default parameters of CMA-ES for a number of points and of genes.

Hansen, 2016 ("The CMA evolution strategy: a tutorial", arXiv 1604.00772), table 1, whose
equations are named here.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Parameters:
    """How much a generation changes the distribution.

    Attributes:
        weights: Of all points, best first; those of the better half add to 1, others are at most 0.
        selected: Points that move the mean, the better half.
        effective: Number of equally weighed points that would select as much, mu_eff.
        c_sigma: Rate of the step size's path.
        d_sigma: Damping of the step size.
        c_c: Rate of the covariance's path.
        c_1: Rate of the rank-one update.
        c_mu: Rate of the rank-mu update.
        expected: Expected length of a standard normal vector, approximately.
    """

    weights: tuple[float, ...]
    selected: int
    effective: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    expected: float


@lru_cache(maxsize=1024)
def parameters(points: int, genes: int) -> Parameters:
    """Return the default parameters.

    Args:
        points: Points of a generation, at least 2.
        genes: Dimensions d, at least 1.

    Raises:
        ValueError: If there are fewer.
    """
    if points < 2 or genes < 1:
        raise ValueError(
            f"expected at least 2 points and 1 gene, received {points} points and {genes} genes"
        )
    raw = np.log((points + 1) / 2) - np.log(np.arange(1, points + 1))  # (49)
    selected = points // 2
    better, worse = raw[:selected], raw[selected:]
    effective = float(better.sum() ** 2 / (better**2).sum())
    effective_worse = float(worse.sum() ** 2 / (worse**2).sum())

    c_1 = 2 / ((genes + 1.3) ** 2 + effective)  # (57)
    c_mu = 2 * (effective - 2 + 1 / effective) / ((genes + 2) ** 2 + effective)  # (58)
    c_mu = min(c_mu, 1 - c_1 - 1e-8)  # of many points, too, a little of the old covariance stays

    bounds = [1 + 2 * effective_worse / (effective + 2)]  # (51)
    if c_mu > 0:  # with 2 or 3 points it is 0, and the others bound nothing
        bounds += [1 + c_1 / c_mu, (1 - c_1 - c_mu) / (genes * c_mu)]  # (50) and (52)
    negative = min(bounds) / np.abs(raw[raw < 0]).sum()
    weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), raw * negative)  # (53)

    c_sigma = (effective + 2) / (genes + effective + 5)  # (55)
    d_sigma = 1 + 2 * max(0.0, math.sqrt((effective - 1) / (genes + 1)) - 1) + c_sigma
    c_c = (4 + effective / genes) / (genes + 4 + 2 * effective / genes)  # (56)
    return Parameters(
        weights=tuple(weights.tolist()),
        selected=selected,
        effective=effective,
        c_sigma=c_sigma,
        d_sigma=d_sigma,
        c_c=c_c,
        c_1=c_1,
        c_mu=c_mu,
        expected=math.sqrt(genes) * (1 - 1 / (4 * genes) + 1 / (21 * genes**2)),
    )
