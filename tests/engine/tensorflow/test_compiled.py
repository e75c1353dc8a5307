"""Traced functions, executed under their own names."""

import gc
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from fedgen.engine.tensorflow.compiled import Compiled


def step(
    weights: Sequence[tf.Variable],
    start: Sequence[Sequence[Any]],
    numbers: Mapping[str, Any],
    terms: tuple[Any, ...],
) -> tuple[Any, dict[str, Any], list[Any]]:
    """Take and return all kinds of structures, and write to a variable."""
    weights[0].assign(start[1][0] * numbers["by"] - numbers["add"])
    return tf.reduce_sum(weights[0]), {"b": numbers["by"], "a": start[0][0]}, [*terms]


def arguments(value: float) -> tuple[Any, ...]:
    numbers = {"by": tf.constant(value), "add": tf.constant(0.5)}
    start = [[tf.constant([7])], [tf.constant([1.0, 2.0])]]
    return [tf.Variable([0.0, 0.0])], start, numbers, (tf.constant(3.0), tf.constant(4))


def compiled() -> Compiled:
    like = tf.nest.map_structure(
        lambda part: (
            part if isinstance(part, tf.Variable) else tf.TensorSpec(part.shape, part.dtype)
        ),
        arguments(0.0),
    )
    return Compiled(step, like, remapping=True)


def test_structures_come_back_as_the_function_returns_them() -> None:
    given = arguments(2.0)
    total, named, rest = compiled()(*given)
    assert float(total) == 2 * (1 + 2) - 2 * 0.5
    assert {name: np.asarray(part).tolist() for name, part in named.items()} == {"a": [7], "b": 2}
    assert [float(part) for part in rest] == [3, 4]
    np.testing.assert_array_equal(given[0][0].numpy(), [1.5, 3.5])


def test_threads_trace_once_and_do_not_mix() -> None:
    call, together = compiled(), threading.Barrier(8)

    def one(value: float) -> list[float]:
        together.wait()
        given = arguments(float(value))
        return [float(call(*given)[0]), *given[0][0].numpy().tolist()]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, map(float, range(8))))
    assert found == [[3.0 * v - 1, v - 0.5, 2 * v - 0.5] for v in range(8)]
    assert call.traces == 1


def test_a_tensor_of_another_type_is_refused() -> None:
    weights, start, numbers, _ = arguments(2.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="double"):
        compiled()(weights, start, numbers, (tf.constant(3.0, tf.float64), tf.constant(4)))


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_graph_goes_with_its_function() -> None:
    def made(number: int) -> Compiled:
        whole = np.full(1_000_000, number, np.float32)
        return Compiled(lambda x: x + tf.constant(whole), [tf.TensorSpec([])], remapping=True)

    sizes = []
    for number in range(40):
        assert float(made(number)(tf.constant(1.0))[0]) == number + 1
        gc.collect()
        sizes.append(resident())
    assert sizes[-1] - sizes[9] < 30 * 2_000_000  # each graph holds 4 MB at least


@pytest.mark.parametrize("remapping", [True, False])
def test_operations_are_fused_where_they_may_be_whatever_another_engine_set(
    remapping: bool,
) -> None:
    def dense(x: Any, kernel: Any, bias: Any) -> Any:
        return tf.nn.relu(tf.nn.bias_add(x @ kernel, bias))

    like = [tf.TensorSpec(shape) for shape in ([None, 3], [3, 2], [2])]
    call = Compiled(dense, like, remapping=remapping)
    tf.config.optimizer.set_experimental_options({"remapping": not remapping})
    run = context.context()
    run.enable_graph_collection()
    try:
        call(tf.ones([4, 3]), tf.ones([3, 2]), tf.ones([2]))
        graphs = run.export_run_metadata().partition_graphs
    finally:
        run.disable_graph_collection()
        tf.config.optimizer.set_experimental_options({"remapping": True})
    operations = {node.op for graph in graphs for node in graph.node}
    assert any("FusedMatMul" in name for name in operations) == remapping
    assert ("Relu" in operations) != remapping
