"""What a tuner does for every strategy: server genes by turns, and what it refuses."""

import json
import math
from typing import Any

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord

from strategies.core.genes import KINDS, Gene, Genes, values_at
from strategies.core.outcomes import StrategyError, mean_fitness
from strategies.evolution.moves import server
from strategies.fedavg import FedAvg
from strategies.fedex import Configurations
from strategies.fedopt import FedAdam, FedAvgM, FedYogi
from strategies.fedprox import FedProx
from strategies.genetic import GeneticCFL
from strategies.pbt import Exploiting, Population
from strategies.random_search import Draws
from strategies.scaffold import Scaffold
from strategies.streams import rng
from strategies.tuning.genetic import Evolution
from strategies.tuning.settings import Evolving
from strategies.tuning.tuner import MIDDLE, Tuner

CLIENTS, SEED = 6, 3
OF_FEDAVGM = {"server_rate": Gene(0.1, 10, "log"), "server_momentum": Gene(0.0, 0.8)}
TUNERS = [Evolution, Population, Configurations, Draws]


def made(kind: type[FedAvg], tuner: type[Tuner], genes: Genes, **settings: Any) -> FedAvg:
    given = {"seed": SEED, "clients": CLIENTS, "fraction": 1.0, **settings}
    return kind(**given, tuner=tuner, genes=genes)


@pytest.mark.parametrize("tuner", TUNERS[:3])
def test_a_server_s_genes_are_tried_by_turns_as_a_slow_twin_does(tuner: type[Tuner]) -> None:
    strategy, twin = made(FedAvgM, tuner, OF_FEDAVGM), server.State((MIDDLE, MIDDLE))
    arrays, tried = toy.start(), []
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, 9):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            twin = server.learn(twin, mean_fitness(strategy.outcome.updates))
            twin = server.propose(twin, rng(SEED, "server-genes", number))
            values = values_at(OF_FEDAVGM, twin.place.tolist())
            tried.append(twin.trial is not None)
            assert strategy.outcome.server == values
            assert strategy._server.server_learning_rate == values["server_rate"]
            assert strategy._server.server_momentum == values["server_momentum"]
            assert 0.1 <= values["server_rate"] <= 10 and 0 <= values["server_momentum"] <= 0.8
            assert strategy.tuner.search == twin
    assert tried == [False, True] * 4
    first = values_at(OF_FEDAVGM, (MIDDLE, MIDDLE))
    assert first == {"server_rate": pytest.approx(1.0), "server_momentum": pytest.approx(0.4)}


def test_a_server_s_gene_is_judged_by_what_its_step_leads_to() -> None:
    """Losses fall by as much as the model goes: the higher rate wins every comparison."""

    def go(weights: toy.Weights, metrics: toy.Metrics) -> None:
        weights[0] = weights[0] + np.float32(0.1)
        metrics["fitness"] = math.exp(-float(weights[0].mean()))

    genes = {"server_rate": Gene(0.25, 4, "log")}
    strategy = made(FedAvgM, Configurations, genes, momentum=0.0, batch_size=10_000)
    arrays, incumbents, trials = toy.start(), [MIDDLE], 0
    with toy.toy_grid(CLIENTS, dict.fromkeys(range(CLIENTS), go)) as grid:
        for number in range(1, 14):
            trial = strategy.tuner.search.trial
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            incumbents += strategy.tuner.search.incumbent
            if trial is not None:
                assert incumbents[-1] == max(incumbents[-2], *trial)
                trials += 1
    assert trials == 6 and incumbents[-1] > MIDDLE


def test_the_model_steps_by_the_rate_that_is_served() -> None:
    """Two rounds from the same weights, of which one goes a tenth of the other's way."""
    found = []
    for low in (0.1, 1.0):
        genes = {"server_rate": Gene(low, low * (1 + 1e-9), "log")}
        strategy = made(FedAvgM, Draws, genes, momentum=0.0)
        with toy.toy_grid(CLIENTS) as grid:
            arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        before = toy.start().to_numpy_ndarrays()[0]
        found.append(arrays.to_numpy_ndarrays()[0] - before)
    assert found[0] == pytest.approx(found[1] / 10, rel=1e-5)


def test_a_random_search_draws_the_server_s_genes_as_well() -> None:
    strategy, arrays = made(FedAvgM, Draws, OF_FEDAVGM), toy.start()
    with toy.toy_grid(CLIENTS) as grid:
        for number in (1, 2, 3):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            place = rng(SEED, "random-server", number).random(2).tolist()
            assert strategy.outcome.server == values_at(OF_FEDAVGM, place)


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize(
    ("kind", "genes"),
    [
        (FedAvgM, OF_FEDAVGM),
        (FedAdam, {"learning_rate": Gene(1e-5, 1e-3, "log"), "beta_1": Gene(0.1, 0.9)}),
        (FedYogi, {"server_rate": Gene(1e-3, 1e-1, "log"), "momentum": Gene(0.0, 0.9)}),
    ],
)
def test_restored_after_any_round_it_serves_the_same(
    tuner: type[Tuner], kind: type[FedAvg], genes: Genes
) -> None:
    faults = {2: toy.report_infinite_fitness}
    with toy.toy_grid(CLIENTS, faults) as grid, toy.toy_grid(CLIENTS, faults) as other:
        strategy, arrays = made(kind, tuner, genes), toy.start()
        for number in range(1, 6):
            again = made(kind, tuner, genes)
            same = ArrayRecord(arrays.to_numpy_ndarrays())
            again.restore(json.loads(json.dumps(strategy.state())))
            again.restore_arrays([array.copy() for array in strategy.state_arrays()])
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            same, theirs = toy.play_round(again, other, number, same)
            assert theirs == sent and again.outcome.server == strategy.outcome.server
            assert toy.as_bytes(same) == toy.as_bytes(arrays)
            assert again.state() == strategy.state()


def test_a_population_without_a_loss_serves_the_middle() -> None:
    strategy = made(FedAvgM, Evolution, OF_FEDAVGM)
    arrays = toy.start()
    with toy.toy_grid(CLIENTS, dict.fromkeys(range(CLIENTS), toy.report_infinite_fitness)) as grid:
        for number in range(1, 5):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            assert strategy.outcome.server == values_at(OF_FEDAVGM, (MIDDLE, MIDDLE))


@pytest.mark.parametrize(
    ("tuner", "settings"),
    [
        *((Evolution, Evolving(fitness=kind)) for kind in ("improvement", "common", "test")),
        (Population, Exploiting(fitness="improvement")),
    ],
)
def test_no_other_fitness_judges_the_server(tuner: type[Tuner], settings: Any) -> None:
    why = f"expected fitness 'validation' with genes.server_rate, .*'{settings.fitness}'$"
    with pytest.raises(StrategyError, match=why):
        made(FedAvgM, tuner, OF_FEDAVGM, tuning=settings)
    made(FedAvgM, tuner, {"learning_rate": Gene(1e-5, 1e-3, "log")}, tuning=settings)


APPLIES = {
    FedAvg: {"momentum", "weight_decay", "clip_norm"},
    FedProx: {"momentum", "weight_decay", "clip_norm", "mu"},
    FedAvgM: {"momentum", "weight_decay", "clip_norm", "server_rate", "server_momentum"},
    FedAdam: {"momentum", "weight_decay", "clip_norm", "server_rate", "beta_1", "beta_2"},
    Scaffold: {"clip_norm", "global_rate"},
}
EVERYBODY_S = {"learning_rate", "batch_size", "local_epochs", "label_smoothing", "dropout"}


@pytest.mark.parametrize("kind", APPLIES)
def test_a_gene_that_a_strategy_cannot_apply_is_refused(kind: type[FedAvg]) -> None:
    for name in KINDS:
        genes = {name: Gene(1, 2, whole=KINDS[name].whole)}
        if name in APPLIES[kind] | EVERYBODY_S:
            assert made(kind, Draws, genes).tuner is not None
            continue
        with pytest.raises(StrategyError, match=f"^genes.{name}: .* cannot apply it, expected"):
            made(kind, Draws, genes)


def test_what_a_strategy_ignores_is_refused() -> None:
    for changed, why in (
        ({"models": "per-cluster"}, "expected models 'global', received 'per-cluster'"),
        ({"evolve_momentum": True}, "expected evolve_momentum false, it cannot apply momentum"),
    ):
        with pytest.raises(StrategyError, match=why):
            made(Scaffold, Evolution, {}, tuning=Evolving(**changed))
    made(Scaffold, Evolution, {}, tuning=Evolving(evolve_epochs=True))
    GeneticCFL(clients=CLIENTS, models="per-cluster", evolve_momentum=True)


def test_genes_without_a_tuner_are_refused() -> None:
    with pytest.raises(StrategyError, match="expected a tuner for genes, received none"):
        FedAvg(clients=CLIENTS, genes=OF_FEDAVGM)
