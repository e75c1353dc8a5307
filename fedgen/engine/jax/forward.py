"""What one tile of a batch computes: the loss of its samples and its part of the gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import keras

from fedgen.engine.jax.layers import counting
from fedgen.engine.learning import dropout
from fedgen.engine.learning.losses import Measures

SPREAD = 0x9E3779B9
"""2^32 over the golden ratio: what seeds of neighbouring tiles differ by (Knuth, 1973)."""


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Hands a model's layers arrays for their variables, and keeps what they assign.

    A layer that assigns a trainable weight while it is called, as spectral normalisation does,
    trains from the assigned value: gradients are taken there and do not flow through the
    assignment, as with variables of TensorFlow's.
    """

    def __init__(
        self, values: Sequence[tuple[Any, Any]], trainable: Sequence[Any], moved: Sequence[Any]
    ) -> None:
        super().__init__(values, collect_losses=True)
        self.assigned: set[int] = set()
        pairs = zip(trainable, moved, strict=True)
        self._moved = {id(v): (i, by) for i, (v, by) in enumerate(pairs)}

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Keep a value that a layer assigns."""
        variable, value = update
        if id(variable) in self._moved:
            index, by = self._moved[id(variable)]
            value = jax.lax.stop_gradient(value) + by
            self.assigned.add(index)
        super().add_update((variable, value))


@dataclass(frozen=True)
class Found:
    """What a tile computes, as arrays that JAX can map over.

    Attributes:
        gradients: Of its samples' part of the batch's mean loss, one per trainable weight.
        loss: Summed loss of its samples.
        hits: How many it has right, in shares of a sample where it has several labels.
        terms: What the model adds to the loss.
        state: The model's state after it.
        assigned: Values of the trainable weights that layers assign.
    """

    gradients: list[Any]
    loss: Any
    hits: Any
    terms: Any
    state: list[Any]
    assigned: list[Any]


jax.tree_util.register_dataclass(Found)


class Forward:
    """A model's loss as a function of arrays.

    Args:
        model: A model that computes raw outputs.
        measures: What is minimised, evaluated and counted.
        scale: Factor on pixels.
        seeds: Positions of the states of seed generators in the model's state.

    Attributes:
        assigned: Which of the trainable weights layers assign while they are called.
    """

    def __init__(
        self, model: keras.Model, measures: Measures, scale: float, seeds: Sequence[int]
    ) -> None:
        self.model = model
        self.measures = measures
        self.scale = scale
        self.seeds = tuple(seeds)
        self.assigned: tuple[int, ...] = ()
        self.assigned = tuple(sorted(self._assigned()))

    def tile(
        self,
        weights: Sequence[Any],
        state: Sequence[Any],
        images: Any,
        labels: Any,
        valid: Any,
        batch: Any,
        number: Any,
        tiles: Any,
        further: Mapping[str, Any],
    ) -> Found:
        """Compute one tile.

        Args:
            weights: Trainable weights.
            state: The model's state before the batch.
            images: As they are stored, of shape (places, ...).
            labels: Their targets.
            valid: How many of these count, from the first on.
            batch: Samples in the whole batch.
            number: The tile's place in its batch, from 0; masks of dropout differ by it.
            tiles: Tiles of the batch, each of which has a like share of the model's own terms.
            further: What has another value than the run's, by the names of ``Plan.further``.
        """
        inside = jnp.arange(labels.shape[0]) < valid
        pixels = images.astype(jnp.float32) * self.scale
        mine = list(state)
        shift = number.astype(jnp.uint32) * jnp.uint32(SPREAD)
        for place in self.seeds:
            mine[place] = mine[place].at[0].add(shift)

        def objective(at: list[Any]) -> tuple[Any, Any]:
            with dropout.at_rate(further.get("dropout")):
                outputs, terms, scope = self._call(weights, at, mine, pixels, inside)
            losses = self.measures.loss(labels, outputs, further)
            loss = jnp.sum(jnp.where(inside, losses, 0.0))
            hits = jnp.sum(jnp.where(inside, self.measures.hits(labels, outputs), 0.0))
            after = [scope.get_current_value(v) for v in self.model.non_trainable_variables]
            variables = self.model.trainable_variables
            assigned = [scope.get_current_value(variables[index]) for index in self.assigned]
            found = (loss, hits, terms, after, assigned)
            return loss / batch.astype(jnp.float32) + terms / tiles.astype(jnp.float32), found

        at = [jnp.zeros_like(w) if i in self.assigned else w for i, w in enumerate(weights)]
        gradients, (loss, hits, terms, after, assigned) = jax.grad(objective, has_aux=True)(at)
        for place in self.seeds:
            after[place] = after[place].at[0].add(-shift)
        return Found(gradients, loss, hits, terms, after, assigned)

    def first(
        self, weights: Sequence[Any], state: Sequence[Any], pixels: Any, inside: Any
    ) -> tuple[Any, Any, list[Any]]:
        """Return the outputs of a batch's first sample in training, terms, and the state after."""
        zeros = [jnp.zeros_like(w) if i in self.assigned else w for i, w in enumerate(weights)]
        outputs, terms, scope = self._call(weights, zeros, state, pixels, inside)
        variables = self.model.non_trainable_variables
        return outputs[0], terms, [scope.get_current_value(variable) for variable in variables]

    def predict(self, weights: Sequence[Any], state: Sequence[Any], images: Any) -> Any:
        """Return the raw outputs for images as they are stored."""
        pixels = images.astype(jnp.float32) * self.scale
        outputs, _ = self.model.stateless_call(weights, state, pixels, training=False)
        return outputs

    def evaluate(
        self,
        weights: Sequence[Any],
        state: Sequence[Any],
        images: Any,
        labels: Any,
        indices: Any,
        samples: Any,
    ) -> tuple[Any, Any, Any]:
        """Evaluate piece by piece.

        Args:
            weights: Trainable weights.
            state: The model's state.
            images: As they are stored.
            labels: All labels.
            indices: Of shape (pieces, places).
            samples: How many of the places count, from the first on.

        Returns:
            Summed loss and hits, each of shape (pieces,), and the raw outputs, of shape (pieces,
            places, outputs).
        """
        pieces, places = indices.shape
        nothing = jnp.zeros(pieces, jnp.float32)
        unknown = jnp.zeros((pieces, places, self.model.output_shape[-1]), jnp.float32)

        def body(piece: Any, found: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            here = indices[piece]
            inside = piece * places + jnp.arange(places) < samples
            pixels = images[here].astype(jnp.float32) * self.scale
            outputs, _ = self.model.stateless_call(weights, state, pixels, training=False)
            losses = jnp.where(inside, self.measures.plain(labels[here], outputs), 0.0)
            hits = jnp.where(inside, self.measures.hits(labels[here], outputs), 0.0)
            new = jnp.sum(losses), jnp.sum(hits), outputs
            loss, right, scores = (a.at[piece].set(b) for a, b in zip(found, new, strict=True))
            return loss, right, scores

        found: tuple[Any, Any, Any] = (nothing, nothing, unknown)
        found = jax.lax.fori_loop(0, -(-samples // places), body, found)
        return found

    def _call(
        self,
        weights: Sequence[Any],
        at: Sequence[Any],
        state: Sequence[Any],
        pixels: Any,
        inside: Any,
    ) -> tuple[Any, Any, _Scope]:
        """Call the model as in training; ``at`` is where gradients are taken.

        Of a weight that a layer assigns it is what is added to the assigned value, zeros.
        """
        model = self.model
        starts = [
            jax.lax.stop_gradient(w) if i in self.assigned else a
            for i, (w, a) in enumerate(zip(weights, at, strict=True))
        ]
        values = [
            *zip(model.trainable_variables, starts, strict=True),
            *zip(model.non_trainable_variables, state, strict=True),
        ]
        with _Scope(values, model.trainable_variables, at) as scope, counting(inside):
            outputs = model.call(pixels, training=True)
            terms = sum(
                (jnp.sum(jnp.asarray(t, jnp.float32)) for t in model.losses), jnp.float32(0)
            )
        return outputs, terms, scope

    def _assigned(self) -> set[int]:
        found: set[int] = set()

        def trace(weights: list[Any], state: list[Any], pixels: Any) -> None:
            zeros = [jnp.zeros_like(weight) for weight in weights]
            *_, scope = self._call(weights, zeros, state, pixels, jnp.array([True]))
            found.update(scope.assigned)

        like = jax.ShapeDtypeStruct
        weights = [like(v.shape, v.dtype) for v in self.model.trainable_variables]
        state = [like(v.shape, v.dtype) for v in self.model.non_trainable_variables]
        jax.eval_shape(trace, weights, state, like((1, *self.model.input_shape[1:]), jnp.float32))
        return found


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Return the cross-entropy of every sample."""
    likely = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(likely, labels[:, None].astype(jnp.int32), -1)[:, 0]


def right(labels: Any, logits: Any) -> Any:
    """Return 1 for every sample whose class has the highest logit, 0 for the others."""
    return (jnp.argmax(logits, -1) == labels).astype(jnp.float32)
