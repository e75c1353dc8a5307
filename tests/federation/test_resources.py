"""The engine that stays: for the next run with the same settings, and for no other."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fedgen.config.tree import build
from fedgen.engine.learning.objective import balanced_weights
from fedgen.engine.plan import Plan
from fedgen.errors import InputError
from fedgen.federation.resources import Resources


def held(**training: Any) -> Resources:
    tree = {"data": {"dataset": "digits"}, "model": {"name": "layers"}, "training": training}
    return Resources(build(tree), slots=1)


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": "adagrad"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"clip_norm": 0.1},
        {"schedule": "cosine"},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
    ],
    ids=lambda other: str([*other][-1]),
)
def test_an_engine_stays_for_the_same_settings_alone(other: dict[str, Any]) -> None:
    engine = held().engine(0)
    assert held().engine(1) is engine
    assert held(**other).engine(0) is not engine


def test_balanced_classes_are_those_of_a_seed_s_training_samples() -> None:
    resources = held(class_weights="balanced")
    engine = resources.engine(0)
    assert resources.engine(0) is engine and resources.engine(1) is not engine
    weights = [array * 0 for array in _initial(resources)]  # every logit is 0
    order = resources.partition(1).training[:50]
    trained = resources.engine(1).train(weights, Plan(1e-3, 50, order[None]))
    labels = resources.dataset.y_train
    given = np.array(balanced_weights(labels[resources.partition(1).training], 10))
    assert trained.losses[0] == pytest.approx(np.log(10) * given[labels[order]].mean(), rel=1e-5)


def test_a_loss_that_does_not_go_with_the_data_is_said_before_anything_is_built() -> None:
    with pytest.raises(InputError, match=r"training\.loss = 'huber'"):
        held(loss="huber")


def _initial(resources: Resources) -> list[np.ndarray]:
    return [np.asarray(array) for array in resources.model(1).get_weights()]


def test_tensorflow_runs_as_many_operations_at_once_as_there_are_clients() -> None:
    """In a process of its own: a process that has computed keeps the threads that it has."""
    script = """
from fedgen.config.tree import build
from fedgen.federation.resources import Resources
settings = {"data": {"dataset": "digits"}, "model": {"name": "layers"}}
held = Resources(build(settings | {"training": {"engine": "tensorflow"}, "run": {"workers": 1}}))
held.start()
held.model(0)
held.engine(0)
import tensorflow as tf
print(tf.config.threading.get_inter_op_parallelism_threads())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["1"], done.stderr
