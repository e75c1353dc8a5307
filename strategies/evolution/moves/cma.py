"""CMA-ES: a normal distribution over the unit cube, from which the members' places are drawn.

Hansen, 2016 ("The CMA evolution strategy: a tutorial", arXiv 1604.00772), appendix A: weighted
recombination, the rank-one and rank-mu updates, with negative weights, and cumulative step-size
adaptation. As many points can be told in a generation as there happen to be; the parameters are
those of that number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.evolution.moves.cma_parameters import parameters
from strategies.evolution.moves.cube import Place, reflect

SIGMAS = (0.01, 0.5)
"""Between which the step size stays: noise never lets it die out, nor the walls grow."""

TRIES = 10
"""How often points outside the cube are drawn again before they are reflected."""

LEAST = 1e-8
"""Least variance along an axis, and what lengths that are divided by are at least."""


@dataclass(frozen=True)
class State:
    """The distribution, in plain numbers, so that states can be compared.

    Attributes:
        mean: Its mean, of d numbers.
        sigma: Step size, a share of the genes' ranges.
        covariance: Covariance C of steps of size 1, d rows of d numbers.
        path_sigma: Path of the step size.
        path_c: Path of the covariance.
        generation: How often points were told.
    """

    mean: tuple[float, ...]
    sigma: float
    covariance: tuple[tuple[float, ...], ...]
    path_sigma: tuple[float, ...]
    path_c: tuple[float, ...]
    generation: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "State":
        """Take up what ``as_json`` returned."""
        vectors = {name: tuple(values[name]) for name in ("mean", "path_sigma", "path_c")}
        return cls(**{**values, **vectors, "covariance": _rows(values["covariance"])})


def start(mean: Place, sigma: float) -> State:
    """Return a distribution that is as wide in all directions.

    Args:
        mean: Where it is, in the cube.
        sigma: How wide, within ``SIGMAS``; about 0.3 where the optimum may be anywhere in it.

    Raises:
        ValueError: If the width is not.
    """
    if not SIGMAS[0] <= sigma <= SIGMAS[1]:
        raise ValueError(f"expected a width in {[*SIGMAS]}, received {sigma}")
    size = len(mean)
    still = (0.0,) * size
    return State(tuple(mean.tolist()), sigma, _rows(np.eye(size).tolist()), still, still)


def ask(state: State, draw: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw places from the distribution.

    Points outside the cube are drawn again, which leaves those inside distributed as they are;
    what is still outside after ``TRIES``, as happens in corners, is reflected.

    Args:
        state: The distribution.
        draw: What draws.
        n: How many places.

    Returns:
        Array of shape (n, d), in [0, 1].
    """
    basis, lengths = _axes(state)
    spread = state.sigma * (basis * lengths).T
    mean = np.array(state.mean)
    places = mean + draw.standard_normal((n, len(mean))) @ spread
    for _ in range(TRIES):
        outside = ((places < 0) | (places > 1)).any(axis=1)
        places[outside] = mean + draw.standard_normal((outside.sum(), len(mean))) @ spread
    return reflect(places)


def tell(state: State, places: NDArray[np.float64], losses: Sequence[float]) -> State:
    """Return the distribution after one generation was judged.

    Losses only rank the points, ties in the order in which they are told. A loss that is not
    finite ranks last; with none that is, nothing was learnt, and the state stays.

    Args:
        state: The distribution that the places are from, more or less: any can be told.
        places: Array of shape (n, d), n at least 2, as the members trained with them.
        losses: Their n losses; lower is better.

    Raises:
        ValueError: If the shapes do not fit, or there are fewer than 2 points.
    """
    size = len(state.mean)
    if places.shape != (len(losses), size):
        raise ValueError(
            f"expected {len(losses)} places of {size} genes, received the shape {places.shape}"
        )
    own = parameters(len(losses), size)
    values = np.array([loss if math.isfinite(loss) else math.inf for loss in losses])
    if np.isinf(values).all():
        return state
    basis, lengths = _axes(state)
    whiten = basis / lengths @ basis.T  # C^(-1/2)
    mean, covariance = np.array(state.mean), basis * lengths**2 @ basis.T
    steps = (places[np.argsort(values, kind="stable")] - mean) / state.sigma
    weights = np.array(own.weights)
    step = weights[: own.selected] @ steps[: own.selected]  # (41)

    rate = own.c_sigma
    path_sigma = (1 - rate) * np.array(state.path_sigma)
    path_sigma += math.sqrt(rate * (2 - rate) * own.effective) * (whiten @ step)  # (43)
    length = float(np.linalg.norm(path_sigma))
    # At most e-fold, as in Hansen's pycma: points from elsewhere may lie any distance away.
    growth = min(rate / own.d_sigma * (length / own.expected - 1), 1.0)  # (44)

    generation = state.generation + 1
    usual = length / math.sqrt(1 - (1 - rate) ** (2 * generation))
    moves = float(usual < (1.4 + 2 / (size + 1)) * own.expected)  # h_sigma
    rate = own.c_c
    path_c = (1 - rate) * np.array(state.path_c)
    path_c += moves * math.sqrt(rate * (2 - rate) * own.effective) * step  # (45)

    # Negative weights are scaled to the length of their steps, so that C stays positive (46).
    squares = ((steps @ whiten) ** 2).sum(axis=1)
    scaled = np.where(weights >= 0, weights, weights * size / (squares + LEAST))
    kept = 1 - own.c_1 - own.c_mu * weights.sum() + own.c_1 * (1 - moves) * rate * (2 - rate)
    covariance = kept * covariance + own.c_1 * np.outer(path_c, path_c)
    covariance += own.c_mu * (steps.T * scaled) @ steps  # (47)
    return State(
        tuple((mean + state.sigma * step).tolist()),
        min(max(state.sigma * math.exp(growth), SIGMAS[0]), SIGMAS[1]),
        _rows(((covariance + covariance.T) / 2).tolist()),
        tuple(path_sigma.tolist()),
        tuple(path_c.tolist()),
        generation,
    )


def _axes(state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the axes of the covariance, as columns, and the standard deviations along them."""
    squares, basis = np.linalg.eigh(np.array(state.covariance))
    return basis, np.sqrt(np.maximum(squares, LEAST))


def _rows(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix)
