"""The training engine: whole local trainings compiled once, several at a time.

One ``tf.function`` trains any client: learning rate, batch size, epochs, order
of samples and dropout seed are arguments, images stay in memory as they are
stored and are gathered and scaled inside the compiled loop. Each concurrent
client has a resident *slot* of variables; nothing is built or retraced from one
client to the next. Operations run single-threaded (see ``fedgen.runtime``), so
the result of a client does not depend on how many run beside it.
"""

import math
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.convolution import with_fast_gradients
from fedgen.datasets import Dataset
from fedgen.optimizers import Kind, Moments, Optimizer, Weights
from fedgen.plan import Evaluation, Plan, Stopped, Trained

Split = Literal["train", "test"]

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class _Slot:
    """Variables of one client in training."""

    trainable: list[tf.Variable]
    state: list[tf.Variable]
    first: list[tf.Variable]
    second: list[tf.Variable]


class Engine:
    """Trains and evaluates one model on one data set, ``workers`` clients at once.

    Safe to call from several threads; a call beyond ``workers`` waits for a slot.

    Args:
        model: A built model that ends in logits; its own weights are not used.
        dataset: What the indices of plans and evaluations refer to.
        optimizer: ``"adam"`` or ``"sgd"``.
        momentum: Momentum of SGD, in [0, 1).
        workers: Slots, at least 1.
    """

    def __init__(
        self,
        model: keras.Sequential,
        dataset: Dataset,
        *,
        optimizer: Kind = "adam",
        momentum: float = 0.0,
        workers: int = 1,
    ) -> None:
        runtime.require()
        self.workers = workers
        self._model = model = with_fast_gradients(model)
        self._optimizer = Optimizer(optimizer, momentum)
        self._scale = dataset.scale
        self._data = {
            "train": (tf.constant(dataset.x_train), tf.constant(dataset.y_train)),
            "test": (tf.constant(dataset.x_test), tf.constant(dataset.y_test)),
        }
        # All weights travel; state that is none (the seeds of dropout) stays here.
        position = {id(weight): index for index, weight in enumerate(model.weights)}
        self._trainable = [position[id(weight)] for weight in model.trainable_variables]
        self._state = [position.get(id(weight)) for weight in model.non_trainable_variables]
        self._zeros = [tf.zeros(weight.shape) for weight in model.trainable_variables]
        self._stop = tf.Variable(False, trainable=False)
        slots = [self._slot() for _ in range(workers)]
        self._slots: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in slots:
            self._slots.put(slot)
        self._pool = ThreadPoolExecutor(workers, "evaluate")
        self._functions = tf.function(self._train_graph), tf.function(self._evaluate_graph)
        self._train, self._evaluate = self._trace(slots[0])

    @property
    def traces(self) -> int:
        """How often the two compiled functions were traced; stays at 2."""
        return sum(function.experimental_get_tracing_count() for function in self._functions)

    @property
    def device(self) -> str:
        """The device that trains, for people."""
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return "CPU"
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"GPU ({details.get('device_name', gpus[0].name)})"

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Stop all running calls within a batch when the block is left by an exception.

        They raise ``Stopped``, so that whoever waits for their threads waits no
        longer than that. Entering the block lets calls run again.
        """
        self._stop.assign(False)
        try:
            yield
        except BaseException:
            self._stop.assign(True)
            raise

    def train(
        self,
        weights: Sequence[NDArray[Any]],
        plan: Plan,
        *,
        until: float = math.inf,
        keep: bool = False,
    ) -> Trained:
        """Train locally from given weights.

        Args:
            weights: All weights in the model's order; not changed.
            plan: What to train.
            until: When to stop at the latest, in seconds since the epoch; looked at
                inside the compiled loop, before each batch.
            keep: Return the optimiser's state as well.

        Raises:
            Stopped: If that moment came, or ``interruptible`` was left by an
                exception, before the end.
        """
        moments = plan.moments
        start = [
            [tf.constant(weights[index]) for index in self._trainable],
            self._state_values(weights, plan.dropout_seed),
            self._zeros if moments is None else [tf.constant(a) for a in moments.first],
            self._zeros if moments is None else [tf.constant(a) for a in moments.second],
        ]
        steps = 0 if moments is None else moments.steps
        momentum = self._optimizer.momentum if plan.momentum is None else plan.momentum
        slot = self._slots.get()
        try:
            trained, state, losses, hits, rate, batch, momentum, stopped = self._train(
                slot.trainable,
                slot.state,
                slot.first,
                slot.second,
                start,
                *self._data["train"],
                tf.constant(plan.order, tf.int32),
                tf.constant(plan.learning_rate, tf.float32),
                tf.constant(plan.batch_size, tf.int32),
                tf.constant(momentum, tf.float32),
                tf.constant(steps, tf.int32),
                tf.constant(until, tf.float64),
            )
            if stopped:
                raise Stopped
            if keep:
                taken = plan.order.shape[0] * -(-plan.order.shape[1] // plan.batch_size)
                moments = Moments(
                    [variable.numpy() for variable in slot.first],
                    [variable.numpy() for variable in slot.second],
                    steps + taken,
                )
        finally:
            self._slots.put(slot)
        result: Weights = [np.asarray(weight) for weight in weights]
        for index, value in zip(self._trainable, trained, strict=True):
            result[index] = value.numpy()
        for place, value in zip(self._state, state, strict=True):
            if place is not None:
                result[place] = value.numpy()
        return Trained(
            weights=result,
            losses=losses.numpy().tolist(),
            accuracies=hits.numpy().tolist(),
            learning_rate=float(rate),
            batch_size=int(batch),
            moments=moments if keep else None,
            momentum=float(momentum),
        )

    def evaluate(
        self,
        weights: Sequence[NDArray[Any]],
        indices: NDArray[np.int32],
        split: Split = "train",
        until: float = math.inf,
    ) -> Evaluation:
        """Return loss and accuracy over samples of a split, in the calling thread.

        Raises:
            Stopped: As ``train`` does.
        """
        loss, correct = self._count(self._constants(weights), indices, split, until)
        return Evaluation(loss / len(indices), correct / len(indices))

    def evaluate_all(
        self, weights: Sequence[NDArray[Any]], indices: NDArray[np.int32], split: Split
    ) -> Evaluation:
        """Do what ``evaluate`` does, on all workers, for a large set.

        The set is cut into pieces of fixed size that are added in order, so the
        result does not depend on the number of workers.
        """
        constants = self._constants(weights)
        pieces = np.split(indices, range(EVALUATION_BATCH, len(indices), EVALUATION_BATCH))
        counts = self._pool.map(
            lambda piece: self._count(constants, piece, split, math.inf), pieces
        )
        total = np.sum(list(counts), axis=0)
        return Evaluation(float(total[0]) / len(indices), float(total[1]) / len(indices))

    def _constants(self, weights: Sequence[NDArray[Any]]) -> tuple[list[Any], list[Any]]:
        return [tf.constant(weights[i]) for i in self._trainable], self._state_values(weights, 0)

    def _count(
        self,
        constants: tuple[list[Any], list[Any]],
        indices: NDArray[np.int32],
        split: Split,
        until: float,
    ) -> tuple[float, float]:
        loss, correct, stopped = self._evaluate(
            *constants,
            *self._data[split],
            tf.constant(indices, tf.int32),
            tf.constant(until, tf.float64),
        )
        if stopped:
            raise Stopped
        return float(loss), float(correct)

    def _state_values(self, weights: Sequence[NDArray[Any]], seed: int) -> list[Any]:
        values = []
        for number, (place, variable) in enumerate(
            zip(self._state, self._model.non_trainable_variables, strict=True)
        ):
            # A seed generator's state is (seed, counter); layers get seeds of their own.
            value = weights[place] if place is not None else [(seed + number) % 2**31, 0]
            values.append(tf.constant(value, variable.dtype))
        return values

    def _slot(self) -> _Slot:
        def variables(values: Sequence[Any]) -> list[tf.Variable]:
            return [tf.Variable(value, trainable=False) for value in values]

        state = [tf.zeros(v.shape, v.dtype) for v in self._model.non_trainable_variables]
        return _Slot(*(variables(v) for v in (self._zeros, state, self._zeros, self._zeros)))

    def _trace(self, slot: _Slot) -> tuple[Any, Any]:
        """Return what is called from then on: its dispatch costs half of a ``tf.function``'s."""

        def like(variables: Sequence[tf.Variable]) -> list[tf.TensorSpec]:
            return [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]

        images, labels = self._data["train"]
        pixels = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        targets = tf.TensorSpec([None], labels.dtype)
        moment = tf.TensorSpec([], tf.float64)
        groups = (slot.trainable, slot.state, slot.first, slot.second)
        train, evaluate = self._functions
        trained = train.get_concrete_function(
            *groups,
            [like(group) for group in groups],
            pixels,
            targets,
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
            moment,
        )
        evaluated = evaluate.get_concrete_function(
            like(slot.trainable),
            like(slot.state),
            pixels,
            targets,
            tf.TensorSpec([None], tf.int32),
            moment,
        )
        return trained, evaluated

    def _batch(self, images: Any, labels: Any, indices: Any) -> tuple[Any, Any]:
        pixels = tf.cast(tf.gather(images, indices), tf.float32) * self._scale
        return pixels, tf.gather(labels, indices)

    def _train_graph(
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
        momentum: Any,
        steps_before: Any,
        until: Any,
    ) -> tuple[Any, ...]:
        for variables, values in zip((trainable, state, first, second), start, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        epochs, samples = tf.shape(order)[0], tf.shape(order)[1]
        per_epoch = (samples + batch - 1) // batch

        def unfinished(step: Any, *_: Any) -> Any:
            return tf.logical_and(step < epochs * per_epoch, self._may_run(until))

        def train_batch(step: Any, losses: Any, hits: Any) -> tuple[Any, Any, Any]:
            epoch, begin = step // per_epoch, (step % per_epoch) * batch
            pixels, targets = self._batch(images, labels, order[epoch, begin : begin + batch])
            weights = [variable.read_value() for variable in trainable]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                logits, after = self._model.stateless_call(
                    weights, [variable.read_value() for variable in state], pixels, training=True
                )
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
                )
            gradients = tape.gradient(loss, weights)
            number = tf.cast(steps_before + step + 1, tf.float32)
            self._optimizer.apply(trainable, first, second, gradients, rate, number, momentum)
            for variable, value in zip(state, after, strict=True):
                variable.assign(value)
            count = tf.cast(tf.size(targets), tf.float32)
            here = tf.one_hot(epoch, epochs)
            return step + 1, losses + here * loss * count, hits + here * _hits(logits, targets)

        # The flag itself might be read before the loop ends; the step tells for sure.
        last, losses, hits = tf.while_loop(
            unfinished,
            train_batch,
            (tf.constant(0), tf.zeros([epochs]), tf.zeros([epochs])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None]), tf.TensorShape([None])),
            parallel_iterations=1,
        )
        return (
            [variable.read_value() for variable in trainable],
            [variable.read_value() for variable in state],
            losses / tf.cast(samples, tf.float32),
            hits / tf.cast(samples, tf.float32),
            rate,
            batch,
            momentum,
            last < epochs * per_epoch,
        )

    def _may_run(self, until: Any) -> Any:
        return tf.logical_and(tf.timestamp() < until, ~self._stop.read_value())

    def _evaluate_graph(
        self,
        trainable: list[Any],
        state: list[Any],
        images: Any,
        labels: Any,
        indices: Any,
        until: Any,
    ) -> tuple[Any, Any, Any]:
        samples = tf.size(indices)

        def unfinished(begin: Any, *_: Any) -> Any:
            return tf.logical_and(begin < samples, self._may_run(until))

        def count_batch(begin: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            end = begin + EVALUATION_BATCH
            pixels, targets = self._batch(images, labels, indices[begin:end])
            logits, _ = self._model.stateless_call(trainable, state, pixels, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            return (
                end,
                loss + tf.reduce_sum(tf.cast(losses, tf.float64)),
                correct + tf.cast(_hits(logits, targets), tf.float64),
            )

        zero = tf.constant(0.0, tf.float64)
        last, loss, correct = tf.while_loop(
            unfinished, count_batch, (tf.constant(0), zero, zero), parallel_iterations=1
        )
        return loss, correct, last < samples


def _hits(logits: Any, targets: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), targets), tf.float32))
