"""What local training minimises, and what counts as right; no framework is imported here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fedgen.errors import InputError

if TYPE_CHECKING:
    from fedgen.config.sections import Training

Loss = Literal[
    "cross-entropy", "binary-cross-entropy", "mean-squared-error", "mean-absolute-error", "huber"
]
Targets = Literal["classes", "labels", "quantities"]
"""One class of several, int32 of shape (n,); any number of k labels, float32 of shape (n, k), each
0 or 1; or k quantities, float32 of shape (n, k)."""

TARGETS: dict[Loss, Targets] = {
    "cross-entropy": "classes",
    "binary-cross-entropy": "labels",
    "mean-squared-error": "quantities",
    "mean-absolute-error": "quantities",
    "huber": "quantities",
}
"""What a loss is of; of those for the same targets, the first is what "auto" stands for."""


@dataclass(frozen=True)
class Objective:
    """The loss of local training, a number per sample, as Keras has it.

    Cross-entropies are taken of logits; those of several labels are averaged over the labels, and
    losses of quantities over the outputs. Huber's loss turns from a square into a line at 1.

    A batch's loss is the sum over its samples divided by how many there are, whatever the weights
    of their classes: what Keras' ``fit(class_weight=...)`` minimises ("sum_over_batch_size").

    Attributes:
        loss: Its name.
        label_smoothing: Share of every target that is spread evenly over the classes (Szegedy et
            al., 2016, arXiv 1512.00567), or that a label has of 1/2; in [0, 1).
        class_weights: Factor on the loss of a sample of each class; ``None`` for 1.

    Raises:
        ValueError: If they do not go together.
    """

    loss: Loss = "cross-entropy"
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected [0, 1), received {self.label_smoothing}")
        if self.label_smoothing and self.targets == "quantities":
            raise ValueError(
                f"label_smoothing = {self.label_smoothing:g}: expected 0 for loss "
                f"{self.loss!r}, as quantities have no labels to smooth"
            )
        if self.class_weights is not None and self.targets != "classes":
            raise ValueError(
                f"class_weights: expected none for loss {self.loss!r}, which is of {self.targets}"
            )

    @property
    def targets(self) -> Targets:
        """What it is of."""
        return TARGETS[self.loss]

    @property
    def counts_hits(self) -> bool:
        """Whether an output is right or wrong: a quantity is neither."""
        return self.targets != "quantities"

    @property
    def plain(self) -> "Objective":
        """What is measured in evaluation: the loss without smoothing and class weights."""
        return Objective(self.loss)

    @classmethod
    def of(
        cls, training: "Training", targets: Targets, weights: tuple[float, ...] | None = None
    ) -> Self:
        """Return the objective of settings for targets.

        Args:
            training: Settings; ``loss = "auto"`` is the first that goes with the targets.
            targets: What the data set has.
            weights: Of the classes, where the settings ask for them.

        Raises:
            InputError: If the settings do not go with the targets, in one line.
        """
        fitting = [name for name, of in TARGETS.items() if of == targets]
        loss = fitting[0] if training.loss == "auto" else training.loss
        if loss not in fitting:
            raise InputError(
                f"training.loss = {loss!r}: is of {TARGETS[loss]}, the data set's targets are "
                f"{targets}: expected 'auto' or {' or '.join(map(repr, fitting))}"
            )
        if training.class_weights != "none" and targets != "classes":
            raise InputError(
                f"training.class_weights = {training.class_weights!r}: expected 'none', as the "
                f"data set's targets are {targets}, not classes"
            )
        try:
            return cls(loss, training.label_smoothing, weights)
        except ValueError as error:
            raise InputError(f"training.{error}") from error


CROSS_ENTROPY = Objective()


def balanced_weights(labels: NDArray[np.generic], classes: int) -> tuple[float, ...]:
    """Return weights by which every class has the same share in the loss.

    Class c of C has ``n / (C n_c)``, as scikit-learn's ``compute_class_weight("balanced")`` has
    it (King and Zeng, 2001, Logistic Regression in Rare Events Data). To know ``n_c`` is to look at
    all labels: in a federation it is a statistic of the server's, or one that clients would have
    to tell.

    Args:
        labels: Array of shape (n,), classes from 0 to C - 1.
        classes: C. One without samples weighs as if it had one; nothing is multiplied with that.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return tuple((len(labels) / (classes * counts)).tolist())
