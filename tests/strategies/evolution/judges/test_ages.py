import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.judges.ages import ages, expired, since

ROUNDS = st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from("ab")), max_size=12)


def test_a_genome_is_new_whenever_it_differs() -> None:
    first = since({}, {}, {1: "a", 2: "b"}, 1)
    assert first == {1: 1, 2: 1}
    second = since(first, {1: "a", 2: "b"}, {1: "a", 2: "c", 3: "d"}, 2)
    assert second == {1: 1, 2: 2, 3: 2}
    assert ages(second, 4) == {1: 3, 2: 2, 3: 2}
    assert first == {1: 1, 2: 1}


def test_a_genome_of_which_nothing_is_known_is_new() -> None:
    assert since({}, {1: "a"}, {1: "a"}, 5) == {1: 5}


def test_only_those_beyond_the_limit_are_expired() -> None:
    known = {1: 1, 2: 2, 3: 4}
    assert expired(known, 4, 2) == {1}
    assert expired(known, 4, 3) == set()
    assert expired(known, 5, 0) == {1, 2, 3}
    assert expired(known, 4, 0) == {1, 2}
    assert expired({}, 4, 0) == set()


@given(ROUNDS)
def test_ages_are_counted_back_to_the_latest_change(rounds: list[dict[int, str]]) -> None:
    known: dict[int, int] = {}
    genomes: dict[int, str] = {}
    history: dict[int, list[str]] = {}
    for number, latest in enumerate(rounds, 1):
        known = since(known, genomes, latest, number)
        genomes |= latest
        for member, genome in genomes.items():
            history.setdefault(member, []).append(genome)
    for member, age in ages(known, len(rounds)).items():
        past = history[member]
        same = 0
        while same < len(past) and past[-1 - same] == past[-1]:
            same += 1
        assert age == same - 1
    kept = json.loads(json.dumps({str(member): start for member, start in known.items()}))
    assert {int(member): start for member, start in kept.items()} == known


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"those of \[2\]"):
        ages({1: 3, 2: 5}, 4)
    with pytest.raises(ValueError, match="at least 0"):
        expired({}, 4, -1)
