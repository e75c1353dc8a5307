"""The samples that the compiled loops look up: all in memory, or gathered from disk."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedgen.data.inputs import is_mapped


class Samples:
    """Samples of one split and their targets.

    Args:
        x: Array of shape (n, ...); one that is mapped stays on disk.
        y: Array of shape (n,) or (n, k).
    """

    def __init__(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        self._mapped = x if is_mapped(x) else None
        self._x = tf.constant(x[:0] if is_mapped(x) else x)
        self._y = tf.constant(y)

    @property
    def specs(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """What samples and targets are, whatever their number."""
        x, y = (tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in (self._x, self._y))
        return x, y

    def of(self, indices: NDArray[np.int32]) -> tuple[Any, Any, Any]:
        """Return samples and targets, and where among them those of indices are.

        Args:
            indices: Any array of positions in the split, int32.

        Returns:
            Tensors: all that are in memory, and the very indices; or those that were gathered, and
            indices into them of the same shape.
        """
        if self._mapped is None:
            return self._x, self._y, tf.constant(indices, tf.int32)
        wanted, places = np.unique(indices, return_inverse=True)
        places = places.reshape(indices.shape).astype(np.int32)
        return tf.constant(self._mapped[wanted]), tf.gather(self._y, wanted), tf.constant(places)
