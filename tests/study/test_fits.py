"""Fits: scored by hand-checked numbers, the same bytes again, and never an end to the study."""

import math
from pathlib import Path

import numpy as np
import pytest
import studies
from sklearn.neural_network import MLPClassifier
from studies import KERAS, SKLEARN

from fedgen.data import datasets
from fedgen.study.fits import keras as keras_fit
from fedgen.study.fits import sklearn as sklearn_fit
from fedgen.study.fits.fit import TENSORFLOW, _score, fit
from fedgen.study.fits.outcome import Fit, Trained, stopped_improving
from fedgen.study.samples import draw, load
from strategies.streams import rng


def first(base: dict, **sections: object) -> tuple:
    study = studies.build(base, **sections)
    return studies.cases(study)[0], draw(study)


def test_scores_by_hand() -> None:
    samples = load(draw(studies.build(SKLEARN)))
    labels = samples.dataset.y_test
    guess = np.where(labels == 3, 5, labels)  # every 3 is taken for a 5
    answers = iter([guess, samples.dataset.y_train[samples.validation] + 1])

    def predict(images: np.ndarray) -> np.ndarray:
        return next(answers, samples.dataset.y_train[samples.train])

    measured = Fit("case", 0, "ok")
    scored, pairs = _score(measured, Trained(predict, True, 1, 1, True), samples)
    threes, fives = np.sum(labels == 3), np.sum(labels == 5)
    assert scored.accuracy == pytest.approx(1 - threes / len(labels))
    assert scored.zero_one_loss == pytest.approx(threes / len(labels))
    assert scored.recall == pytest.approx(0.9), "nine classes right, one never"
    assert scored.precision == pytest.approx((8 + fives / (fives + threes)) / 10)
    assert (scored.validation_accuracy, scored.train_accuracy) == (0.0, 1.0)
    assert pairs == tuple(zip(labels[:10].tolist(), guess[:10].tolist(), strict=True))


def test_scikit_learns_classifier_is_used_as_it_is() -> None:
    case, wanted = first(SKLEARN)
    outcome = fit(case, 5, wanted)
    samples = load(wanted)
    images = samples.dataset.x_train[samples.train].reshape(len(samples.train), -1) / 16
    state = int(rng(5, "sklearn-mlp").integers(2**31))
    own = MLPClassifier((8,), alpha=1e-4, max_iter=5, learning_rate_init=0.03, random_state=state)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        own.fit(images, samples.dataset.y_train[samples.train])
    tests = samples.dataset.x_test.reshape(len(samples.dataset.y_test), -1) / 16
    assert outcome.fit.accuracy == own.score(tests, samples.dataset.y_test)
    assert (outcome.fit.epochs, outcome.fit.converged) == (5, False)
    assert outcome.fit.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert outcome.fit.status == "ok" and "Maximum iterations (5)" in (outcome.fit.reason or "")


@pytest.mark.parametrize("base", [SKLEARN, KERAS], ids=["sklearn-mlp", "keras"])
def test_a_seed_gives_the_same_fit_and_another_one_another(base: dict) -> None:
    case, wanted = first(base, axes={"hidden_layers": [[8]]})
    timeless = {"train_seconds": 0.0, "predict_seconds": 0.0}

    def comparable(seed: int, slots: int = 1) -> tuple:
        outcome = fit(case, seed, wanted, TENSORFLOW, slots)
        return vars(outcome.fit) | timeless, outcome.epochs, outcome.first

    assert comparable(3) == comparable(3) == comparable(3, slots=2)
    assert comparable(3)[0]["accuracy"] != comparable(4)[0]["accuracy"]


def test_keras_records_every_epoch_on_held_out_images_or_says_that_they_are_the_test_set() -> None:
    case, wanted = first(KERAS)
    outcome = fit(case, 0, wanted)
    assert [epoch.epoch for epoch in outcome.epochs] == [1, 2, 3]
    assert {epoch.validated_on for epoch in outcome.epochs} == {"held-out"}
    assert outcome.epochs[-1].validation_accuracy == pytest.approx(outcome.fit.validation_accuracy)
    assert outcome.epochs[0].train_loss > outcome.epochs[-1].train_loss
    case, wanted = first(KERAS, data={"validation_fraction": 0.0})
    outcome = fit(case, 0, wanted)
    assert {epoch.validated_on for epoch in outcome.epochs} == {"test"}
    assert outcome.epochs[-1].validation_accuracy == pytest.approx(outcome.fit.accuracy)
    assert outcome.fit.validation_accuracy is None


def test_moments_live_on_from_epoch_to_epoch() -> None:
    """Two epochs in one call of the engine, and two calls, are the same training."""
    case, wanted = first(
        KERAS, axes={"hidden_layers": [[8]], "dropout": [0.0]}, fixed={"epochs": 2}
    )
    samples = load(wanted)
    trained = keras_fit.prepare(case.settings, samples, 1, TENSORFLOW, 1)()
    from fedgen.engine import models
    from fedgen.engine.plan import Plan

    model = models.build(case.settings.federated(), samples.dataset.shape, 10, 1)
    engine = keras_fit._engine(case.settings.federated(), "", TENSORFLOW, samples.dataset, 1)
    order = np.stack([rng(1, "batch-order", e).permutation(samples.train) for e in range(2)])
    whole = engine.train(models.get_weights(model), Plan(0.01, 32, order))
    assert [epoch[0] for epoch in trained.curve] == whole.losses
    assert [epoch[1] for epoch in trained.curve] == whole.accuracies


def test_engines_are_resident_for_all_repeats_of_an_architecture() -> None:
    keras_fit._engine.cache_clear()
    axes = {"dropout": [0.0, 0.5], "learning_rate": [0.1, 0.2], "batch_size": [16, 32]}
    study = studies.build(KERAS | {"fixed": {"epochs": 1, "width": 8, "depth": 1}, "axes": axes})
    for case in studies.cases(study):
        for seed in study.seeds:
            assert fit(case, seed, draw(study)).fit.accuracy is not None
    assert keras_fit._engine.cache_info().misses == 2, "one per share of dropout"


def test_a_diverging_fit_is_a_row_with_its_reason() -> None:
    case, wanted = first(KERAS, fixed={"learning_rate": 1e30, "optimizer": "sgd"})
    outcome = fit(case, 0, wanted)
    assert outcome.fit.status == "diverged" and outcome.fit.accuracy is None
    assert "not finite" in (outcome.fit.reason or "") and not outcome.fit.converged
    assert outcome.fit.epochs == len(outcome.epochs) < 3
    exploding = {"solver": "sgd", "activation": "identity", "learning_rate_init": 1e300}
    case, wanted = first(SKLEARN, fixed=exploding)
    outcome = fit(case, 0, wanted)
    assert outcome.fit.status == "diverged" and "non-finite" in (outcome.fit.reason or "")


def test_a_fit_that_learns_one_class_has_diverged_with_its_scores() -> None:
    case, wanted = first(SKLEARN, fixed={"solver": "sgd", "learning_rate_init": 1e12})
    outcome = fit(case, 0, wanted)
    assert outcome.fit.status == "diverged"
    assert "for every image" in (outcome.fit.reason or "")
    assert outcome.fit.accuracy is not None and outcome.fit.accuracy < 0.2


def test_classes_are_called_by_their_labels(tmp_path: Path) -> None:
    digits = datasets.load(studies.build(SKLEARN).data)
    kept = {split: getattr(digits, f"y_{split}") < 2 for split in ("train", "test")}
    labels = {f"y_{split}": getattr(digits, f"y_{split}")[rows] for split, rows in kept.items()}
    images = {f"x_{split}": getattr(digits, f"x_{split}")[rows] for split, rows in kept.items()}
    named = {key: np.array([40, 7])[array] for key, array in labels.items()}
    np.savez(tmp_path / "own.npz", **images, **named)
    own = {"dataset": str(tmp_path / "own.npz"), "train_samples": 0}
    case, wanted = first(SKLEARN, data=own, fixed={"max_iter": 50})
    outcome = fit(case, 0, wanted)
    assert outcome.fit.accuracy is not None and outcome.fit.accuracy > 0.9
    assert [label for label, _ in outcome.first] == named["y_test"][:10].tolist()
    assert {guess for _, guess in outcome.first} == {7, 40}
    spoilt = {"solver": "sgd", "learning_rate_init": 1e12}
    case, wanted = first(SKLEARN, data=own, fixed=spoilt)
    reason = fit(case, 0, wanted).fit.reason
    assert reason in [f"predicts class {label} for every image" for label in (7, 40)]


def test_a_failing_fit_is_a_row_with_its_reason() -> None:
    # A tenth of six images of ten classes cannot be held out by scikit-learn's early stopping.
    case, wanted = first(
        SKLEARN,
        fixed={"early_stopping": True},
        data={"train_samples": 8, "validation_fraction": 0.2},
    )
    outcome = fit(case, 0, wanted)
    assert outcome.fit.status == "failed"
    assert (outcome.fit.reason or "").startswith("ValueError: ") and outcome.fit.accuracy is None


def test_converged_means_what_scikit_learn_means() -> None:
    assert not stopped_improving([3.0, 2.0, 1.0], 1e-4, 2)
    assert not stopped_improving([1.0, 1.0, 1.0], 1e-4, 2), "two idle epochs are allowed"
    assert stopped_improving([1.0, 1.0, 1.0, 1.0], 1e-4, 2)
    assert not stopped_improving([math.nan] * 5, 1e-4, 2)


def test_raw_pixels_are_left_alone() -> None:
    case, wanted = first(SKLEARN, data={"pixels": "raw"})
    samples = load(wanted)
    assert samples.dataset.scale == 1 and samples.dataset.x_train.max() == 16
    assert sklearn_fit.prepare(case.settings, samples, 0)().finite
