"""Every move finds a noisy optimum better than as many random draws do."""

import numpy as np
import pytest

from strategies.evolution.moves import cma, differential, self_adaptive
from strategies.streams import rng

MEMBERS, GENERATIONS, NOISE, SEEDS = 12, 20, 0.1, range(15)
WEIGHTS = np.array([1.0, 4.0])


def optimum(seed: int) -> np.ndarray:
    return rng(seed, "optimum").uniform(0.2, 0.8, 2)


def loss(places: np.ndarray, seed: int) -> np.ndarray:
    return ((np.atleast_2d(places) - optimum(seed)) ** 2 * WEIGHTS).sum(axis=1)


def noisy(places: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Losses as clients see them, which fall from round to round for everybody."""
    noise = NOISE * rng(seed, "noise", number).standard_normal(len(places))
    return loss(places, seed) + noise + 3.0 * 0.8**number


def by_chance(seed: int) -> np.ndarray:
    """The draw that looks best after the round's median is taken off."""
    places = rng(seed, "start").random((GENERATIONS, MEMBERS, 2))
    seen = np.array([noisy(places[n], seed, n) for n in range(GENERATIONS)])
    seen -= np.median(seen, axis=1, keepdims=True)
    return places.reshape(-1, 2)[seen.argmin()]


def by_cma(seed: int) -> np.ndarray:
    state = cma.start(np.array([0.5, 0.5]), 0.3)
    for number in range(GENERATIONS):
        places = cma.ask(state, rng(seed, "ask", number), MEMBERS)
        state = cma.tell(state, places, noisy(places, seed, number).tolist())
    return np.array(state.mean)


def by_differences(seed: int) -> np.ndarray:
    places = dict(enumerate(rng(seed, "start").random((MEMBERS, 2))))
    losses: dict[int, float] = {}
    for number in range(GENERATIONS):
        trials = {
            member: differential.trial(member, places, losses, rng(seed, "trial", number, member))
            if number
            else places[member]
            for member in places
        }
        seen = noisy(np.array([*trials.values()]), seed, number)
        seen_by = differential.relative(dict(zip(trials, seen.tolist(), strict=True)))
        after = differential.select(places, trials, losses, seen_by)
        losses |= {member: seen_by[member] for member in after if after[member] is trials[member]}
        places = after
    return np.mean([*places.values()], axis=0)


def by_widths(seed: int) -> np.ndarray:
    """The better third are parents, each of as many children."""
    brood = [(place, 0.2) for place in rng(seed, "start").random((MEMBERS, 2))]
    for number in range(GENERATIONS):
        seen = noisy(np.array([place for place, _ in brood]), seed, number)
        parents = [brood[n] for n in np.argsort(seen)[: MEMBERS // 3]]
        brood = [
            self_adaptive.mutate(*parents[n % len(parents)], rng(seed, "mutate", number, n))
            for n in range(MEMBERS)
        ]
    return np.mean([place for place, _ in brood], axis=0)


@pytest.mark.parametrize("move", [by_cma, by_differences, by_widths])
def test_a_move_does_better_than_chance(move: object) -> None:
    found, chance = (
        float(np.mean([loss(way(seed), seed) for seed in SEEDS])) for way in (move, by_chance)
    )
    assert found < 0.5 * chance
    assert np.array_equal(move(3), move(3))
