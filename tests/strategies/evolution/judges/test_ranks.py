import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.evolution.judges.ranks import Record, forget, ranks, remember

LOSSES = st.dictionaries(
    st.integers(0, 30),
    st.one_of(st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf]), st.floats(-9, 9)),
)
ROUNDS = st.lists(st.dictionaries(st.integers(0, 4), st.floats(0, 1)), max_size=12)
HALFLIVES = st.one_of(st.floats(0.2, 50), st.just(math.inf))


def slow_ranks(losses: dict[int, float]) -> dict[int, float]:
    """For each member, who is ahead, and half of who is level."""
    known = {c: loss if math.isfinite(loss) else math.inf for c, loss in losses.items()}
    return {
        one: sum(
            1.0 if known[other] < known[one] else 0.5 * (known[other] == known[one])
            for other in known
            if other != one
        )
        / (len(known) - 1)
        if len(known) > 1
        else 0.5
        for one in known
    }


def slow_record(past: list[float], halflife: float) -> tuple[float, float, float]:
    """Effective number, mean and variance from the whole past, oldest first."""
    weights = [0.5 ** (k / halflife) for k in reversed(range(len(past)))]
    total = math.fsum(weights)
    mean = math.fsum(w * r for w, r in zip(weights, past, strict=True)) / total
    spread = math.fsum(w * (r - mean) ** 2 for w, r in zip(weights, past, strict=True))
    return total**2 / math.fsum(w * w for w in weights), mean, spread / total


def test_ranks_by_hand() -> None:
    assert ranks({3: 2.0, 5: 0.5, 8: 1.0, 9: 3.0, 12: 0.9}) == {
        5: 0.0,
        12: 0.25,
        8: 0.5,
        3: 0.75,
        9: 1.0,
    }


def test_equal_losses_share_the_mean_of_their_places() -> None:
    assert ranks({1: 4.0, 2: 4.0, 3: 1.0}) == {3: 0.0, 1: 0.75, 2: 0.75}
    assert ranks({1: 4.0, 2: 4.0}) == {1: 0.5, 2: 0.5}


def test_losses_that_are_not_finite_come_last_and_are_equal() -> None:
    losses = {1: math.nan, 2: 1e300, 3: -math.inf, 4: math.inf, 5: 0.0}
    assert ranks(losses) == {5: 0.0, 2: 0.25, 1: 0.75, 3: 0.75, 4: 0.75}
    assert ranks({1: math.nan, 2: math.inf}) == {1: 0.5, 2: 0.5}


def test_a_member_alone_is_in_the_middle() -> None:
    assert ranks({7: 3.0}) == ranks({7: math.nan}) == {7: 0.5}
    assert ranks({}) == {}


@given(LOSSES)
def test_ranks_are_those_of_the_slow_twin(losses: dict[int, float]) -> None:
    found = ranks(losses)
    assert found == slow_ranks(losses)
    assert all(0 <= rank <= 1 for rank in found.values())
    assert math.fsum(found.values()) == pytest.approx(len(losses) / 2)


@given(LOSSES)
def test_ranks_do_not_depend_on_scale_or_order(losses: dict[int, float]) -> None:
    doubled = {c: 2 * loss for c, loss in reversed(losses.items())}
    assert ranks(doubled) == ranks(losses)


def test_records_by_hand() -> None:
    """A halflife of one round: weights 1, 1/2, 1/4."""
    once = remember({}, {1: 1.0, 2: 0.0}, 1)
    assert once == {1: Record(1.0, 1.0, 1.0, 0.0), 2: Record(1.0, 1.0, 0.0, 0.0)}
    twice = remember(once, {1: 0.25}, 1)
    assert twice[1].weight == 1.5 and twice[1].squares == 1.25
    assert twice[1].mean == pytest.approx((0.25 + 0.5) / 1.5) == 0.5
    assert twice[1].variance == pytest.approx((0.25**2 + 0.5 * 0.5**2) / 1.5)
    assert twice[1].effective == pytest.approx(1.8)
    assert remember(twice, {1: 0.5}, 1)[1].effective == pytest.approx(1.75**2 / 1.3125)


def test_members_that_are_not_in_a_round_stay_as_they_are() -> None:
    before = remember({}, {1: 1.0, 2: 0.0}, 3)
    after = remember(before, {1: 0.0}, 3)
    assert after[2] == before[2] and after[1] != before[1]
    assert remember(before, {}, 3) == before == remember({}, {1: 1.0, 2: 0.0}, 3)


def test_members_whose_genes_changed_are_forgotten() -> None:
    records = remember({}, {1: 1.0, 2: 0.0, 3: 0.5}, 3)
    assert forget(records, {2, 9}) == {1: records[1], 3: records[3]}


@given(ROUNDS, HALFLIVES)
def test_records_are_the_sums_over_the_whole_past(
    rounds: list[dict[int, float]], halflife: float
) -> None:
    records: dict[int, Record] = {}
    pasts: dict[int, list[float]] = {}
    for ranked in rounds:
        records = remember(records, ranked, halflife)
        for member, rank in ranked.items():
            pasts.setdefault(member, []).append(rank)
    assert set(records) == set(pasts)
    for member, record in records.items():
        number, mean, variance = slow_record(pasts[member], halflife)
        assert record.effective == pytest.approx(number)
        assert record.mean == pytest.approx(mean, abs=1e-12)
        assert record.variance == pytest.approx(variance, abs=1e-12)
        assert record.variance >= 0
        assert Record.from_json(json.loads(json.dumps(record.as_json()))) == record


def test_an_empty_record_says_nothing() -> None:
    assert Record().effective == Record().variance == 0.0


@pytest.mark.parametrize("halflife", [0, -1, math.nan])
def test_a_halflife_is_greater_than_0(halflife: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        remember({}, {1: 0.5}, halflife)
