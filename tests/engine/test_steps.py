"""Rules of local training: by hand, against NumPy, and what they leave alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from trainings import engine_of, same

from fedgen.config.sections import Data
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models, rules
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Plan, Stopped
from fedgen.engine.rules import AutoTuned, Corrected, Proximal
from fedgen.engine.rules.rule import Rule, Step
from strategies.core.aggregation import Arrays

LINEAR = Model(name="layers")
"""Softmax regression: its gradients are two lines of NumPy."""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load(Data(dataset="digits"))


@pytest.fixture(scope="module")
def engines(digits: Dataset) -> dict[str, Engine]:
    model = models.build(LINEAR, (8, 8, 1), 10, 0)
    return {kind: engine_of(model, digits, optimizer=kind, workers=2) for kind in ("adam", "sgd")}


def initial() -> Arrays:
    return models.get_weights(models.build(LINEAR, (8, 8, 1), 10, 7))


def plan(rate: float, rule: Rule | None, batch: int = 16, epochs: int = 2) -> Plan:
    draws = np.random.default_rng(batch)
    order = [draws.permutation(1437)[:75] for _ in range(epochs)]
    return Plan(rate, batch, np.array(order, np.int32), rule=rule)


def offset() -> Arrays:
    draws = np.random.default_rng(3)
    return [draws.normal(0, 0.1, weight.shape).astype(np.float32) for weight in initial()]


# The readable references.


def gradients(weights: Arrays, pixels: np.ndarray, labels: np.ndarray) -> Arrays:
    """Of the mean cross-entropy of softmax regression."""
    logits = pixels @ weights[0] + weights[1]
    likely = np.exp(logits - logits.max(1, keepdims=True))
    error = likely / likely.sum(1, keepdims=True) - np.eye(10)[labels]
    return [pixels.T @ error / len(labels), error.mean(0)]


def batches(dataset: Dataset, job: Plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for order in job.order:
        for begin in range(0, len(order), job.batch_size):
            batch = order[begin : begin + job.batch_size]
            pixels = dataset.x_train[batch].reshape(len(batch), -1).astype(np.float64)
            yield pixels * dataset.scale, dataset.y_train[batch]


def add(one: Arrays, other: Arrays, factor: float = 1.0) -> Arrays:
    return [a + factor * b for a, b in zip(one, other, strict=True)]


def norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in arrays)))


def by_numpy(dataset: Dataset, job: Plan, optimizer: str) -> tuple[Arrays, float]:
    """Trained weights, and the mean rate."""
    begin = w = [weight.astype(np.float64) for weight in initial()]
    m, v = [0 * a for a in w], [0 * a for a in w]
    rule, eta, sizes = job.rule, job.learning_rate, []
    theta = rule.theta if isinstance(rule, AutoTuned) else 0.0
    last = w
    for number, (pixels, labels) in enumerate(batches(dataset, job), 1):
        g = gradients(w, pixels, labels)
        if isinstance(rule, Proximal):
            g = add(g, add(w, begin, -1), rule.mu)
        if isinstance(rule, Corrected):
            g = add(g, rule.offset)
        if isinstance(rule, AutoTuned) and number > 1:
            moved = norm(add(w, last, -1))
            turned = norm(add(g, gradients(last, pixels, labels), -1))
            size = min(rule.gamma * moved / (2 * turned), np.sqrt(1 + rule.delta * theta) * eta)
            eta, theta = size, size / eta
        sizes.append(eta)
        last = w
        if optimizer == "adam" and not isinstance(rule, Corrected | AutoTuned):
            m = add([0.9 * a for a in m], g, 0.1)
            v = [0.999 * a + 0.001 * b**2 for a, b in zip(v, g, strict=True)]
            rate = eta * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
            w = [a - rate * b / (np.sqrt(c) + 1e-7) for a, b, c in zip(w, m, v, strict=True)]
        else:
            w = add(w, g, -eta)
    return w, float(np.mean(sizes))


RULES = [Proximal(3.0), Corrected(offset()), AutoTuned(2.0, 0.1, 1.0), AutoTuned(0.05, 0.5, 2.0)]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rules_match_numpy(
    engines: dict[str, Engine], digits: Dataset, rule: Rule, optimizer: str
) -> None:
    adam = optimizer == "adam" and isinstance(rule, Proximal)
    job = plan(1e-2 if adam else 0.2, rule)
    trained = engines[optimizer].train(initial(), job)
    wanted, mean_rate = by_numpy(digits, job, optimizer)
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    assert trained.learning_rate == pytest.approx(mean_rate, rel=1e-4)
    assert trained.initial_rate == np.float32(job.learning_rate)
    assert trained.steps == 2 * 5
    plain = engines[optimizer].train(initial(), replace(job, rule=None))
    assert np.abs(plain.weights[0] - trained.weights[0]).max() > 1e-3


def test_rules_leave_one_another_and_plain_training_alone(digits: Dataset) -> None:
    engine = engine_of(models.build(LINEAR, (8, 8, 1), 10, 0), digits, workers=2)
    plain = engine.train(initial(), plan(1e-3, None))
    jobs = [plan(1e-3, rule) for rule in (Proximal(0.5), Corrected(offset()), Proximal(0.1))]
    alone = [engine.train(initial(), job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda job: engine.train(initial(), job), jobs * 2))
    assert all(same(a, b) for a, b in zip(alone * 2, beside, strict=True))
    assert same(engine.train(initial(), plan(1e-3, None)), plain)
    with pytest.raises(Stopped):
        engine.train(initial(), jobs[0], until=0.0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_without_its_term_the_proximal_rule_is_the_optimiser(
    engines: dict[str, Engine], optimizer: str
) -> None:
    engine = engines[optimizer]
    assert same(
        engine.train(initial(), plan(1e-2, Proximal(0.0))),
        engine.train(initial(), plan(1e-2, None)),
    )


def test_dropout_and_normalisation_go_with_every_rule(digits: Dataset) -> None:
    name = "mlp-324-108-bn-dropout"
    engine = engine_of(models.build(name, (8, 8, 1), 10, 0), digits)
    weights = models.get_weights(models.build(name, (8, 8, 1), 10, 7))
    zero = Corrected([np.zeros_like(weight) for weight in weights])
    for rule in (Proximal(0.1), zero, AutoTuned(2.0, 0.1, 1.0)):
        trained = engine.train(weights, plan(1e-2, rule))
        moved = [not np.array_equal(a, b) for a, b in zip(trained.weights, weights, strict=True)]
        assert all(moved) and all(np.isfinite(array).all() for array in trained.weights)


# By hand, on one weight.


class Line:
    """A loss of one weight, stepped by a rule, in NumPy's operations."""

    def __init__(self, rule: Rule, at: float, slope: float, rate: float) -> None:
        """The gradient at w is ``slope w``."""
        self.rule, self.slope, self.rate = rule, slope, np.float64(rate)
        self.w = self.previous = self.start = np.float64(at)
        self.number = 0
        self.carried = rule.carry(self.rate, rule.numbers)

    def step(self) -> float:
        self.number += 1
        now = Step(
            ops=np,
            distance=lambda one, other: norm(add(one, other, -1)),
            start=[self.start],
            weights=[self.w],
            previous=[self.previous],
            gradients=[self.slope * self.w],
            gradients_before=[self.slope * self.previous],
            rate=self.rate,
            number=self.number,
            numbers=self.rule.numbers.astype(np.float64),
            arrays=[array[0] for array in self.rule.arrays],
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            (gradient,), rate, self.carried = self.rule.direct(now, self.carried)
        self.previous, self.w = self.w, self.w - rate * gradient
        return float(self.w)


def test_a_message_asks_for_a_rule_by_its_name() -> None:
    assert rules.asked({"learning-rate": 1.0}, {"arrays": []}) is None
    assert rules.asked({"proximal-mu": 0.5}, {}) == Proximal(0.5)
    assert rules.asked({"auto-tune": [2.0, 0.1, 1.0]}, {}) == AutoTuned(2.0, 0.1, 1.0)
    assert rules.asked({}, {"gradient-offset": [1, 2]}) == Corrected([1, 2])
    assert len({rule.name for rule in rules.RULES}) == len(rules.RULES)


def test_the_proximal_term_pulls_towards_the_start() -> None:
    line = Line(Proximal(0.5), at=2.0, slope=1.0, rate=0.5)
    assert line.step() == 2.0 - 0.5 * 2.0  # at the start there is no pull
    assert line.step() == 1.0 - 0.5 * (1.0 + 0.5 * (1.0 - 2.0))


def test_the_offset_corrects_the_gradient() -> None:
    line = Line(Corrected([np.array([-1.0], np.float32)]), at=2.0, slope=1.0, rate=0.5)
    assert line.step() == 2.0 - 0.5 * (2.0 - 1.0)
    assert line.step() == 1.5 - 0.5 * (1.5 - 1.0)


def test_step_sizes_follow_the_smoothness_and_grow_slowly() -> None:
    line = Line(AutoTuned(2.0, 0.1, 1.0), at=1.0, slope=10.0, rate=0.2)
    assert line.step() == pytest.approx(1 - 0.2 * 10)
    # |dx| / |dg| is 1 / 10, under sqrt(1 + 0.1) 0.2; theta becomes 0.1 / 0.2.
    assert line.step() == pytest.approx(-1 + 0.1 * 10, abs=1e-6)
    assert float(line.carried[0]) == pytest.approx(0.1)
    assert float(line.carried[1]) == pytest.approx(0.5)
    flat = Line(AutoTuned(2.0, 0.1, 1.0), at=1.0, slope=1.0, rate=0.2)
    assert flat.step() == pytest.approx(0.8)
    # 1 / 1 would be allowed: growth is the bound.
    second = np.sqrt(1.1) * 0.2
    assert flat.step() == pytest.approx(0.8 * (1 - second))
    third = np.sqrt(1 + 0.1 * np.sqrt(1.1)) * second
    assert flat.step() == pytest.approx(0.8 * (1 - second) * (1 - third))
    mean = flat.rule.mean_rate(None, flat.carried, 3.0)
    assert float(mean) == pytest.approx((0.2 + second + third) / 3)


def test_without_any_move_only_growth_bounds_the_step() -> None:
    line = Line(AutoTuned(2.0, 0.1, 1.0), at=0.0, slope=1.0, rate=0.2)
    line.step(), line.step()
    assert float(line.carried[0]) == pytest.approx(np.sqrt(1.1) * 0.2)
