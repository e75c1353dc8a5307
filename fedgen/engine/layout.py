"""Where a model's weights are: those that are trained, its state, and all of them in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from strategies.core.aggregation import Arrays


@dataclass(frozen=True)
class Layout:
    """Places among all weights, which travel between server and clients.

    Attributes:
        trainable: Of every trainable weight.
        state: Of every variable of the model's state; ``None`` for one that is no weight and stays
            here, as the seeds of dropout.
        dtypes: Of the state.
    """

    trainable: tuple[int, ...]
    state: tuple[int | None, ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        """Return the layout of a built model."""
        place = {id(weight): index for index, weight in enumerate(model.weights)}
        state = model.non_trainable_variables
        return cls(
            trainable=tuple(place[id(weight)] for weight in model.trainable_variables),
            state=tuple(place.get(id(variable)) for variable in state),
            dtypes=tuple(variable.dtype for variable in state),
        )

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
