"""Who takes part in a round."""

import math

from strategies.streams import rng


def cohort_size(clients: int, fraction: float) -> int:
    """Return ``floor(fraction * clients)``, forgiving the last bits of the product."""
    return math.floor(fraction * clients + 1e-9)


def draw_cohort(seed: int, clients: int, size: int, server_round: int) -> list[int]:
    """Draw ``size`` of the partition ids 0 to ``clients - 1``, ascending.

    Args:
        seed: Seed of the run; the draw is from its stream ``"cohort"``.
        clients: Number of partitions.
        size: How many, at most ``clients``.
        server_round: Round of the draw; 0 for one that is kept.
    """
    draw = rng(seed, "cohort", server_round)
    return sorted(draw.choice(clients, size=size, replace=False).tolist())
