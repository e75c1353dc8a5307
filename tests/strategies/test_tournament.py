"""A tournament by hand, and as a slow twin plays it: who trains which model, and what falls out."""

import json
import math
from statistics import fmean

import numpy as np
import pytest
import quadratic
import toy
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.aggregation import Aggregation
from strategies.core.genes import Gene
from strategies.core.privacy import Privacy
from strategies.cyclic import Cyclic
from strategies.deltasgd import DeltaSGD
from strategies.fedavg import FedAvg, StrategyError
from strategies.fednova import FedNova
from strategies.fedopt import FedAdam
from strategies.fedprox import FedProx
from strategies.ifca import IFCA
from strategies.random_search import Draws
from strategies.scaffold import Scaffold
from strategies.streams import rng
from strategies.tournament import (
    Competing,
    Tournament,
    TournamentFedAvg,
)

GOALS = [-1.0, -1.0, 9.0, 9.0, 4.0, 0.0, 2.0]
SEED = 3
FIELDS = ("rates", "entrants", "every", "halflife", "init")


def made(kind: type[FedAvg] = FedAvg, genes: dict | None = None, **settings: object) -> FedAvg:
    own = {name: settings.pop(name) for name in [*settings] if name in FIELDS}
    rates = {} if genes else {"rates": (1e-3, 1.0)}
    tuning = Competing(**{**rates, "entrants": 3, **own})
    usual = {"seed": SEED, "clients": len(GOALS), "fraction": 1.0, "local_epochs": 1}
    return kind(**{**usual, **settings}, tuner=Tournament, tuning=tuning, genes=genes)


@given(st.integers(2, 9), st.integers(0, 40), st.integers(1, 50))
def test_everybody_trains_one_and_shares_differ_by_one(
    entrants: int, more: int, number: int
) -> None:
    clients = entrants + more
    strategy = made(clients=clients, entrants=entrants)
    assigned = strategy.tuner.assign(number, [*range(clients)])
    shares = [0] * entrants
    for client, assignment in assigned.items():
        assert assignment.cluster == strategy.tuner.dealt[client]
        shares[assignment.cluster] += 1
    assert max(shares) - min(shares) <= 1 and sum(shares) == clients


def twin(
    goals: list[float],
    entrants: int,
    every: int,
    halflife: float,
    rounds: int,
    *,
    mu: float = 0.0,
    most: float = math.inf,
) -> tuple[list[float], list[list[int]]]:
    """Plain loops: the best model after every round, and who is left."""
    rates = [10 ** (-3 + 3 * number / (entrants - 1)) for number in range(entrants)]
    left, models, heard = [*range(entrants)], dict.fromkeys(range(entrants), 1.0), {}
    best, stayed = [], []
    for number in range(1, rounds + 1):
        draw = rng(SEED, "tournament-deal", number)
        order = [left[place] for place in draw.permutation(len(left))]
        clients = draw.permutation(len(goals))
        dealt = {entrant: [*clients[place :: len(left)]] for place, entrant in enumerate(order)}
        trained = {}
        for entrant in left:
            reached = []
            for client in sorted(dealt[entrant]):
                w = models[entrant]
                w -= rates[entrant] * ((w - goals[client]) + mu * (w - models[entrant]))
                step = w - models[entrant]
                reached.append(models[entrant] + min(max(step, -most), most))
            trained[entrant] = fmean(reached)
        if number > 1 and len(left) > 1:
            for entrant in left:
                wrong = fmean((models[entrant] - goals[client]) ** 2 for client in dealt[entrant])
                heard.setdefault(entrant, []).append(wrong)
            if (number - 1) % every == 0:
                left = sorted(left, key=lambda entrant: mean(heard, entrant, halflife))[:-1]
                left.sort()
        models = {entrant: trained[entrant] for entrant in left}
        best.append(models[min(left, key=lambda entrant: mean(heard, entrant, halflife))])
        stayed.append([*left])
    return best, stayed


def mean(heard: dict[int, list[float]], entrant: int, halflife: float) -> float:
    said = heard.get(entrant, [])
    weights = [0.5 ** (age / halflife) for age in range(len(said))][::-1]
    return np.average(said, weights=weights) if said else math.inf


@pytest.mark.parametrize(
    ("entrants", "every", "halflife"), [(3, 1, 1.0), (4, 1, 2.5), (3, 2, 1.0), (7, 1, 0.5)]
)
def test_it_is_what_plain_loops_play(entrants: int, every: int, halflife: float) -> None:
    best, stayed = twin(GOALS, entrants, every, halflife, 9)
    strategy = made(batch_size=10, entrants=entrants, every=every, halflife=halflife)
    arrays = quadratic.start()
    with quadratic.grid(GOALS) as grid:
        for number in range(1, 10):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            assert strategy.tuner.left == sorted(strategy.tuner.models) == stayed[number - 1]
            assert quadratic.value(arrays) == pytest.approx(best[number - 1], rel=1e-5)
            assert strategy.outcome.rejected == strategy.outcome.failed == 0
    assert len(strategy.tuner.left) == max(1, entrants - 8 // every)


def test_over_fedprox_every_model_is_held_to_its_own_start() -> None:
    best, _ = twin(GOALS, 3, 1, 1.0, 5, mu=0.5)
    strategy, arrays = made(FedProx, mu=0.5, batch_size=10), quadratic.start()
    with quadratic.grid(GOALS) as grid:
        for number in range(1, 6):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            assert quadratic.value(arrays) == pytest.approx(best[number - 1], rel=1e-5)


def test_updates_are_cut_by_how_far_they_are_from_the_entrant_s_own_model() -> None:
    best, _ = twin(GOALS, 3, 1, 1.0, 6, most=0.25)
    strategy = made(batch_size=10, aggregation=Aggregation("clipped-mean", clip_norm=0.25))
    arrays = quadratic.start()
    with quadratic.grid(GOALS) as grid:
        for number in range(1, 7):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            assert quadratic.value(arrays) == pytest.approx(best[number - 1], rel=1e-5)


def test_over_fednova_steps_are_normalised() -> None:
    """Toy clients have training sets of unequal sizes, and so take unequal numbers of steps."""
    found = []
    for kind in (FedAvg, FedNova):
        strategy, arrays = made(kind, batch_size=10), toy.start()
        with toy.toy_grid(len(GOALS)) as grid:
            for number in (1, 2, 3):
                arrays, _ = toy.play_round(strategy, grid, number, arrays)
        assert strategy.outcome.rejected == strategy.outcome.failed == 0
        found.append(toy.as_bytes(arrays))
    assert found[0] != found[1]


class Mine(FedAvg):
    """A strategy that may keep anything."""


class MineOfSeveral(FedAvg):
    """One that says that it does not."""

    several_models = True


def test_a_strategy_of_one_s_own_says_whether_it_can_train_several_models() -> None:
    with pytest.raises(StrategyError, match="a class that says several_models = True"):
        made(Mine)
    found = []
    for kind in (FedAvg, MineOfSeveral):
        with quadratic.grid(GOALS) as grid:
            arrays, _ = toy.play_round(made(kind), grid, 1, quadratic.start())
        found.append(toy.as_bytes(arrays))
    assert found[0] == found[1]


def test_a_first_step_of_delta_sgd_competes() -> None:
    strategy, arrays = made(DeltaSGD), quadratic.start()
    with quadratic.grid(GOALS) as grid:
        arrays, told = toy.play_round(strategy, grid, 1, arrays)
    rates = sorted({genome.learning_rate for genome in told.values()})
    assert rates == pytest.approx([1e-3, 10**-1.5, 1.0])
    assert strategy.outcome.rejected == 0


def test_of_a_small_cohort_everybody_has_an_entrant_of_their_own() -> None:
    strategy = made(entrants=100)
    assert sorted(strategy.tuner.assign(1, [*range(7)])) == [*range(7)]
    assert len(strategy.tuner.entrants) == 7 and sorted(strategy.tuner.dealt.values()) == [
        *range(7)
    ]


def test_declared_genes_compete() -> None:
    genes = {"batch_size": Gene(4, 64, "log", whole=True), "label_smoothing": Gene(0.0, 0.3)}
    strategy = made(genes=genes)
    genomes = {a.cluster: a.genome for a in strategy.tuner.assign(1, [*range(7)]).values()}
    assert [genomes[number].batch_size for number in range(3)] == [4, 16, 64]
    assert sorted(g.label_smoothing for g in genomes.values()) == pytest.approx([0.05, 0.15, 0.25])
    assert {genome.learning_rate for genome in genomes.values()} == {1e-4}


def nan(answer: quadratic.Content) -> None:
    answer["arrays"][0][0] = math.nan


def test_rates_start_around_the_best_of_a_probe() -> None:
    """Toy clients do best at 1e-4, of 1e-6 to 1e-2; nobody has trained the models yet."""
    strategy = made(init="grid", rates=(1e-6, 1e-2), local_epochs=2)
    with toy.toy_grid(len(GOALS)) as grid:
        arrays = strategy.initialise(grid, toy.start())
        assert strategy.outcome.client_epochs == len(GOALS)  # one of each, and counted
        assert {m.content["config"]["fitness"] for m in grid.sent} == {"validation"}
        _, told = toy.play_round(strategy, grid, 1, arrays)
        assert {m.content["config"]["fitness"] for m in grid.sent} == {"sent"}
    assert toy.as_bytes(arrays) == toy.as_bytes(toy.start())
    rates = sorted({genome.learning_rate for genome in told.values()})
    assert rates == pytest.approx([10**-4.5, 1e-4, 10**-3.5])
    again = made(init="grid", rates=(1e-6, 1e-2))
    again.restore(json.loads(json.dumps(strategy.state())))
    assert again.tuner.entrants == strategy.tuner.entrants


def crash(answer: quadratic.Content) -> None:
    raise RuntimeError("out of memory")


def dealt(strategy: FedAvg, number: int) -> dict[int, set[int]]:
    """Who is going to train whom in a round, as things stand."""
    assigned = strategy.tuner.assign(number, [*range(len(GOALS))])
    return {n: {c for c, a in assigned.items() if a.cluster == n} for n in strategy.tuner.left}


def test_an_entrant_that_breaks_falls_out_at_once_and_costs_no_other_anything() -> None:
    """All who train the highest rate in round 1, and nobody else, send what is not finite."""
    strategy, whole = made(batch_size=10), made(batch_size=10)
    broken = dealt(strategy, 1)[2]
    with quadratic.grid(GOALS, dict.fromkeys(broken, nan)) as grid, quadratic.grid(GOALS) as other:
        toy.play_round(strategy, grid, 1, quadratic.start())
        toy.play_round(whole, other, 1, quadratic.start())
    assert strategy.outcome.rejected == len(broken) and strategy.tuner.left == [0, 1]
    assert strategy.tuner.models == {number: whole.tuner.models[number] for number in (0, 1)}


def test_most_may_break_as_long_as_one_does_not() -> None:
    strategy = made(batch_size=10)
    well = dealt(strategy, 1)[1]
    faults = dict.fromkeys({*range(7)} - well, nan)
    with quadratic.grid(GOALS, faults) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
    assert strategy.tuner.left == [1] and len(faults) > len(well)
    assert quadratic.value(arrays) == float(strategy.tuner.models[1][0][0])


@pytest.mark.parametrize("fault", [nan, crash])
def test_if_all_break_there_is_no_round(fault: quadratic.Fault) -> None:
    strategy = made()
    with quadratic.grid(GOALS, dict.fromkeys(range(7), fault)) as grid:
        with pytest.raises(StrategyError, match="0 of 7 replies are usable"):
            toy.play_round(strategy, grid, 1, quadratic.start())
    assert strategy.tuner.left == [0, 1, 2]


def test_clients_that_do_not_answer_leave_an_entrant_what_it_had() -> None:
    strategy, arrays = made(batch_size=10, every=100), quadratic.start()
    with quadratic.grid(GOALS) as grid:
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
    before, known = dict(strategy.tuner.models), dict(strategy.tuner.records)
    gone = dealt(strategy, 3)[0]
    with quadratic.grid(GOALS, dict.fromkeys(gone, crash)) as grid:
        toy.play_round(strategy, grid, 3, arrays)
    assert strategy.outcome.failed == len(gone) and strategy.tuner.left == [0, 1, 2]
    after, latest = strategy.tuner.models, strategy.tuner.records
    assert [after[n] == before[n] for n in range(3)] == [True, False, False]
    assert [latest[n] == known[n] for n in range(3)] == [True, False, False]


def test_restored_in_the_middle_it_goes_on_to_the_same_bytes() -> None:
    with quadratic.grid(GOALS) as grid:
        strategy, arrays = made(entrants=5), quadratic.start()
        other, same = made(entrants=5), quadratic.start()
        for number in range(1, 8):
            again = made(entrants=5)
            again.restore(json.loads(json.dumps(other.state())))
            again.restore_arrays([array.copy() for array in other.state_arrays()])
            other = again
            arrays, told = toy.play_round(strategy, grid, number, arrays)
            same, again_told = toy.play_round(other, grid, number, same)
            assert toy.as_bytes(same) == toy.as_bytes(arrays) and told == again_told
    assert strategy.tuner.left == other.tuner.left and len(other.tuner.left) == 1


def test_arrays_that_are_not_its_own_are_refused() -> None:
    with pytest.raises(ValueError, match="expected no arrays beside the weights, received 2"):
        FedAvg(tuner=Draws).restore_arrays([np.zeros(1), np.zeros(2)])
    with pytest.raises(ValueError, match="expected the models of 3 entrants, received 4 arrays"):
        made().restore_arrays([np.zeros(1)] * 4)


@pytest.mark.parametrize("kind", [Scaffold, FedAdam, IFCA, Cyclic])
def test_what_keeps_more_than_weights_is_refused(kind: type[FedAvg]) -> None:
    with pytest.raises(
        StrategyError, match="expected fedavg, fedprox, fednova, delta-sgd, or a class"
    ):
        made(kind)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"init": "grid", "genes": {"batch_size": Gene(8, 64, whole=True)}},
            "init 'grid' expects genes.learning_rate, which is not declared",
        ),
        ({"clients": 1}, "expected a cohort of at least 2 clients, received 1"),
        ({"rates": (1e-3, 1e-3)}, r"rates: expected a range, received \[0.001, 0.001\]"),
        ({"privacy": Privacy("central", 1.0, 1.0)}, "received central: its noise is reckoned"),
        (
            {"aggregation": Aggregation("krum", f=1)},
            "of an entrant's clients, .*krum.*; lower entrants",
        ),
        (
            {"genes": {"server_rate": Gene(0.1, 1)}, "kind": FedAdam},
            "FedAdam: a tournament trains several models",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict, error: str) -> None:
    with pytest.raises(StrategyError, match=error):
        made(**settings)


def test_its_own_strategy_is_the_one_over_fedavg() -> None:
    found = []
    own = TournamentFedAvg(seed=SEED, clients=7, fraction=1.0, entrants=3, rates=(1e-3, 1.0))
    for strategy in (own, made(local_epochs=2)):
        arrays = quadratic.start()
        with quadratic.grid(GOALS) as grid:
            for number in (1, 2, 3):
                arrays, _ = toy.play_round(strategy, grid, number, arrays)
        found.append(toy.as_bytes(arrays))
    assert found[0] == found[1]
