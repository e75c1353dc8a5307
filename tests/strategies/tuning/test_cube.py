"""Places of declared genes: where they begin, how they move, and that they are kept as they are."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.genes import Gene, genome_at, place_of
from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.moves import cma, differential
from strategies.evolution.moves.cube import reflect
from strategies.evolution.moves.self_adaptive import mutate
from strategies.streams import rng
from strategies.tuning.cube import SPREADS, START_SIGMA, Cube
from strategies.tuning.settings import Evolving

SEED = 3
GENES = {
    "learning_rate": Gene(1e-4, 1e-1, "log"),
    "batch_size": Gene(8, 128, "log", whole=True),
    "momentum": Gene(0.0, 0.8),
}
USUAL = Genome(1e-3, 32, mu=0.5)
PLACES = st.tuples(*(st.floats(0, 1) for _ in GENES))


def cube(genes: Mapping[str, Gene] = GENES, **settings: Any) -> Cube:
    return Cube(SEED, genes, lambda client: USUAL, Evolving(**settings))


def born(made: Cube, clients: int, label: int = 0) -> dict[int, dict[int, Assignment]]:
    """One cluster of members with their first genes."""
    members = {c: Assignment(made.born(c), "random", cluster=label) for c in range(clients)}
    return {label: members}


def losses(number: int, clients: int) -> dict[int, float]:
    """Some, different from round to round."""
    return dict(enumerate(rng(7, "losses", number).random(clients).tolist()))


def moved(
    made: Cube,
    islands: dict[int, dict[int, Assignment]],
    known: Mapping[int, float],
    number: int,
    **given: Any,
) -> dict[int, dict[int, Assignment]]:
    """The clusters after a generation."""
    told = {"width": None, "expired": set(), "keep": set(), **given}
    after = made.generation(islands, known, server_round=number, **told)
    return {label: {c: after[c] for c in members} for label, members in islands.items()}


def at(made: Cube) -> dict[int, list[float]]:
    return {client: place.tolist() for client, place in made.places.items()}


def test_a_place_by_hand() -> None:
    genome = Genome(1e-2, 32, momentum=0.2)
    assert place_of(GENES, genome) == pytest.approx((2 / 3, 0.5, 0.25))
    there = genome_at(GENES, (2 / 3, 0.5, 0.25), USUAL)
    assert there.learning_rate == pytest.approx(1e-2)
    assert (there.batch_size, there.momentum, there.mu) == (32, pytest.approx(0.2), 0.5)


@given(PLACES)
def test_genomes_and_places_are_each_other_s_but_for_rounding(place: tuple[float, ...]) -> None:
    genome = genome_at(GENES, place, USUAL)
    back = place_of(GENES, genome)
    assert (back[0], back[2]) == (pytest.approx(place[0]), pytest.approx(place[2]))
    assert abs(back[1] - place[1]) <= math.log(8.5 / 8) / math.log(16) + 1e-9  # half a sample
    assert 1e-4 <= genome.learning_rate <= 0.1 and 8 <= genome.batch_size <= 128
    assert isinstance(genome.batch_size, int) and 0 <= genome.momentum <= 0.8
    assert genome_at(GENES, back, USUAL).batch_size == genome.batch_size


def test_first_genes_are_uniform_draws() -> None:
    made = cube()
    genome = made.born(5)
    place = rng(SEED, "genes", 0, 5).random(3)
    assert at(made) == {5: place.tolist()}
    assert genome == genome_at(GENES, place.tolist(), USUAL)
    assert made.features(genome) == place_of(GENES, genome)


def test_given_genes_are_cut_to_their_ranges() -> None:
    made = cube()
    genome = made.take(2, Genome(10.0, 1, momentum=0.4))
    assert at(made) == {2: [1.0, 0.0, 0.5]}
    assert (genome.learning_rate, genome.batch_size, genome.momentum) == (0.1, 8, 0.4)


def test_whole_numbers_keep_real_places_so_that_small_steps_add_up() -> None:
    """A step is a fiftieth of 3 epochs, so nothing of it is left once it is rounded."""
    genes = {"local_epochs": Gene(1, 4, whole=True)}
    made = cube(genes, elites=0, mutation_scale="log")
    islands, place = born(made, 1), rng(SEED, "genes", 0, 0).random(1)
    seen = set()
    for number in range(2, 60):
        islands = moved(made, islands, {0: 1.0}, number, width=0.02)
        draw = rng(SEED, "gene-evolution", number, 0)
        draw.integers(1)
        place = reflect(place + np.array([0.02]) * draw.standard_normal(1))
        assert at(made) == {0: place.tolist()}
        epochs = islands[0][0].genome.local_epochs
        assert epochs == round(1 + 3 * place[0])
        seen.add(epochs)
    assert len(seen) > 1


def test_elites_keep_places_and_others_inherit_and_mutate() -> None:
    made = cube(elites=2)
    islands = born(made, 6)
    before, known = at(made), losses(1, 6)
    after = moved(made, islands, known, 2)[0]
    ranked = sorted(known, key=known.__getitem__)
    assert {c for c, a in after.items() if a.origin == "elite"} == set(ranked[:2])
    for client, assignment in after.items():
        if client in ranked[:2]:
            assert at(made)[client] == before[client]
            assert assignment == Assignment(islands[0][client].genome, "elite", client, client, 1.0)
            continue
        draw = rng(SEED, "gene-evolution", 2, client)
        givers = [int(draw.integers(6)) for _ in GENES]
        factors = [(0.9, 1.0, 1.1)[draw.integers(3)] for _ in GENES]
        steps = (math.log10(factors[0]) / 3, math.log(factors[1], 16), factors[2] - 1)
        there = [before[g][i] + step for i, (g, step) in enumerate(zip(givers, steps, strict=True))]
        assert at(made)[client] == pytest.approx(reflect(np.array(there)).tolist())
        assert assignment.origin == "mutant"
        assert (assignment.parent, assignment.batch_parent) == tuple(givers[:2])
        parents_rate = islands[0][givers[0]].genome.learning_rate
        assert assignment.genome.learning_rate == pytest.approx(parents_rate * assignment.mutation)


def test_who_is_to_be_kept_or_has_expired() -> None:
    made = cube(elites=1)
    islands, known = born(made, 6), {client: float(client) for client in range(6)}
    before = at(made)
    after = moved(made, islands, known, 2, expired={0}, keep={3, 4})[0]
    assert after[1].origin == "elite" and after[0].origin == "mutant"
    assert after[3] == islands[0][3] and after[4] == islands[0][4]
    assert {c for c in range(6) if at(made)[c] == before[c]} == {1, 3, 4}


@pytest.mark.parametrize("move", ["genetic", "differential", "cma-es"])
@pytest.mark.parametrize("why", ["no losses", "elites-only", "no genes"])
def test_a_cluster_stays_as_it_is(move: str, why: str) -> None:
    settings = {"move": move} | ({"control": why} if why == "elites-only" else {})
    made = cube({} if why == "no genes" else GENES, **settings)
    islands = born(made, 5)
    before = at(made)
    assert moved(made, islands, {} if why == "no losses" else losses(1, 5), 2) == islands
    assert at(made) == before


def test_self_adaptive_steps_pass_widths_on() -> None:
    made = cube(elites=0, mutation_scale="self", crossover="whole")
    islands = born(made, 4)
    assert made.sigmas == dict.fromkeys(range(4), START_SIGMA)
    for number in (2, 3):
        before = {c: place.copy() for c, place in made.places.items()}
        widths = dict(made.sigmas)
        islands = moved(made, islands, losses(number, 4), number)
        for client in range(4):
            draw = rng(SEED, "gene-evolution", number, client)
            giver = int([draw.integers(4) for _ in GENES][0])
            place, sigma = mutate(before[giver], widths[giver], draw)
            assert at(made)[client] == place.tolist() and made.sigmas[client] == sigma


def test_differential_generations_equal_a_slow_twin() -> None:
    made = cube(move="differential")
    islands = born(made, 6)
    parents = {c: place.copy() for c, place in made.places.items()}
    trials, bars = dict(parents), dict.fromkeys(parents, math.inf)
    for number in range(2, 9):
        known = losses(number, 6)
        if number == 4:
            del known[2]  # whose reply was not used
        for client, loss in known.items():
            if loss <= bars[client]:
                parents[client], bars[client] = trials[client], loss
        for client in range(6):
            draw = rng(SEED, "gene-difference", number, client)
            trials[client] = differential.trial(client, parents, bars, draw)
        islands = moved(made, islands, known, number)
        assert at(made) == {c: place.tolist() for c, place in trials.items()}
        for client, assignment in islands[0].items():
            genome = genome_at(GENES, trials[client].tolist(), USUAL)
            assert assignment == Assignment(genome, "drawn")


def test_cma_generations_equal_a_slow_twin_in_clusters_of_their_own() -> None:
    made = cube(move="cma-es")
    islands = {**born(made, 9)}
    islands = {
        4: {c: islands[0][c] for c in range(5)},
        -1: {c: islands[0][c] for c in range(5, 8)},
        0: {8: islands[0][8]},
    }
    places = {c: place.copy() for c, place in made.places.items()}
    states: dict[int, cma.State] = {}
    for number in range(2, 8):
        known = losses(number, 9)
        if number in (3, 5):
            del known[1]  # diverged: it is the worst
        for label, ids in ((4, range(5)), (-1, range(5, 8))):
            there = np.array([places[c] for c in ids])
            if label not in states:
                spread = min(max(float(there.std(axis=0).mean()), SPREADS[0]), SPREADS[1])
                states[label] = cma.start(there.mean(axis=0), spread)
            told = [known.get(c, math.inf) for c in ids]
            states[label] = cma.tell(states[label], there, told)
            draw = rng(SEED, "gene-distribution", number, ids[0])
            places |= dict(zip(ids, cma.ask(states[label], draw, len(ids)), strict=True))
        islands = moved(made, islands, known, number)
        assert at(made) == {c: place.tolist() for c, place in places.items()}
        assert made.models == states
        assert islands[0][8].origin == "random"  # it is alone, with nobody to compare with
    made.regrouped()
    assert not made.models


def test_copies_are_of_places_as_they_were() -> None:
    made = cube(move="differential")
    islands = born(made, 5)
    for number in (2, 3):
        islands = moved(made, islands, losses(number, 5), number)
    made.sigmas[1] = 0.25
    copies = made.copies({3: 1, 4: None})
    there = at(made)[1]
    moved(made, islands, losses(4, 5), 4)
    made.put(copies)
    assert at(made)[3] == there != at(made)[1]
    assert made.sigmas[3] == 0.25
    assert 3 not in made.parents and 3 not in made.bars  # its trial is forgotten
    assert 4 in made.parents and set(copies) == {3}


MOVES = [
    {"mutation_scale": "self"},
    {"move": "differential"},
    {"move": "cma-es"},
    {"mutation_scale": "log", "crossover": "average"},
]


@pytest.mark.parametrize("settings", MOVES, ids=str)
@given(st.integers(1, 5), st.integers(1, 7))
def test_restored_at_any_round_it_goes_on_to_the_byte(
    settings: dict[str, Any], rounds: int, clients: int
) -> None:
    made = cube(**settings)
    islands = born(made, clients)
    for number in range(2, 2 + rounds):
        islands = moved(made, islands, losses(number, clients), number, width=0.1)
    again = cube(**settings)
    again.restore(json.loads(json.dumps(made.state())))
    assert again.state() == made.state()
    same = islands
    for number in (9, 10):
        islands = moved(made, islands, losses(number, clients), number, width=0.1)
        same = moved(again, same, losses(number, clients), number, width=0.1)
    assert islands == same
    for client, place in made.places.items():
        assert again.places[client].tobytes() == place.tobytes()
        assert again.places[client].dtype == np.float64
    assert again.state() == made.state()


@given(st.sampled_from(MOVES), st.lists(PLACES, min_size=1, max_size=6), st.integers(2, 99))
def test_nobody_leaves_the_ranges(
    settings: dict[str, Any], places: list[tuple[float, ...]], number: int
) -> None:
    made = cube(**settings)
    islands = born(made, len(places))
    for client, place in enumerate(places):
        made.places[client] = np.array(place)
        genome = genome_at(GENES, place, USUAL)
        islands[0][client] = replace(islands[0][client], genome=genome)
    for step in range(3):
        known = losses(number + step, len(places))
        islands = moved(made, islands, known, number + step, width=0.5)
        for client, place in made.places.items():
            assert ((place >= 0) & (place <= 1)).all()
            genome = islands[0][client].genome
            assert genome == genome_at(GENES, place.tolist(), USUAL)
