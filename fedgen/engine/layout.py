"""Where a model's weights are: those that are trained, its state, and all of them in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from fedgen.engine.plan import Plan
from fedgen.errors import RunError
from strategies.core.aggregation import Arrays


@dataclass(frozen=True)
class Layout:
    """Places among all weights, which travel between server and clients.

    Attributes:
        trainable: Of every trainable weight.
        state: Of every variable of the model's state; ``None`` for one that is no weight and stays
            here, as the seeds of dropout.
        dtypes: Of the state.
        shapes: Of all weights.
    """

    trainable: tuple[int, ...]
    state: tuple[int | None, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        """Return the layout of a built model."""
        place = {id(weight): index for index, weight in enumerate(model.weights)}
        state = model.non_trainable_variables
        return cls(
            trainable=tuple(place[id(weight)] for weight in model.trainable_variables),
            state=tuple(place.get(id(variable)) for variable in state),
            dtypes=tuple(variable.dtype for variable in state),
            shapes=tuple(tuple(weight.shape) for weight in model.weights),
        )

    def check(
        self, what: str, arrays: Sequence[NDArray[Any]], places: Sequence[int] | None = None
    ) -> None:
        """Refuse arrays of other shapes than the weights', which come from another model.

        Args:
            what: What they are called.
            arrays: One for every weight, or for those in ``places``.
            places: Of the weights that they belong to.

        Raises:
            RunError: If there is one.
        """
        expected = [self.shapes[i] for i in (range(len(self.shapes)) if places is None else places)]
        received = [array.shape for array in arrays]
        if expected == received:
            return
        pairs = enumerate(zip_longest(expected, received, fillvalue="none"))
        number, (wanted, found) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
        raise RunError(
            f"{what}: array {number}: expected the shape {wanted}, received {found}: give the "
            "server and all its nodes the same model"
        )

    def check_start(self, weights: Sequence[NDArray[Any]], plan: Plan) -> None:
        """Refuse what a training starts from if it is another model's.

        Raises:
            RunError: If it is.
        """
        self.check("weights", weights)
        if plan.moments is not None:
            self.check("first moments", plan.moments.first, self.trainable)
            self.check("second moments", plan.moments.second, self.trainable)
        if plan.rule is not None and plan.rule.arrays:
            self.check("arrays of the rule", plan.rule.arrays)

    def state_values(self, weights: Sequence[NDArray[Any]], seed: int) -> list[NDArray[Any]]:
        """Return what the state starts from; seed generators get seeds of their own.

        Args:
            weights: All weights.
            seed: Of dropout, at least 0.
        """
        # A seed generator's state is (seed, counter).
        return [
            np.asarray(weights[i] if i is not None else [(seed + number) % 2**31, 0], dtype)
            for number, (i, dtype) in enumerate(zip(self.state, self.dtypes, strict=True))
        ]

    def merged(
        self, weights: Sequence[NDArray[Any]], trainable: Sequence[Any], state: Sequence[Any]
    ) -> Arrays:
        """Return all weights, with others in the places of those that were trained."""
        result: Arrays = [np.asarray(weight) for weight in weights]
        changed = [*zip(self.trainable, trainable, strict=True)]
        changed += [(i, s) for i, s in zip(self.state, state, strict=True) if i is not None]
        for index, value in changed:
            result[index] = np.asarray(value)
        return result


def check_samples(samples: NDArray[Any], stored: NDArray[Any]) -> None:
    """Refuse samples that are not as a data set stores them.

    Args:
        samples: Any number of them.
        stored: Any number of the data set's own.

    Raises:
        RunError: If shape or type is another one.
    """
    expected, received = ((part.shape[1:], str(part.dtype)) for part in (stored, samples))
    if expected != received:
        raise RunError(
            "samples: expected {1} of shape {0}, received {3} of {2}".format(*expected, *received)
        )
