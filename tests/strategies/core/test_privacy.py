"""Differential privacy: what is clipped, what is noised, and what may be claimed."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord, Message

import strategies
from strategies.core.aggregation import Arrays, update_norm
from strategies.core.outcomes import RoundOutcome
from strategies.core.privacy import Privacy, add_noise, privatise
from strategies.fedavg import FedAvg
from strategies.genetic import GeneticCFL
from strategies.streams import rng
from strategies.tuned import FedAvgTuned

CLIENTS = 6


def play(privacy: Privacy, **settings: object) -> Arrays:
    """The weights after one round of toy clients."""
    strategy = FedAvg(seed=3, clients=CLIENTS, fraction=1.0, privacy=privacy, **settings)
    with toy.toy_grid(CLIENTS) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
    return arrays.to_numpy_ndarrays()


def start() -> Arrays:
    return toy.start().to_numpy_ndarrays()


def test_noise_has_the_scale_that_was_asked_for() -> None:
    arrays: Arrays = [np.zeros(200_000)]
    privacy = Privacy("central", clip_norm=2.0, noise_multiplier=1.5)
    (noisy,) = add_noise(arrays, privacy, 10, {}, np.random.default_rng(0))
    assert np.std(noisy) == pytest.approx(1.5 * 2.0 / 10, rel=0.01)
    assert np.mean(noisy) == pytest.approx(0.0, abs=0.003)


def test_moving_statistics_get_no_noise_and_are_not_clipped() -> None:
    update: Arrays = [np.full(3, 100.0, np.float32), np.full(2, 7.0, np.float32)]
    reference: Arrays = [np.zeros(3, np.float32), np.zeros(2, np.float32)]
    privacy = Privacy("local", clip_norm=1.0, noise_multiplier=0.0)
    sent = privatise(update, reference, privacy, {1: "mean"}, np.random.default_rng(0))
    assert update_norm(sent, reference, {1: "mean"}) == pytest.approx(1.0)
    assert sent[1].tolist() == [7.0, 7.0]
    assert [array.dtype for array in sent] == [np.float32, np.float32]


def test_central_privacy_is_the_uniform_mean_of_clipped_updates_plus_named_noise() -> None:
    privacy = Privacy("central", clip_norm=0.05, noise_multiplier=0.8)
    genome = FedAvg(clients=CLIENTS).genome
    updates = [toy.trained(start(), client, genome) for client in range(CLIENTS)]
    expected = [array.astype(np.float64) for array in start()]
    for update in updates:
        norm = update_norm(update, start(), {})
        assert norm > 0.05
        for mean, array, begin in zip(expected, update, start(), strict=True):
            mean += (array.astype(np.float64) - begin) * (0.05 / norm) / CLIENTS
    draw = rng(3, "central-privacy/FedAvg", 1)
    for mean in expected:
        mean += draw.normal(0.0, 0.8 * 0.05 / CLIENTS, mean.shape)
    for mine, wanted in zip(play(privacy), expected, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6)
        assert mine.dtype == np.float32


def test_weights_are_uniform_whatever_was_asked_for() -> None:
    wide = Privacy("central", clip_norm=1e9, noise_multiplier=0.0)
    plain = play(Privacy(), weighting="uniform")
    for mine, wanted in zip(play(wide, weighting="samples"), plain, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6)


def test_weights_are_uniform_under_local_privacy_too() -> None:
    """The toy's clients add no noise, so this is the plain uniform mean."""
    mine, plain = play(Privacy("local")), play(Privacy(), weighting="uniform")
    assert [a.tobytes() for a in mine] == [a.tobytes() for a in plain]
    assert [a.tobytes() for a in plain] != [a.tobytes() for a in play(Privacy())]


def test_one_seed_one_noise() -> None:
    privacy = Privacy("central", clip_norm=0.5)
    assert [a.tobytes() for a in play(privacy)] == [a.tobytes() for a in play(privacy)]


def test_one_client_moves_the_noiseless_mean_by_no_more_than_its_share() -> None:
    """The sensitivity that the noise is made for: C / n, by replacing 2 C / n."""

    def go_far(weights: toy.Weights, metrics: toy.Metrics) -> None:
        weights[0] = np.full_like(weights[0], 1e6)

    privacy = Privacy("central", clip_norm=0.5, noise_multiplier=0.0)
    strategy = FedAvg(seed=3, clients=CLIENTS, fraction=1.0, privacy=privacy)
    with toy.toy_grid(CLIENTS, {2: go_far}) as grid:
        moved, _ = toy.play_round(strategy, grid, 1, toy.start())
    honest = ArrayRecord(play(privacy)).to_numpy_ndarrays()
    assert update_norm(moved.to_numpy_ndarrays(), honest, {}) <= 2 * 0.5 / CLIENTS + 1e-6


def test_noise_comes_after_the_checks() -> None:
    """A rejected client is neither in the mean nor in n."""
    privacy = Privacy("central", clip_norm=0.5, noise_multiplier=0.0)
    strategy = FedAvg(seed=3, clients=CLIENTS, fraction=1.0, privacy=privacy)
    with toy.toy_grid(CLIENTS, {2: toy.send_nan}) as grid:
        found, _ = toy.play_round(strategy, grid, 1, toy.start())
    assert strategy.outcome.rejected == 1
    assert all(np.isfinite(array).all() for array in found.to_numpy_ndarrays())


def test_selection_on_losses_is_declared() -> None:
    assert GeneticCFL.selects_on_losses and not FedAvg.selects_on_losses


class Noted:
    """Whose noise every message asks for, by client and round; one that was sent twice is kept."""

    def __init__(self, grid: toy.ToyGrid) -> None:
        self.asked: list[tuple[int, int, str]] = []
        self._send = grid.send_and_receive

    def __call__(self, messages: Iterable[Message], **settings: Any) -> Iterable[Message]:
        sent = list(messages)
        for message in sent:
            config = message.content["config"]
            if "noise" in config:
                where = toy.partition_of(message), config["server-round"], config["noise"]
                self.asked.append(where)
        return self._send(sent, **settings)


@pytest.mark.parametrize(
    "name",
    ["fedavg", "fedavg-tuned", "optuna-tpe", "optuna-asha", "genetic-cfl", "pbt", "fedex"],
)
def test_no_client_is_asked_for_the_same_noise_twice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a probe or search before round 1, either: it would be gone from the difference."""
    private = Privacy("local")
    build = strategies.load(name)
    strategy = build(seed=3, clients=CLIENTS, fraction=1.0, privacy=private, arm=name)
    with toy.toy_grid(CLIENTS) as grid:
        noted = Noted(grid)
        monkeypatch.setattr(grid, "send_and_receive", noted)
        arrays = toy.start()
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
    assert len(noted.asked) >= 2 * CLIENTS
    assert len(set(noted.asked)) == len(noted.asked)
    assert all(noise.startswith(name) for _, _, noise in noted.asked)


def test_the_pairs_of_a_central_search_have_noise_of_their_own() -> None:
    """Two pairs whose clipped updates are all the same end a round apart by noise alone."""

    def stay(weights: toy.Weights, metrics: toy.Metrics) -> None:
        weights[:] = start()

    found = []

    class Watched(FedAvgTuned):
        def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
            found.append(super().average(server_round, outcome))
            return found[-1]

    strategy = Watched(
        learning_rates=(1e-3, 1e-4),
        batch_sizes=(32,),
        clients=CLIENTS,
        fraction=1.0,
        privacy=Privacy("central"),
        arm="fedavg-tuned",
    )
    with toy.toy_grid(CLIENTS, dict.fromkeys(range(CLIENTS), stay)) as grid:
        toy.play_round(strategy, grid, 1, toy.start())
    assert len({b"".join(toy.as_bytes(arrays)) for arrays in found}) == len(found) == 3
