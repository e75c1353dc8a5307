from dataclasses import replace

import pytest

from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.generation import Breeding, adapted, unchanged
from strategies.evolution.selection import evolve
from strategies.evolution.variants import CONTROLS, Control, shuffle
from strategies.streams import rng

MEMBERS = {
    0: {
        3: Assignment(Genome(1e-3, 16), "elite", 3, 3, 1.0, 0),
        5: Assignment(Genome(2e-4, 32), "elite", 5, 5, 1.0, 0),
        8: Assignment(Genome(4e-5, 64), "mutant", 3, 5, 1.1, 0),
        9: Assignment(Genome(6e-6, 100), "mutant", 3, 5, 1.1, 0),
    },
    1: {
        12: Assignment(Genome(8e-7, 128), "random", cluster=1),
        13: Assignment(Genome(7e-7, 128), "mutant", 12, 12, 1.0, 1),
    },
}
LOSSES = {3: 2.0, 5: 0.5, 8: 1.0, 9: 3.0, 12: 0.9}
WHOLE = Breeding(
    seed=4,
    elites=2,
    mutation=0.1,
    crossover="none",
    most_epochs=4,
    deal="owner",
    migrate_every=0,
    control="none",
)


def genomes(label: int) -> dict[int, Genome]:
    return {client: current.genome for client, current in MEMBERS[label].items()}


def play(breeding: Breeding, number: int = 2) -> dict[int, Assignment]:
    losses = breeding.seen(MEMBERS, LOSSES, number)
    migrants = breeding.migrants(MEMBERS, losses, number)
    return breeding.generation(MEMBERS, losses, None, number) | migrants


def evolved(losses: dict[int, float], number: int = 2, **settings: object) -> dict:
    common = {"seed": 4, "server_round": number, **settings}
    return evolve(genomes(0), losses, **common) | evolve(genomes(1), losses, **common)


def test_every_cluster_evolves_on_its_own() -> None:
    assert play(WHOLE) == evolved(LOSSES)
    assert WHOLE.seen(MEMBERS, LOSSES, 2) is LOSSES


def test_a_cluster_without_losses_stays() -> None:
    losses = {c: loss for c, loss in LOSSES.items() if c != 12}
    after = WHOLE.generation(MEMBERS, losses, None, 2)
    assert after[12] is MEMBERS[1][12]
    assert after[13] == Assignment(Genome(7e-7, 128), "elite", 13, 13, 1.0)


def test_shuffled_losses_are_those_of_the_cluster_in_another_order() -> None:
    breeding = replace(WHOLE, control="shuffled-fitness")
    orders = set()
    for number in range(2, 40):
        seen = breeding.seen(MEMBERS, LOSSES, number)
        mine = tuple(seen.get(client) for client in MEMBERS[0])
        assert sorted(mine) == [0.5, 1.0, 2.0, 3.0]
        assert [seen.get(12), seen.get(13)] in ([0.9, None], [None, 0.9])
        orders.add(mine)
        assert play(breeding, number) == evolved(dict(seen), number)
    assert len(orders) > 15


def test_shuffling_follows_its_stream() -> None:
    givers = rng(4, "shuffled-fitness", 7, 3).permutation([3, 5, 8, 9]).tolist()
    expected = {m: LOSSES[g] for m, g in zip([3, 5, 8, 9], givers, strict=True)}
    assert shuffle([9, 3, 8, 5], LOSSES, 4, 7) == expected


def test_elites_are_then_anybody() -> None:
    breeding = replace(WHOLE, control="shuffled-fitness", elites=1)
    found = [
        client
        for number in range(200)
        for client, after in play(breeding, number).items()
        if after.origin == "elite" and client in MEMBERS[0]
    ]
    assert len(found) == 200
    assert all(30 < found.count(client) < 70 for client in MEMBERS[0])


def test_no_mutation_inherits_the_same_genes_unmutated() -> None:
    after, whole = play(replace(WHOLE, control="no-mutation")), play(WHOLE)
    assert after == evolved(LOSSES, mutation=0.0)
    assert {c: (a.parent, a.batch_parent) for c, a in after.items()} == {
        c: (a.parent, a.batch_parent) for c, a in whole.items()
    }
    assert {a.mutation for a in after.values()} == {1.0}


def test_no_mutation_holds_on_the_log_scale() -> None:
    breeding = replace(WHOLE, control="no-mutation")
    after = breeding.generation(MEMBERS, LOSSES, 0.5, 2)
    whole = WHOLE.generation(MEMBERS, LOSSES, 0.5, 2)
    assert {a.mutation for a in after.values()} == {1.0} != {a.mutation for a in whole.values()}
    assert {c: (a.parent, a.batch_parent) for c, a in after.items()} == {
        c: (a.parent, a.batch_parent) for c, a in whole.items()
    }


def test_without_selection_nobody_is_an_elite_and_mutation_goes_on() -> None:
    breeding = replace(WHOLE, control="no-selection")
    found = [a for number in range(30) for a in play(breeding, number).values()]
    assert {a.origin for a in found} == {"mutant"}
    assert {a.mutation for a in found} == {0.9, 1.0, 1.1}
    assert play(breeding) == evolved(LOSSES, elites=0)


def test_without_selection_losses_decide_nothing() -> None:
    """Also not who migrates: other losses, the same draws."""
    breeding = replace(WHOLE, control="no-selection", migrate_every=1)
    donors = {
        assignment.parent
        for number in range(2, 40)
        for assignment in play(breeding, number).values()
        if assignment.origin == "migrant"
    }
    assert donors >= {3, 5, 8, 9}


@pytest.mark.parametrize("migrate_every", [0, 1])
def test_elites_only_replaces_nobody(migrate_every: int) -> None:
    breeding = replace(WHOLE, control="elites-only", migrate_every=migrate_every, deal="index")
    after = play(breeding)
    assert {c: a.genome for c, a in after.items()} == genomes(0) | genomes(1)
    assert {a.origin for a in after.values()} == {"elite", "random"}


@pytest.mark.parametrize(("every", "rounds"), [(0, []), (1, [2, 3, 4, 5]), (2, [3, 5]), (3, [4])])
def test_the_best_migrate_every_so_many_rounds(every: int, rounds: list[int]) -> None:
    breeding = replace(WHOLE, migrate_every=every)
    found = [
        number
        for number in range(1, 6)
        if "migrant" in {a.origin for a in play(breeding, number).values()}
    ]
    assert found == rounds


def test_a_migrant_overrules_the_generation_and_nobody_else() -> None:
    after, whole = play(replace(WHOLE, migrate_every=1)), play(WHOLE)
    assert after[9] == Assignment(Genome(8e-7, 128), "migrant", 12, 12, 1.0)
    assert after[13] == Assignment(Genome(2e-4, 32), "migrant", 5, 5, 1.0)
    assert {c: a for c, a in after.items() if c not in (9, 13)} == {
        c: a for c, a in whole.items() if c not in (9, 13)
    }


def test_the_width_adapts_to_mutants_of_the_latest_round() -> None:
    """Elites of cluster 0 have 2.0 and 0.5, median 1.25: of the mutants 8 (1.0) and 9 (3.0)
    one does better. Cluster 1 has no elite to compare with."""
    losses = LOSSES | {13: 0.1}
    everybody = {3, 5, 8, 9, 12, 13}
    assert adapted(0.1, MEMBERS, losses, everybody) == pytest.approx(0.12363, abs=1e-5)
    # Client 8 sat out: no success in one mutant. Then neither did anything.
    assert adapted(0.1, MEMBERS, losses, everybody - {8}) == pytest.approx(0.08681, abs=1e-5)
    assert adapted(0.1, MEMBERS, losses, everybody - {8, 9}) == 0.1


def test_genes_of_the_start_keep_their_origin() -> None:
    assert unchanged(12, MEMBERS[1][12]) is MEMBERS[1][12]
    assert unchanged(8, MEMBERS[0][8]) == Assignment(Genome(4e-5, 64), "elite", 8, 8, 1.0)


def test_controls_are_described() -> None:
    assert set(CONTROLS) == set(Control.__args__) - {"none"}
