"""The compiled loops of the engine: a whole local training, and a whole evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from fedgen.engine.learning import dropout
from fedgen.engine.learning.descent import Descent, factor
from fedgen.engine.learning.losses import Measures
from fedgen.engine.rules.rule import Rule, Step
from fedgen.engine.tensorflow import optimizers

EVALUATION_BATCH = 500


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Hands a model's layers tensors for their variables, and keeps what they assign.

    A layer that assigns a trainable weight while it is called, as spectral normalisation does,
    trains from the assigned value: gradients are taken there and do not flow through the
    assignment, as with variables of TensorFlow's.
    """

    def __init__(self, values: Sequence[tuple[Any, Any]], trainable: Sequence[Any], tape: Any):
        super().__init__(values, collect_losses=True)
        self.assigned: set[int] = set()
        self._trainable = {id(variable): index for index, variable in enumerate(trainable)}
        self._tape = tape

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Keep a value that a layer assigns."""
        variable, value = update
        index = self._trainable.get(id(variable))
        if index is not None:
            value = tf.stop_gradient(value)
            self._tape.watch(value)
            self.assigned.add(index)
        super().add_update((variable, value))


@dataclass(frozen=True)
class _Derivative:
    """A batch's loss and its gradients.

    Attributes:
        weights: Trainable weights at which the gradients were taken.
        gradients: One per trainable weight.
        loss: The batch's mean loss, and the terms that the model adds.
        state: The model's state after the batch.
        outputs: What the model computed.
        assigned: Which of the weights a layer has assigned.
    """

    weights: Sequence[Any]
    gradients: list[Any]
    loss: Any
    state: Sequence[Any]
    outputs: Any
    assigned: frozenset[int]


@dataclass(frozen=True)
class Loops:
    """What is traced; every method becomes one TensorFlow graph.

    Attributes:
        model: A model that computes raw outputs.
        measures: What is minimised, evaluated and counted.
        descent: What is done with gradients, and steps where no rule does.
        scale: Factor on pixels.
        stop: Whether running loops are to end before their next batch.
        rule: What is done with the gradients; ``None`` for the optimiser's own step.
        plain: Whether that is SGD without momentum, which keeps nothing from step to step.
    """

    model: keras.Model
    measures: Measures
    descent: Descent
    scale: float
    stop: tf.Variable
    rule: type[Rule] | None = None
    plain: bool = False

    @property
    def keeps(self) -> tuple[bool, bool]:
        """Whether first and second moments live from step to step; the memory of others is free."""
        own = not self.plain and not (self.rule and self.rule.descends)
        looks_back = self.rule is not None and self.rule.looks_back
        first, second = self.descent.keeps
        return own and first, own and second or looks_back

    @property
    def writes(self) -> tuple[bool, bool]:
        """Whether first and second moments are written to, so that they must not start from NaN."""
        first, second = self.keeps
        return first or self.descent.optimizer == "rmsprop", second

    def _batch(self, images: Any, labels: Any, indices: Any) -> tuple[Any, Any]:
        pixels = tf.cast(tf.gather(images, indices), tf.float32) * self.scale
        return pixels, tf.gather(labels, indices)

    def train(
        self,
        trainable: list[tf.Variable],
        state: list[tf.Variable],
        first: list[tf.Variable],
        second: list[tf.Variable],
        start: list[list[Any]],
        images: Any,
        labels: Any,
        order: Any,
        rate: Any,
        batch: Any,
        further: Mapping[str, Any],
        steps_before: Any,
        until: Any,
        terms: Sequence[Any],
    ) -> tuple[Any, ...]:
        """Train whole epochs.

        Args:
            trainable: Variables that are trained.
            state: Variables that the model updates itself.
            first: The optimiser's first moments, or velocities.
            second: Its second moments.
            start: What these four start from; moments that are not written stay as they are.
            images: All pixels, as they are stored.
            labels: All labels.
            order: int32 of shape (epochs, n): which samples, in which order.
            rate: Learning rate, a float32.
            batch: Samples in a full batch, an int32.
            further: Momentum of SGD, and whatever else has another value than the run's: float32s,
                by the names of ``Plan.further``.
            steps_before: Steps that the optimiser has taken, an int32.
            until: When to stop at the latest, seconds since the epoch, a float64.
            terms: Numbers and arrays of the rule; nothing without one.

        Returns:
            Trained weights, the model's state, mean loss (the terms that the model adds are in it)
            and accuracy of every epoch, the rate
            and its mean over all steps, the batch size, ``further``, and whether it ended early.
        """
        rule = self.rule
        used = (True, True, *self.writes)
        groups = zip((trainable, state, first, second), start, used, strict=True)
        for variables, values, needed in groups:
            for variable, value in zip(variables, values, strict=True) if needed else ():
                variable.assign(value)
        epochs, samples = tf.shape(order)[0], tf.shape(order)[1]
        per_epoch = (samples + batch - 1) // batch
        carry = rule.carry(rate, terms[0]) if rule else ()

        def unfinished(step: Any, *_: Any) -> Any:
            return tf.logical_and(step < epochs * per_epoch, self._may_run(until))

        def train_batch(step: Any, losses: Any, hits: Any, *carried: Any) -> tuple[Any, ...]:
            epoch, begin = step // per_epoch, (step % per_epoch) * batch
            pixels, targets = self._batch(images, labels, order[epoch, begin : begin + batch])
            before = [variable.read_value() for variable in state]

            def differentiate(at: Sequence[Any]) -> _Derivative:
                return self._differentiate(at, before, pixels, targets, further)

            found = differentiate([variable.read_value() for variable in trainable])
            weights, loss = found.weights, found.loss
            for index in sorted(found.assigned):
                trainable[index].assign(weights[index])
            number = tf.cast(steps_before + step + 1, tf.float32)
            gradients = self._clipped(found.gradients, further)
            size = self._rate(rate, step, epochs * per_epoch)
            if rule:
                previous = _before(number, second, weights) if rule.looks_back else []
                step_now = Step(
                    ops=tf,
                    distance=_distance,
                    start=start[0],
                    weights=weights,
                    previous=previous,
                    gradients=gradients,
                    gradients_before=self._clipped(differentiate(previous).gradients, further)
                    if previous
                    else [],
                    rate=size,
                    number=number,
                    numbers=terms[0],
                    arrays=terms[1],
                )
                gradients, size, carried = rule.direct(step_now, carried)
            if self.plain or (rule and rule.descends):
                optimizers.descend(trainable, gradients, size)
            else:
                optimizers.apply(
                    *(self.descent, trainable, first, second, gradients, size, number, further)
                )
            if rule and rule.looks_back:
                for last, weight in zip(second, weights, strict=True):
                    last.assign(weight)
            for variable, mine in zip(trainable, self.model.trainable_variables, strict=True):
                if mine.constraint is not None:
                    variable.assign(mine.constraint(variable.read_value()))
            for variable, value in zip(state, found.state, strict=True):
                variable.assign(value)
            count = tf.cast(tf.shape(targets)[0], tf.float32)
            here = tf.one_hot(epoch, epochs)
            hits += here * tf.reduce_sum(self.measures.hits(targets, found.outputs))
            return step + 1, losses + here * loss * count, hits, *carried

        # The flag itself might be read before the loop ends; the step tells for sure.
        last, losses, hits, *carried = tf.while_loop(
            unfinished,
            train_batch,
            (tf.constant(0), tf.zeros([epochs]), tf.zeros([epochs]), *carry),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None]),
                tf.TensorShape([None]),
                *(c.shape for c in carry),
            ),
            parallel_iterations=1,
        )
        return (
            [variable.read_value() for variable in trainable],
            [variable.read_value() for variable in state],
            losses / tf.cast(samples, tf.float32),
            hits / tf.cast(samples, tf.float32),
            rate,
            rule.mean_rate(rate, carried, tf.cast(last, tf.float32)) if rule else rate,
            batch,
            dict(further),
            last < epochs * per_epoch,
        )

    def _clipped(self, gradients: Sequence[Any], further: Mapping[str, Any]) -> Sequence[Any]:
        """Cut all gradients together to the norm that they may have at most, as Keras does."""
        norm = further.get("clip_norm", self.descent.clip_norm or None)
        return gradients if norm is None else tf.clip_by_global_norm(gradients, norm)[0]

    def _rate(self, rate: Any, step: Any, total: Any) -> Any:
        """Return what the schedule leaves of the rate in a step, counted from 0."""
        schedule = self.descent.schedule
        if schedule == "constant":
            return rate
        taken, steps = tf.cast(step, tf.float32), tf.cast(total, tf.float32)
        return rate * factor(schedule, taken, steps, tf)

    def _differentiate(
        self,
        weights: Sequence[Any],
        state: Sequence[Any],
        pixels: Any,
        targets: Any,
        further: Mapping[str, Any],
    ) -> _Derivative:
        """Differentiate what Keras' ``fit`` minimises: the loss and the model's own terms."""
        model = self.model
        values = [
            *zip(model.trainable_variables, weights, strict=True),
            *zip(model.non_trainable_variables, state, strict=True),
        ]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with _Scope(values, model.trainable_variables, tape) as scope:
                with dropout.at_rate(further.get("dropout")):
                    outputs = model.call(pixels, training=True)
                terms = model.losses
            loss = tf.reduce_mean(self.measures.loss(targets, outputs, further))
            for term in terms:
                loss += tf.reduce_sum(tf.cast(term, tf.float32))
        at = [scope.get_current_value(variable) for variable in model.trainable_variables]
        # A weight that nothing depends on has no gradient, and stays as it is.
        gradients = tape.gradient(loss, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return _Derivative(
            weights=at,
            gradients=[tf.convert_to_tensor(gradient) for gradient in gradients],
            loss=loss,
            state=[scope.get_current_value(v) for v in model.non_trainable_variables],
            outputs=outputs,
            assigned=frozenset(scope.assigned),
        )

    def predict(self, trainable: list[Any], state: list[Any], images: Any) -> Any:
        """Return the raw outputs for images as they are stored."""
        pixels = tf.cast(images, tf.float32) * self.scale
        outputs, _ = self.model.stateless_call(trainable, state, pixels, training=False)
        return outputs

    def _may_run(self, until: Any) -> Any:
        return tf.logical_and(tf.timestamp() < until, ~self.stop.read_value())

    def evaluate(
        self,
        trainable: list[Any],
        state: list[Any],
        images: Any,
        labels: Any,
        indices: Any,
        until: Any,
    ) -> tuple[Any, Any, Any]:
        """Return the summed loss and hits, and whether it ended early."""
        samples = tf.size(indices)

        def unfinished(begin: Any, *_: Any) -> Any:
            return tf.logical_and(begin < samples, self._may_run(until))

        def count_batch(begin: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            end = begin + EVALUATION_BATCH
            more, hits, _ = self.score(trainable, state, images, labels, indices[begin:end])
            return end, loss + more, correct + hits

        zero = tf.constant(0.0, tf.float64)
        last, loss, correct = tf.while_loop(
            unfinished, count_batch, (tf.constant(0), zero, zero), parallel_iterations=1
        )
        return loss, correct, last < samples

    def score(
        self, trainable: list[Any], state: list[Any], images: Any, labels: Any, indices: Any
    ) -> tuple[Any, Any, Any]:
        """Return the summed loss and hits of one batch, and its raw outputs."""
        pixels, targets = self._batch(images, labels, indices)
        outputs, _ = self.model.stateless_call(trainable, state, pixels, training=False)
        losses = self.measures.plain(targets, outputs)
        hits = tf.reduce_sum(self.measures.hits(targets, outputs))
        return tf.reduce_sum(tf.cast(losses, tf.float64)), tf.cast(hits, tf.float64), outputs


def _before(number: Any, second: list[tf.Variable], weights: Sequence[Any]) -> list[Any]:
    """Return the weights before the last step, which a rule that looks back keeps in ``second``."""
    pairs = zip(second, weights, strict=True)
    return [tf.where(number > 1, last.read_value(), weight) for last, weight in pairs]


def _distance(one: Sequence[Any], other: Sequence[Any]) -> Any:
    pairs = zip(one, other, strict=True)
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(a - b)) for a, b in pairs]))


def right(targets: Any, logits: Any) -> Any:
    """Return 1 for every sample whose class has the highest logit, 0 for the others."""
    return tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), targets), tf.float32)
