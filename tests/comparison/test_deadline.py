"""A client past its deadline is stopped inside the compiled loop, and the round goes on."""

import time
from pathlib import Path

import numpy as np
import pytest
from runs import ENGINE, PATIENCE, finish, play, rows, start
from trainings import engine_of

from fedgen.comparison.trainers import reply_timeout
from fedgen.config.sections import Data
from fedgen.config.tree import build
from fedgen.data import datasets
from fedgen.engine import models
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Plan, Stopped
from fedgen.errors import RunError


@pytest.fixture(scope="module")
def engine() -> Engine:
    digits = datasets.load(Data(dataset="digits"))
    return engine_of(models.build("mlp", digits.shape, digits.outputs, 0), digits)


def weights() -> list[np.ndarray]:
    digits = datasets.load(Data(dataset="digits"))
    return models.get_weights(models.build("mlp", digits.shape, digits.outputs, 0))


def plan(epochs: int) -> Plan:
    return Plan(1e-3, 8, np.tile(np.arange(500, dtype=np.int32), (epochs, 1)))


def test_training_stops_at_the_deadline_in_the_middle_of_its_plan(engine: Engine) -> None:
    """6.3 million steps would take a minute and more."""
    begun = time.time()
    with pytest.raises(Stopped):
        engine.train(weights(), plan(100_000), until=begun + 0.3)
    assert 0.29 < time.time() - begun < PATIENCE


def test_evaluation_stops_too(engine: Engine) -> None:
    with pytest.raises(Stopped):
        engine.evaluate(weights(), np.arange(500, dtype=np.int32), until=time.time() - 1)


def test_a_deadline_that_is_not_reached_changes_no_byte(engine: Engine) -> None:
    free = engine.train(weights(), plan(2))
    timed = engine.train(weights(), plan(2), until=time.time() + 600)
    assert [a.tobytes() for a in free.weights] == [a.tobytes() for a in timed.weights]
    assert free.losses == timed.losses


def test_a_stopped_client_leaves_no_trace_in_the_next_one(engine: Engine) -> None:
    before = engine.train(weights(), plan(1))
    with pytest.raises(Stopped):
        engine.train(weights(), plan(20_000), until=time.time() + 0.1)
    after = engine.train(weights(), plan(1))
    assert [a.tobytes() for a in before.weights] == [a.tobytes() for a in after.weights]


def test_only_the_slow_clients_fail(tmp_path: Path) -> None:
    """One cohort in which some hang, some are quick; a run of the command line."""
    arguments = ["compare", "--dataset=digits", "--model=mlp", "--clients=8", "--fraction=1"]
    arguments += ["--rounds=1", "--out=run", "--quiet", "--strategies=fedavg", f"--engine={ENGINE}"]
    arguments += ["--set=training.deadline=3", "--set=faults.hang=3"]
    assert finish(start(arguments, tmp_path)) == (0, "", "")
    (last,) = (r for r in rows(tmp_path / "run" / "rounds.csv") if r["round"] == "1")
    assert (last["clients"], last["failed"], last["rejected"]) == ("8", "3", "0")
    # Three stuck clients on two workers: 5 s each, two of them at once.
    assert 5 <= float(last["seconds"]) < PATIENCE


def test_a_round_that_nobody_finishes_names_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"stopped at its deadline of 0\.3 s"):
        play(
            tmp_path / "run",
            training={"deadline": 0.3, "local_epochs": 5_000},
            run={"rounds": 1, "strategies": ["fedavg"]},
        )


def test_a_round_on_flower_s_runtimes_ends_at_last() -> None:
    """4 clients, one after another, each 10 s and 2 s more, and a minute to start."""
    tree = {"partition": {"clients": 8}, "cohort": {"fraction": 0.5}}
    assert reply_timeout(build({**tree, "training": {"deadline": 10.0}})) == 60 + 4 * 12
    assert reply_timeout(build(tree)) is None


def test_a_probe_has_the_same_deadline(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"stopped at its deadline of 0\.0001 s"):
        play(
            tmp_path / "run",
            training={"deadline": 0.0001},
            **{"genetic-cfl": {"init": "probe"}},
            run={"rounds": 1, "strategies": ["genetic-cfl"]},
        )
