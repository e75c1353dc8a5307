"""Population-based tuning: who copies whom, and how."""

import math

import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.genes import Gene
from strategies.core.hyperparameters import Genome
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.fedprox import FedProx
from strategies.pbt import FACTORS, PBT, Exploiting, Population, select
from strategies.streams import rng

TEN = {c: Genome(1e-4 * (c + 1), 20 + 10 * c) for c in range(10)}
LOSSES = {c: float(c) for c in range(10)}


def chosen(**settings: object) -> dict:
    return select(TEN, LOSSES, **{"seed": 1, "server_round": 2, **settings})


def test_the_worst_fifth_copies_the_best_fifth() -> None:
    assert set(chosen()) == {8, 9}
    parents, factors, batches = set(), set(), set()
    for number in range(2, 60):
        for assignment in chosen(server_round=number).values():
            parent, factor = TEN[assignment.parent], assignment.mutation
            assert assignment.origin == "mutant"
            assert assignment.parent == assignment.batch_parent
            assert assignment.genome.learning_rate == parent.learning_rate * factor
            # 20 becomes 16 or 24, 30 becomes 24 or 36.
            size = assignment.genome.batch_size
            (batch_factor,) = (f for f in FACTORS if round(parent.batch_size * f) == size)
            parents.add(assignment.parent)
            factors.add(factor)
            batches.add((factor, batch_factor))
    assert parents == {0, 1} and factors == {0.8, 1.2}
    assert batches == {(a, b) for a in FACTORS for b in FACTORS}  # independently


def test_by_hand() -> None:
    """One parent, so that only the factors are drawn."""
    draw = rng(1, "pbt", 2, 1)
    draw.integers(1)
    factor, batch_factor = (FACTORS[draw.integers(2)] for _ in range(2))
    pair = {0: Genome(1e-3, 100), 1: Genome(1e-6, 16)}
    (child,) = select(pair, {0: 0.5, 1: 0.7}, seed=1, server_round=2).values()
    assert child.genome == Genome(1e-3 * factor, round(100 * batch_factor))


@pytest.mark.parametrize(
    ("members", "quantile", "replaced"),
    [(10, 0.5, 5), (10, 0.2, 2), (9, 0.2, 1), (3, 0.2, 1), (2, 0.5, 1), (1, 0.5, 0), (0, 0.2, 0)],
)
def test_how_many_are_replaced(members: int, quantile: float, replaced: int) -> None:
    genomes = {c: TEN[c] for c in range(members)}
    found = select(genomes, LOSSES, seed=1, server_round=2, quantile=quantile)
    assert set(found) == set(range(members - replaced, members))


def test_no_loss_is_worst_and_never_copied() -> None:
    known = {c: loss for c, loss in LOSSES.items() if c not in (0, 1)}
    assert set(select(TEN, known, seed=1, server_round=2)) == {0, 1}
    assert select(TEN, {}, seed=1, server_round=2) == {}
    only = select(TEN, {4: 1.0}, seed=1, server_round=2, quantile=0.5)
    assert {a.parent for a in only.values()} == {4}


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_a_fresh_draw_has_no_parent_and_lies_in_the_ranges(seed: int, number: int) -> None:
    for assignment in chosen(seed=seed, server_round=number, redraw=1.0).values():
        assert (assignment.origin, assignment.parent, assignment.batch_parent) == (
            "drawn",
            None,
            None,
        )
        assert 1e-7 <= assignment.genome.learning_rate <= 1e-3
        assert 16 <= assignment.genome.batch_size <= 128


def test_the_strategy_starts_from_random_genes_and_keeps_those_of_the_better() -> None:
    strategy = PBT(seed=3, clients=10, fraction=1.0)
    drawn = {c: random_genome(rng(3, "genome", 0, c)) for c in range(10)}
    with toy.toy_grid(10) as grid:
        arrays, first = toy.play_round(strategy, grid, 1, toy.start())
        assert first == drawn
        losses = {c: toy.loss(c, g) for c, g in drawn.items()}
        assert strategy.tuner.losses == losses
        _, second = toy.play_round(strategy, grid, 2, arrays)
    worst = sorted(losses, key=losses.__getitem__)[-2:]
    expected = select(drawn, losses, seed=3, server_round=2)
    assert set(expected) == set(worst)
    assert second == drawn | {c: a.genome for c, a in expected.items()}
    origins = {o.client: o.assignment.origin for o in strategy.outcome.clients}
    assert all(origins[c] == ("mutant" if c in worst else "kept") for c in range(10))


def test_between_selections_everybody_keeps_their_genes() -> None:
    strategy = PBT(seed=3, clients=10, fraction=1.0, every=2)
    arrays, sent = toy.start(), []
    with toy.toy_grid(10) as grid:
        for number in (1, 2, 3):
            arrays, genomes = toy.play_round(strategy, grid, number, arrays)
            sent.append(genomes)
    assert sent[0] == sent[1] != sent[2]


def test_a_client_without_a_usable_reply_has_no_loss() -> None:
    faults = {2: toy.crash, 3: toy.report_infinite_fitness, 4: toy.lie_about_rate}
    strategy = PBT(seed=3, clients=10, fraction=1.0)
    with toy.toy_grid(10, faults) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
    assert set(strategy.tuner.losses) == set(range(10)) - {2, 3, 4}
    assert all(map(math.isfinite, strategy.tuner.losses.values()))


def test_the_loss_of_an_earlier_round_is_forgotten() -> None:
    strategy = PBT(seed=3, clients=10, fraction=1.0)
    with toy.toy_grid(10) as grid, toy.toy_grid(10, {4: toy.crash}) as later:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        assert 4 in strategy.tuner.losses
        toy.play_round(strategy, later, 2, arrays)
    assert set(strategy.tuner.losses) == set(range(10)) - {4}


def test_newcomers_draw_random_genes() -> None:
    strategy = PBT(seed=3, clients=10, fraction=0.5, resample=True)
    first, second = set(strategy.cohort(1)), set(strategy.cohort(2))
    assert second - first
    with toy.toy_grid(10) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        _, sent = toy.play_round(strategy, grid, 2, arrays)
    for client in second - first:
        assert sent[client] == random_genome(rng(3, "genome", 0, client))


def test_of_declared_genes_it_says_who_was_copied() -> None:
    """A factor may be cut short by the end of the range; what is drawn anew has no parent."""
    genes = {"learning_rate": Gene(1e-5, 1e-1, "log"), "batch_size": Gene(8, 64, "log", whole=True)}
    for redraw, genes_in_play in ((0.0, genes), (1.0, genes), (0.0, {"mu": Gene(0.0, 1.0)})):
        kind = FedProx if "mu" in genes_in_play else FedAvg
        strategy = kind(
            **{"seed": 1, "clients": 10, "fraction": 1.0, "tuner": Population},
            tuning=Exploiting(redraw=redraw),
            genes=genes_in_play,
        )
        tuner, cohort = strategy.tuner, [*range(10)]
        before = {c: a.genome for c, a in tuner.assign(1, cohort).items()}
        tuner.losses = dict(LOSSES)
        for client, assignment in tuner.assign(2, cohort).items():
            copied = client in (8, 9) and redraw == 0 and genes_in_play is genes
            assert (assignment.parent in (0, 1)) is (client < 2 or copied)
            assert assignment.batch_parent == assignment.parent
            if copied:
                was = before[assignment.parent]
                assert assignment.origin == "mutant"
                assert assignment.mutation == assignment.genome.learning_rate / was.learning_rate
                assert assignment.mutation in (pytest.approx(0.8), pytest.approx(1.2))
            elif client in (8, 9):
                assert assignment.origin == ("mutant" if "mu" in genes_in_play else "drawn")
