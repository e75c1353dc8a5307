"""CMA-ES step by step against the library ``cmaes`` (Nomura and Shibata, arXiv 2402.01373)."""

import numpy as np
import pytest
from cmaes import CMA

from strategies.evolution.moves.cma import SIGMAS, ask, start, tell
from strategies.streams import rng


@pytest.mark.parametrize("genes", [1, 2, 3, 5])
@pytest.mark.parametrize("points", [4, 5, 7, 12, 40])
def test_the_same_points_lead_to_the_same_distribution(genes: int, points: int) -> None:
    state = start(np.linspace(0.3, 0.7, genes), 0.15)
    library = CMA(np.array(state.mean), state.sigma, population_size=points)
    target, bounded = rng(points, "test").uniform(0.2, 0.8, genes), 0
    for number in range(12):
        places = ask(state, rng(genes, "test", number), points)
        losses = ((places - target) ** 2 * 3.0 ** np.arange(genes)).sum(axis=1)
        losses += 0.05 * rng(genes, "noise", number).standard_normal(points)
        state = tell(state, places, losses.tolist())
        library._g = number - 1  # it counts one more when it looks whether a path is long
        library.tell([(p, float(loss)) for p, loss in zip(places, losses, strict=True)])
        if not SIGMAS[0] < state.sigma < SIGMAS[1]:
            bounded += 1
            library._sigma = state.sigma  # which has no bounds
        assert state.mean == pytest.approx(library.mean, rel=1e-10, abs=1e-10)
        assert state.sigma == pytest.approx(library._sigma, rel=1e-10)
        assert np.array(state.covariance) == pytest.approx(library._C, rel=1e-10, abs=1e-10)
        assert state.path_sigma == pytest.approx(library._p_sigma, rel=1e-9, abs=1e-9)
        assert state.path_c == pytest.approx(library._pc, rel=1e-9, abs=1e-9)
    assert bounded < 6
