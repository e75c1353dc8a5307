"""What is traced, and when."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from trainings import same

from fedgen.config.sections import Data
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models
from fedgen.engine.plan import Plan
from fedgen.engine.rules import Corrected, Proximal
from fedgen.engine.rules.rule import Rule
from fedgen.engine.tensorflow.engine import Engine
from strategies.core.aggregation import Arrays

LINEAR = Model(name="layers")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load(Data(dataset="digits"))


def plan(batch: int, epochs: int, samples: int, rule: Rule | None = None) -> Plan:
    draws = np.random.default_rng(batch)
    order = [draws.permutation(1437)[:samples] for _ in range(epochs)]
    return Plan(1e-3, batch, np.array(order, np.int32), rule=rule)


def initial(model: str | Model) -> Arrays:
    return models.get_weights(models.build(model, (8, 8, 1), 10, 7))


def test_nothing_is_retraced(digits: Dataset) -> None:
    engine, weights = Engine(models.build("cnn", (8, 8, 1), 10, 0), digits), initial("cnn")
    for batch, epochs, samples in ((1, 1, 3), (7, 3, 20), (64, 2, 50)):
        trained = engine.train(weights, plan(batch, epochs, samples))
        engine.evaluate(trained.weights, np.arange(batch, dtype=np.int32))
        engine.evaluate(trained.weights, np.arange(batch, dtype=np.int32), "test")
    assert engine.traces == 2


def test_rules_are_traced_when_asked_for(digits: Dataset) -> None:
    engine, weights = Engine(models.build(LINEAR, (8, 8, 1), 10, 0), digits), initial(LINEAR)
    zero = Corrected([np.zeros_like(weight) for weight in weights])
    engine.train(weights, plan(16, 2, 75))
    assert engine.traces == 2
    jobs = [plan(16, 2, 75, rule) for rule in (Proximal(0.5), zero, Proximal(0.1))]
    alone = [engine.train(weights, job) for job in jobs]
    assert engine.traces == 4
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda job: engine.train(weights, job), jobs * 2))
    assert all(same(a, b) for a, b in zip(alone * 2, beside, strict=True))
    assert engine.traces == 4
