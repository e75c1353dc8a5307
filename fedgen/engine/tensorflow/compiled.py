"""A function of TensorFlow, traced once and called without the checks that every call repeats."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute


class Compiled:
    """A function that is traced once, for arguments of given kinds, when it is first called.

    TensorFlow compares each argument with the traced one in Python, twice, which takes a
    millisecond for the hundred tensors of a local training: more than all else that a small client
    costs beside arithmetic. So the graph is executed as ``tf.function`` does in the end, under its
    own name, by a part of TensorFlow 2.21 that is not public. (The public operation that calls a
    function keeps its graph for good, see ``findings/``.) Whoever calls it has checked the shapes,
    as operations may end the process where one is wrong.

    Args:
        function: Takes and returns tensors, variables, and lists, tuples and dicts of them.
        like: For every argument what it will be like: variables, or ``tf.TensorSpec``.
        remapping: Whether operations may be fused into one kernel.
    """

    def __init__(
        self, function: Callable[..., Any], like: Sequence[Any], *, remapping: bool
    ) -> None:
        # Loops are of TensorFlow's own operations: to look for Python's in them takes a second.
        self._function = tf.function(function, autograph=False)
        self._like = like
        options = tf.compat.v1.ConfigProto(allow_soft_placement=True)
        rewrite = options.graph_options.rewrite_options
        rewrite.remapping = rewrite.ON if remapping else rewrite.OFF
        self._options = options.SerializeToString()
        self._tracing = threading.Lock()
        self._traced: Any = None

    @property
    def traces(self) -> int:
        """How often it was traced."""
        return int(self._function.experimental_get_tracing_count())

    def trace(self) -> Any:
        """Return what was traced; the first call traces."""
        with self._tracing:
            if self._traced is None:
                self._traced = self._function.get_concrete_function(*self._like)
            return self._traced

    def __call__(self, *arguments: Any) -> Any:
        """Compute; may be called by several threads."""
        traced = self.trace()
        given = [
            part.handle if isinstance(part, tf.Variable) else part
            for part in tf.nest.flatten(arguments)
        ]
        found = execute.execute(
            traced.name,
            num_outputs=len(traced.outputs),
            inputs=given + traced.captured_inputs,
            attrs=("executor_type", "", "config_proto", self._options),
            ctx=context.context(),
        )
        return tf.nest.pack_sequence_as(traced.structured_outputs, found)
