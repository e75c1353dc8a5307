"""The evolution of declared genes: clusters, schedules, and moves that are due now and then."""

import json
import math
from typing import Any

import pytest
import toy
from flwr.app import ArrayRecord

from strategies.core.genes import Gene
from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.clustering import NOISE
from strategies.evolution.moves.schedule import share
from strategies.fedavg import FedAvg
from strategies.genetic import GeneticCFL
from strategies.messages import protocol
from strategies.streams import rng
from strategies.tuning.genetic import Evolution
from strategies.tuning.settings import Evolving

CLIENTS, SEED = 12, 3
GENES = {"learning_rate": Gene(1e-4, 1.0, "log"), "batch_size": Gene(10, 110, whole=True)}


def genetic(**settings: Any) -> GeneticCFL:
    given = {"seed": SEED, "clients": CLIENTS, "fraction": 1.0, "eps": 0.4}
    return GeneticCFL(**{**given, **settings})


def told(strategy: FedAvg) -> dict[int, Assignment]:
    """What everybody was assigned in the round that was played."""
    return {o.client: o.assignment for o in strategy.outcome.clients if o.assignment}


def test_clusters_are_found_in_the_genes_that_are_declared() -> None:
    """Places by hand; by the design's features the first two would be apart, the last two not."""
    strategy = genetic(genes=GENES, eps=0.15)
    genomes = {
        **{0: Genome(1e-2, 60), 1: Genome(3e-2, 60)},  # (0.5, 0.5) and (0.62, 0.5)
        **{2: Genome(1e-4, 10), 3: Genome(1e-4, 20)},  # (0, 0) and (0, 0.1)
        **{4: Genome(1.0, 110), 5: Genome(1.0, 92)},  # (1, 1) and (1, 0.82)
    }
    for client, genome in genomes.items():
        strategy.tuner.cube.take(client, genome)
        strategy.tuner.population[client] = Assignment(genome, "random")
    strategy.tuner._cluster()
    labels = {client: held.cluster for client, held in strategy.tuner.population.items()}
    assert labels == {0: 0, 1: 0, 2: 1, 3: 1, 4: NOISE, 5: NOISE}
    late = {6: Genome(1e-2, 65), 9: Genome(1e-4, 30), 11: Genome(1.0, 100)}
    strategy.tuner.cube.born = late.__getitem__
    strategy.tuner._welcome([6, 9, 11])  # the second is 0.1 from its neighbour, by design 0.19
    assert [strategy.tuner.population[c].cluster for c in (6, 9, 11)] == [0, 1, NOISE]


def test_genes_of_the_server_alone_leave_everybody_in_one_cluster_and_alike() -> None:
    from strategies.fedopt import FedAvgM

    strategy = FedAvgM(
        **{"seed": SEED, "clients": CLIENTS, "fraction": 1.0, "learning_rate": 0.02},
        tuner=Evolution,
        tuning=Evolving(move="cma-es"),
        genes={"server_rate": Gene(0.1, 1.0)},
    )
    arrays = toy.start()
    with toy.toy_grid(CLIENTS) as grid:
        for number in (1, 2, 3, 4):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            assert set(sent.values()) == {Genome(0.02, 32)}
            assert {a.cluster for a in told(strategy).values()} == {0}


SCHEDULED = [
    {},
    {"genes": GENES},
    {"genes": GENES, "mutation_scale": "self"},
    {"genes": GENES, "crossover": "whole", "migrate_every": 2},
    {"mutation_scale": "log", "elites": 1},
    {"move": "halving", "move_every": 2},
]


@pytest.mark.parametrize("settings", SCHEDULED, ids=str)
def test_a_schedule_takes_its_share_of_what_evolves_without_it(settings: dict[str, Any]) -> None:
    """Toy losses depend on rates, so that the twin is the population that is held."""
    strategy = genetic(schedule="cosine", horizon=5, floor=0.1, **settings)
    arrays, before, explained = toy.start(), {}, 0
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, 8):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            due = 0.1 + 0.9 * (1 + math.cos(math.pi * min(number - 1, 5) / 5)) / 2
            assert share(number, 5, 0.1) == pytest.approx(due)
            for client, held in strategy.tuner.population.items():
                assert sent[client].learning_rate == pytest.approx(held.genome.learning_rate * due)
            for client, row in told(strategy).items():
                assert row.genome.learning_rate == sent[client].learning_rate
                if row.mutation is not None and row.parent is not None:
                    inherited = before[row.parent].learning_rate * row.mutation
                    assert row.genome.learning_rate == pytest.approx(inherited), client
                    explained += 1
            before = sent
    assert explained > CLIENTS


def test_a_parent_s_rate_is_that_of_its_last_round() -> None:
    """Cohorts are drawn anew, so that some parents sat rounds out; half way it is restored."""
    settings = {"schedule": "cosine", "horizon": 8, "resample": True, "fraction": 0.5}
    strategy, arrays = genetic(**settings), toy.start()
    latest: dict[int, tuple[int, float]] = {}
    late = 0
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, 9):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            for client, row in told(strategy).items():
                if row.mutation is not None and row.parent is not None:
                    trained, rate = latest[row.parent]
                    assert row.genome.learning_rate == pytest.approx(rate * row.mutation), client
                    late += trained < number - 1
            latest |= {c: (number, genome.learning_rate) for c, genome in sent.items()}
            resumed = genetic(**settings)
            resumed.restore(json.loads(json.dumps(strategy.state())))
            strategy = resumed
    assert late > 3


def test_genes_stay_as_they_are_between_moves() -> None:
    strategy, arrays, seen = genetic(move="cma-es", move_every=3), toy.start(), []
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, 8):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            seen.append(sent)
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[5] != seen[6]


def test_racing_keeps_whoever_may_be_as_good() -> None:
    """With many errors allowed nobody is ever beaten, with none only the best are kept."""
    for racing, kept in ((50.0, CLIENTS), (1e-9, 1)):
        strategy, arrays = genetic(racing=racing, elites=1, control="one-cluster"), toy.start()
        with toy.toy_grid(CLIENTS) as grid:
            arrays, first = toy.play_round(strategy, grid, 1, arrays)
            _, second = toy.play_round(strategy, grid, 2, arrays)
        assert sum(second[client] == first[client] for client in first) == kept


def test_races_of_shuffled_ranks_are_decided_by_lot() -> None:
    """The best is never replaced where ranks count; where they change hands, at times it is."""
    replaced = {}
    for control in ("none", "shuffled-fitness"):
        replaced[control] = 0
        for seed in range(6):
            strategy = genetic(racing=1e-9, elites=0, control=control, eps=9.0, seed=seed)
            arrays = toy.start()
            with toy.toy_grid(CLIENTS) as grid:
                arrays, first = toy.play_round(strategy, grid, 1, arrays)
                best = min(strategy.tuner.judge.losses, key=strategy.tuner.judge.losses.__getitem__)
                _, second = toy.play_round(strategy, grid, 2, arrays)
            replaced[control] += first[best] != second[best]
    assert replaced["none"] == 0 and replaced["shuffled-fitness"] > 2


def test_an_old_elite_gives_way() -> None:
    strategy, arrays = genetic(age_limit=2, elites=1, control="one-cluster"), toy.start()
    rounds = {client: 0 for client in range(CLIENTS)}
    with toy.toy_grid(CLIENTS) as grid:
        before: dict[int, Genome] = {}
        for number in range(1, 9):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            same = {client for client in sent if before.get(client) == sent[client]}
            rounds = {client: rounds[client] + 1 if client in same else 0 for client in sent}
            elites = {c for c, row in told(strategy).items() if row.origin == "elite"}
            assert len(elites) == (number > 1)
            assert all(rounds[client] <= 2 for client in elites)
            before = sent


def test_a_cluster_is_told_one_number_of_common_samples() -> None:
    strategy = genetic(fitness="common", common_samples=7, eps=0.3)
    with toy.toy_grid(CLIENTS) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
        shares = {toy.partition_of(m): m.content["config"][protocol.COMMON] for m in grid.sent}
    labels = {client: held.cluster for client, held in strategy.tuner.population.items()}
    assert shares == {client: [label + 1, 7] for client, label in labels.items()}
    assert len({tuple(said) for said in shares.values()}) > 1


MOVES = [
    *({"move": move} for move in ("differential", "cma-es", "halving")),
    {"mutation_scale": "self", "crossover": "whole"},
    {"racing": 1.0, "rank_halflife": 2.0, "age_limit": 1},
    {"migrate_every": 1, "mutation_scale": "self"},
    {"recluster_every": 2, "move": "cma-es", "schedule": "cosine"},
]
BROKEN = {
    "all well": {},
    "one always fails": {4: toy.crash, 5: toy.report_infinite_fitness},
    "no loss anywhere": dict.fromkeys(range(CLIENTS), toy.report_infinite_fitness),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("settings", MOVES, ids=str)
def test_drawn_cohorts_and_broken_clients_stop_no_move_nor_a_restored_one(
    settings: dict[str, Any], declared: bool, broken: str
) -> None:
    given = {"fraction": 0.5, "resample": True, "genes": GENES if declared else {}, **settings}
    faults = BROKEN[broken]
    strategy, arrays = genetic(**given), toy.start()
    with toy.toy_grid(CLIENTS, faults) as grid, toy.toy_grid(CLIENTS, faults) as other:
        first: dict[int, Genome] = {}
        for number in range(1, 7):
            again, same = genetic(**given), ArrayRecord(arrays.to_numpy_ndarrays())
            again.restore(json.loads(json.dumps(strategy.state())))
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            same, theirs = toy.play_round(again, other, number, same)
            assert theirs == sent and toy.as_bytes(same) == toy.as_bytes(arrays)
            assert again.state() == strategy.state()
            first = sent | first
    assert len(first) > CLIENTS // 2
    if broken == "no loss anywhere" and settings.get("schedule") != "cosine":
        assert {c: strategy.tuner.population[c].genome for c in first} == first


def test_newcomers_draw_their_own_places() -> None:
    strategy = genetic(genes=GENES, fraction=0.5, resample=True)
    arrays, met = toy.start(), set()
    with toy.toy_grid(CLIENTS) as grid:
        for number in (1, 2, 3):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            for client in set(sent) - met:
                place = rng(SEED, "genes", 0, client).random(2)
                assert strategy.tuner.cube.places[client].tolist() == place.tolist()
            met |= set(sent)
