"""Self-adaptive steps: every genome carries the width that its children's steps have.

Beyer and Schwefel, 2002 ("Evolution strategies: a comprehensive introduction", Natural
Computing 1): the width mutates first, by a log-normal factor, then the place by a normal step of
that width. Widths are never judged themselves; good ones stay as the genes that they led to do.
"""

import math

import numpy as np

from strategies.evolution.moves.cube import Place, reflect

SIGMAS = (0.005, 0.5)
"""Between which widths stay, as shares of a gene's range.

Noise favours small steps, which lose little, so that unbounded widths would die out."""


def learning_parameter(genes: int) -> float:
    """Return how fast widths change: ``tau = 1 / sqrt(2 d)``.

    That tau is to fall as 1 / sqrt(d) is theory; of the constants in use, 1 and 1 / sqrt(2), the
    lower is advised for rugged landscapes. It is also the factor that all widths share where
    there is one for each gene (Beyer and Schwefel, 2002).

    Args:
        genes: Their number d, at least 1.
    """
    return 1 / math.sqrt(2 * genes)


def mutate(
    place: Place,
    sigma: float,
    draw: np.random.Generator,
    sigmas: tuple[float, float] = SIGMAS,
) -> tuple[Place, float]:
    """Return a child's place and width.

    ``sigma' = sigma exp(tau N(0, 1))``, bounded, then ``place' = place + sigma' N(0, I)``,
    reflected into the cube.

    Args:
        place: The parent's place.
        sigma: Its width, a share of a gene's range, greater than 0.
        draw: What draws.
        sigmas: Lowest and highest width.

    Raises:
        ValueError: If the width is not greater than 0.
    """
    if not sigma > 0:
        raise ValueError(f"expected a width greater than 0, received {sigma}")
    tau = learning_parameter(len(place))
    drawn = sigma * math.exp(tau * draw.standard_normal())
    width = min(max(drawn, sigmas[0]), sigmas[1])
    return reflect(place + width * draw.standard_normal(len(place))), width
