"""What is to be said of samples: told from arrays, and refused by name."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedgen.data.targets import read
from fedgen.errors import InputError

BITS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]])
ONE_HOT = np.eye(3, dtype=int)


def test_integers_and_strings_are_classes() -> None:
    for array in (np.array([4, 7, 4]), np.array([[4], [7], [4]]), np.array(["a", "b", "a"])):
        found = read(array, array[:2])
        assert found.kind == "classes" and found.train.tolist() == [0, 1, 0]
        assert found.test.tolist() == [0, 1] and found.outputs == 2
        assert "so there are 2 classes" in found.notes[0]


def test_names_that_data_have_for_classes_are_kept() -> None:
    found = read(np.array([0, 1, 0]), np.array([1]), names=("cat", "dog"))
    assert (found.names, found.notes) == (("cat", "dog"), ())
    assert read(np.array([0, 2, 0]), np.array([2]), names=("cat", "dog")).names == (0, 2)


def test_names_of_classes_are_no_quantities() -> None:
    with pytest.raises(InputError, match="y_train: expected quantities.*received classes: cat and"):
        read(np.array([0, 1]), np.array([1]), "quantities", ("cat", "dog"))
    several = read(np.array([[0, 1]]), np.array([[1, 0]]), "quantities", ("height", "width"))
    assert several.names == ("height", "width")


@pytest.mark.parametrize("kind", [int, float, bool, np.uint8])
def test_one_hot_rows_are_classes_and_that_is_said(kind: type) -> None:
    found = read(ONE_HOT[[2, 0, 1]].astype(kind), ONE_HOT.astype(kind))
    assert found.kind == "classes" and found.train.tolist() == [2, 0, 1]
    assert "y_train is one-hot, rows of 3 with a single 1" in found.notes[0]
    several = read(ONE_HOT.astype(kind), ONE_HOT.astype(kind), "labels")
    assert several.kind == "labels" and several.train.dtype == np.float32


@pytest.mark.parametrize("kind", [int, float, bool, np.uint8])
def test_rows_of_bits_are_several_labels(kind: type) -> None:
    found = read(BITS.astype(kind), ONE_HOT.astype(kind), names=("x", "y", "z"))
    assert (found.kind, found.names, found.outputs) == ("labels", ("x", "y", "z"), 3)
    assert found.train.tolist() == BITS.tolist() and found.train.dtype == np.float32


def test_one_hot_rows_beside_others_are_several_labels_and_that_is_said() -> None:
    found = read(ONE_HOT, BITS)
    assert found.kind == "labels"
    assert found.notes == (
        "labels: y_train is one-hot but y_test is not, so both are read as several labels; "
        "data.targets = 'classes' refuses them",
    )
    assert read(ONE_HOT, BITS, "labels").notes == () and read(BITS, ONE_HOT).notes == ()


def test_floats_are_quantities_and_whole_ones_are_told() -> None:
    found = read(np.array([0.5, -3.25]), np.array([1e6]))
    assert found.kind == "quantities" and found.notes == ()
    assert found.train.tolist() == [[0.5], [-3.25]] and found.test.dtype == np.float32
    whole = read(np.array([1.0, 2.0, 2.0]), np.array([1.0]))
    assert "float64 with 2 different whole numbers, and is read as quantities" in whole.notes[0]
    assert read(np.array([1, 2]), np.array([1]), "quantities").notes == ()


@given(npst.arrays(np.float64, (4, 2), elements=st.floats(-1e30, 1e30)))
def test_any_floats_are_quantities_as_float32_has_them(array: np.ndarray) -> None:
    found = read(array, array)
    if found.kind == "quantities":
        np.testing.assert_array_equal(found.train, array.astype(np.float32))
    else:
        assert np.isin(array, (0, 1)).all()


@pytest.mark.parametrize(
    ("train", "test", "kind", "part"),
    [
        (BITS, BITS[:, :2], "auto", "y_test: expected 3 columns as y_train has, received shape"),
        (BITS, BITS * 2, "labels", "y_test: expected several labels, 0 or 1 each"),
        (BITS[0], BITS[0], "labels", "received int64 of shape (3,) from 0 to 1"),
        (np.array(["b", "a"]), np.array(["a"]), "labels", "(n, labels), received text: a and b"),
        (ONE_HOT, BITS, "classes", "y_test: expected rows with a single 1"),
        (BITS * 2, BITS, "auto", "y_train: expected integers or strings of shape (n,) or (n, 1)"),
        (
            np.array([0.5, np.nan]),
            np.ones(1),
            "auto",
            "y_train: expected finite numbers of float32",
        ),
        (np.array([0.5, 1e39]), np.ones(1), "auto", "received 1 that are not among 2"),
        (np.array(["a"]), np.ones(1), "quantities", "y_train: expected quantities, finite numbers"),
        (np.array(["b", "a"]), np.ones(1), "quantities", "or (n, quantities), received text: a an"),
        (np.ones((2, 2, 2)), np.ones(1), "quantities", "of shape (2, 2, 2)"),
        (np.array([0.5, 1]), np.ones((1, 2)), "auto", "y_test: expected 1 columns"),
    ],
)
def test_what_does_not_fit_is_named(
    train: np.ndarray, test: np.ndarray, kind: str, part: str
) -> None:
    with pytest.raises(InputError, match=re.escape(part)) as caught:
        read(train, test, kind)
    assert "\n" not in str(caught.value)


def test_a_closed_list_of_classes_has_those_that_nobody_trains() -> None:
    found = read(np.array([0, 2]), np.array([1]), names=("a", "b", "c", "d"), closed=True)
    assert (found.names, found.outputs) == (("a", "b", "c", "d"), 4)
    assert found.train.tolist() == [0, 2] and found.test.tolist() == [1]
    assert found.train.dtype == found.test.dtype == np.int32
