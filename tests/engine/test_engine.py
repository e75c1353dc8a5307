"""What every engine is held to: plain Keras calls, and its promises about bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
from trainings import engine_of, same

from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models
from fedgen.engine.engines import Engine
from fedgen.engine.plan import Moments, Plan, Stopped
from fedgen.engine.rules import Corrected
from fedgen.errors import RunError
from strategies.core.aggregation import Arrays

SHAPE, CLASSES = (8, 8, 1), 10


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load(Data(dataset="digits"))


@pytest.fixture(scope="module")
def engines(digits: Dataset) -> dict[tuple[str, str], Engine]:
    """Engines by model and optimiser; building one costs seconds."""
    pairs = [("cnn", "adam"), ("mlp", "sgd"), ("mlp-324-108-bn-dropout", "adam")]
    return {
        (name, optimizer): engine_of(
            models.build(name, SHAPE, CLASSES, 0),
            digits,
            optimizer=optimizer,
            momentum=0.9 if optimizer == "sgd" else 0.0,
            workers=2,
        )
        for name, optimizer in pairs
    }


def initial(name: str) -> Arrays:
    return models.get_weights(models.build(name, SHAPE, CLASSES, 7))


def plan(batch: int = 32, epochs: int = 2, samples: int = 75, rate: float = 1e-3) -> Plan:
    draws = np.random.default_rng(batch)
    order = [draws.permutation(1437)[:samples] for _ in range(epochs)]
    return Plan(rate, batch, np.array(order, np.int32), dropout_seed=5)


def train_with_keras(
    name: str, weights: Arrays, dataset: Dataset, plan: Plan, optimizer: keras.optimizers.Optimizer
) -> tuple[Arrays, list[float]]:
    """The readable reference: Keras' own step, one batch after another."""
    model = models.build(name, SHAPE, CLASSES, 0)
    model.set_weights(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=True)
    losses = []
    for order in plan.order:
        total = 0.0
        for begin in range(0, len(order), plan.batch_size):
            batch = order[begin : begin + plan.batch_size]
            pixels = dataset.x_train[batch].astype(np.float32) * dataset.scale
            model.reset_metrics()
            total += len(batch) * float(model.train_on_batch(pixels, dataset.y_train[batch]))
        losses.append(total / len(order))
    return models.get_weights(model), losses


def test_adam_matches_keras(engines: dict, digits: Dataset) -> None:
    # In few steps: where gradients are all but nothing, Adam makes steps of their rounding.
    weights, job = initial("cnn"), plan(epochs=1, rate=1e-4)
    trained = engines["cnn", "adam"].train(weights, job)
    wanted, losses = train_with_keras("cnn", weights, digits, job, keras.optimizers.Adam(1e-4))
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)


def test_sgd_with_momentum_matches_keras(engines: dict, digits: Dataset) -> None:
    weights, job = initial("mlp"), plan(rate=0.05)
    trained = engines["mlp", "sgd"].train(weights, job)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    wanted, losses = train_with_keras("mlp", weights, digits, job, optimizer)
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)


def test_training_accuracy_is_that_of_the_samples_an_epoch_visits(engines: dict) -> None:
    engine, weights = engines["mlp", "sgd"], initial("mlp")
    job = plan(rate=1e-12)  # so small that no weight moves
    trained = engine.train(weights, job)
    wanted = [engine.evaluate(weights, order).accuracy for order in job.order]
    assert 0 < wanted[0] < 1 and wanted[0] != wanted[1]
    np.testing.assert_allclose(trained.accuracies, wanted, rtol=1e-6)


def test_momentum_of_a_plan_matches_keras_and_is_reported(engines: dict, digits: Dataset) -> None:
    weights, job = initial("mlp"), replace(plan(rate=0.05), further={"momentum": 0.3})
    trained = engines["mlp", "sgd"].train(weights, job)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.3)
    wanted, _ = train_with_keras("mlp", weights, digits, job, optimizer)
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert trained.applied == {"momentum": np.float32(0.3)}
    own = engines["mlp", "sgd"].train(weights, plan(rate=0.05))
    assert own.applied == {} and not same(own, trained)


def test_first_adam_step_moves_by_the_learning_rate(engines: dict) -> None:
    """By hand: with fresh moments a step is rate * g / (|g| + tiny), so |step| is the rate."""
    weights = initial("cnn")
    for rate in (1e-2, 3.7e-5):
        job = plan(batch=75, epochs=1, rate=rate)
        trained = engines["cnn", "adam"].train(weights, job)
        steps = np.abs(trained.weights[-1] - weights[-1])
        np.testing.assert_allclose(steps, rate, rtol=0.02)
        assert trained.learning_rate == np.float32(rate)


def test_moments_start_afresh_for_every_client(engines: dict) -> None:
    engine, weights = engines["cnn", "adam"], initial("cnn")
    first = engine.train(weights, plan())
    engine.train(weights, plan(batch=16, rate=0.1))
    assert same(first, engine.train(weights, plan()))


def test_last_short_batch_of_an_epoch_trains(engines: dict) -> None:
    engine, weights = engines["cnn", "adam"], initial("cnn")
    job = plan(batch=50, epochs=1, samples=75)
    whole = Plan(job.learning_rate, 50, job.order[:, :50])
    assert not same(engine.train(weights, job), engine.train(weights, whole))


def test_bytes_do_not_depend_on_what_runs_beside(engines: dict) -> None:
    jobs = [plan(batch) for batch in (16, 24, 32, 75, 128)] * 2
    for name in ("cnn", "mlp-324-108-bn-dropout"):
        engine, weights = engines[name, "adam"], initial(name)
        alone = [engine.train(weights, job) for job in jobs]
        with ThreadPoolExecutor(4) as pool:
            beside = list(pool.map(lambda job: engine.train(weights, job), jobs))  # noqa: B023
        assert all(same(a, b) for a, b in zip(alone, beside, strict=True))


def test_moving_statistics_travel_and_dropout_follows_its_seed(engines: dict) -> None:
    name = "mlp-324-108-bn-dropout"
    engine, weights = engines[name, "adam"], initial(name)
    job = plan()
    trained = engine.train(weights, job)
    model = models.build(name, SHAPE, CLASSES, 0)
    moving = [i for i, w in enumerate(model.weights) if "moving" in w.path]
    assert len(moving) == 4
    assert all(not np.array_equal(trained.weights[i], weights[i]) for i in moving)
    other = Plan(job.learning_rate, job.batch_size, job.order, dropout_seed=6)
    assert not same(trained, engine.train(weights, other))
    assert same(trained, engine.train(weights, job))


def test_evaluation_matches_keras_and_does_not_depend_on_the_cut(
    engines: dict, digits: Dataset
) -> None:
    for name in ("cnn", "mlp-324-108-bn-dropout"):
        engine, weights = engines[name, "adam"], initial(name)
        model = models.build(name, SHAPE, CLASSES, 0)
        model.set_weights(weights)
        logits = model(digits.x_train.astype(np.float32) * digits.scale, training=False)
        wanted = keras.losses.sparse_categorical_crossentropy(
            digits.y_train, logits, from_logits=True
        )
        everything = np.arange(1437, dtype=np.int32)
        received = engine.evaluate_all(weights, everything, "train")
        assert received.loss == pytest.approx(float(np.mean(wanted)), rel=1e-5)
        hits = np.argmax(logits, -1) == digits.y_train
        assert received.accuracy == pytest.approx(float(np.mean(hits)))
        assert engine.evaluate(weights, everything).loss == pytest.approx(received.loss, rel=1e-12)


def test_kept_moments_continue_where_they_stopped(engines: dict) -> None:
    engine, weights = engines["cnn", "adam"], initial("cnn")
    job = plan(epochs=2)
    first = engine.train(weights, Plan(1e-3, 32, job.order[:1]), keep=True)
    second = engine.train(first.weights, Plan(1e-3, 32, job.order[1:], moments=first.moments))
    whole = engine.train(weights, job)
    for mine, wanted in zip(second.weights, whole.weights, strict=True):
        assert mine.tobytes() == wanted.tobytes()


def test_a_diverging_client_ends_with_a_loss_that_is_not_finite(engines: dict) -> None:
    trained = engines["mlp", "sgd"].train(initial("mlp"), plan(rate=1e30))
    assert not np.isfinite(trained.losses[-1])


def test_an_exception_ends_a_running_training_within_a_batch(digits: Dataset) -> None:
    engine = engine_of(models.build("mlp", SHAPE, CLASSES, 0), digits)
    ended: list[str] = []
    weights, job = initial("mlp"), plan(batch=1, epochs=300, samples=1400)

    def train() -> None:
        try:
            engine.train(weights, job)
        except Stopped:
            ended.append("stopped")

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    thread.join(1.0)
    assert thread.is_alive()
    with pytest.raises(KeyboardInterrupt), engine.interruptible():
        raise KeyboardInterrupt
    thread.join(2.0)
    assert ended == ["stopped"]
    with pytest.raises(Stopped):
        engine.evaluate(weights, job.order[0])
    with engine.interruptible():
        assert engine.evaluate(weights, job.order[0]).loss > 0


def test_what_is_of_another_model_is_refused(engines: dict[tuple[str, str], Engine]) -> None:
    engine, weights = engines["mlp", "sgd"], initial("mlp")
    kernel, rows = weights[0], np.arange(3, dtype=np.int32)
    for wrong in (kernel[:-1], kernel.ravel(), kernel[0]):
        others = [wrong, *weights[1:]]
        calls = (
            lambda others=others: engine.train(others, plan()),
            lambda others=others: engine.evaluate(others, rows),
            lambda others=others: engine.evaluate_all(others, rows, "test"),
            lambda others=others: engine.predict(others, np.zeros((2, *SHAPE), np.uint8)),
        )
        for call in calls:
            with pytest.raises(RunError) as refused:
                call()
            expected = f"array 0: expected the shape {kernel.shape}, received {wrong.shape}"
            assert expected in str(refused.value)
    for samples in (np.zeros((2, 64), np.uint8), np.zeros((2, *SHAPE), np.float64)):
        with pytest.raises(RunError, match="samples: expected uint8 of shape .8, 8, 1., received"):
            engine.predict(weights, samples)
    with pytest.raises(RunError, match="weights: array 3: expected the shape .*, received none"):
        engine.train(weights[:3], plan())
    moments = Moments(weights, weights[:-1], 1)
    with pytest.raises(RunError, match="second moments: array 3"):
        engine.train(weights, replace(plan(), moments=moments))
    with pytest.raises(RunError, match="arrays of the rule: array 1"):
        engine.train(weights, replace(plan(), rule=Corrected([weights[0]] * len(weights))))
