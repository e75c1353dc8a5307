"""LEAF's JSON files: images, lines, tweets and rows, of users."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, read_or_refuse

from fedgen.data import formats
from fedgen.data.formats.natural import leaf
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
Users = dict[str, tuple[list[Any], list[Any]]]


def images(count: int) -> list[list[float]]:
    return (DRAW.integers(0, 256, (count, 784)) / 255).tolist()


FEMNIST: Users = {"f01": (images(3), [0, 61, 10]), "f02": (images(2), [5, 36])}
LINE = "To be, or not to be: that is the question;\nWhether 'tis nobler in the mind to su"
SHAKESPEARE: Users = {
    "HAMLET": ([LINE, LINE[1:] + "f"], ["f", "e"]),
    "OPHELIA": (["Good my lord, ".ljust(80, ".")], ["!"]),
}
SENT140: Users = {
    "anna": ([["1", "Mon Apr 06", "NO_QUERY", "anna", "so happy"]], [1]),
    "bo": ([["2", "Mon", "q", "bo", "é" * 80], ["3", "Tue", "q", "bo", ""]], [0, 1]),
}
ROWS: Users = {"0": ([[0.5, -2, 3], [1, 2, 3]], [0, 1])}


def content(users: Users, /, **changed: Any) -> dict[str, Any]:
    return {
        "users": list(users),
        "num_samples": [len(y) for _, y in users.values()],
        "user_data": {user: {"x": x, "y": y} for user, (x, y) in users.items()},
    } | changed


def write(path: Path, train: Users, test: Users | None = None) -> Path:
    for split, users in (("train", train), ("test", test)):
        (path / split).mkdir(parents=True)
        for number, user in enumerate(users or {}):  # a file for each
            assert users is not None
            text = json.dumps(content({user: users[user]}))
            (path / split / f"all_data_{number}_niid_{split}.json").write_text(text)
    return path


def test_femnist_is_read_back(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", FEMNIST, {"f02": FEMNIST["f02"]}))
    assert found.test is not None and found.train.client is not None
    every = np.array([*FEMNIST["f01"][0], *FEMNIST["f02"][0]], np.float32).reshape(-1, 28, 28)
    np.testing.assert_array_equal(found.train.x, every)
    assert found.train.y.tolist() == [0, 61, 10, 5, 36]
    assert found.train.client.tolist() == ["f01"] * 3 + ["f02"] * 2
    np.testing.assert_array_equal(found.test.x, every[3:])
    assert found.test.client is not None and found.test.client.tolist() == ["f02"] * 2
    assert found.notes == (
        "pixels: floats as LEAF writes FEMNIST, where 1 is white paper and 0 is ink",
    )


def test_the_alphabet_has_80_different_characters() -> None:
    assert len(leaf.ALPHABET) == len({*leaf.ALPHABET}) == leaf.OTHER == 80


def test_shakespeare_becomes_tokens(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", SHAKESPEARE))
    assert found.train.x.dtype == np.int32 and found.train.x.shape == (3, 80)
    assert "".join(leaf.ALPHABET[token] for token in found.train.x[0]) == LINE
    assert [found.names[label] for label in found.train.y] == ["f", "e", "!"]
    assert found.names == tuple(leaf.ALPHABET)
    assert found.train.client is not None
    assert found.train.client.tolist() == ["HAMLET", "HAMLET", "OPHELIA"]
    assert "LEAF's alphabet of 80" in found.notes[0]


def test_characters_beyond_the_alphabet_are_one_more_class(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", {"u": (["a#\u20ac\ud800", "}\n!b"], ["#", "a"])}))
    assert found.train.x.tolist() == [[53, 80, 80, 80], [79, 0, 2, 54]]
    assert [found.names[label] for label in found.train.y] == ["other", "a"]


def test_tweets_become_bytes(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", SENT140))
    assert found.train.x.shape == (3, leaf.TWEET) and found.train.x.dtype == np.int32
    assert bytes(found.train.x[0].astype(np.uint8)).rstrip(b"\0") == b"so happy"
    assert bytes(found.train.x[1].astype(np.uint8)) == ("é" * 70).encode()
    assert not found.train.x[2].any()
    assert found.train.y.tolist() == [1, 0, 1]
    assert "140 of them, 0 after its end; 1 are longer and cut" in found.notes[0]


def test_rows_stay_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content(ROWS)))
    found = formats.read(path)
    assert found.train.x.tolist() == [[0.5, -2, 3], [1, 2, 3]] and found.test is None
    assert found.notes == ()


def test_a_user_without_samples_is_passed_over(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", ROWS | {"none": ([], [])}))
    assert len(found.train) == 2


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"users": None}, "expected users and user_data as LEAF writes them"),
        ({"user_data": []}, "expected users and user_data"),
        ({"users": ["1"]}, "user '1': expected x and y of one length in user_data"),
        ({"users": [1]}, "user '1': expected x and y"),
        ({"user_data": {"0": {"x": [[1]], "y": []}}}, "user '0': expected x and y of one length"),
        ({"user_data": {"0": {"x": [[1], [1, 2]], "y": [1, 2]}}}, "not a readable file of LEAF"),
        ({"user_data": {"0": {"x": [[1], "a"], "y": [1, 2]}}}, "expected rows of numbers, lines"),
        ({"user_data": {"0": {"x": [["a"]], "y": [1]}}}, "expected rows of numbers, lines"),
        ({"user_data": {"0": {"x": ["ab", "a"], "y": ["a", "b"]}}}, "not of one length"),
        ({"user_data": {"0": {"x": ["ab"], "y": [3]}}}, "labels are not single characters"),
        ({"user_data": {"0": {"x": [[1]], "y": ["a"]}}}, "labels are not numbers"),
        ({"user_data": {"0": {"x": [[1e999]], "y": [None]}}}, "labels are not numbers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: dict, why: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content(ROWS, **changed)))
    with pytest.raises(InputError, match=why):
        formats.read(path)


def test_users_of_different_kinds_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", ROWS | {"1": ([[1, 2]], [0])})
    with pytest.raises(InputError, match=r"one kind and length, received rows, \(2,\), \(3,\)"):
        formats.read(path)
    path = write(tmp_path / "b", ROWS, SHAKESPEARE)
    with pytest.raises(InputError, match=r"samples of one kind, received \['lines', 'rows'\]"):
        formats.read(path)


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 99 are allowed"):
        formats.read(write(tmp_path / "a", ROWS), limit=99)


@pytest.mark.fuzz
@given(
    st.sampled_from([SHAKESPEARE, SENT140, ROWS, {"f": (images(1), [3])}])
    .map(lambda users: json.dumps(content(users)).encode())
    .flatmap(mutations)
)
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-leaf.json"
    path.write_bytes(content)
    read_or_refuse(leaf.read, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@pytest.mark.fuzz
@given(JSON, JSON)
def test_any_samples(tmp_path_factory: pytest.TempPathFactory, x: object, y: object) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-leaf.json"
    path.write_text(json.dumps({"users": ["u"], "user_data": {"u": {"x": x, "y": y}}}))
    read_or_refuse(leaf.read, path)
