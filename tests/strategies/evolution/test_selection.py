import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.selection import evolve, rank
from strategies.evolution.start import PROBE_BATCHES, PROBE_RATES, jitter, probe_grid, random_genome
from strategies.streams import rng

CLUSTER = {
    3: Genome(1e-3, 16),
    5: Genome(2e-4, 32),
    8: Genome(4e-5, 64),
    9: Genome(6e-6, 100),
    12: Genome(8e-7, 128),
}
LOSSES = {3: 2.0, 5: 0.5, 8: 1.0, 9: 3.0, 12: 0.9}  # best first: 5 12 8 3 9

GENOMES = st.builds(Genome, st.floats(1e-7, 1e-1), st.integers(1, 256))
CLUSTERS = st.dictionaries(st.integers(0, 99), GENOMES, min_size=1, max_size=12)
ANY_LOSS = st.one_of(
    st.none(), st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-10, 10)
)


def child(client: int, seed: int, number: int) -> Assignment:
    """What a member of CLUSTER inherits, written out draw by draw."""
    members = [3, 5, 8, 9, 12]
    draw = rng(seed, "evolution", number, client)
    parent = members[int(draw.integers(5))]
    factor = [0.9, 1.0, 1.1][int(draw.integers(3))]
    batch_parent = members[int(draw.integers(5))]
    genome = Genome(CLUSTER[parent].learning_rate * factor, CLUSTER[batch_parent].batch_size)
    return Assignment(genome, "mutant", parent, batch_parent, factor)


def test_rank_by_hand() -> None:
    assert rank([3, 5, 8, 9, 12], LOSSES) == [5, 12, 8, 3, 9]


def test_missing_and_non_finite_losses_sort_last_and_ties_go_to_the_lower_id() -> None:
    losses = {4: math.nan, 3: 9.0, 2: -math.inf, 1: math.inf, 7: 9.0}
    assert rank([7, 6, 4, 3, 2, 1], losses) == [3, 7, 1, 2, 4, 6]


def test_elites_keep_their_genes_and_offspring_inherit() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2)
    assert generation == {
        5: Assignment(CLUSTER[5], "elite", 5, 5, 1.0),
        12: Assignment(CLUSTER[12], "elite", 12, 12, 1.0),
        8: child(8, 4, 2),
        3: child(3, 4, 2),
        9: child(9, 4, 2),
    }


def test_index_deals_elites_to_the_first_members() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, deal="index")
    assert generation == {
        3: Assignment(CLUSTER[5], "elite", 5, 5, 1.0),
        5: Assignment(CLUSTER[12], "elite", 12, 12, 1.0),
        8: child(8, 4, 2),
        9: child(9, 4, 2),
        12: child(12, 4, 2),
    }


def test_offspring_draw_from_the_whole_cluster_and_rate_and_batch_apart() -> None:
    mutants = [
        assignment
        for number in range(60)
        for assignment in evolve(CLUSTER, LOSSES, seed=0, server_round=number).values()
        if assignment.origin == "mutant"
    ]
    assert {m.parent for m in mutants} == set(CLUSTER) == {m.batch_parent for m in mutants}
    assert any(m.parent != m.batch_parent for m in mutants)


def test_without_elites_everybody_is_offspring() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, elites=0)
    assert generation == {client: child(client, 4, 2) for client in CLUSTER}


@pytest.mark.parametrize("elites", [5, 9])
@pytest.mark.parametrize("deal", ["owner", "index"])
def test_with_elites_enough_nobody_changes(elites: int, deal: str) -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, elites=elites, deal=deal)
    best_first = [5, 12, 8, 3, 9]
    receivers = best_first if deal == "owner" else sorted(CLUSTER)
    assert {c: a.parent for c, a in generation.items()} == dict(
        zip(receivers, best_first, strict=True)
    )
    assert {a.origin for a in generation.values()} == {"elite"}


def test_no_mutation_leaves_inherited_rates_unchanged() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=1, server_round=3, elites=0, mutation=0.0)
    for assignment in generation.values():
        assert assignment.genome.learning_rate == CLUSTER[assignment.parent].learning_rate


def test_factors_are_exact_decimals() -> None:
    factors = {
        a.mutation
        for number in range(40)
        for a in evolve(CLUSTER, LOSSES, seed=0, server_round=number, mutation=0.3).values()
    }
    assert factors == {0.7, 1.0, 1.3}


def test_seed_round_and_client_each_change_the_draws() -> None:
    base = evolve(CLUSTER, {}, seed=0, server_round=1, elites=0)
    assert evolve(CLUSTER, {}, seed=1, server_round=1, elites=0) != base
    assert evolve(CLUSTER, {}, seed=0, server_round=2, elites=0) != base
    assert len({(a.parent, a.mutation, a.batch_parent) for a in base.values()}) > 1


@settings(max_examples=50, deadline=None)
@given(
    CLUSTERS,
    st.lists(ANY_LOSS, min_size=12, max_size=12),
    st.integers(0, 2**20),
    st.integers(1, 100),
    st.integers(0, 4),
    st.sampled_from([0.05, 0.1, 0.5]),
    st.sampled_from(["owner", "index"]),
    st.randoms(use_true_random=False),
)
def test_every_generation_is_lawful(
    genomes: dict[int, Genome],
    values: list[float | None],
    seed: int,
    number: int,
    elites: int,
    mutation: float,
    deal: str,
    shuffle: random.Random,
) -> None:
    drawn = zip(sorted(genomes), values, strict=False)
    losses = {client: value for client, value in drawn if value is not None}
    arguments = {"seed": seed, "server_round": number, "elites": elites, "mutation": mutation}
    generation = evolve(genomes, losses, **arguments, deal=deal)

    assert set(generation) == set(genomes)
    finite = sorted((v, c) for c, v in losses.items() if math.isfinite(v))
    kept = [a for a in generation.values() if a.origin == "elite"]
    assert len(kept) == min(elites, len(genomes))
    assert {c for _, c in finite[:elites]} <= {a.parent for a in kept}
    for client, assignment in generation.items():
        parent = genomes[assignment.parent]
        assert assignment.genome.learning_rate == parent.learning_rate * assignment.mutation
        assert assignment.genome.batch_size == genomes[assignment.batch_parent].batch_size
        assert assignment.mutation == pytest.approx(1) or assignment.mutation in (
            pytest.approx(1 - mutation),
            pytest.approx(1 + mutation),
        )
        if assignment.origin == "elite" and deal == "owner":
            assert assignment.genome == genomes[client]

    order = list(genomes)
    shuffle.shuffle(order)
    shuffled = {client: genomes[client] for client in order}
    assert evolve(shuffled, losses, **arguments, deal=deal) == generation


def test_factors_and_parents_come_in_equal_shares() -> None:
    draws = [
        assignment
        for number in range(600)
        for assignment in evolve(CLUSTER, {}, seed=11, server_round=number, elites=0).values()
    ]
    factors = [sum(a.mutation == f for a in draws) for f in (0.9, 1.0, 1.1)]
    parents = [sum(a.parent == c for a in draws) for c in CLUSTER]
    batches = [sum(a.batch_parent == c for a in draws) for c in CLUSTER]
    # The 99.9 % points of chi-square with 2 and 4 degrees of freedom.
    for counts, bound in ((factors, 13.8), (parents, 18.5), (batches, 18.5)):
        expected = len(draws) / len(counts)
        assert sum((count - expected) ** 2 / expected for count in counts) < bound


def test_random_genome_by_hand() -> None:
    draw = rng(3, "genome", 0, 6)
    rate, batch = draw.uniform(-7, -3), draw.uniform(4, 7)
    genome = random_genome(rng(3, "genome", 0, 6))
    assert genome == Genome(10**rate, round(2**batch))


def test_random_rates_are_drawn_between_any_two() -> None:
    fraction = (math.log10(random_genome(rng(3, "genome", 0, 6)).learning_rate) + 7) / 4
    moved = random_genome(rng(3, "genome", 0, 6), (1e-5, 1e-2))
    assert math.log10(moved.learning_rate) == pytest.approx(-5 + 3 * fraction)
    assert moved.batch_size == random_genome(rng(3, "genome", 0, 6)).batch_size
    assert random_genome(rng(3, "genome", 0, 6), (1e-3, 1e-3)).learning_rate == 1e-3


def test_random_genomes_fill_their_range() -> None:
    genomes = [random_genome(rng(0, "genome", 0, client)) for client in range(1000)]
    logs = np.log10([genome.learning_rate for genome in genomes])
    batches = np.array([genome.batch_size for genome in genomes])
    assert -7 <= logs.min() < -6.9 and -3.1 < logs.max() <= -3
    assert abs(logs.mean() + 5) < 0.15
    assert 16 <= batches.min() <= 17 and 125 <= batches.max() <= 128
    assert abs(np.log2(batches).mean() - 5.5) < 0.1
    assert all(type(g.batch_size) is int and type(g.learning_rate) is float for g in genomes)


def test_probe_grid_repeats_nothing_and_offers_everything() -> None:
    grids = [probe_grid(rng(0, "probe-grid", 0, client)) for client in range(100)]
    for rates, batches in grids:
        assert len(set(rates)) == len(rates) == 3 and set(rates) <= set(PROBE_RATES)
        assert len(set(batches)) == len(batches) == 2 and set(batches) <= set(PROBE_BATCHES)
    assert {rate for rates, _ in grids for rate in rates} == set(PROBE_RATES)
    assert {batch for _, batches in grids for batch in batches} == set(PROBE_BATCHES)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PROBE_RATES), st.sampled_from(PROBE_BATCHES), st.integers(0, 10_000))
def test_jitter_stays_within_half_a_step(rate: float, batch: int, client: int) -> None:
    moved = jitter(Genome(rate, batch), rng(0, "probe-jitter", 0, client))
    assert abs(math.log10(moved.learning_rate / rate)) <= 0.5 + 1e-9
    low, high = max(16, batch / 2**0.5), min(128, batch * 2**0.5)
    assert math.floor(low) <= moved.batch_size <= math.ceil(high)
    assert 16 <= moved.batch_size <= 128


def test_jitter_by_hand() -> None:
    draw = rng(0, "probe-jitter", 0, 5)
    rate, batch = draw.uniform(-0.5, 0.5), draw.uniform(-0.5, 0.5)
    moved = jitter(Genome(1e-4, 64), rng(0, "probe-jitter", 0, 5))
    assert moved.learning_rate == pytest.approx(1e-4 * 10**rate, rel=1e-12)
    assert moved.batch_size == round(64 * 2**batch)


def test_jitter_moves_clients_apart() -> None:
    moved = {jitter(Genome(1e-4, 64), rng(0, "probe-jitter", 0, c)) for c in range(50)}
    assert len(moved) == 50
    assert min(g.batch_size for g in moved) < 50 and max(g.batch_size for g in moved) > 80


def test_average_is_the_mean_of_two_parents_by_the_same_draws() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, crossover="average")
    for client, assignment in generation.items():
        inherited = child(client, 4, 2)
        if client in (5, 12):
            assert assignment == Assignment(CLUSTER[client], "elite", client, client, 1.0)
            continue
        one, other = CLUSTER[inherited.parent], CLUSTER[inherited.batch_parent]
        rate = (one.learning_rate + other.learning_rate) / 2 * inherited.mutation
        genome = Genome(rate, round((one.batch_size + other.batch_size) / 2))
        parents = (inherited.parent, inherited.batch_parent, inherited.mutation)
        assert assignment == Assignment(genome, "average", *parents)


def test_average_by_hand() -> None:
    """Two members, no mutation: a child is like the one, the other, or their mean."""
    pair = {0: Genome(1e-3, 17, 1, 0.5), 1: Genome(3e-3, 20, 4, 0.75)}
    found = {
        assignment.genome
        for number in range(40)
        for assignment in evolve(
            pair, {}, seed=0, server_round=number, elites=0, mutation=0.0, crossover="average"
        ).values()
    }
    assert found == {*pair.values(), Genome(2e-3, 18, 2, 0.625)}  # halves to even: 18.5, 2.5


def test_log_mutation_draws_its_factor_in_the_step_s_place() -> None:
    generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, width=0.5)
    members = sorted(CLUSTER)
    for client in (8, 3, 9):
        draw = rng(4, "evolution", 2, client)
        parent = members[int(draw.integers(5))]
        factor = 10.0 ** (0.5 * draw.standard_normal())
        batch_parent = members[int(draw.integers(5))]
        rate = CLUSTER[parent].learning_rate * factor
        genome = Genome(rate, CLUSTER[batch_parent].batch_size)
        assert generation[client] == Assignment(genome, "mutant", parent, batch_parent, factor)


def test_log_mutation_stops_at_the_bounds_and_tells_the_factor_that_was_left() -> None:
    cluster = {0: Genome(0.9, 16), 1: Genome(0.9, 16)}
    rates = set()
    for number in range(30):
        for assignment in evolve(
            cluster, {}, seed=0, server_round=number, elites=0, width=1.0
        ).values():
            assert assignment.genome.learning_rate <= 1.0
            assert assignment.mutation * 0.9 == pytest.approx(assignment.genome.learning_rate)
            rates.add(assignment.genome.learning_rate)
    assert 1.0 in rates and len(rates) > 10


FURTHER = {
    client: Genome(genome.learning_rate, genome.batch_size, epochs, momentum)
    for (client, genome), epochs, momentum in zip(
        CLUSTER.items(), [1, 2, 3, 4, 4], [0.0, 0.5, 0.9, 0.25, 0.75], strict=True
    )
}


def test_further_genes_have_streams_of_their_own() -> None:
    generation = evolve(FURTHER, LOSSES, seed=4, server_round=2, most_epochs=4)
    members = sorted(FURTHER)
    for client in (8, 3, 9):
        draw = rng(4, "evolution-epochs", 2, client)
        giver = FURTHER[members[int(draw.integers(5))]]
        epochs = min(max(giver.local_epochs + int(draw.integers(-1, 2)), 1), 4)
        draw = rng(4, "evolution-momentum", 2, client)
        giver = FURTHER[members[int(draw.integers(5))]]
        factor = [0.9, 1.0, 1.1][int(draw.integers(3))]
        momentum = max(1 - (1 - giver.momentum) * factor, 0.0) if factor != 1 else giver.momentum
        genome = generation[client].genome
        assert (genome.local_epochs, genome.momentum) == (epochs, momentum)
        inherited = child(client, 4, 2).genome
        assert (genome.learning_rate, genome.batch_size) == (
            inherited.learning_rate,
            inherited.batch_size,
        )
    assert generation[5].genome == FURTHER[5]


def test_genes_that_are_none_stay_none() -> None:
    for crossover in ("none", "average"):
        generation = evolve(CLUSTER, LOSSES, seed=4, server_round=2, crossover=crossover)
        for assignment in generation.values():
            assert assignment.genome.local_epochs is assignment.genome.momentum is None


def test_an_assignment_comes_back_from_its_json() -> None:
    for genome in (Genome(1e-3, 16), Genome(1e-3, 16, 3, 0.5)):
        assignment = Assignment(genome, "mutant", 3, 5, 1.1, -1)
        values = json.loads(json.dumps(assignment.as_json()))
        assert Assignment.from_json(values) == assignment
    assert Assignment(Genome(1e-3, 16), "random").as_json()["genome"] == {
        "learning_rate": 1e-3,
        "batch_size": 16,
    }
