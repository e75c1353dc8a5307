"""Controls of the evolution: each takes one thing out of it and leaves all else as it is.

A control that does as well as the whole says that what it lacks does not matter.
"""

from collections.abc import Mapping
from typing import Literal

from strategies.streams import rng

Control = Literal[
    "none", "shuffled-fitness", "one-cluster", "no-mutation", "no-selection", "elites-only"
]

CONTROLS: dict[Control, str] = {
    "shuffled-fitness": "the losses of a cluster's members change hands before they are ranked",
    "one-cluster": "everybody is in one cluster",
    "no-mutation": "children inherit genes as they are",
    "no-selection": "nobody is an elite: everybody inherits from members drawn at random, mutated",
    "elites-only": "everybody keeps the genes of the start for ever",
}
"""What is taken out, by the name of the control."""


def shuffle(
    members: list[int], losses: Mapping[int, float], seed: int, server_round: int
) -> dict[int, float]:
    """Deal the losses of a cluster's members out among them anew.

    Everything that a loss decides is then decided by lot, with the same losses; having none
    changes hands, too.

    Args:
        members: Clients of one cluster, at least one.
        losses: Loss of the members that have one.
        seed: Seed of the run; the draw is from its stream ``"shuffled-fitness"``.
        server_round: Round the losses are used for.

    Returns:
        Losses of as many members as before.
    """
    members = sorted(members)
    # Clusters share no member, so the lowest id names one.
    draw = rng(seed, "shuffled-fitness", server_round, members[0])
    givers = draw.permutation(members).tolist()
    return {
        member: losses[giver]
        for member, giver in zip(members, givers, strict=True)
        if giver in losses
    }
