"""What Flower does not promise to keep: in two files, and named where a release has moved it."""

import ast
import importlib
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
