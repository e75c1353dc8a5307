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
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.data.dataset import Dataset, Split
from fedgen.engine import graphs, models
from fedgen.engine.compiling import Compiling
from fedgen.engine.layout import Layout, check_samples
from fedgen.engine.learning import dropout, further
from fedgen.engine.learning.descent import ADAM, Descent
from fedgen.engine.learning.losses import measures
from fedgen.engine.learning.objective import CROSS_ENTROPY, Objective
from fedgen.engine.plan import Evaluation, Moments, Plan, Precision, Stopped, Trained
from fedgen.engine.rules.rule import Rule
from fedgen.engine.tensorflow.compiled import Compiled
from fedgen.engine.tensorflow.convolution import faster
from fedgen.engine.tensorflow.loops import EVALUATION_BATCH, Loops, right
from fedgen.engine.tensorflow.samples import Samples


@dataclass(frozen=True)
class _Slot:
    """Variables of one client in training."""

    trainable: list[tf.Variable]
    state: list[tf.Variable]
    first: list[tf.Variable]
    second: list[tf.Variable]


_Kind = tuple[type[Rule] | None, bool, tuple[str, ...]]
"""The rule, whether the optimiser is plain SGD, and what is given beside its rate."""


@dataclass(frozen=True)
class _Training:
    """A compiled training, and which of the moments it uses."""

    call: Compiled
    keeps: tuple[bool, bool]


class Engine:
    """Trains and evaluates one model on one data set, ``workers`` clients at once.

    Safe to call from several threads; a call beyond ``workers`` waits for a slot.

    Args:
        model: A built model that computes raw outputs; its own weights are not used.
        dataset: What the indices of plans and evaluations refer to.
        objective: What is minimised, of the data set's targets.
        descent: How weights step.
        workers: Slots, at least 1.
        precision: What products are computed in, ``"float32"`` or ``"tf32"``.

    Attributes:
        workers: Slots.
        joins: A slot is a core, which one arm's clients keep busy.
        statistics: Positions of the weights that are statistics of the data.
    """

    joins = False

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        *,
        objective: Objective = CROSS_ENTROPY,
        descent: Descent = ADAM,
        workers: int = 1,
        precision: Precision = "float32",
    ) -> None:
        runtime.require()
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        # TensorFlow 2.21 may fuse what graphs join into kernels that write where they must not.
        self._remapping = graphs.is_chain(model)
        self.workers = workers
        self.statistics = models.statistics(model)
        self._model = model = graphs.with_equals(model, faster)
        self._stored = dataset.x_train[:0]
        self._samples = {split: Samples(*part) for split, part in dataset.splits.items()}
        self._layout = Layout.of(model)
        self._zeros = [tf.zeros(weight.shape) for weight in model.trainable_variables]
        self._stop = tf.Variable(False, trainable=False)
        self._objective, self._descent = objective, descent
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
        measured = measures(objective, cross_entropy, right)
        self._loops = loops = Loops(model, measured, descent, dataset.scale, self._stop)
        slots = [self._slot() for _ in range(workers)]
        self._slots: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in slots:
            self._slots.put(slot)
        self._pool = ThreadPoolExecutor(workers, "evaluate")
        pixels, targets, moment = self._specs()
        model_like = _like(slots[0].trainable), _like(slots[0].state)
        indices = tf.TensorSpec([None], tf.int32)
        self._predict = self._compiled(loops.predict, *model_like, pixels)
        self._score = self._compiled(loops.score, *model_like, pixels, targets, indices)
        self._evaluate = self._compiled(
            *(loops.evaluate, *model_like, pixels, targets, indices, moment)
        )
        self._evaluate.trace()
        self._tracing = threading.Lock()
        self._trained_by: dict[_Kind, _Training] = {}
        self._compiling = Compiling()
        self._training((None, self._is_plain(descent.momentum), ("momentum",)), (), slots[0])
        self._compiling = Compiling()  # of what comes later

    @property
    def traces(self) -> int:
        """How often functions were traced: 2, and once for every other kind of training."""
        trainings = self._trained_by.values()
        return self._evaluate.traces + sum(training.call.traces for training in trainings)

    @property
    def trainable(self) -> list[int]:
        """Positions of the trainable weights among all weights, in the order of moments."""
        return list(self._layout.trainable)

    def why_not(self, gene: str) -> str | None:
        """Say why no plan may have a value of its own for a gene; ``None`` if one may."""
        of_the_model = dropout.why_not(self._model) if gene == "dropout" else None
        return further.why_not(gene, self._descent, self._objective, of_the_model)

    @property
    def compiling(self) -> float:
        """Seconds of tracing so far, but for what is traced when the engine is built."""
        return self._compiling.seconds

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
            until: When to stop at the latest, in seconds since the epoch less ``compiling``;
                looked at inside the compiled loop, before each batch.
            keep: Return the optimiser's state as well.

        Raises:
            Stopped: If that moment came, or ``interruptible`` was left by an
                exception, before the end.
            RunError: If a value of ``plan.further`` cannot be applied, or weights are another
                model's.
        """
        for name, value in plan.further.items():
            further.check(name, value, self.why_not(name), plan.rule)
        self._layout.check_start(weights, plan)
        moments = plan.moments
        start = [
            [tf.constant(weights[index]) for index in self._layout.trainable],
            self._state_values(weights, plan.dropout_seed),
            self._zeros if moments is None else [tf.constant(a) for a in moments.first],
            self._zeros if moments is None else [tf.constant(a) for a in moments.second],
        ]
        steps = 0 if moments is None else moments.steps
        rule = plan.rule
        own = (
            [rule.arrays[index] for index in self._layout.trainable] if rule and rule.arrays else []
        )
        terms = (tf.constant(rule.numbers), [tf.constant(a) for a in own]) if rule else ()
        given = further.values(plan.further, self._descent)
        kind = type(rule) if rule else None, self._is_plain(float(given["momentum"])), tuple(given)
        taken = plan.order.shape[0] * -(-plan.order.shape[1] // plan.batch_size)
        slot = self._slots.get()
        try:
            training = self._training(kind, terms, slot)
            trained, state, losses, hits, rate, mean_rate, batch, applied, stopped = training.call(
                slot.trainable,
                slot.state,
                slot.first,
                slot.second,
                start,
                *self._samples["train"].of(plan.order),
                tf.constant(plan.learning_rate, tf.float32),
                tf.constant(plan.batch_size, tf.int32),
                {name: tf.constant(value) for name, value in given.items()},
                tf.constant(steps, tf.int32),
                tf.constant(until + self.compiling, tf.float64),
                terms,
            )
            if stopped:
                raise Stopped
            if keep:
                groups = zip((slot.first, slot.second), start[2:], training.keeps, strict=True)
                first, second = (held if kept else begun for held, begun, kept in groups)
                moments = Moments(
                    [part.numpy() for part in first],
                    [part.numpy() for part in second],
                    steps + taken,
                )
        finally:
            self._slots.put(slot)
        return Trained(
            weights=self._layout.merged(weights, trained, state),
            losses=losses.numpy().tolist(),
            accuracies=hits.numpy().tolist() if self._objective.counts_hits else None,
            learning_rate=float(mean_rate),
            batch_size=int(batch),
            moments=moments if keep else None,
            initial_rate=float(rate),
            steps=taken,
            applied={name: float(applied[name]) for name in plan.further},
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
        return self._evaluation(loss, correct, len(indices))

    def evaluate_all(
        self, weights: Sequence[NDArray[Any]], indices: NDArray[np.int32], split: Split
    ) -> Evaluation:
        """Do what ``evaluate`` does, on all workers, for a large set, and return raw outputs.

        The set is cut into pieces of fixed size that are added in order, so the
        result does not depend on the number of workers.
        """
        constants = self._constants(weights)
        pieces = np.split(indices, range(EVALUATION_BATCH, len(indices), EVALUATION_BATCH))
        counts = self._pool.map(lambda piece: self._scored(constants, piece, split), pieces)
        *sums, scores = zip(*counts, strict=True)
        total = np.sum(list(zip(*sums, strict=True)), axis=0)
        whole = np.concatenate([part.numpy() for part in scores])
        return self._evaluation(float(total[0]), float(total[1]), len(indices), whole)

    def predict(
        self, weights: Sequence[NDArray[Any]], samples: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return the raw outputs, of shape (n, outputs), for samples as they are stored.

        Raises:
            RunError: If samples or weights are of another form.
        """
        check_samples(samples, self._stored)
        constants = self._constants(weights)
        pieces = np.split(samples, range(EVALUATION_BATCH, len(samples), EVALUATION_BATCH))
        found = [self._predict(*constants, tf.constant(piece)) for piece in pieces]
        return np.concatenate([outputs.numpy() for outputs in found])

    def _evaluation(
        self, loss: float, hits: float, samples: int, scores: NDArray[np.float32] | None = None
    ) -> Evaluation:
        accuracy = hits / samples if self._objective.counts_hits else None
        return Evaluation(loss / samples, accuracy, scores)

    def _constants(self, weights: Sequence[NDArray[Any]]) -> tuple[list[Any], list[Any]]:
        self._layout.check("weights", weights)
        trainable = [tf.constant(weights[i]) for i in self._layout.trainable]
        return trainable, self._state_values(weights, 0)

    def _count(
        self,
        constants: tuple[list[Any], list[Any]],
        indices: NDArray[np.int32],
        split: Split,
        until: float,
    ) -> tuple[float, float]:
        loss, correct, stopped = self._evaluate(
            *constants,
            *self._samples[split].of(indices),
            tf.constant(until + self.compiling, tf.float64),
        )
        if stopped:
            raise Stopped
        return float(loss), float(correct)

    def _scored(
        self, constants: tuple[list[Any], list[Any]], indices: NDArray[np.int32], split: Split
    ) -> tuple[float, float, Any]:
        """Do what ``_count`` does with a batch at most, and return its raw outputs as well."""
        if self._stop.numpy():
            raise Stopped
        loss, correct, scores = self._score(*constants, *self._samples[split].of(indices))
        return float(loss), float(correct), scores

    def _state_values(self, weights: Sequence[NDArray[Any]], seed: int) -> list[Any]:
        return [tf.constant(value) for value in self._layout.state_values(weights, seed)]

    def _slot(self) -> _Slot:
        def variables(values: Sequence[Any]) -> list[tf.Variable]:
            return [tf.Variable(value, trainable=False) for value in values]

        state = [tf.zeros(v.shape, v.dtype) for v in self._model.non_trainable_variables]
        return _Slot(*(variables(v) for v in (self._zeros, state, self._zeros, self._zeros)))

    def _compiled(self, function: Callable[..., Any], *like: Any) -> Compiled:
        return Compiled(function, like, remapping=self._remapping)

    def _is_plain(self, momentum: float) -> bool:
        return self._descent.optimizer == "sgd" and momentum == 0

    def _training(self, kind: _Kind, terms: Sequence[Any], slot: _Slot) -> _Training:
        """Return the compiled training of a kind, traced when it is first asked for."""
        with self._tracing:
            if kind not in self._trained_by:
                rule, plain, given = kind
                if "dropout" in given:
                    dropout.listen(self._model)
                loops = replace(self._loops, rule=rule, plain=plain)
                call = self._compiled(loops.train, *self._training_like(slot, terms, given))
                self._compiling.call(call.trace, kind)
                self._trained_by[kind] = _Training(call, loops.keeps)
            return self._trained_by[kind]

    def _training_like(self, slot: _Slot, terms: Sequence[Any], given: Sequence[str]) -> list[Any]:
        pixels, targets, moment = self._specs()
        groups = slot.trainable, slot.state, slot.first, slot.second
        return [
            *groups,
            [_like(group) for group in groups],
            pixels,
            targets,
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
            {name: tf.TensorSpec([], tf.float32) for name in given},
            tf.TensorSpec([], tf.int32),
            moment,
            (*_like(terms[:1]), _like(terms[1])) if terms else (),
        ]

    def _specs(self) -> tuple[tf.TensorSpec, tf.TensorSpec, tf.TensorSpec]:
        pixels, targets = self._samples["train"].specs
        return pixels, targets, tf.TensorSpec([], tf.float64)


def _like(values: Sequence[Any]) -> list[tf.TensorSpec]:
    return [tf.TensorSpec(value.shape, value.dtype) for value in values]
