"""Races: a member is beaten once its mean rank is worse than the best's beyond chance.

Maron and Moore, 1994 ("Hoeffding races: accelerating model selection search for classification
and function approximation", NIPS 6) drop what is worse than the best by more than the bounds of
both. Birattari, Stuetzle, Paquete and Varrentrapp, 2002 ("A racing algorithm for configuring
metaheuristics", GECCO) do so with ranks, F-Race. Here the bound is a number of standard errors.
"""

import math

from strategies.evolution.judges.ranks import Record, Records

PRIOR_VARIANCE = 1 / 12
"""Variance of a rank of which nothing is known, uniform on [0, 1]."""


def standard_error(record: Record) -> float:
    """Return the standard error of a member's mean rank, ``sqrt(s^2 / n)``; infinite for n = 0.

    ``s^2 = (1/12 + n v) / n`` with n the effective number of ranks and v their variance: a prior
    with the weight of one rank (the scaled inverse chi-squared of Gelman et al., 2013, "Bayesian
    Data Analysis", section 2.6). One rank thus counts as any would, two that happen to be equal
    are not taken for certain, and many speak for themselves.
    """
    number = record.effective
    if not number:
        return math.inf
    return math.sqrt((PRIOR_VARIANCE / number + record.variance) / number)


def leader(records: Records) -> int | None:
    """Return the member with the lowest mean rank, ties to the lower id; ``None`` without any."""
    return min(records, key=lambda member: (records[member].mean, member), default=None)


def beaten(records: Records, best: int, z: float) -> set[int]:
    """Return the members that are worse than the best beyond chance.

    Those with ``mean - mean_best > z sqrt(se^2 + se_best^2)``, as if ranks were independent. In
    one round they are not quite: who is ahead leaves the places behind to the others, so
    their difference varies a little more than this.

    Args:
        records: Of the members of one cluster.
        best: The member that the others are held against; one without a record beats nobody.
        z: Standard errors of the difference, at least 0.

    Raises:
        ValueError: If z is negative.
    """
    if not z >= 0:
        raise ValueError(f"expected z of at least 0, received {z}")
    if best not in records:
        return set()
    bar, error = records[best].mean, standard_error(records[best])
    return {
        member
        for member, record in records.items()
        if record.mean - bar > z * math.hypot(error, standard_error(record))
    }
