"""What Flower does not promise to keep: in two files, and named where a release has moved it."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, MessageType, RecordDict

from fedgen.federation import flower
from strategies.core import flower as functions

ROOT = Path(__file__).parents[2]
PLACES = ("fedgen/federation/flower.py", "strategies/core/flower.py")
PROMISED = {"flwr", "flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy"}
"""Packages whose names Flower's documentation has."""


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Modules of Flower that a file imports from, and the names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flwr":
            yield from ((node.module or "", name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names if name.name.startswith("flwr"))


FILES = [path for package in ("fedgen", "strategies") for path in (ROOT / package).rglob("*.py")]
NAMES = sorted({found for path in FILES for found in imported(path)})


def test_two_files_alone_import_what_is_not_promised() -> None:
    apart = {
        str(path.relative_to(ROOT)): module
        for path in FILES
        for module, _ in imported(path)
        if module not in PROMISED
    }
    assert set(apart) == set(PLACES), apart


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_flower_has_the_name(module: str, name: str) -> None:
    if "simulation" in module:
        pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")
    assert hasattr(importlib.import_module(module), name), f"Flower has no {module}.{name} any more"


def test_a_message_outside_a_flower_process_takes_a_sender_and_a_number() -> None:
    flower.identify_task()
    message = Message(RecordDict(), 7, MessageType.TRAIN)
    flower.number(message, "one")
    assert (message.metadata.src_node_id, message.metadata.message_id) == (
        flower.SUPERLINK_NODE_ID,
        "one",
    )
    assert flower.Run.create_empty(run_id=flower.RUN_ID).run_id == flower.RUN_ID


def test_its_functions_take_what_they_are_given() -> None:
    """A step of length 5, cut to 1; noise for two clients; the middle of three."""
    step = [np.array([3.0, 0.0]), np.array([[4.0]])]
    assert functions.get_norm(step) == 5.0
    functions.clip_inputs_inplace(step, 1.0)
    assert np.allclose(step[0], [0.6, 0.0]) and np.allclose(step[1], [[0.8]])
    assert functions.compute_stdv(1.5, 2.0, 4) == pytest.approx(1.5 * 2.0 / 4)
    three = [np.array([0.0]), np.array([1.0]), np.array([50.0])]
    assert functions.trim_mean(np.array(three), 0.34) == pytest.approx([1.0])
    assert flower.parse_config_args(["rounds=3 out='a'"]) == {"rounds": 3, "out": "a"}


def test_the_pool_of_actors_is_as_it_is_taken_over() -> None:
    """Each is used, or replaced, by ``flower.renew_actors``."""
    pytest.importorskip("ray", reason="needs the extra `simulation`, which installs Ray")
    pool = importlib.import_module("flwr.simulation.ray_transport.ray_actor").BasicActorPool
    taken = {
        "__init__": ["self", "actor_type", "client_resources", "actor_kwargs"],
        "submit": ["self", "actor_fn", "job"],
        "fetch_result_and_return_actor_to_pool": ["self", "future"],
        "add_actor_back_to_pool": ["self", "future"],
        "terminate_all_actors": ["self"],
    }
    assert {
        name: list(inspect.signature(getattr(pool, name)).parameters) for name in taken
    } == taken
    source = inspect.getsource(pool.__init__)
    for attribute in ("pool", "create_actor_fn", "client_resources", "_future_to_actor"):
        assert f"self.{attribute}" in source, f"Flower's pool has no {attribute} any more"
    grid = importlib.import_module("flwr.superlink.grid").InMemoryGrid
    assert grid.__name__ == "InMemoryGrid" and "self.pull_interval" in inspect.getsource(grid)
    assert flower.is_simulated(grid.__new__(grid))


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "found"),
    [
        ([{"CPU": 2.0}], 1, 0, [("0", 2)]),
        ([{"CPU": 2.0}, {}, {"CPU": 4.0}], 1, 0, [("0", 2), ("2", 4)]),  # one is gone
        ([{"CPU": 2.0}], 0.6666, 0, [("0", 3)]),
        ([{"CPU": 16.0, "GPU": 1.0}], 0.5, 0.0312, [("0", 32)]),
        ([{"CPU": 16.0, "GPU": 2.0}], 0.25, 0.0312, [("0", 32), ("0", 32)]),
        ([{"CPU": 16.0, "GPU": 2.0}], 4, 0.25, [("0", 4)]),  # its cores do for no more
        ([{"CPU": 16.0, "GPU": 2.0}], 2, 0.3, [("0", 3), ("0", 3)]),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], 1, 1, [("0", 1), ("0", 1)]),
    ],
)
def test_clients_of_a_gpu_or_of_a_node_without_share_a_process(
    nodes: list[dict[str, float]], cpus: float, gpus: float, found: list[tuple[str, int]]
) -> None:
    told = [{"NodeID": str(place), "Resources": node} for place, node in enumerate(nodes)]
    assert list(flower.together(told, cpus, gpus)) == found
