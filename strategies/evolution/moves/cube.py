"""The unit cube that genes move in, and how a step that leaves it comes back.

Reflection keeps the length of a step; cutting would pile points up on the faces, where only few
genes are good (Arabas, Szczepankiewicz and Wroniak, 2010, "Experimental comparison of methods to
handle boundary constraints in differential evolution", PPSN XI).
"""

import numpy as np
from numpy.typing import NDArray

Place = NDArray[np.float64]
"""Where a genome lies: array of shape (d,) in [0, 1], one number for each gene."""


def reflect(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mirror places at the faces of the cube until they are in it.

    Args:
        places: Finite numbers, of any shape; those in [0, 1] stay as they are.

    Returns:
        Array of the same shape, in [0, 1].
    """
    folded = np.mod(places, 2.0)
    return np.where(folded > 1, 2.0 - folded, folded)
