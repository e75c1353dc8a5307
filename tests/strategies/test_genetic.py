import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import toy
from flwr.app import ArrayRecord, ConfigRecord

from fedgen.federation.grid import InProcessGrid
from strategies.core.aggregation import weighted_mean
from strategies.core.hyperparameters import Assignment, Genome
from strategies.evolution.clustering import NOISE, cluster, place
from strategies.evolution.selection import evolve
from strategies.evolution.start import jitter, probe_grid, random_genome
from strategies.genetic import GeneticCFL
from strategies.streams import rng

CLIENTS = 12
SEED = 3


def genetic(**settings: object) -> GeneticCFL:
    """Everybody in the cohort, and clusters wide enough to have offspring."""
    defaults = {"seed": SEED, "clients": CLIENTS, "fraction": 1.0, "eps": 0.3}
    return GeneticCFL(**{**defaults, "query_timeout": 0.3, **settings})


@pytest.fixture
def grid() -> Iterator[toy.ToyGrid]:
    with toy.toy_grid(CLIENTS) as grid:
        yield grid


def drawn(client: int) -> Genome:
    return random_genome(rng(SEED, "genome", 0, client))


def kept(client: int) -> Genome:
    """What an honest client keeps of its probe."""
    return toy.best_of(client, *probe_grid(rng(SEED, "probe-grid", 0, client)))


def jittered(client: int) -> Genome:
    return jitter(kept(client), rng(SEED, "probe-jitter", 0, client))


def probed_weights(clients: list[int]) -> list[bytes]:
    """The average of what honest clients keep, worked out without Flower."""
    start = toy.start().to_numpy_ndarrays()
    updates = [toy.trained(start, client, kept(client)) for client in clients]
    weights = [float(toy.examples(client)) for client in clients]
    return toy.as_bytes(ArrayRecord(weighted_mean(updates, weights)))


def next_generation(
    population: dict[int, Assignment], losses: dict[int, float], number: int, **settings: object
) -> dict[int, Assignment]:
    """Every cluster evolved on its own."""
    result = {}
    for label in {assignment.cluster for assignment in population.values()}:
        members = {c: a.genome for c, a in population.items() if a.cluster == label}
        generation = evolve(members, losses, seed=SEED, server_round=number, **settings)
        result |= {c: replace(a, cluster=label) for c, a in generation.items()}
    return result


def configure(
    strategy: GeneticCFL, grid: InProcessGrid, number: int, arrays: ArrayRecord | None = None
) -> dict[int, Genome]:
    messages = strategy.configure_train(number, arrays or toy.start(), ConfigRecord(), grid)
    return toy.sent_genomes(list(messages))


def test_round_1_with_random_genes_evolves_nothing(grid: InProcessGrid) -> None:
    strategy = genetic()
    assert configure(strategy, grid, 1) == {client: drawn(client) for client in range(CLIENTS)}
    assert {a.origin for a in strategy.tuner.population.values()} == {"random"}
    labels = {client: a.cluster for client, a in strategy.tuner.population.items()}
    assert labels == cluster({c: drawn(c) for c in range(CLIENTS)}, 0.3, 2)


@pytest.mark.parametrize(
    "settings", [{}, {"elites": 1, "mutation": 0.3}, {"deal": "index"}, {"elites": 0}], ids=str
)
def test_round_2_evolves_every_cluster(grid: InProcessGrid, settings: dict[str, object]) -> None:
    strategy = genetic(**settings)
    arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    losses = {client: toy.loss(client, drawn(client)) for client in range(CLIENTS)}
    assert strategy.tuner.judge.losses == losses
    expected = next_generation(dict(strategy.tuner.population), losses, 2, **settings)
    sent = configure(strategy, grid, 2, arrays)
    assert strategy.tuner.population == expected
    assert sent == {client: a.genome for client, a in expected.items()}
    assert "mutant" in {a.origin for a in expected.values()}


def test_clients_train_with_evolved_hyperparameters(grid: InProcessGrid) -> None:
    strategy, arrays = genetic(), toy.start()
    for number in (1, 2):
        before = arrays.to_numpy_ndarrays()
        arrays, sent = toy.play_round(strategy, grid, number, arrays)
    updates = [toy.trained(before, client, sent[client]) for client in range(CLIENTS)]
    mean = weighted_mean(updates, [float(toy.examples(client)) for client in range(CLIENTS)])
    assert toy.as_bytes(arrays) == toy.as_bytes(ArrayRecord(mean))
    assert strategy.outcome.rejected == 0


def test_initialise_does_its_work_once(grid: InProcessGrid) -> None:
    strategy = genetic(init="probe")
    first = strategy.initialise(grid, toy.start())
    population = dict(strategy.tuner.population)
    second = strategy.initialise(grid, first)
    assert second is first
    assert strategy.tuner.population == population


def test_probe_averages_kept_weights_and_jitters_kept_genes(grid: InProcessGrid) -> None:
    strategy = genetic(init="probe")
    everybody = list(range(CLIENTS))
    assert toy.as_bytes(strategy.initialise(grid, toy.start())) == probed_weights(everybody)
    assert strategy.tuner.genomes == {client: jittered(client) for client in everybody}
    assert {a.origin for a in strategy.tuner.population.values()} == {"probe"}
    for outcome in strategy.outcome.clients:
        assert outcome.assignment == Assignment(kept(outcome.client), "probe")
    assert strategy.outcome.client_epochs == 6 * CLIENTS


def test_probe_evolves_in_round_1(grid: InProcessGrid) -> None:
    strategy = genetic(init="probe")
    arrays = strategy.initialise(grid, toy.start())
    losses = {client: toy.loss(client, kept(client)) for client in range(CLIENTS)}
    assert strategy.tuner.judge.losses == losses
    expected = next_generation(dict(strategy.tuner.population), losses, 1)
    configure(strategy, grid, 1, arrays)
    assert strategy.tuner.population == expected
    assert {a.origin for a in expected.values()} == {"elite", "mutant"}


def test_reference_takes_the_probes_weights_and_random_genes(grid: InProcessGrid) -> None:
    strategy = genetic(init="reference")
    arrays = strategy.initialise(grid, toy.start())
    assert toy.as_bytes(arrays) == probed_weights(list(range(CLIENTS)))
    assert configure(strategy, grid, 1, arrays) == {c: drawn(c) for c in range(CLIENTS)}
    assert strategy.tuner.judge.losses == {}


def keep_what_was_not_offered(weights: toy.Weights, metrics: toy.Metrics) -> None:
    metrics["batch-size"] = 17


@pytest.mark.parametrize("fault", [keep_what_was_not_offered, toy.crash, toy.send_nan])
def test_client_without_a_usable_probe_draws_random_genes(fault: toy.Fault) -> None:
    strategy = genetic(init="probe", elites=CLIENTS)
    with toy.toy_grid(CLIENTS, probe_faults=dict.fromkeys((2, 7), fault)) as grid:
        arrays = strategy.initialise(grid, toy.start())
        sent = configure(strategy, grid, 1, arrays)
    others = [client for client in range(CLIENTS) if client not in (2, 7)]
    assert toy.as_bytes(arrays) == probed_weights(others)
    assert strategy.outcome.rejected + strategy.outcome.failed == 2
    assert sent == {c: jittered(c) for c in others} | {2: drawn(2), 7: drawn(7)}
    assert set(strategy.tuner.judge.losses) == set(others)


def test_one_cluster_and_infinite_fitness_ranks_last() -> None:
    strategy = genetic(eps=100.0)
    honest = {client: toy.loss(client, drawn(client)) for client in range(CLIENTS)}
    best, second, third, *_ = sorted(honest, key=lambda client: honest[client])
    with toy.toy_grid(CLIENTS, {best: toy.report_infinite_fitness}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        assert strategy.outcome.rejected == 0
        assert best not in strategy.tuner.judge.losses
        configure(strategy, grid, 2, arrays)
    elites = {c for c, a in strategy.tuner.population.items() if a.origin == "elite"}
    assert elites == {second, third}


def test_rejected_client_loses_its_fitness_and_ranks_last() -> None:
    strategy = genetic(eps=100.0)
    honest = {client: toy.loss(client, drawn(client)) for client in range(CLIENTS)}
    best, second, third, *_ = sorted(honest, key=lambda client: honest[client])
    with toy.toy_grid(CLIENTS, {best: toy.lie_about_rate}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        assert set(strategy.tuner.judge.losses) == set(range(CLIENTS)) - {best}
        configure(strategy, grid, 2, arrays)
    elites = {c for c, a in strategy.tuner.population.items() if a.origin == "elite"}
    assert elites == {second, third}


@pytest.mark.parametrize("fault", [toy.crash, toy.lie_about_batch, toy.send_nan])
def test_fitness_of_an_earlier_round_is_forgotten(fault: toy.Fault) -> None:
    strategy = genetic(init="probe")
    with toy.toy_grid(CLIENTS, {4: fault}) as grid:
        arrays = strategy.initialise(grid, toy.start())
        assert 4 in strategy.tuner.judge.losses
        toy.play_round(strategy, grid, 1, arrays)
    assert set(strategy.tuner.judge.losses) == set(range(CLIENTS)) - {4}


def test_cluster_without_any_fitness_is_left_as_it_is(grid: InProcessGrid) -> None:
    strategy = genetic()
    arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    label = strategy.tuner.population[0].cluster
    unfit = {c for c, a in strategy.tuner.population.items() if a.cluster == label}
    for client in unfit:
        del strategy.tuner.judge.losses[client]
    sent = configure(strategy, grid, 2, arrays)
    assert {client: sent[client] for client in unfit} == {client: drawn(client) for client in unfit}
    assert any(a.origin != "random" for a in strategy.tuner.population.values())


def state_with_clusters(labels: dict[int, int]) -> dict[str, object]:
    """A state in which the genes are random and the clusters are these."""
    population = {
        str(client): {
            "genome": {"learning_rate": drawn(client).learning_rate, "batch_size": 32},
            "origin": "random",
            "parent": None,
            "batch_parent": None,
            "mutation": None,
            "cluster": label,
        }
        for client, label in labels.items()
    }
    return {"initialised": True, "population": population, "losses": {}}


@pytest.mark.parametrize(
    ("every", "number", "again"),
    [(0, 2, False), (0, 9, False), (1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True)],
)
def test_recluster_every(grid: InProcessGrid, every: int, number: int, again: bool) -> None:
    strategy = genetic(recluster_every=every)
    strategy.restore(state_with_clusters(dict.fromkeys(range(CLIENTS), 77)))
    configure(strategy, grid, number)
    found = {client: a.cluster for client, a in strategy.tuner.population.items()}
    fresh = cluster(strategy.tuner.genomes, 0.3, 2)
    assert found == (fresh if again else dict.fromkeys(range(CLIENTS), 77))


def test_newcomers_draw_random_genes_and_join_the_nearest_cluster(grid: InProcessGrid) -> None:
    strategy = genetic(fraction=0.5, resample=True)
    first, second = set(strategy.cohort(1)), set(strategy.cohort(2))
    newcomers = sorted(second - first)
    assert newcomers and first & second
    arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    assert set(strategy.tuner.population) == first
    sent = configure(strategy, grid, 2, arrays)
    assert set(sent) == second
    for client in newcomers:
        known = {c: a for c, a in strategy.tuner.population.items() if c in first or c < client}
        genomes = {c: a.genome for c, a in known.items()}
        label = place(drawn(client), genomes, {c: a.cluster for c, a in known.items()}, 0.3)
        assert strategy.tuner.population[client] == Assignment(
            drawn(client), "random", cluster=label
        )


def test_client_that_sits_out_keeps_its_genes_and_breeds_with_nobody(grid: InProcessGrid) -> None:
    strategy = genetic(fraction=0.5, resample=True, eps=100.0)
    first, second = set(strategy.cohort(1)), set(strategy.cohort(2))
    arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    configure(strategy, grid, 2, arrays)
    assert all(strategy.tuner.population[c].genome == drawn(c) for c in first - second)
    evolved = [strategy.tuner.population[c] for c in first & second]
    assert evolved and {a.parent for a in evolved} <= first & second


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"init": "probe", "recluster_every": 1},
        {"init": "reference", "deal": "index"},
        {"fraction": 0.5, "resample": True, "recluster_every": 2},
    ],
    ids=str,
)
def test_restored_run_continues_identically(settings: dict[str, object]) -> None:
    faults = {5: toy.report_infinite_fitness, 8: toy.crash}
    with toy.toy_grid(CLIENTS, faults) as grid, toy.toy_grid(CLIENTS, faults) as other:
        strategy = genetic(**settings)
        arrays = strategy.initialise(grid, toy.start())
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        resumed, resumed_arrays = genetic(**settings), ArrayRecord(arrays.to_numpy_ndarrays())
        resumed.restore(json.loads(json.dumps(strategy.state())))
        for number in (3, 4):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            resumed_arrays, resumed_sent = toy.play_round(resumed, other, number, resumed_arrays)
            assert resumed_sent == sent
            assert resumed.tuner.population == strategy.tuner.population
            assert toy.as_bytes(resumed_arrays) == toy.as_bytes(arrays)
    assert resumed.state() == strategy.state()


@pytest.mark.parametrize("init", ["random", "probe", "reference"])
def test_stock_start_gives_the_weights_of_rounds_by_hand(grid: InProcessGrid, init: str) -> None:
    strategy = genetic(init=init)
    arrays = strategy.initialise(grid, toy.start())
    for number in (1, 2):
        arrays, _ = toy.play_round(strategy, grid, number, arrays)
    stock = genetic(init=init)
    result = stock.start(grid=grid, initial_arrays=toy.start(), num_rounds=2)
    assert toy.as_bytes(result.arrays) == toy.as_bytes(arrays)
    assert stock.tuner.population == strategy.tuner.population


def test_probe_offers_every_client_its_own_grid(grid: toy.ToyGrid) -> None:
    strategy = genetic(init="probe")
    strategy.initialise(grid, toy.start())
    assert {toy.partition_of(message) for message in grid.sent} == set(range(CLIENTS))
    for message in grid.sent:
        client, config = toy.partition_of(message), message.content["config"]
        offered = (config["learning-rates"], config["batch-sizes"])
        assert offered == probe_grid(rng(SEED, "probe-grid", 0, client))
        assert message.metadata.message_type == "train.probe"


def test_noise_evolves_as_one_cluster(grid: InProcessGrid) -> None:
    strategy = genetic(eps=1e-6)
    arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    assert {a.cluster for a in strategy.tuner.population.values()} == {NOISE}
    configure(strategy, grid, 2, arrays)
    origins = [a.origin for a in strategy.tuner.population.values()]
    assert (origins.count("elite"), origins.count("mutant")) == (2, CLIENTS - 2)
