"""Which engine trains here: by the settings, by what is installed, and by what device there is.

No framework is imported before it is known which one.
"""

import os
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from fedgen import runtime
from fedgen.config.sections import Training
from fedgen.data.dataset import Dataset, Split
from fedgen.engine.learning.descent import Descent
from fedgen.engine.learning.objective import Objective, balanced_weights
from fedgen.engine.plan import Evaluation, Plan, Trained
from fedgen.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import keras
    import numpy as np
    from numpy.typing import NDArray

    from strategies.core.aggregation import Statistic

TENSORFLOW, JAX = "tensorflow", "jax"
NAMES = {TENSORFLOW: "TensorFlow", JAX: "JAX"}
INSTALLED_BY = {
    TENSORFLOW: "pip install tensorflow",
    JAX: "pip install 'fedgen[gpu]' for an NVIDIA GPU, or 'fedgen[jax]' for the CPU",
}


class Engine(Protocol):
    """What every engine is; safe to call from several threads.

    Attributes:
        workers: Clients that it trains at once.
        joins: Whether clients of other arms enter places that an arm's leave, so that arms are
            best played beside one another.
        statistics: Positions of the weights that are statistics of the data.
    """

    workers: int
    joins: bool
    statistics: "dict[int, Statistic]"

    @property
    def trainable(self) -> list[int]:
        """Positions of the trainable weights among all weights, in the order of moments."""

    def why_not(self, gene: str) -> str | None:
        """Say why no plan may have a value of its own for a gene; ``None`` if one may."""

    @property
    def compiling(self) -> float:
        """Seconds of compiling so far, which no client's deadline counts.

        ``until`` is held against the seconds since the epoch less these.
        """

    def interruptible(self) -> "AbstractContextManager[None]":
        """Stop all running calls, by ``Stopped``, when the block is left by an exception."""

    def train(
        self,
        weights: "Sequence[NDArray[Any]]",
        plan: Plan,
        *,
        until: float = ...,
        keep: bool = ...,
    ) -> Trained:
        """Train locally from given weights."""

    def evaluate(
        self,
        weights: "Sequence[NDArray[Any]]",
        indices: "NDArray[np.int32]",
        split: Split = ...,
        until: float = ...,
    ) -> Evaluation:
        """Return loss and accuracy over samples of a split."""

    def evaluate_all(
        self, weights: "Sequence[NDArray[Any]]", indices: "NDArray[np.int32]", split: Split
    ) -> Evaluation:
        """Do what ``evaluate`` does, for a large set, and return the raw outputs as well."""

    def predict(
        self, weights: "Sequence[NDArray[Any]]", samples: "NDArray[Any]"
    ) -> "NDArray[np.float32]":
        """Return the raw outputs, of shape (n, outputs), for samples as they are stored."""


def settled(training: Training) -> Training:
    """Return the settings with an engine for ``"auto"``, checked against what is here.

    Raises:
        InputError: If the engine is not installed, or cannot compute in the precision.
    """
    name: str = training.engine
    if name == "auto" and (loaded := runtime.loaded_backend()) in NAMES:
        name = loaded  # a process has one
    elif name == "auto":
        alone = find_spec(JAX) is not None and find_spec(TENSORFLOW) is None
        name = JAX if alone or _has_jax_with_a_gpu() else TENSORFLOW
    if find_spec(name) is None:
        raise InputError(
            f"training.engine = {name!r}: {NAMES[name]} is not installed; install it with "
            f"{INSTALLED_BY[name]}"
        )
    if name == TENSORFLOW and training.precision == "bfloat16":
        raise InputError(
            "training.precision = 'bfloat16': the engine 'tensorflow' has 'float32' and, on a GPU, "
            "'tf32'; bfloat16 needs training.engine = 'jax'"
        )
    found: Training = training.model_copy(update={"engine": name})
    if found.precision == "tf32" and device(found) == "CPU":
        raise InputError(
            f"training.precision = 'tf32': it is a format of NVIDIA GPUs, and {NAMES[name]} sees "
            "none; expected 'float32' on a CPU"
        )
    return found


def _has_jax_with_a_gpu() -> bool:
    # JAX finds devices by plugins: without one it takes no import to know that there is none.
    if find_spec(JAX) is None or find_spec("jax_plugins") is None:
        return False
    return _jax_device() != "CPU"


def start(training: Training, workers: int | None = None) -> None:
    """Import the framework of settled settings, as Keras' back end too.

    Args:
        training: Settings.
        workers: Clients at once, if that is known: TensorFlow's threads can be counted only before
            it has computed anything, as a model's first weights. 0 for one per core.

    Raises:
        RunError: If Keras was imported with another one.
    """
    if training.engine == JAX:
        runtime.import_jax()
        return
    runtime.import_tensorflow()
    if workers is not None:
        runtime.limit_threads(workers or runtime.available_cores())


def device(training: Training) -> str:
    """Return the device that trains with settled settings, for people: ``"CPU"``, or which GPU."""
    start(training)
    return _tensorflow_device() if training.engine == TENSORFLOW else _jax_device()


def _tensorflow_device() -> str:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU ({details.get('device_name', gpus[0].name)})"


def _jax_device() -> str:
    found = runtime.jax_device()
    return "CPU" if found.platform == "cpu" else f"GPU ({found.device_kind})"


def title(training: Training) -> str:
    """Say which engine trains with settled settings, on what, in which precision."""
    name = training.engine
    return f"{name} {version(name)} on {device(training)}, {training.precision}"


def packages(training: Training) -> tuple[str, ...]:
    """Return the packages whose versions decide results with settled settings."""
    own = (TENSORFLOW,) if training.engine == TENSORFLOW else (JAX, "jaxlib")
    return (*own, *(name for name in runtime.PACKAGES if name != TENSORFLOW))


def build(
    training: Training,
    model: "keras.Model",
    dataset: Dataset,
    *,
    workers: int,
    counted: "NDArray[np.int32] | None" = None,
) -> Engine:
    """Build the engine of settled settings.

    Args:
        training: Settings.
        model: A built model whose last layer computes as many raw outputs as the data set has.
        dataset: What is trained on.
        workers: Clients at once; 0 for as many as suit the device.
        counted: Training samples that balanced class weights are reckoned from; all without it.

    Raises:
        InputError: If the loss does not go with the data set's targets, or the data cannot be
            augmented as the settings say.
    """
    start(training)
    if training.augmentation:
        from fedgen.engine.zoo import augmentation

        model = augmentation.before(model, training.augmentation, dataset)
    weights = None
    if training.class_weights == "balanced" and dataset.kind == "classes":
        labels = dataset.y_train if counted is None else dataset.y_train[counted]
        weights = balanced_weights(labels, dataset.outputs)
    settings: dict[str, Any] = {
        "objective": Objective.of(training, dataset.kind, weights),
        "descent": Descent.of(training),
        "precision": training.precision,
    }
    if training.engine == JAX:
        from fedgen.engine.jax.engine import Engine as OnJax

        return OnJax(model, dataset, workers=workers, **settings)
    from fedgen.engine.tensorflow.engine import Engine as OnTensorFlow

    workers = workers or runtime.available_cores()
    return OnTensorFlow(model, dataset, workers=workers, **settings)


def require_gpu(training: Training) -> str | None:
    """Return which GPU is seen, for people; nothing if ``FEDGEN_REQUIRE_GPU`` is not set.

    A framework is imported only if it is set: that of the engine that would train.

    Raises:
        InputError: If it is 1 and there is no GPU: without a word, training would
            go on many times slower.
    """
    required = os.environ.get("FEDGEN_REQUIRE_GPU", "")
    if not required:
        return None
    if required not in ("0", "1"):
        raise InputError(f"FEDGEN_REQUIRE_GPU: expected 0 or 1, received {required!r}")
    found = settled(training)
    name, seen = NAMES[str(found.engine)], device(found)
    if required == "1" and seen == "CPU":
        who = "no engine sees one" if training.engine == "auto" else f"{name} sees none"
        raise InputError(
            f"FEDGEN_REQUIRE_GPU=1: expected a GPU, {who}. Start a container with "
            "`docker run --gpus all`, or allow the CPU with FEDGEN_REQUIRE_GPU=0; "
            "TF_CPP_MIN_LOG_LEVEL=0 shows what was tried"
        )
    return f"{name} sees {'no GPU' if seen == 'CPU' else seen}"
