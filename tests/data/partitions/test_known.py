"""Partitions that the data or a file know of."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedgen.config.sections import Partition as Settings
from fedgen.data.partitions import known
from fedgen.data.partitions.split import settled, split
from fedgen.errors import InputError

LABELS = np.zeros(12, np.int32)
OWNERS = np.array([2, 0, 1, 1, 0, 2, 2, 2, 0, 0, 1, 2], np.int32)


def test_natural_clients_hold_what_is_theirs_and_hold_out_a_share() -> None:
    settings = settled(Settings(kind="natural"), 12, OWNERS, 0)
    assert settings.clients == 3
    found = split(LABELS, settings, 0, owners=OWNERS, validation_fraction=0.25)
    held_out = {*found.validation.tolist()}
    for client, samples in enumerate(found.clients):
        mine = np.flatnonzero(OWNERS == client).tolist()
        assert samples.train.tolist() == [i for i in mine if i not in held_out]
        assert samples.train.size and samples.validation.size
    assert sorted([*found.validation, *found.training]) == [*range(12)]


def test_a_natural_client_whose_only_sample_would_be_held_out_trains_on_it() -> None:
    owners = np.array([0, 1, 1, 1], np.int32)
    settings = settled(Settings(kind="natural"), 4, owners, 0)
    for seed in range(20):
        found = split(np.zeros(4, np.int32), settings, seed, owners=owners)
        assert found.clients[0].train.tolist() == [0] and 0 not in found.validation
        assert found.clients[0].validation.size  # another's, or nobody's


def test_a_sample_is_held_out_where_somebody_has_two() -> None:
    nobody = np.zeros(3, bool)
    with pytest.raises(InputError, match="expected a client with 2 samples or more"):
        known.spared([np.array([0]), np.array([1])], nobody)
    assert known.spared([np.array([0, 2]), np.array([1])], nobody).tolist() == [False, False, True]


def test_data_that_do_not_say_whose_they_are_have_no_natural_partition() -> None:
    with pytest.raises(InputError, match="as an array 'client' beside x_train and y_train"):
        settled(Settings(kind="natural"), 12, None, 0)
    with pytest.raises(InputError, match="partition.clients = 5: expected 3, the clients that"):
        settled(Settings(kind="natural", clients=5), 12, OWNERS, 0)
    assert settled(Settings(kind="iid", clients=5), 12, OWNERS, 0).clients == 5


PARTS = [[0, 1, 5], [2, 3], [4, 11, 6, 7]]


def as_rows(parts: list[list[int]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([("client", "index"), *((c, i) for c, p in enumerate(parts) for i in p)])
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(PARTS)),
        ("a.json", json.dumps({"10": PARTS[2], "9": PARTS[1], "0": PARTS[0]})),
        ("a.json", json.dumps({"b": PARTS[1], "a": PARTS[0], "c": PARTS[2]})),
        ("a.csv", as_rows(PARTS)),
        ("a.csv", "client,indices\n0,0-1 5\n1,2-3\n2,4 6-7 11\n"),
        ("a.csv", "seed,client,indices\n3,0,0\n7,0,0-1 5\n7,1,2-3\n7,2,4 6-7 11\n"),
    ],
)
def test_a_given_partition_is_read_as_it_is(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    found = known.given(path, 12, 7)
    assert [part.tolist() for part in found] == [sorted(part) for part in PARTS]
    assert {part.dtype for part in found} == {np.dtype(np.int32)}
    settings = settled(Settings(kind="given", file=str(path)), 12, None, 7)
    assert settings.clients == 3
    held = split(LABELS, settings, 7)
    for part, samples in zip(PARTS, held.clients, strict=True):
        assert {*samples.train.tolist()} <= {*part}
        assert not {*part} - {*samples.train.tolist(), *held.validation.tolist()}


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.json", "{", "a.json: Expecting"),
        ("a.json", "3", "expected lists of indices, one per client, or an object of them"),
        ("a.json", "[]", "received dict without any"),
        ("a.json", "[[0], []]", "client '1': expected a list of indices, received an empty list"),
        ("a.json", "[[0], [1.0]]", "client '1': expected a list of indices, received others"),
        ("a.json", "[[0], [true]]", "client '1': expected a list of indices, received others"),
        ("a.json", "[[0], 1]", "client '1': expected a list of indices, received int"),
        ("a.json", "[[0], [12]]", "from 0 to 11, as there are 12 training samples, received 12"),
        ("a.json", "[[0], [-1]]", "received -1 to -1"),
        ("a.json", f"[[0], [{10**40}]]", "received -1 to -1"),
        (
            "a.json",
            "[[0, 0]]",
            "client '0': expected different indices",
        ),
        ("a.json", "[" * 100_000, "a.json: "),
        ("a.csv", "", "expected columns client and index, or client and indices, received none"),
        ("a.csv", "who,index\n0,1\n", "received 'who', 'index'"),
        ("a.csv", "client,index\n", "received dict without any"),
        ("a.csv", "client,index\n0,x\n", "line 2: expected indices as 3 or 4-9, received 'x'"),
        ("a.csv", "client,index\n0,5-4\n", "line 2: expected indices as 3 or 4-9"),
        ("a.csv", "client,index\n0,0-9999999999\n", "line 2: expected indices as 3 or 4-9"),
        ("a.csv", "client,index\n,3\n", "line 2: expected a client and its samples, received"),
        ("a.csv", "client,index\n0\n", "line 2: expected a client and its samples, received"),
        ("a.csv", "seed,client,index\n1,0,1\n2,0,1\n", "expected rows of seed 0, or of one seed"),
    ],
)
def test_a_partition_that_does_not_fit_is_named(
    tmp_path: Path, name: str, text: str, part: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(part)) as caught:
        known.given(path, 12, 0)
    assert str(caught.value).startswith(f"partition.file {path}: ")
    assert "\n" not in str(caught.value)


def test_a_partition_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        known.given(tmp_path / "none.json", 12, 0)
    (tmp_path / "a.csv").write_bytes(b"client,index\n\xff,1\n")
    with pytest.raises(InputError, match=r"a\.csv: .*decode"):
        known.given(tmp_path / "a.csv", 12, 0)


@given(st.sets(st.integers(0, 60)))
def test_ranges_come_back_exactly(chosen: set[int]) -> None:
    indices = np.array(sorted(chosen), np.int32)
    text = known.as_text(indices)
    assert known._indices(text, "here") == sorted(chosen)
    assert len(text.split()) == sum(i - 1 not in chosen for i in chosen)


OWN = np.arange(9, 12, dtype=np.int32)
"""A validation split that the data have: the last three of twelve samples."""


def test_slices_beside_a_validation_split_are_of_training_samples_alone() -> None:
    validation = np.arange(3_000, 4_000, dtype=np.int32)
    found = split(
        np.zeros(4_000, np.int32), Settings(clients=50), 3, validation=validation, samples=4_000
    )
    assert found.validation.tolist() == validation.tolist() and len(found.training) == 3_000
    for part, samples in zip(found.slices, found.clients, strict=True):
        assert samples.train.tolist() == [*range(part.start, part.stop)]
        size, first = len(samples.validation), int(samples.validation[0])
        assert abs(size - (part.stop - part.start) / 3) <= 1
        assert abs(first - 3_000 - part.start / 3) <= 1
        assert samples.validation.max() < 4_000


def test_given_parts_without_validation_samples_get_their_share(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([[0, 1, 2], [3, 4, 5, 6, 7, 8]]))
    settings = settled(Settings(kind="given", file=str(path)), 12, None, 0)
    found = split(LABELS, settings, 0, validation=OWN)
    assert [len(samples.train) for samples in found.clients] == [3, 6]
    assert [len(samples.validation) for samples in found.clients] == [1, 2]
    assert all(i in OWN for samples in found.clients for i in samples.validation)


def test_every_seed_of_a_given_partition_has_as_many_clients(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("seed,client,indices\n0,0,0-3\n0,1,4-7\n1,0,0-7\n")
    settings = settled(Settings(kind="given", file=str(path)), 12, None, 0)
    with pytest.raises(InputError, match="expected 2 clients, as for the first seed, received 1"):
        split(LABELS, settings, 1)


def test_a_client_may_hold_very_many_samples(tmp_path: Path) -> None:
    path, every = tmp_path / "a.csv", np.arange(0, 400_000, 2)
    path.write_text(f"client,indices\n0,{known.as_text(every)}\n")
    assert path.stat().st_size > 2**17  # the longest field that is read by default
    assert known.given(path, 400_000, 0)[0].tolist() == every.tolist()
