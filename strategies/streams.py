"""Named random streams: every random draw of fedgen comes from one of them.

A stream is a function of (seed, purpose, round, client) alone. No generator is
ever shared, so a draw does not depend on what was drawn before it, in which
order clients answered, or whether a run was interrupted.

Which streams the arms of a seed share is decided draw by draw. Shared on purpose, so that
arms are compared on the same ground and differ in the strategy alone: first weights, partition,
held-out samples, cohorts, batch order, dropout, devices' speeds, faults, and the first genomes
of searches. None of these is claimed to be independent between arms: tests and intervals are over
seeds. Privacy noise is: noise that two released models share is gone from their difference.
So its purpose names the arm (``of_arm``).
"""

import zlib

import numpy as np


def of_arm(purpose: str, arm: str) -> str:
    """Return the purpose of a draw that every arm of a seed must have to itself.

    Args:
        purpose: What is drawn.
        arm: Name of the strategy as it was configured, control or extension included.
    """
    return f"{purpose}/{arm}"


def rng(seed: int, purpose: str, server_round: int = 0, client: int = 0) -> np.random.Generator:
    """Return the generator of one named stream.

    Args:
        seed: Seed of the run, at least 0.
        purpose: What is drawn, for example ``"batch-order"``. Two purposes never
            share a stream.
        server_round: Round the draw belongs to, 0 before the first one.
        client: Partition id the draw belongs to, 0 where there is none.

    Returns:
        A fresh PCG64 generator; equal arguments give equal draws.

    Raises:
        ValueError: If a number is negative (from ``np.random.SeedSequence``).
    """
    name = zlib.crc32(purpose.encode())
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(name, server_round, client))
    return np.random.default_rng(sequence)
