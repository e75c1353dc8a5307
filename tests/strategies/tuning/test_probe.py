"""Before round 1: what every client tries, what is found, and what it costs."""

import math

import pytest
import toy

from strategies.core.genes import Gene
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import ClientOutcome, RoundOutcome, StrategyError, Update
from strategies.evolution.start import grid_rates, near_rate, random_genome
from strategies.fedopt import FedAvgM
from strategies.genetic import GeneticCFL
from strategies.scaffold import Scaffold
from strategies.streams import rng
from strategies.tuning.genetic import Evolution
from strategies.tuning.probe import best_rate
from strategies.tuning.settings import Evolving

CLIENTS, SEED = 12, 3


def genetic(**settings: object) -> GeneticCFL:
    return GeneticCFL(**{"seed": SEED, "clients": CLIENTS, "fraction": 1.0, **settings})


def dealt(rates: list[float]) -> dict[int, float]:
    """Which rate every client tries."""
    order = rng(SEED, "rate-grid").permutation(range(CLIENTS)).tolist()
    return {client: rates[turn % len(rates)] for turn, client in enumerate(order)}


def test_rates_are_half_a_decade_apart() -> None:
    found = grid_rates(1e-3, 1e-1)
    assert found == pytest.approx([1e-3, 10**-2.5, 1e-2, 10**-1.5, 1e-1])
    assert grid_rates(1e-2, 1.1e-2) == pytest.approx([1e-2, 1.1e-2])
    assert len(grid_rates(1e-7, 1e-3)) == 9


def outcome(fitness: dict[int, float | None]) -> RoundOutcome:
    rows = []
    for client, loss in fitness.items():
        update = None if loss is None else Update([], Genome(1, 1), loss, 1.0, 1, 1, 1, 0.0)
        rows.append(ClientOutcome(client, None, "ok", update))
    return RoundOutcome(tuple(rows))


@pytest.mark.parametrize(
    ("fitness", "best"),
    [
        ({0: 1.0, 1: 5.0, 2: 9.0, 3: 2.0, 4: 3.0, 5: 4.0}, 0.2),  # medians 5 and 3
        ({0: 1.0, 1: 5.0, 2: 9.0, 3: 2.0, 4: 3.0, 5: None}, 0.2),  # 5, and 3 still
        ({0: 1.0, 1: 5.0, 2: 9.0, 3: 2.0, 4: math.nan, 5: None}, 0.1),  # 5, and infinite
        ({0: 3.0, 1: 3.0, 2: 3.0, 3: 3.0, 4: 3.0, 5: 3.0}, 0.1),  # a tie goes to the lower
        ({0: 1.0, 1: None, 2: math.inf, 3: 9.0, 4: 9.0, 5: 9.0}, 0.2),
        ({0: None, 1: None, 2: None, 3: None, 4: None, 5: None}, 0.1),
    ],
)
def test_the_lowest_median_wins_and_broken_training_is_no_good(
    fitness: dict[int, float | None], best: float
) -> None:
    tried = {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.2, 4: 0.2, 5: 0.2}
    assert best_rate(tried, outcome(fitness)) == best


@pytest.mark.parametrize("declared", [False, True])
def test_everybody_starts_near_the_best_rate_and_from_the_initial_weights(declared: bool) -> None:
    low, high = 1e-6, 1e-2
    genes = {"learning_rate": Gene(low, high, "log"), "batch_size": Gene(8, 64, "log", whole=True)}
    strategy = genetic(init="grid", **({"genes": genes} if declared else {"rates": (low, high)}))
    with toy.toy_grid(CLIENTS) as grid:
        arrays = strategy.initialise(grid, toy.start())
        sent = toy.sent_genomes(grid.sent)
        config = {toy.partition_of(m): m.content["config"] for m in grid.sent}
    assert toy.as_bytes(arrays) == toy.as_bytes(toy.start())  # what was trained is thrown away
    tried = dealt(grid_rates(low, high))
    assert {client: genome.learning_rate for client, genome in sent.items()} == tried
    assert {said["local-epochs"] for said in config.values()} == {1}
    assert strategy.outcome.client_epochs == CLIENTS
    assert strategy.outcome.samples == sum(toy.examples(client) for client in range(CLIENTS))
    assert {o.assignment.origin for o in strategy.outcome.clients} == {"probe"}
    fitness = {client: toy.loss(client, genome) for client, genome in sent.items()}
    best = best_rate(tried, outcome(fitness))
    for client, held in strategy.tuner.population.items():
        near = near_rate(best, low, high, rng(SEED, "rate-grid-start", 0, client))
        assert held.genome.learning_rate == pytest.approx(near)
        assert held.genome.batch_size == sent[client].batch_size
        assert abs(math.log10(held.genome.learning_rate / best)) <= 0.25 + 1e-9
        if not declared:
            drawn = random_genome(rng(SEED, "genome", 0, client), (low, high))
            assert held == Assignment(Genome(near, drawn.batch_size), "probe", cluster=held.cluster)
    assert strategy.tuner.judge.losses == {}  # of rates that were dealt, not of these


def test_rates_are_tried_about_equally_often() -> None:
    rates = grid_rates(1e-7, 1e-3)
    counts = [list(dealt(rates).values()).count(rate) for rate in rates]
    assert sum(counts) == CLIENTS and max(counts) - min(counts) <= 1


def test_a_probe_s_genes_are_cut_to_what_is_declared() -> None:
    genes = {"learning_rate": Gene(1e-4, 2e-4, "log"), "batch_size": Gene(20, 24, "log", True)}
    strategy = genetic(init="probe", genes={**genes, "momentum": Gene(0.1, 0.2)})
    with toy.toy_grid(CLIENTS) as grid:
        strategy.initialise(grid, toy.start())
    for client, held in strategy.tuner.population.items():
        assert held.origin == "probe"
        assert 1e-4 <= held.genome.learning_rate <= 2e-4
        assert 20 <= held.genome.batch_size <= 24
        place = rng(SEED, "genes", 0, client).random(3)  # what no probe finds is drawn
        assert held.genome.momentum == pytest.approx(0.1 + 0.1 * place[2])


@pytest.mark.parametrize(
    ("init", "genes", "missing"),
    [
        ("probe", {"learning_rate": Gene(1e-4, 1e-1, "log")}, "batch_size"),
        ("probe", {"batch_size": Gene(8, 16, "log", True)}, "learning_rate"),
        ("grid", {"batch_size": Gene(8, 16, "log", True)}, "learning_rate"),
    ],
)
def test_what_is_probed_must_be_a_gene(init: str, genes: dict[str, Gene], missing: str) -> None:
    with pytest.raises(StrategyError, match=f"init '{init}' expects genes.{missing}, which is not"):
        genetic(init=init, genes=genes)


@pytest.mark.parametrize("init", ["probe", "grid"])
def test_other_strategies_start_so_as_well(init: str) -> None:
    """The probe's clients do what the strategy asks of them; its state is left as it was."""
    given = {"seed": SEED, "clients": CLIENTS, "fraction": 1.0, "tuner": Evolution}
    with toy.toy_grid(CLIENTS) as grid:
        averaged = FedAvgM(**given, tuning=Evolving(init=init))
        arrays = averaged.initialise(grid, toy.start())
        assert averaged.state_arrays() == []
        assert (toy.as_bytes(arrays) == toy.as_bytes(toy.start())) == (init == "grid")
    assert Scaffold(**given, tuning=Evolving(init=init)).variates == {}
