"""The engine on JAX: what ``fedgen.engine.plan`` asks for, by continuous batching of clients.

Every call of ``train`` is a client that enters a lane, is trained in whatever company there is,
and leaves; callers take turns in doing everybody's work, so that nothing runs when nobody waits.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import psutil
from numpy.typing import NDArray

from fedgen import runtime
from fedgen.data.dataset import Dataset, Split
from fedgen.engine import graphs, models
from fedgen.engine.compiling import Compiling
from fedgen.engine.jax import coupling, layers
from fedgen.engine.jax.bank import Bank, Job, Kind, Workshop, as_numpy
from fedgen.engine.jax.forward import Forward, cross_entropy, right
from fedgen.engine.jax.products import MATMUL
from fedgen.engine.jax.program import Program
from fedgen.engine.jax.schedule import cut
from fedgen.engine.layout import Layout, check_samples
from fedgen.engine.learning import dropout, further
from fedgen.engine.learning.descent import ADAM, Descent
from fedgen.engine.learning.losses import measures
from fedgen.engine.learning.objective import CROSS_ENTROPY, Objective
from fedgen.engine.plan import LANES, Evaluation, Moments, Plan, Precision, Stopped, Trained
from fedgen.errors import InputError, RunError

EVALUATION_BATCHES, PIECES = (50, 500), 16
"""Samples that are evaluated at once, for few and for many; and how many such in a call."""

TILES, TILES_IN_TURN = (4, 16, 32, 64), (16,)
"""Tiles of a row, as few as do, and where they are computed one after another; a larger batch takes
several rows."""

FULL = "RESOURCE_EXHAUSTED"
"""What XLA says where memory runs out."""

KEPT = 4
"""Sets of weights that stay on the device, as all clients of a round begin from the same."""


class Engine:
    """Trains and evaluates one model on one data set, as many clients at once as it has lanes.

    Safe to call from several threads.

    Args:
        model: A built model that computes raw outputs; its own weights are not used.
        dataset: What the indices of plans and evaluations refer to.
        objective: What is minimised, of the data set's targets.
        descent: How weights step.
        workers: Lanes, at least 1; 0 for as many as suit the device.
        precision: What products are computed in.
        side_by_side: Whether the tiles of a row are one batch of products; ``None`` for what
            suits the device.
        shops: Programs that compute beside one another on a CPU; 0 for one per core.

    Raises:
        InputError: If the device has no room for so many lanes.

    Attributes:
        workers: Lanes.
        joins: Clients of any arm with the same kind of training enter a lane that is free.
        statistics: Positions of the weights that are statistics of the data.
    """

    joins = True

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        *,
        objective: Objective = CROSS_ENTROPY,
        descent: Descent = ADAM,
        workers: int = 0,
        precision: Precision = "float32",
        side_by_side: bool | None = None,
        shops: int = 0,
    ) -> None:
        runtime.require()
        on_gpu = jax.default_backend() != "cpu"
        self._side_by_side = on_gpu if side_by_side is None else side_by_side
        asked, workers = workers, workers or (LANES if on_gpu else runtime.available_cores())
        self.statistics = models.statistics(model)
        equal = self._equal(model, precision)
        self._layout = layout = Layout.of(model)
        pairs = zip(model.non_trainable_variables, layout.state, strict=True)
        seeds = [number for number, pair in enumerate(pairs) if _is_seed(*pair)]
        self._matmul = MATMUL[precision]
        self._objective, self._descent = objective, descent
        measured = measures(objective, cross_entropy, right)
        self._forward = exact = Forward(equal, measured, dataset.scale, seeds)
        if precision != "float32":  # whose rounding would look like a coupling
            exact = Forward(self._equal(model, "float32"), measured, dataset.scale, seeds)
        with jax.default_matmul_precision(MATMUL["float32"]):
            self._coupling = coupling.of(exact, dataset)
        plain = Forward(model, measured, dataset.scale, seeds)
        self._count, self._predict = jax.jit(plain.evaluate), jax.jit(plain.predict)
        self._compiling = Compiling()
        self._constraints = [weight.constraint for weight in model.trainable_variables]
        self._stored = dataset.x_train[:0]
        self._data = {
            "train": (jnp.asarray(dataset.x_train), jnp.asarray(dataset.y_train)),
            "test": (jnp.asarray(dataset.x_test), jnp.asarray(dataset.y_test)),
        }
        self._zeros = [
            jnp.zeros(weight.shape, weight.dtype) for weight in model.trainable_variables
        ]
        if asked > (fit := self._lanes_that_fit()):
            raise InputError(
                f"run.workers = {asked}: expected at most {fit}, as many lanes of this model as "
                "the device has room for"
            )
        workers = min(workers, fit)
        # A CPU's cores compute a program each sooner than one program together.
        shops = 1 if self._side_by_side else min(workers, shops or runtime.available_cores())
        self.workers, self._lanes = workers, -(-workers // shops)
        self._kept: OrderedDict[Any, tuple[Sequence[Any], list[Any]]] = OrderedDict()
        self._keeping = threading.Lock()  # guards ``_kept``
        self._stopped = False
        self._workshops = [Workshop(self._bank, self._work) for _ in range(shops)]

    def _equal(self, model: keras.Model, precision: Precision) -> keras.Model:
        return graphs.with_equals(
            model, lambda layer: layers.equal(layer, precision, self._side_by_side)
        )

    @property
    def trainable(self) -> list[int]:
        """Positions of the trainable weights among all weights, in the order of moments."""
        return list(self._layout.trainable)

    def why_not(self, gene: str) -> str | None:
        """Say why no plan may have a value of its own for a gene; ``None`` if one may."""
        of_the_model = dropout.why_not(self._forward.model) if gene == "dropout" else None
        return further.why_not(gene, self._descent, self._objective, of_the_model)

    @property
    def compiling(self) -> float:
        """Seconds of compiling so far; programs are compiled when a client first needs them."""
        return self._compiling.seconds

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Stop all running calls within a chunk when the block is left by an exception.

        They raise ``Stopped``. Entering the block lets calls run again.
        """
        self._stopped = False
        try:
            yield
        except BaseException:
            self._stopped = True
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
            until: When to stop at the latest, in seconds since the epoch less ``compiling``; looked
                at between chunks of about a tenth of a second.
            keep: Return the optimiser's state as well.

        Raises:
            Stopped: If that moment came, or ``interruptible`` was left by an
                exception, before the end.
            RunError: If the device has no room, a value of ``plan.further`` cannot be applied, or
                weights are another model's.
        """
        for name, value in plan.further.items():
            further.check(name, value, self.why_not(name), plan.rule)
        self._layout.check_start(weights, plan)
        rule, moments = plan.rule, plan.moments
        given = further.values(plan.further, self._descent)
        first, second = (moments.first, moments.second) if moments else (self._zeros, self._zeros)
        own = [rule.arrays[i] for i in self._layout.trainable] if rule and rule.arrays else []
        before = moments.steps if moments else 0
        size = self._coupling.size(plan.batch_size, plan.order.shape[1], self._side_by_side)
        parts = cut(plan.order, plan.batch_size, size)
        taken = plan.order.shape[0] * -(-plan.order.shape[1] // plan.batch_size)
        entry = (
            self._on_device(weights),
            self._layout.state_values(weights, plan.dropout_seed),
            (list(first), list(second)),
            (rule.numbers if rule else np.zeros(0, np.float32), own),
            np.float32(plan.learning_rate),
            given,
            np.float32(before),
            np.float32(taken),
        )
        job = Job(entry, parts, len(plan.order), until)
        self._run(job, (type(rule) if rule else None, tuple(given)))
        with self._room():  # what is left of it is computed when it is read
            if job.error is not None:
                raise job.error
            if job.left is None:
                raise Stopped
            left = job.left
            rate, carried = np.float32(left.rate), tuple(map(np.float32, left.carried))
            mean = rule.mean_rate(rate, carried, np.float32(taken)) if rule else rate
            samples = plan.order.shape[1]
            kept = None
            if keep:
                kept = Moments(as_numpy(left.first), as_numpy(left.second), before + taken)
            return Trained(
                weights=self._layout.merged(weights, left.weights, left.state),
                losses=(job.losses / samples).tolist(),
                accuracies=(job.hits / samples).tolist() if self._objective.counts_hits else None,
                learning_rate=float(mean),
                batch_size=plan.batch_size,
                moments=kept,
                initial_rate=float(rate),
                steps=taken,
                applied={name: float(left.further[name]) for name in plan.further},
            )

    def evaluate(
        self,
        weights: Sequence[NDArray[Any]],
        indices: NDArray[np.int32],
        split: Split = "train",
        until: float = math.inf,
    ) -> Evaluation:
        """Return loss and accuracy over samples of a split.

        Raises:
            Stopped: As ``train`` does.
        """
        return self._evaluate(weights, indices, split, until, scored=False)

    def evaluate_all(
        self, weights: Sequence[NDArray[Any]], indices: NDArray[np.int32], split: Split
    ) -> Evaluation:
        """Do what ``evaluate`` does, for a large set, and return the raw outputs as well."""
        return self._evaluate(weights, indices, split, math.inf, scored=True)

    def _evaluate(
        self,
        weights: Sequence[NDArray[Any]],
        indices: NDArray[np.int32],
        split: Split,
        until: float,
        scored: bool,
    ) -> Evaluation:
        few, many = EVALUATION_BATCHES
        size = few if len(indices) <= few else many
        self._layout.check("weights", weights)
        trainable, state = self._on_device(weights), self._layout.state_values(weights, 0)
        loss = hits = 0.0
        scores = []
        for begin in range(0, len(indices), size * PIECES):
            if self._stopped or time.time() - self.compiling >= until:
                raise Stopped
            here = indices[begin : begin + size * PIECES]
            filled = np.zeros(size * PIECES, np.int32)
            filled[: len(here)] = here
            with self._room(), jax.default_matmul_precision(self._matmul):
                found = self._compiling.call(
                    *(self._count, (split, size), trainable, state, *self._data[split]),
                    *(filled.reshape(PIECES, size), len(here)),
                )
                *sums, outputs = found
                losses, correct = as_numpy(sums)
                kept = np.asarray(outputs) if scored else np.empty(0)
            loss, hits = loss + losses.sum(dtype=np.float64), hits + correct.sum(dtype=np.float64)
            if scored:
                scores.append(kept.reshape(size * PIECES, -1)[: len(here)])
        return Evaluation(
            float(loss) / len(indices),
            float(hits) / len(indices) if self._objective.counts_hits else None,
            np.concatenate(scores) if scored else None,
        )

    def predict(
        self, weights: Sequence[NDArray[Any]], samples: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return the raw outputs, of shape (n, outputs), for samples as they are stored.

        Raises:
            RunError: If samples or weights are of another form.
        """
        check_samples(samples, self._stored)
        size = EVALUATION_BATCHES[-1]
        self._layout.check("weights", weights)
        trainable, state = self._on_device(weights), self._layout.state_values(weights, 0)
        found = []
        for begin in range(0, len(samples), size):
            piece = samples[begin : begin + size]
            filled = np.zeros((size, *samples.shape[1:]), samples.dtype)
            filled[: len(piece)] = piece
            with self._room(), jax.default_matmul_precision(self._matmul):
                outputs = np.asarray(self._predict(trainable, state, filled))
            found.append(outputs[: len(piece)])
        return np.concatenate(found)

    def _run(self, job: Job, kind: Kind) -> None:
        """Have a job done where the fewest others are."""
        min(self._workshops, key=lambda shop: shop.load).do(job, kind)

    def _work(self, bank: Bank) -> None:
        with jax.default_matmul_precision(self._matmul):
            now = time.time() - self.compiling
            bank.advance(*self._data["train"], now, self._stopped)

    def _bank(self, kind: Kind) -> Bank:
        rule, given = kind
        if "dropout" in given:
            dropout.listen(self._forward.model)
        program = Program(self._forward, self._descent, self._constraints, rule, self._side_by_side)
        if self._side_by_side:
            return Bank(program, self._lanes, TILES, self._compiling, ahead=1)
        return Bank(program, self._lanes, TILES_IN_TURN, self._compiling, ahead=0)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say in one line that the device has no room."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if FULL not in str(error):
                raise
            raise RunError(
                f"the device has no room for {self.workers} lanes of this model and its tiles: set "
                "run.workers to fewer, or use a device with more memory"
            ) from error

    def _lanes_that_fit(self) -> int:
        """Return for how many lanes there is room, half of the memory being left to the tiles.

        Raises:
            InputError: If there is none for one.
        """
        found = jax.devices()[0].memory_stats() or {}
        whole = found.get("bytes_limit") or psutil.virtual_memory().total
        data = sum(part.nbytes for split in self._data.values() for part in split)
        # Weights, two moments, sums, and where training began.
        lane = 5 * max(1, sum(part.nbytes for part in self._zeros))
        lanes = int((whole // 2 - data) // lane)
        if lanes < 1:
            raise InputError(
                f"the device has {whole / 2**30:.2g} GiB, of which half is for lanes and data: "
                f"expected {(data + lane) / 2**30:.2g} GiB or more there for the data and a lane "
                "of this model; use a smaller model, or a device with more memory"
            )
        return lanes

    def _on_device(self, weights: Sequence[NDArray[Any]]) -> list[Any]:
        """Return trainable weights on the device; those that nobody can change are sent once."""
        mine = [weights[index] for index in self._layout.trainable]
        if not all(map(_is_fixed, mine)):
            return [jnp.asarray(weight) for weight in mine]
        key = tuple((w.__array_interface__["data"][0], w.shape) for w in mine)
        with self._keeping:
            if key not in self._kept:
                self._kept[key] = mine, [jnp.asarray(weight) for weight in mine]
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key][1]


def _is_seed(variable: Any, place: int | None) -> bool:
    return place is None and tuple(variable.shape) == (2,) and variable.dtype == "uint32"


def _is_fixed(array: NDArray[Any]) -> bool:
    """Whether an array shows bytes, which nobody can write to."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, bytes)
