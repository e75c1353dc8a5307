import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.streams import rng

NUMBERS = st.integers(0, 2**31)


def raw(*arguments: int | str) -> list[int]:
    return rng(*arguments).bit_generator.random_raw(4).tolist()


@settings(max_examples=50, deadline=None)
@given(NUMBERS, st.text(max_size=20), NUMBERS, NUMBERS)
def test_same_arguments_same_draws(seed: int, purpose: str, number: int, client: int) -> None:
    assert raw(seed, purpose, number, client) == raw(seed, purpose, number, client)


@settings(max_examples=50, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 3))
def test_each_argument_changes_the_draws(seed: int, number: int, client: int, place: int) -> None:
    arguments: list[int | str] = [seed, "cohort", number, client]
    changed = list(arguments)
    changed[place] = "genome" if place == 1 else int(arguments[place]) + 1
    assert raw(*changed) != raw(*arguments)


def test_round_and_client_are_not_interchangeable() -> None:
    assert raw(0, "evolution", 1, 2) != raw(0, "evolution", 2, 1)


def test_all_streams_of_a_run_differ() -> None:
    purposes = ("cohort", "genome", "evolution", "probe-grid", "probe-jitter", "batch-order")
    keys = [(p, r, c) for p in purposes for r in range(10) for c in range(20)]
    assert len({rng(0, *key).integers(2**63) for key in keys}) == len(keys)


def test_stream_is_pcg64_seeded_by_the_crc_of_its_purpose() -> None:
    key = (zlib.crc32(b"cohort"), 3, 4)
    expected = np.random.PCG64(np.random.SeedSequence(7, spawn_key=key)).random_raw(4)
    assert raw(7, "cohort", 3, 4) == expected.tolist()


def test_round_and_client_default_to_zero() -> None:
    assert raw(5, "cohort") == raw(5, "cohort", 0, 0)


def test_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(1)
    first, state = raw(0, "cohort"), np.random.get_state()
    rng(0, "cohort").normal(size=100)
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert np.random.get_state()[2] == state[2]
    np.random.seed(2)
    assert raw(0, "cohort") == first


def test_streams_share_no_state() -> None:
    first = rng(0, "cohort")
    first.normal(size=100)
    assert raw(0, "cohort") != first.bit_generator.random_raw(4).tolist()
    assert rng(0, "cohort").normal() == rng(0, "cohort").normal()


@pytest.mark.parametrize("arguments", [(-1, "cohort"), (0, "cohort", -1), (0, "cohort", 0, -1)])
def test_negative_number_is_an_error(arguments: tuple[int | str, ...]) -> None:
    with pytest.raises(ValueError):
        rng(*arguments)
