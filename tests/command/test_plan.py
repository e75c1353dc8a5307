"""What is said in the first second."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from runs import environment

from fedgen.command.plan import planned
from fedgen.config.tree import build

SLOW = ("tensorflow", "jax", "keras", "scipy", "sklearn", "plotly")


def test_the_plan_is_told_before_what_takes_seconds_is_imported(tmp_path: Path) -> None:
    command = ["compare", "--dataset=digits", "--model=mlp", "--seeds=3", "--engine=tensorflow"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "fedgen", *command],
        cwd=tmp_path,
        env=environment(tmp_path) | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    imported: set[str] = set()
    with open(leader) as lines:
        for line in lines:
            if not line.startswith("import time:"):
                break
            imported.add(line.rpartition("|")[2].strip().partition(".")[0])
        process.kill()
    process.wait()
    assert line == (
        "2 strategies x 3 seeds, 10 rounds, digits, mlp, 100 clients; starting tensorflow\n"
    )
    assert "fedgen" in imported and not imported & {*SLOW}


@pytest.mark.parametrize(
    ("tree", "named", "told"),
    [
        (
            {"run": {"strategies": "fedavg", "rounds": 1}, "partition": {"clients": 4}},
            False,
            "1 strategy, 1 round, cifar10 if it can be had, cnn, 4 clients; starting the engine",
        ),
        (
            {"run": {"budget": "client-epochs=60", "seeds": 2}, "training": {"engine": "jax"}},
            True,
            "2 strategies x 2 seeds, 10 rounds or client-epochs=60, cifar10, cnn, 100 clients; "
            "starting jax",
        ),
    ],
)
def test_what_is_told(tree: dict, named: bool, told: str) -> None:
    assert planned(build(tree), named) == told
