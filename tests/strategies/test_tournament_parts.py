"""The parts of a tournament: where entrants are, and what is said of their models."""

import math
from dataclasses import replace

import numpy as np
import pytest

from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import ClientOutcome, RoundOutcome, Update
from strategies.streams import rng
from strategies.tournament import around, errors, groups, spread


def outcome(client: int, number: int, wrong: float | None, samples: int = 10) -> ClientOutcome:
    assignment = Assignment(Genome(1e-3, 32), "drawn", cluster=number)
    if wrong is None:
        return ClientOutcome(client, assignment, "failed: gone")
    weights = [np.zeros(1, np.float32)]
    update = Update(weights, Genome(1e-3, 32), wrong, 1.0, samples, samples, 1, 0.0)
    return ClientOutcome(client, assignment, "ok", update)


def test_places_cover_the_cube() -> None:
    places = spread(4, 3, rng(0, "here"))
    assert [place[0] for place in places] == [0.0, 1 / 3, 2 / 3, 1.0]
    for gene in (1, 2):
        assert sorted(place[gene] for place in places) == [0.125, 0.375, 0.625, 0.875]
        orders = {tuple(p[gene] for p in spread(4, 3, rng(n, "here"))) for n in range(20)}
        assert len(orders) > 10
    assert spread(2, 1, rng(0, "here")) == [(0.0,), (1.0,)]


def test_an_error_is_the_mean_over_clients_of_any_size() -> None:
    rows = [
        outcome(0, 1, 0.5, 10),
        outcome(1, 1, 0.1, 30),
        outcome(2, 0, 0.25),
        outcome(3, 0, None),
    ]
    dealt = groups(RoundOutcome(tuple(rows)))
    assert [*dealt] == [0, 1]
    # (0.5 + 0.1) / 2, and half of the replies are enough.
    assert errors(dealt) == {0: 0.25, 1: pytest.approx(0.3)}


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_a_report_that_is_not_finite_says_that_training_breaks(wrong: float) -> None:
    rows = [outcome(0, 0, 0.5), outcome(1, 0, wrong), outcome(2, 1, 0.9)]
    found = errors(groups(RoundOutcome(tuple(rows))))
    assert not math.isfinite(found[0]) and found[1] == 0.9


def test_replies_that_are_rejected_say_so_too_and_those_that_never_came_say_nothing() -> None:
    rejected, gone = (replace(outcome(9, 0, None), status=why) for why in ("rejected: x", "failed"))
    kept = [outcome(0, 0, 0.5), rejected]
    for rows, found in (
        (kept, {0: 0.5}),
        ([*kept, rejected], {0: math.inf}),
        ([*kept, gone, gone, gone], {0: 0.5}),
        ([gone], {}),
    ):
        assert errors(groups(RoundOutcome(tuple(rows)))) == found


@pytest.mark.parametrize(
    ("middle", "count", "places"),
    [
        (0.5, 3, [0.25, 0.5, 0.75]),
        (0.5, 2, [0.375, 0.625]),
        (0.9, 3, [0.5, 0.75, 1.0]),
        (0.1, 2, [0.0, 0.25]),
        (0.1, 9, [0.0, 0.25, 0.5, 0.75]),
    ],
)
def test_places_lie_around_one_as_far_as_they_fit(
    middle: float, count: int, places: list[float]
) -> None:
    found = around(middle, 0.25, count)
    assert found[: len(places)] == places and len(found) == count and max(found) <= 1
