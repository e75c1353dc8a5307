"""Settings of the genetic strategy beyond the paper's, and its controls, on toy clients."""

import json
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord, ConfigRecord

from strategies.core.aggregation import weighted_mean
from strategies.core.hyperparameters import Genome
from strategies.genetic import GeneticCFL
from strategies.streams import rng

CLIENTS = 12
SEED = 3
EVERYTHING = {
    "mutation_scale": "log",
    "crossover": "average",
    "migrate_every": 2,
    "fitness_window": 2,
    "evolve_epochs": True,
    "evolve_momentum": True,
    "weighting": "fitness",
    "models": "per-cluster",
    "recluster_every": 2,
}
CONTROLS = ["shuffled-fitness", "one-cluster", "no-mutation", "no-selection", "elites-only"]


def genetic(**settings: object) -> GeneticCFL:
    defaults = {"seed": SEED, "clients": CLIENTS, "fraction": 1.0, "eps": 0.3}
    return GeneticCFL(**{**defaults, "query_timeout": 0.3, **settings})


def play(
    strategy: GeneticCFL, grid: toy.ToyGrid, numbers: range, arrays: ArrayRecord
) -> tuple[ArrayRecord, list[dict[str, object]]]:
    """Play rounds; the weights, and what the messages of the last one told."""
    for number in numbers:
        messages = list(strategy.configure_train(number, arrays, ConfigRecord(), grid))
        arrays, _ = strategy.aggregate_train(number, grid.send_and_receive(messages))
    return arrays, {toy.partition_of(m): dict(m.content["config"]) for m in messages}


@pytest.mark.parametrize(
    "settings",
    [
        *({name: value} for name, value in EVERYTHING.items() if name != "recluster_every"),
        EVERYTHING,
        {**EVERYTHING, "init": "probe", "fraction": 0.5, "resample": True},
        {**EVERYTHING, "deal": "index", "init": "reference"},
        *({"control": control} for control in CONTROLS),
        *({**EVERYTHING, "control": control} for control in CONTROLS),
    ],
    ids=str,
)
def test_a_restored_run_goes_on_with_the_same_bytes(settings: dict[str, object]) -> None:
    faults = {5: toy.report_infinite_fitness, 8: toy.crash}
    with toy.toy_grid(CLIENTS, faults) as grid, toy.toy_grid(CLIENTS, faults) as other:
        strategy, resumed = genetic(**settings), genetic(**settings)
        arrays, _ = play(strategy, grid, range(1, 4), toy.start())
        resumed.restore(json.loads(json.dumps(strategy.state())))
        resumed.restore_arrays([np.array(array) for array in strategy.state_arrays()])
        same = ArrayRecord(arrays.to_numpy_ndarrays())
        arrays, told = play(strategy, grid, range(4, 7), arrays)
        same, told_again = play(resumed, other, range(4, 7), same)
    assert told == told_again
    assert toy.as_bytes(arrays) == toy.as_bytes(same)
    assert strategy.state() == resumed.state()
    for one, again in zip(strategy.state_arrays(), resumed.state_arrays(), strict=True):
        assert one.tobytes() == again.tobytes()


def test_the_state_of_the_defaults_has_nothing_new() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy = genetic()
        play(strategy, grid, range(1, 3), toy.start())
    assert set(strategy.state()) == {"initialised", "population", "losses"}
    assert set(strategy.state()["population"]["0"]["genome"]) == {
        "learning_rate",
        "batch_size",
    }
    assert strategy.state_arrays() == []


def test_further_genes_are_sent_applied_and_counted() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy = genetic(evolve_epochs=True, evolve_momentum=True, local_epochs=3)
        arrays, told = play(strategy, grid, range(1, 2), toy.start())
        for client, config in told.items():
            epochs = int(rng(SEED, "genome-epochs", 0, client).integers(1, 7))
            momentum = rng(SEED, "genome-momentum", 0, client).uniform(0.0, 0.9)
            assert (config["local-epochs"], config["momentum"]) == (epochs, momentum)
            plain = genetic().tuner._random(client).genome
            assert (config["learning-rate"], config["batch-size"]) == (
                plain.learning_rate,
                plain.batch_size,
            )
        assert strategy.outcome.rejected == 0
        total = sum(config["local-epochs"] for config in told.values())
        assert strategy.outcome.client_epochs == total
        arrays, told = play(strategy, grid, range(2, 9), arrays)
    genomes = strategy.tuner.genomes
    assert {c: (t["local-epochs"], t["momentum"]) for c, t in told.items()} == {
        c: (g.local_epochs, g.momentum) for c, g in genomes.items()
    }
    assert all(1 <= g.local_epochs <= 6 and 0 <= g.momentum <= 0.99 for g in genomes.values())


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (toy.lie_about_momentum, "rejected: applied momentum"),
        (lambda weights, metrics: metrics.pop("momentum"), "rejected: applied momentum None"),
        (toy.train_one_epoch_less, "rejected: "),
    ],
)
def test_a_reply_that_disagrees_with_a_gene_is_rejected(fault: toy.Fault, status: str) -> None:
    with toy.toy_grid(CLIENTS, {4: fault}) as grid:
        strategy = genetic(evolve_epochs=True, evolve_momentum=True)
        play(strategy, grid, range(1, 2), toy.start())
    bad = {o.client: o.status for o in strategy.outcome.clients if o.status != "ok"}
    assert set(bad) == {4} and bad[4].startswith(status)


def test_without_the_gene_no_momentum_is_told() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        _, told = play(genetic(evolve_epochs=True), grid, range(1, 2), toy.start())
    assert all("momentum" not in config for config in told.values())


def test_a_probed_client_draws_its_further_genes() -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy = genetic(init="probe", evolve_epochs=True, evolve_momentum=True)
        strategy.initialise(grid, toy.start())
    for client, genome in strategy.tuner.genomes.items():
        assert genome.local_epochs == int(rng(SEED, "genome-epochs", 0, client).integers(1, 5))
        assert 0 <= genome.momentum < 0.9


def test_one_cluster_holds_everybody_newcomers_too() -> None:
    strategy = genetic(control="one-cluster", fraction=0.5, resample=True, eps=1e-6)
    with toy.toy_grid(CLIENTS) as grid:
        play(strategy, grid, range(1, 5), toy.start())
    assert len(strategy.tuner.population) > CLIENTS // 2
    assert {a.cluster for a in strategy.tuner.population.values()} == {0}


def test_losses_of_a_window_are_of_the_same_genes() -> None:
    """Toy losses depend on genes alone, so by hand: relative losses of the rounds with them."""
    strategy = genetic(fitness_window=3, eps=100.0)
    held: dict[int, list[tuple[Genome, float]]] = {c: [] for c in range(CLIENTS)}
    arrays = toy.start()
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, 6):
            arrays, _ = play(strategy, grid, range(number, number + 1), arrays)
            genomes = dict(strategy.tuner.genomes)
            losses = {client: toy.loss(client, genome) for client, genome in genomes.items()}
            middle = median(losses.values())
            for client, genome in genomes.items():
                mine = held[client] if held[client] and held[client][-1][0] == genome else []
                held[client] = [*mine, (genome, losses[client] - middle)][-3:]
                wanted = sum(loss for _, loss in held[client]) / len(held[client])
                assert strategy.tuner.judge.losses[client] == pytest.approx(wanted)
    assert {len(past) for past in held.values()} >= {1, 3}


def test_the_width_shrinks_where_mutants_do_worse() -> None:
    """Toy losses are least at one rate, which elites stay near: steps of a decade miss it."""
    strategy = genetic(mutation_scale="log", log_width=1.0, eps=100.0)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = play(strategy, grid, range(1, 3), toy.start())
        assert strategy.tuner.width == 1.0  # nobody was an elite before round 2
        play(strategy, grid, range(3, 12), arrays)
    assert 0.01 <= strategy.tuner.width < 0.5


def test_clusters_train_from_and_average_into_models_of_their_own() -> None:
    strategy = genetic(models="per-cluster")
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = play(strategy, grid, range(1, 2), toy.start())
        first = dict(strategy.heads.models)
        labels = {client: a.cluster for client, a in strategy.tuner.population.items()}
        assert set(first) == set(labels.values()) and len(first) > 1
        mean, _ = play(strategy, grid, range(2, 3), arrays)
    updates = {
        client: toy.trained(first[labels[client]], client, genome)
        for client, genome in strategy.tuner.genomes.items()
    }
    for label, model in strategy.heads.models.items():
        mine = [client for client in labels if labels[client] == label]
        weights = [float(toy.examples(client)) for client in mine]
        wanted = weighted_mean([updates[client] for client in mine], weights)
        assert [a.tobytes() for a in model] == [a.tobytes() for a in wanted]
    sizes = {k: 0.0 for k in strategy.heads.models}
    for client, label in labels.items():
        sizes[label] += toy.examples(client)
    heads = [strategy.heads.models[label] for label in sizes]
    for found, wanted in zip(
        mean.to_numpy_ndarrays(), weighted_mean(heads, list(sizes.values())), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_one_cluster_s_model_is_the_global_one() -> None:
    with toy.toy_grid(CLIENTS) as grid, toy.toy_grid(CLIENTS) as other:
        one = genetic(control="one-cluster", models="per-cluster")
        arrays, _ = play(one, grid, range(1, 4), toy.start())
        same, _ = play(genetic(control="one-cluster"), other, range(1, 4), toy.start())
    assert toy.as_bytes(arrays) == toy.as_bytes(same)


def test_migrants_reach_other_clusters() -> None:
    strategy = genetic(migrate_every=1)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = play(strategy, grid, range(1, 2), toy.start())
        before = {c: replace(a) for c, a in strategy.tuner.population.items()}
        play(strategy, grid, range(2, 3), arrays)
    migrants = {c: a for c, a in strategy.tuner.population.items() if a.origin == "migrant"}
    assert migrants
    for assignment in migrants.values():
        donor = before[assignment.parent]
        assert donor.cluster != assignment.cluster and donor.genome == assignment.genome
