"""Labels that somebody gave: what is read, what classes they become, and how it is said."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgen.data.labels import are_classes, classify, note, read, tell
from fedgen.errors import InputError


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.array([1.0, 2.0]), "whole numbers become labels by .astype(int)"),
        (np.array([0.5, 2.0]), "received float64 of shape (2,)"),
        (np.array([b"\xff"]), "expected labels of text in UTF-8"),
        (np.array([1, None]), "received object of shape (2,); .astype(str) makes text of them"),
        (np.array(["a", None], object), "received object of shape (2,); .astype(str) makes text"),
        (np.array([["a", "b"]], object), "received <U1 of shape (1, 2)"),
        (np.zeros((4, 2), int), "received int64 of shape (4, 2)"),
        (np.zeros(0, int), "expected at least one label"),
        (np.array([2**63], np.uint64), "received 9223372036854775808"),
    ],
)
def test_what_is_no_row_of_integers_is_refused_with_a_remedy(array: np.ndarray, part: str) -> None:
    with pytest.raises(InputError, match=re.escape(part)) as caught:
        read("y_test", array)
    assert str(caught.value).startswith("y_test: ") and "\n" not in str(caught.value)


def test_strings_become_classes_in_their_order() -> None:
    for words in (["dog", "cat", "dog"], [b"dog", b"cat", b"dog"]):
        labels = read("y_train", np.array(words))
        mine, _, names = classify(labels, labels)
        assert mine.tolist() == [1, 0, 1] and names == ("cat", "dog")
    assert tell(names) == "cat and dog" and "are cat and dog, so there are 2 classes" in note(names)
    assert not are_classes(names) and tell(tuple("abcdefghijk")).endswith(", h and 3 more")


def test_objects_that_are_all_text_are_text() -> None:
    for array in (np.array(["dog", "cat"], object), np.array([["dog"], ["cat"]], object)):
        found = read("y_train", array)
        assert found.dtype.kind == "U" and found.tolist() == ["dog", "cat"]
    variable = np.array(["dog", "cat"], np.dtypes.StringDType())
    assert read("y_train", variable).dtype.kind == "U"


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64, np.bool_, ">i2"])
def test_any_integers_and_a_column_of_them_are_labels(kind: type) -> None:
    for array in (np.array([1, 0, 1], kind), np.array([[1], [0], [1]], kind)):
        assert read("y_train", array).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        ([3, 40, 7, 3], [0, 2, 1, 0], "3, 7 and 40"),
        ([1, 2, 3, 4, 5], [0, 1, 2, 3, 4], "1 to 5"),
        ([-1, 1, -1], [0, 1, 0], "-1 and 1"),
        ([9, 8, 7, 6, 5, 3, 2, 1, 0], [8, 7, 6, 5, 4, 3, 2, 1, 0], "0 to 9 without 4"),
        ([*range(0, 200, 10)], [*range(20)], "20 from 0 to 190"),
        ([-(2**63), 2**63 - 1], [0, 1], "-9223372036854775808 and 9223372036854775807"),
    ],
)
def test_labels_become_consecutive_classes_and_that_is_said(
    labels: list[int], classes: list[int], told: str
) -> None:
    train = np.array(labels)
    mine, tested, names = classify(train, train[::-1])
    assert mine.tolist() == classes and tested.tolist() == classes[::-1]
    assert mine.dtype == tested.dtype == np.int32
    assert names == tuple(sorted(set(labels)))
    assert note(names) == (
        f"labels: those of y_train are {told}, so there are {len(names)} classes; "
        "outputs name each by its label"
    )


def test_of_labels_that_are_classes_nothing_is_said() -> None:
    _, _, names = classify(np.array([2, 0, 1, 0]), np.array([1]))
    assert names == (0, 1, 2) and are_classes(names) and note(names) == ""
    assert not are_classes((1, 2)) and not are_classes((0, 2)) and not are_classes((-1, 0, 1))


def test_labels_of_test_samples_alone_are_named() -> None:
    train, test = np.arange(1, 11), np.array([1, 0, 11, 11, 12, 10])
    with pytest.raises(InputError) as caught:
        classify(train, test)
    assert str(caught.value) == (
        "y_test: expected labels that y_train has (1 to 10), received 0, 11 and 12 in 4 of 6 "
        "samples; leave those out, or add training samples of the kind"
    )


def test_labels_are_told_by_the_names_that_the_data_have_for_them() -> None:
    names = ("cow", "dog", "cat")
    with pytest.raises(InputError, match="different labels, received 1: dog$"):
        classify(np.array([1, 1]), np.array([1]), names)
    with pytest.raises(InputError, match=r"has \(cow and dog\), received cat and 7 in 2 of 3"):
        classify(np.array([0, 1]), np.array([1, 2, 7]), names)
    with pytest.raises(InputError, match="y_test: expected text as y_train has, received int64"):
        classify(np.array(["a", "b"]), np.array([1]))
    with pytest.raises(InputError, match="y_test: expected int64 as y_train has, received text"):
        classify(np.array([1, 2]), np.array(["a"]))


def test_one_label_and_too_many_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected 2 to 65,536 different labels, received 1: 7$"):
        classify(np.array([7, 7]), np.array([7]))
    with pytest.raises(InputError, match=r"received 65,537: 0 to 65536$"):
        classify(np.arange(2**16 + 1), np.array([0]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20), st.data())
def test_classes_name_the_labels_again(labels: list[int], data: st.DataObject) -> None:
    labels[0] = labels[1] - 1 if labels[1] > 0 else labels[1] + 1
    test = data.draw(st.lists(st.sampled_from(labels)))
    mine, tested, names = classify(np.array(labels, np.int64), np.array(test, np.int64))
    assert [names[k] for k in mine] == labels and [names[k] for k in tested] == test
    assert sorted(set(mine.tolist())) == [*range(len(names))]


@given(st.sets(st.integers(-40, 40), min_size=1, max_size=40).map(sorted))
def test_what_is_told_of_few_labels_is_all_of_them(labels: list[int]) -> None:
    """But for many with gaps, of which the number and the bounds are told."""
    text = tell(labels)
    if found := re.fullmatch(r"([\d,]+) from (-?\d+) to (-?\d+)", text):
        assert [int(part) for part in found.groups()] == [len(labels), labels[0], labels[-1]]
        return
    numbers, _, missing = text.partition(" without ")
    if found := re.fullmatch(r"(-?\d+) to (-?\d+)", numbers):
        low, high = map(int, found.groups())
        there = {*range(low, high + 1)} - {*map(int, re.findall(r"-?\d+", missing))}
    else:
        there = {*map(int, re.findall(r"-?\d+", numbers))}
    assert sorted(there) == labels
