"""Children in the unit cube: whose genes they inherit, and how those mutate.

What ``strategies.evolution.selection`` does with a learning rate and a batch size, for any genes:
each of a member drawn at random (or all of one, or the mean of two), then mutated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from strategies.core.genes import Genes
from strategies.evolution.moves.cube import Place, reflect
from strategies.evolution.moves.self_adaptive import mutate
from strategies.evolution.variation import Crossover, Scale


@dataclass(frozen=True)
class Child:
    """A child.

    Attributes:
        place: Where it lies, array of shape (d,).
        givers: Of each gene, the member that gave it; of a mean, the first parent.
        other: The second parent of a mean.
        sigma: Width that its own children's steps have, where steps adapt themselves.
    """

    place: Place
    givers: tuple[int, ...]
    other: int | None
    sigma: float | None


@dataclass(frozen=True)
class Inheritance:
    """How children come about.

    Attributes:
        genes: What the entries of a place are, at least one.
        crossover: ``"none"``: each gene of a member drawn for it. ``"whole"``: all of one.
            ``"average"``: the mean of two.
        scale: ``"step"``: each gene moves by a factor of 1 - m, 1 or 1 + m, a third each (of a
            linear gene, by -m, 0 or m of its range). ``"log"``: by a normal number of decades
            (of a linear gene, of its range). ``"self"``: by self-adaptive steps.
        mutation: m, in [0, 1).
        width: Standard deviation of ``"log"``, in decades.
    """

    genes: Genes
    crossover: Crossover
    scale: Scale
    mutation: float
    width: float = 0.0

    def child(
        self,
        members: Mapping[int, Place],
        sigmas: Mapping[int, float],
        draw: np.random.Generator,
        *,
        mutates: bool = True,
    ) -> Child:
        """Return a child of members, all as likely to give.

        Args:
            members: Places of at least one member.
            sigmas: Their widths, where steps adapt themselves.
            draw: What draws.
            mutates: Whether genes mutate.
        """
        ids = sorted(members)
        drawn = [ids[draw.integers(len(ids))] for _ in self.genes]
        givers, other = tuple(drawn), None
        if self.crossover == "none":
            place = np.array([members[giver][i] for i, giver in enumerate(givers)])
        else:
            givers = (drawn[0],) * len(drawn)
            place = members[drawn[0]].copy()
            if self.crossover == "average":
                other = ids[draw.integers(len(ids))]
                place = (place + members[other]) / 2
        sigma = sigmas.get(givers[0])
        if not mutates:
            return Child(place, givers, other, sigma)
        if self.scale == "self" and sigma is not None:
            place, sigma = mutate(place, sigma, draw)
            return Child(place, givers, other, sigma)
        return Child(reflect(place + self._steps(draw)), givers, other, sigma)

    def _steps(self, draw: np.random.Generator) -> Place:
        if self.scale == "log":
            shares = [gene.share(self.width) for gene in self.genes.values()]
            return np.array(shares) * draw.standard_normal(len(shares))
        factors = (1 - self.mutation, 1.0, 1 + self.mutation)
        drawn = [factors[draw.integers(len(factors))] for _ in self.genes]
        pairs = zip(self.genes.values(), drawn, strict=True)
        return np.array([gene.shift(factor) for gene, factor in pairs])
