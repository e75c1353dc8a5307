"""What a rule of local training is: one client's numbers and arrays, and what its steps are.

No framework is imported here: an engine hands over the operations that a step is made of.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from strategies.core.aggregation import Arrays

if TYPE_CHECKING:
    from fedgen.engine.plan import Trained

Records = Mapping[str, Arrays]
"""The arrays of a message, by the names of their records."""

Carry = tuple[Any, ...]
"""Float32 scalars that a rule hands from step to step."""


@dataclass(frozen=True)
class Step:
    """One step of an engine's loop; lists have an entry per trainable weight.

    Attributes:
        ops: Has ``where``, ``minimum``, ``sqrt`` and ``logical_and``, as NumPy has them.
        distance: Returns the norm of the difference of two such lists.
        start: Weights that training began from.
        weights: Weights before this step.
        previous: Weights before the step before; those of now where there was none. Only for a
            rule that looks back.
        gradients: Gradients of the batch's mean loss at ``weights``.
        gradients_before: Gradients of the same batch at ``previous``. Only for such a rule.
        rate: Learning rate, a float32 scalar.
        number: Number of this step, from 1, a float32 scalar.
        numbers: The rule's numbers.
        arrays: The rule's arrays, if it has any.
    """

    ops: Any
    distance: Callable[[Sequence[Any], Sequence[Any]], Any]
    start: Sequence[Any]
    weights: Sequence[Any]
    previous: Sequence[Any]
    gradients: Sequence[Any]
    gradients_before: Sequence[Any]
    rate: Any
    number: Any
    numbers: Any
    arrays: Sequence[Any]


class Rule(ABC):
    """What a client does with its gradients.

    Attributes:
        name: What is in a message where the rule is asked for: a key of its config, or a record.
        descends: Whether a step is ``w <- w - rate g``, whatever the run's optimiser.
        looks_back: Whether a step depends on the weights of the step before; only for a rule that
            descends, as they are kept where an optimiser keeps its moments.
    """

    name: ClassVar[str]
    descends: ClassVar[bool] = False
    looks_back: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def read(cls, config: Mapping[str, Any], records: Records) -> Self:
        """Make the rule of a message's config and records."""

    @abstractmethod
    def acknowledge(self, trained: "Trained") -> dict[str, float]:
        """Return, as metrics, what was made of it."""

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The rule's numbers; as many for every instance of a kind."""
        return np.zeros(0, np.float32)

    @property
    def arrays(self) -> Arrays:
        """The rule's arrays, one per weight in the model's order; or none."""
        return []

    # What an engine traces: it sees a rule's numbers and arrays as arguments.

    @staticmethod
    def carry(rate: Any, numbers: Any) -> Carry:
        """Return what is carried into the first step."""
        return ()

    @staticmethod
    @abstractmethod
    def direct(step: Step, carried: Carry) -> tuple[Sequence[Any], Any, Carry]:
        """Return the gradients to step against, the rate to step at, and what is carried on."""

    @staticmethod
    def mean_rate(rate: Any, carried: Carry, steps: Any) -> Any:
        """Return the mean of the rates of all steps."""
        return rate
