"""What is minimised and measured: by hand, and whole local trainings against Keras' own."""

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from targets import OUTPUTS, dataset_of, initial, made, plan, trained_by_keras
from trainings import engine_of, same

from fedgen.config.sections import Training
from fedgen.engine import engines
from fedgen.engine.learning.objective import (
    TARGETS,
    Loss,
    Objective,
    Targets,
    balanced_weights,
)
from fedgen.errors import InputError

KINDS: tuple[Targets, ...] = ("classes", "labels", "quantities")
LOSSES = tuple(TARGETS)
OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
}
RATES = {"adam": 1e-3, "sgd": 0.02, "adamw": 1e-3, "rmsprop": 1e-3, "adagrad": 0.02}

# By hand.


def measured(objective: Objective, targets: Any, outputs: Any) -> tuple[list[float], ...]:
    """Training loss, evaluation loss and hits of every sample, as this back end computes them."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        from fedgen.engine.tensorflow.loops import right

        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    else:
        from fedgen.engine.jax.forward import cross_entropy, right
    from fedgen.engine.learning.losses import measures

    found = measures(objective, cross_entropy, right)
    targets, outputs = map(keras.ops.convert_to_tensor, (targets, np.float32(outputs)))
    return tuple(
        np.asarray(measure(targets, outputs)).tolist()
        for measure in (found.training, found.plain, found.hits)
    )


def test_cross_entropy_by_hand() -> None:
    outputs, classes = [[0.0, math.log(3)], [0.0, math.log(3)]], np.array([1, 0], np.int32)
    loss, plain, hits = measured(Objective(), classes, outputs)
    assert loss == plain == pytest.approx([math.log(4 / 3), math.log(4)])
    assert hits == [1, 0]
    weighted, plain, _ = measured(Objective(class_weights=(0.5, 3.0)), classes, outputs)
    assert weighted == pytest.approx([3 * math.log(4 / 3), 0.5 * math.log(4)])
    assert plain == pytest.approx(loss)
    smooth, plain, _ = measured(Objective(label_smoothing=0.2), classes, outputs)
    # 0.9 of the class itself, 0.1 of the other one.
    mixed = [0.9 * math.log(4 / 3) + 0.1 * math.log(4), 0.1 * math.log(4 / 3) + 0.9 * math.log(4)]
    assert smooth == pytest.approx(mixed)
    assert plain == pytest.approx(loss)


def test_binary_cross_entropy_by_hand() -> None:
    outputs, labels = [[math.log(3), -math.log(3)], [0.0, math.log(3)]], [[1, 0], [1, 0]]
    objective = Objective("binary-cross-entropy")
    loss, plain, hits = measured(objective, np.float32(labels), outputs)
    wanted = [math.log(4 / 3), (math.log(2) + math.log(4)) / 2]
    assert loss == plain == pytest.approx(wanted)
    assert hits == [1, 0]  # 0 is not over 0
    smoothed = replace(objective, label_smoothing=0.2)
    smooth, plain, hits = measured(smoothed, np.float32([[1, 1]]), [[math.log(3), -1.0]])
    right, wrong = 0.9 * math.log(4 / 3) + 0.1 * math.log(4), 1.0 * 0.9 + math.log1p(math.exp(-1))
    assert smooth == pytest.approx([(right + wrong) / 2])
    assert plain == pytest.approx([(math.log(4 / 3) + 1 + math.log1p(math.exp(-1))) / 2])
    assert hits == [0.5]


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("mean-squared-error", [(0.25 + 9) / 2, 0]),
        ("mean-absolute-error", [(0.5 + 3) / 2, 0]),
        ("huber", [(0.125 + 2.5) / 2, 0]),
    ],
)
def test_losses_of_quantities_by_hand(loss: Loss, wanted: list[float]) -> None:
    targets = np.float32([[1, 2], [5, 6]])
    found, plain, hits = measured(Objective(loss), targets, [[1.5, -1.0], [5.0, 6.0]])
    assert found == plain == pytest.approx(wanted)
    assert hits == [0, 0]


@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_of_any_size_have_a_finite_loss(loss: Loss) -> None:
    of_classes = TARGETS[loss] == "classes"
    targets = np.array([0], np.int32) if of_classes else np.float32([[0, 1]])
    found, _, _ = measured(Objective(loss), targets, [[-1e4, 1e4]])
    assert np.isfinite(found).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_are_scikit_learn_s(drawn: list[int]) -> None:
    labels = np.unique(drawn, return_inverse=True)[1].astype(np.int32)
    classes = np.arange(labels.max() + 1)
    wanted = compute_class_weight("balanced", classes=classes, y=labels)
    found = balanced_weights(labels, len(classes))
    assert found == pytest.approx(wanted.tolist())
    # Every class has the same share, and the mean weight of a sample is 1.
    assert np.bincount(labels, np.array(found)[labels]) == pytest.approx(len(labels) / len(classes))
    assert len(balanced_weights(labels, 9)) == 9


# What goes together.


def test_auto_is_the_loss_of_the_targets() -> None:
    wanted = {"classes": "cross-entropy", "labels": "binary-cross-entropy"}
    for kind in KINDS:
        found = Objective.of(Training(), kind)
        assert found == Objective(wanted.get(kind, "mean-squared-error"))  # type: ignore[arg-type]
    assert Objective.of(Training(loss="huber"), "quantities") == Objective("huber")


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"loss": "huber"}, "classes", r"training\.loss = 'huber': .*'cross-entropy'"),
        ({"loss": "cross-entropy"}, "labels", "is of classes, .*'binary-cross-entropy'"),
        ({"loss": "cross-entropy"}, "quantities", "'mean-squared-error' or .* or 'huber'"),
        ({"label_smoothing": 0.1}, "quantities", r"training\.label_smoothing = 0.1: expected 0"),
        ({"class_weights": "balanced"}, "labels", r"training\.class_weights = 'balanced': .*'none"),
    ],
)
def test_what_does_not_go_with_the_targets_is_one_line(
    settings: dict[str, Any], kind: Targets, says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Objective.of(Training(**settings), kind)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=says):
        engine_of(made(kind), dataset_of(kind), **settings)


def test_an_objective_checks_itself() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\), received 1.5"):
        Objective(label_smoothing=1.5)
    with pytest.raises(ValueError, match="expected none for loss 'huber'"):
        Objective("huber", class_weights=(1.0,))


# Whole trainings against Keras'.


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_trains_every_loss_as_keras_does(optimizer: str, loss: Loss) -> None:
    kind, rate = TARGETS[loss], RATES[optimizer]
    data, job = dataset_of(kind), plan(rate)
    momentum = 0.9 if optimizer == "sgd" else 0.0
    engine = engine_of(made(kind), data, optimizer=optimizer, momentum=momentum, loss=loss)
    trained = engine.train(initial(kind), job)
    wanted, losses = trained_by_keras(data, job, Objective(loss), OPTIMIZERS[optimizer](rate))
    for mine, theirs, begun in zip(trained.weights, wanted, initial(kind), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
        assert np.abs(theirs - begun).max() > 1e-3
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    assert (trained.accuracies is None) == (kind == "quantities")


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        ("cross-entropy", {"label_smoothing": 0.2}),
        ("cross-entropy", {"class_weights": "balanced"}),
        ("cross-entropy", {"label_smoothing": 0.1, "class_weights": "balanced"}),
        ("binary-cross-entropy", {"label_smoothing": 0.2}),
    ],
)
def test_smoothing_and_class_weights_are_those_of_keras(
    loss: Loss, settings: dict[str, Any]
) -> None:
    kind = TARGETS[loss]
    data, job = dataset_of(kind), plan(1e-3)
    engine = engine_of(made(kind), data, **settings)
    trained = engine.train(initial(kind), job)
    weights = None
    if "class_weights" in settings:
        weights = balanced_weights(data.y_train, OUTPUTS[kind])
    objective = Objective(loss, settings.get("label_smoothing", 0.0), weights)
    wanted, losses = trained_by_keras(data, job, objective, keras.optimizers.Adam(1e-3))
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    plain = engine_of(made(kind), data)
    assert not same(plain.train(initial(kind), job), trained)
    # Evaluation knows nothing of either.
    everything = np.arange(len(data.x_train), dtype=np.int32)
    one, other = (e.evaluate(initial(kind), everything) for e in (plain, engine))
    assert (one.loss, one.accuracy) == (other.loss, other.accuracy)


def test_class_weights_count_the_samples_that_train() -> None:
    data, job = dataset_of("classes"), plan(1e-3)
    settings = Training(engine=keras.config.backend(), class_weights="balanced")
    few = np.flatnonzero(data.y_train < 3)[:50].astype(np.int32)
    found = engines.build(settings, made("classes"), data, workers=1, counted=few)
    of_few = found.train(initial("classes"), job)
    of_all = engine_of(made("classes"), data, class_weights="balanced")
    assert not same(of_few, of_all.train(initial("classes"), job))
    weights = balanced_weights(data.y_train[few], 10)
    objective = Objective(class_weights=weights)
    _, losses = trained_by_keras(data, job, objective, keras.optimizers.Adam(1e-3))
    np.testing.assert_allclose(of_few.losses, losses, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_predictions_are_keras(kind: Targets) -> None:
    data, model = dataset_of(kind), made(kind)
    engine, weights = engine_of(model, data, workers=2), initial(kind)
    model.set_weights(weights)
    outputs = np.asarray(model(data.x_train.astype(np.float32) * data.scale, training=False))
    order = np.random.default_rng(0).permutation(len(outputs))[:1100].astype(np.int32)
    found = engine.evaluate_all(weights, order, "train")
    assert found.scores is not None and found.scores.dtype == np.float32
    assert found.scores.shape == (1100, OUTPUTS[kind])
    np.testing.assert_allclose(found.scores, outputs[order], atol=1e-5)
    np.testing.assert_allclose(engine.predict(weights, data.x_train), outputs, atol=1e-5)
    targets = data.y_train[order]
    if kind == "quantities":
        assert found.accuracy is None
        assert found.loss == pytest.approx(np.mean((outputs[order] - targets) ** 2), rel=1e-5)
    elif kind == "labels":
        hits = (outputs[order] > 0) == (targets > 0.5)
        assert found.accuracy == pytest.approx(hits.mean(), rel=1e-6)
        assert 0 < hits.mean() < 1
    else:
        assert found.accuracy == np.mean(outputs[order].argmax(-1) == targets)
    few = engine.evaluate(weights, order)
    assert few.scores is None
    assert few.loss == pytest.approx(found.loss, rel=1e-12) and few.accuracy == found.accuracy
    test = engine.evaluate_all(weights, np.arange(3, dtype=np.int32), "test")
    assert test.scores is not None
    np.testing.assert_allclose(test.scores, engine.predict(weights, data.x_test[:3]), atol=1e-6)
