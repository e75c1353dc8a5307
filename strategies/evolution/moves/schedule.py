"""A schedule over a gene: the population's rates fall together while each evolves.

What evolves is the rate of the first round. Which one a round trains with is its share of that, so
that selection is not spent on following a fall that all good rates have in common. The shares are
one cycle of the cosine of Loshchilov and Hutter, 2017 (arXiv 1608.03983), counted in rounds.
"""

import math


def cosine(rate: float, server_round: int, horizon: int, floor: float) -> float:
    """Return ``low + (rate - low) (1 + cos(pi (round - 1) / horizon)) / 2``, ``low = floor rate``.

    Args:
        rate: Learning rate of round 1, greater than 0.
        server_round: Number of the round, from 1.
        horizon: Rounds until the rate is ``low``, where it stays.
        floor: Share of the rate, in (0, 1].
    """
    low = floor * rate
    part = min((server_round - 1) / horizon, 1.0)
    return low + (rate - low) * (1 + math.cos(math.pi * part)) / 2


def share(server_round: int, horizon: int, floor: float) -> float:
    """Return the share of a gene's rate that a round trains with, in [floor, 1]; 1 in round 1.

    Args:
        server_round: Number of the round, from 1.
        horizon: Rounds until the share is the floor, where it stays, at least 1.
        floor: Least share, in (0, 1].

    Raises:
        ValueError: If one is out of its range.
    """
    if server_round < 1 or horizon < 1 or not 0 < floor <= 1:
        raise ValueError(
            "expected a round and a horizon of at least 1 and a floor in (0, 1], "
            f"received {server_round}, {horizon} and {floor}"
        )
    return cosine(1.0, server_round, horizon, floor)
