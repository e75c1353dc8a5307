"""The compiled program: what lanes hold, and how a chunk of rows advances them.

There are two forms of it. On a GPU all tiles of a row are one batch of products (``vmap``), and all
lanes step as one. On a CPU that gains nothing: tiles are computed one after another, and then the
program of a lane is the same whoever is beside it, so that its bytes are as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from fedgen.engine.jax import optimizers
from fedgen.engine.jax.forward import Forward, Found
from fedgen.engine.learning.descent import Descent, factor
from fedgen.engine.rules.rule import Rule, Step


@dataclass(frozen=True)
class Lanes:
    """What lanes hold; every array has the lane as its first axis.

    Attributes:
        weights: Trainable weights.
        state: What the model updates itself.
        first: The optimiser's first moments, or velocities.
        second: Its second moments, or the weights of the step before for a rule that looks back.
        sums: Gradients of the tiles of this batch so far.
        sums_before: The same at the weights of the step before; only for such a rule.
        after: The model's state once the batch is done.
        assigned: Values that layers assigned to trainable weights in this batch.
        start: Weights that training began from; only with a rule.
        arrays: The rule's arrays.
        numbers: The rule's numbers.
        carried: What it carries from step to step.
        rate: Learning rate.
        further: Momentum of SGD, and whatever else has another value than the run's.
        taken: Steps that the optimiser has taken.
        begun: Steps that it had taken when the client entered.
        planned: Steps that the client takes in all.
    """

    weights: list[Any]
    state: list[Any]
    first: list[Any]
    second: list[Any]
    sums: list[Any]
    sums_before: list[Any]
    after: list[Any]
    assigned: list[Any]
    start: list[Any]
    arrays: list[Any]
    numbers: Any
    carried: tuple[Any, ...]
    rate: Any
    further: Mapping[str, Any]
    taken: Any
    begun: Any
    planned: Any


STEPPED = ("weights", "state", "first", "second", "sums", "sums_before", "carried", "taken")
"""What a step changes."""


@dataclass(frozen=True)
class OfTiles:
    """What a chunk says of its tiles, see ``schedule.Chunk``."""

    indices: Any
    owner: Any
    valid: Any
    batch: Any
    number: Any
    tiles: Any


@dataclass(frozen=True)
class Rows:
    """What a chunk says of its rows: of their tiles, how many there are, and of the lanes."""

    tiles: OfTiles
    used: Any
    first: Any
    count: Any
    steps: Any


for kind in (Lanes, OfTiles, Rows):
    jax.tree_util.register_dataclass(kind)

Measured = tuple[Any, Any, Any]
"""Summed loss, hits and the model's own terms of every tile of a chunk."""


@dataclass(frozen=True)
class Program:
    """What is compiled; one for each kind of rule.

    Attributes:
        forward: The model's loss.
        descent: What is done with gradients, and steps where no rule does.
        constraints: A function, or none, for each trainable weight.
        rule: What is done with the gradients; ``None`` for the optimiser's own step.
        side_by_side: Whether the tiles of a row are one batch of products.
    """

    forward: Forward
    descent: Descent
    constraints: Sequence[Callable[[Any], Any] | None]
    rule: type[Rule] | None
    side_by_side: bool

    def enter(
        self,
        weights: list[Any],
        state: list[Any],
        moments: tuple[list[Any], list[Any]],
        terms: tuple[Any, list[Any]],
        rate: Any,
        further: Mapping[str, Any],
        taken: Any,
        planned: Any,
    ) -> Lanes:
        """Return what one lane holds when a client enters it."""
        rule = self.rule
        zeros = [jnp.zeros_like(weight) for weight in weights]
        return Lanes(
            weights=weights,
            state=state,
            first=moments[0],
            second=moments[1],
            sums=zeros,
            sums_before=zeros if rule and rule.looks_back else [],
            after=state,
            assigned=[zeros[index] for index in self.forward.assigned],
            start=weights if rule else [],
            arrays=terms[1],
            numbers=terms[0],
            carried=rule.carry(rate, terms[0]) if rule else (),
            rate=rate,
            further=further,
            taken=taken,
            begun=taken,
            planned=planned,
        )

    def advance(
        self, lanes: Lanes, images: Any, labels: Any, rows: Rows, number: Any
    ) -> tuple[Lanes, Measured]:
        """Compute a chunk of rows.

        Args:
            lanes: What the lanes hold; their buffers are given away.
            images: All images, as they are stored.
            labels: All labels.
            rows: The chunk.
            number: How many of its rows are in use.

        Returns:
            What the lanes hold then, and what was measured on each tile.
        """
        compute = self._side_by_side if self.side_by_side else self._one_after_another
        nothing = jnp.zeros(rows.tiles.owner.shape, jnp.float32)

        def body(row: Any, carry: tuple[Lanes, Measured]) -> tuple[Lanes, Measured]:
            lanes, measured = carry
            lanes, found = compute(lanes, images, labels, _at(rows, row))
            pairs = zip(measured, found, strict=True)
            return lanes, tuple(whole.at[row].set(part) for whole, part in pairs)

        begin: tuple[Lanes, Measured] = (lanes, (nothing,) * 3)
        begin = jax.lax.fori_loop(0, number, body, begin)
        return begin

    def _one_after_another(
        self, lanes: Lanes, images: Any, labels: Any, row: Rows
    ) -> tuple[Lanes, Measured]:
        def add(tile: Any, carry: tuple[Lanes, Measured]) -> tuple[Lanes, Measured]:
            lanes, measured = carry
            this = _at(row.tiles, tile)
            mine = _apart(_at(lanes, this.owner))
            found, before = _apart(self._tile(mine, images, labels, this))
            leads = this.number == 0
            changed = {
                "sums": _sum(mine.sums, found.gradients),
                "sums_before": _sum(mine.sums_before, before),
                "after": _where(leads, found.state, mine.after),
                "assigned": _where(leads, found.assigned, mine.assigned),
            }
            parts = zip(measured, (found.loss, found.hits, found.terms), strict=True)
            measured = tuple(whole.at[tile].set(part) for whole, part in parts)
            return _put(lanes, this.owner, **changed), measured

        def step(place: Any, lanes: Lanes) -> Lanes:
            lane = order[place]
            stepped = _apart(self.step(_apart(_at(lanes, lane))))
            return _put(lanes, lane, **{name: getattr(stepped, name) for name in STEPPED})

        nothing = jnp.zeros(row.tiles.owner.shape, jnp.float32)
        lanes, measured = jax.lax.fori_loop(0, row.used, add, (lanes, (nothing,) * 3))
        order = jnp.argsort(~row.steps, stable=True)
        return jax.lax.fori_loop(0, jnp.sum(row.steps), step, lanes), measured

    def _side_by_side(
        self, lanes: Lanes, images: Any, labels: Any, row: Rows
    ) -> tuple[Lanes, Measured]:
        tiles, places = row.tiles, row.tiles.owner.shape[0]
        owners = _at(lanes, jnp.minimum(tiles.owner, row.steps.shape[0] - 1))
        found, before = jax.vmap(self._tile, (0, None, None, 0))(owners, images, labels, tiles)

        def add(place: Any, sums: list[Any]) -> list[Any]:
            # One after another, each lane's own alone: in this order whoever is beside it.
            at = jnp.minimum(row.first + place, places - 1)
            parts = [part[at] for part in [*found.gradients, *before]]
            return _where(place < row.count, _sum(sums, parts), sums)

        whole = [*lanes.sums, *lanes.sums_before]
        whole = jax.lax.fori_loop(0, jnp.max(row.count), add, whole)
        leads = (row.count > 0) & (tiles.number[row.first] == 0)
        lanes = replace(
            lanes,
            sums=whole[: len(lanes.sums)],
            sums_before=whole[len(lanes.sums) :],
            after=_where(leads, [part[row.first] for part in found.state], lanes.after),
            assigned=_where(leads, [part[row.first] for part in found.assigned], lanes.assigned),
        )
        stepped = jax.vmap(self.step)(lanes)
        there = jnp.arange(places) < row.used
        measured = (found.loss, found.hits, found.terms)
        return (
            jax.tree.map(lambda new, old: _where(row.steps, [new], [old])[0], stepped, lanes),
            tuple(jnp.where(there, part, 0.0) for part in measured),
        )

    def _tile(
        self, mine: Lanes, images: Any, labels: Any, tile: OfTiles
    ) -> tuple[Found, list[Any]]:
        """Compute a tile at its lane's weights and, for a rule that looks back, those before."""
        rest = (
            *(mine.state, images[tile.indices], labels[tile.indices]),
            *(tile.valid, tile.batch, tile.number, tile.tiles, mine.further),
        )
        found = self.forward.tile(mine.weights, *rest)
        if self.rule is None or not self.rule.looks_back:
            return found, []
        return found, self.forward.tile(self._previous(mine), *rest).gradients

    @staticmethod
    def _previous(mine: Lanes) -> list[Any]:
        return _where(mine.taken > 0, mine.second, mine.weights)

    def _clipped(self, gradients: Sequence[Any], further: Mapping[str, Any]) -> Sequence[Any]:
        norm = further.get("clip_norm", self.descent.clip_norm or None)
        return gradients if norm is None else optimizers.clip(gradients, norm)

    def _rate(self, mine: Lanes) -> Any:
        """Return what the schedule leaves of the rate in the next step."""
        schedule = self.descent.schedule
        if schedule == "constant":
            return mine.rate
        return mine.rate * factor(schedule, mine.taken - mine.begun, mine.planned, jnp)

    def step(self, mine: Lanes) -> Lanes:
        """Step on the gradients of a whole batch."""
        rule, number = self.rule, mine.taken + 1
        weights = list(mine.weights)
        for index, value in zip(self.forward.assigned, mine.assigned, strict=True):
            weights[index] = value
        gradients = self._clipped(mine.sums, mine.further)
        size, carried = self._rate(mine), mine.carried
        first, second = mine.first, mine.second
        if rule:
            now = Step(
                ops=jnp,
                distance=_distance,
                start=mine.start,
                weights=weights,
                previous=self._previous(mine) if rule.looks_back else [],
                gradients=gradients,
                gradients_before=self._clipped(mine.sums_before, mine.further),
                rate=size,
                number=number,
                numbers=mine.numbers,
                arrays=mine.arrays,
            )
            gradients, size, carried = rule.direct(now, carried)
        if rule and rule.descends:
            moved = optimizers.descend(weights, gradients, size)
        else:
            moved, first, second = optimizers.step(
                self.descent, weights, first, second, gradients, size, number, mine.further
            )
        if rule and rule.looks_back:
            second = weights
        pairs = zip(moved, self.constraints, strict=True)
        zero = [jnp.zeros_like(part) for part in mine.sums]
        return replace(
            mine,
            weights=[weight if kept is None else kept(weight) for weight, kept in pairs],
            state=mine.after,
            first=first,
            second=second,
            sums=zero,
            sums_before=zero if mine.sums_before else [],
            carried=carried,
            taken=number,
        )


def _distance(one: Sequence[Any], other: Sequence[Any]) -> Any:
    pairs = zip(one, other, strict=True)
    return jnp.sqrt(sum((jnp.sum(jnp.square(a - b)) for a, b in pairs), jnp.float32(0)))


def _at(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda part: part[index], tree)


def _apart(tree: Any) -> Any:
    """Let nothing be compiled into one with what comes before, as the reading of a lane of many."""
    return jax.lax.optimization_barrier(tree)


def _put(lanes: Lanes, lane: Any, **changed: Any) -> Lanes:
    """Put one lane's new values; those that did not change are not moved."""
    put = jax.tree.map(
        lambda whole, part: whole.at[lane].set(part),
        {name: getattr(lanes, name) for name in changed},
        changed,
    )
    return replace(lanes, **put)


def _sum(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _where(which: Any, one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Choose by ``which``, a scalar, or of the first axis of all arrays."""

    def choose(a: Any, b: Any) -> Any:
        wide = which.reshape(-1, *(1,) * (a.ndim - 1)) if which.ndim else which
        return jnp.where(wide, a, b)

    return [choose(a, b) for a, b in zip(one, other, strict=True)]
