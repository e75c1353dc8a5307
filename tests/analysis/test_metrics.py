"""What scores are worth: numbers by hand, and scikit-learn's own beside ours."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as theirs

from fedgen.analysis.metrics import (
    calibration_error,
    confusion,
    jain,
    measure,
    per_class,
    top_accuracy,
)
from fedgen.config.metrics import MEASURED, deciding
from fedgen.config.metrics import measured as names_of
from fedgen.errors import InputError

DUE = np.array([0, 0, 0, 1, 2, 2])
GUESSED = np.array([0, 0, 1, 1, 2, 0])


def test_classes_by_hand() -> None:
    table = confusion(DUE, GUESSED, 3)
    assert table.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    # Recalls 2/3, 1, 1/2; precisions 2/3, 1/2, 1; F1 2/3, 2/3, 2/3.
    assert per_class(table) == [
        (3, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3)),
        (1, 1.0, 0.5, pytest.approx(2 / 3)),
        (2, 0.5, 1.0, pytest.approx(2 / 3)),
    ]
    found = measure("classes", DUE, np.log(np.eye(3)[GUESSED] * 0.8 + 0.1))
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found["macro_f1"] == pytest.approx(2 / 3)
    # Every guess is 0.9 / 1.1 sure, all in one bin; 4 of 6 are right.
    assert found["ece"] == pytest.approx(0.9 / 1.1 - 4 / 6)
    assert {"top5_accuracy", "auc"}.isdisjoint(found)


def test_calibration_is_told_bin_by_bin() -> None:
    said = np.array([[0.96, 0.04], [0.96, 0.04], [0.4, 0.6], [0.4, 0.6]])
    # One bin is 0.96 sure and half right, the other 0.6 sure and all right.
    due = np.array([0, 1, 1, 1])
    assert calibration_error(due, said) == pytest.approx((2 * 0.46 + 2 * 0.4) / 4)
    assert calibration_error(np.zeros(2, int), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0


def test_top_five_counts_ties_against_the_class() -> None:
    said = np.zeros((2, 12))
    said[0, :4] = 1  # the class is fifth, with eight others
    said[1, 0] = 1
    assert top_accuracy(np.array([4, 0]), said) == 0.5
    assert "top5_accuracy" in measure("classes", np.arange(12), np.eye(12))
    assert measure("classes", np.arange(12), np.eye(12))["top5_accuracy"] == 1


@given(st.data())
def test_scikit_learn_agrees(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 30))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    for classes in (2, 3, 12):
        due, scores = draw.integers(classes, size=n), draw.normal(size=(n, classes))
        found, guessed = measure("classes", due, scores), scores.argmax(axis=1)
        seen = np.unique(np.concatenate([due, guessed]))
        assert found["macro_f1"] == pytest.approx(
            theirs.f1_score(due, guessed, labels=seen, average="macro", zero_division=0)
        )
        recalls = theirs.recall_score(
            due, guessed, labels=np.unique(due), average=None, zero_division=0
        )
        assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
        if classes == 12:
            top = theirs.top_k_accuracy_score(due, scores, k=5, labels=np.arange(12))
            assert found["top5_accuracy"] == pytest.approx(top)
        if classes == 2 and len({*due.tolist()}) == 2:
            area = theirs.roc_auc_score(due, scores[:, 1] - scores[:, 0])
            assert found["auc"] == pytest.approx(area)


def test_several_labels_by_hand() -> None:
    due = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    scores = np.array([[2.0, -1], [-1, 3], [1, -2]])  # guesses 10, 01, 10
    found = measure("labels", due, scores)
    # First label: 1 of 2 found, 1 of 2 guesses right, F1 1/2; second: F1 1. Together 2 of 3 both.
    assert found["macro_f1"] == pytest.approx(0.75) and found["micro_f1"] == pytest.approx(2 / 3)
    # First label: of the pairs 2 > 1 and -1 < 1 one is in order; second: all are.
    assert found["auc"] == pytest.approx(0.75)
    assert "auc" not in measure("labels", np.zeros((3, 2)), scores)


def test_quantities_by_hand() -> None:
    due, said = np.array([[1.0], [3.0]], np.float32), np.array([[2.0], [1.0]], np.float32)
    found = measure("quantities", due, said)
    # Errors 1 and -2; variance 1 about the mean 2.
    assert found["rmse"] == pytest.approx(math.sqrt(2.5)) and found["mae"] == 1.5
    assert found["r2"] == pytest.approx(1 - 5 / 2)
    assert "r2" not in measure("quantities", due[:1], said[:1])


def test_scores_that_are_not_finite_are_worth_nothing() -> None:
    assert measure("classes", DUE[:1], np.array([[np.nan, 0, 0]])) == {}


def test_a_metric_of_ones_own_gets_probabilities_and_its_failure_is_told() -> None:
    def sure(y: np.ndarray, scores: np.ndarray) -> float:
        assert np.allclose(scores.sum(axis=1), 1)
        return float(scores[:, 0].mean())

    found = measure("classes", DUE[:1], np.log([[0.25, 0.5, 0.25]]), [("sure", sure)])
    assert found["sure"] == pytest.approx(0.25)
    with pytest.raises(InputError, match="metric 'bad': .* received ZeroDivisionError"):
        measure("classes", DUE[:1], np.zeros((1, 3)), [("bad", lambda y, scores: 1 / 0)])


def test_jain_by_hand() -> None:
    assert jain([1, 1, 1]) == 1 and jain([1, 0, 0, 0]) == 0.25 and jain([0, 0]) == 1
    assert jain([0.1, 0.3]) == pytest.approx(0.16 / (2 * 0.1))


def test_what_decides_is_known_or_refused() -> None:
    assert deciding("auto", "auto", "classes").name == "accuracy"
    assert deciding("auto", "auto", "labels").name == "micro_f1"
    assert deciding("auto", "auto", "quantities").name == "r2"
    assert not deciding("rmse", "auto", "quantities").higher
    own = deciding("cost", "lower", "classes", ["mine:cost"])
    assert (own.higher, own.share) == (False, False)
    for name, kind in (("rmse", "classes"), ("accuracy", "quantities"), ("zzz", "labels")):
        with pytest.raises(InputError, match=f"run.metric: unknown metric '{name}'"):
            deciding(name, "auto", kind)
    assert names_of("classes", ["mine:cost"])[-1] == "cost"
    assert {*MEASURED} == {"classes", "labels", "quantities"}


def test_ranks_are_those_of_scores_where_probabilities_round_to_one() -> None:
    due, gaps = np.array([0, 1, 0, 1]), np.array([40.0, 60.0, -1.0, 50.0])
    assert measure("classes", due, np.stack([0 * gaps, gaps], 1))["auc"] == 1
    assert measure("labels", due[:, None], gaps[:, None])["auc"] == 1
    far = np.zeros((12, 12)) - 800.0 * np.arange(12)
    assert measure("classes", np.full(12, 5), far)["top5_accuracy"] == 0
    assert measure("classes", np.full(12, 4), far)["top5_accuracy"] == 1


def test_a_single_label_and_one_that_nobody_has_are_no_special_cases() -> None:
    due, guessed = np.array([[1], [0], [1], [0]]), np.array([[1.0], [1], [1], [-1]])
    found = measure("labels", due, guessed)
    # Two found of two, three guessed: F1 is 4 / 5, of the label alone.
    assert found["macro_f1"] == found["micro_f1"] == pytest.approx(0.8)
    wider = measure(
        "labels", np.pad(due, ((0, 0), (0, 1))), np.pad(guessed, ((0, 0), (0, 1))) - 0.5
    )
    assert wider["macro_f1"] == pytest.approx(0.8)
