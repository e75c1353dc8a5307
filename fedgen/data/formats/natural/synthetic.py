"""Synthetic(alpha, beta): clients whose samples and labels differ by design, with no file to read.

After Li et al., "Federated Optimization in Heterogeneous Networks" (arXiv 1812.06127), section 5.1,
and Caldas et al., "LEAF" (arXiv 1812.01097). Client k draws ``u ~ N(0, alpha)`` and a linear model
``W, b ~ N(u, 1)`` of its own; ``B ~ N(0, beta)`` and its mean ``v ~ N(B, 1)``; samples
``x ~ N(v, S)`` with S diagonal, the j-th of 60 being ``j ** -1.2``; and labels
``argmax(W x + b)``. As in the authors' code, alpha and beta are standard deviations, and a client
has 50 samples and a log-normal number more, of which it tests on a tenth.
"""

import numpy as np

from fedgen.data.raw import Raw, Samples
from fedgen.errors import InputError
from strategies.streams import rng

FEATURES, CLASSES = 60, 10

LEAST = 50
"""Samples that every client has."""

LOG_MEAN, LOG_DEVIATION = 4.0, 2.0
"""Of the log-normal number of further samples."""

MOST = 5_000
"""Further samples that a client may draw: the tail is long, and one client would be most of it."""

TESTED = 10
"""One in so many samples is for testing."""


def read(*, alpha: float = 1.0, beta: float = 1.0, clients: int = 30, seed: int = 0) -> Raw:
    """Draw the data set; client k is the same however many there are.

    Args:
        alpha: How much clients' models differ, at least 0.
        beta: How much clients' samples differ, at least 0.
        clients: How many there are, at least 1.
        seed: Of the named streams that all is drawn from, at least 0.

    Returns:
        ``x`` of shape (n, 60), float32; ``y`` from 0 to 9; clients are numbers from 0.

    Raises:
        InputError: If a number is out of its range.
    """
    for name, value, least in (
        ("alpha", alpha, 0),
        ("beta", beta, 0),
        ("clients", clients, 1),
        ("seed", seed, 0),
    ):
        if not least <= value < float("inf"):
            raise InputError(f"synthetic: {name}: expected at least {least}, received {value!r}")
    parts = [_draw(alpha, beta, seed, client) for client in range(clients)]
    train, test = (
        Samples(
            np.concatenate([part[place].x for part in parts]),
            np.concatenate([part[place].y for part in parts]),
            np.repeat(np.arange(clients), [len(part[place]) for part in parts]),
        )
        for place in (0, 1)
    )
    return Raw(train, test)


def _draw(alpha: float, beta: float, seed: int, client: int) -> tuple[Samples, Samples]:
    """Return the training and the test samples of one client."""
    draw = rng(seed, "synthetic-data", client=client)
    size = LEAST + min(MOST, int(draw.lognormal(LOG_MEAN, LOG_DEVIATION)))
    centre = draw.normal(0.0, alpha)
    weights = draw.normal(centre, 1.0, (FEATURES, CLASSES))
    bias = draw.normal(centre, 1.0, CLASSES)
    means = draw.normal(draw.normal(0.0, beta), 1.0, FEATURES)
    spread = np.arange(1, FEATURES + 1) ** (-1.2 / 2)
    x = means + spread * draw.normal(0.0, 1.0, (size, FEATURES))
    y = np.argmax(x @ weights + bias, axis=1)
    tested = size // TESTED
    return (
        Samples(x[tested:].astype(np.float32), y[tested:]),
        Samples(x[:tested].astype(np.float32), y[:tested]),
    )
