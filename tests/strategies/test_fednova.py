"""FedNova: hand-computed, and FedAvg where all take equally many steps."""

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.fedavg import FedAvg, StrategyError
from strategies.fednova import FedNova, accumulated, local_steps


def play(strategy: FedAvg, clients: int, **faults: toy.Fault) -> list[np.ndarray]:
    with toy.toy_grid(clients, {int(k[1:]): fault for k, fault in faults.items()}) as grid:
        return toy.play_round(strategy, grid, 1, toy.start())[0].to_numpy_ndarrays()


def test_local_steps_count_short_batches() -> None:
    assert [local_steps(n, 8, 2) for n in (1, 8, 9, 17)] == [2, 2, 4, 6]


@given(st.integers(1, 60), st.floats(0, 0.99), st.booleans())
def test_gradients_are_counted_as_sgd_with_momentum_adds_them_up(
    steps: int, m: float, nesterov: bool
) -> None:
    velocity = moved = 0.0
    for _ in range(steps):
        velocity = m * velocity + 1
        moved += m * velocity + 1 if nesterov else velocity
    assert accumulated(steps, m, nesterov) == pytest.approx(moved, rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_two_clients_by_hand(momentum: float) -> None:
    """10 and 17 samples in batches of 8, two epochs: 4 and 6 steps; they move by 0.4 and 0.8."""
    sizes = {0.0: (4.0, 6.0), 0.5: (6.125, 10.03125)}[momentum]  # sum of 1, 1.5, 1.75, ...
    settings = {"clients": 2, "fraction": 1.0, "learning_rate": 1e-3, "batch_size": 8}
    arrays = play(FedNova(local_momentum=momentum, **settings), 2)
    effective = (10 * sizes[0] + 17 * sizes[1]) / 27
    moved = effective * (10 / 27 * 0.4 / sizes[0] + 17 / 27 * 0.8 / sizes[1])
    np.testing.assert_allclose(arrays[0], moved, rtol=1e-6)
    plain = play(FedAvg(**settings), 2)
    np.testing.assert_allclose(plain[0], (10 * 0.4 + 17 * 0.8) / 27, rtol=1e-6)
    # The client that took more steps and moved further per sample counts less.
    assert arrays[0][0] < plain[0][0]


def test_weights_by_rank_weigh_steps_as_well() -> None:
    """The first client has the lower loss: 10 samples count twice, 17 once; 4 and 6 steps."""
    settings = {"clients": 2, "fraction": 1.0, "learning_rate": 1e-3, "batch_size": 8}
    arrays = play(FedNova(weighting="fitness", **settings), 2)
    effective = (20 * 4 + 17 * 6) / 37
    moved = effective * (20 / 37 * 0.4 / 4 + 17 / 37 * 0.8 / 6)
    np.testing.assert_allclose(arrays[0], moved, rtol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "median", "krum"])
def test_with_equal_steps_it_is_fedavg(kind: str) -> None:
    settings = {"clients": 6, "fraction": 1.0, "batch_size": 64, "learning_rate": 1e-3}
    settings["aggregation"] = Aggregation(kind)
    for mine, theirs in zip(play(FedNova(**settings), 6), play(FedAvg(**settings), 6), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_moving_statistics_are_averaged_plainly() -> None:
    settings = {"clients": 6, "fraction": 1.0, "batch_size": 4, "statistics": {1: "mean"}}
    mine, theirs = play(FedNova(**settings), 6), play(FedAvg(**settings), 6)
    np.testing.assert_array_equal(mine[1], theirs[1])
    assert not np.allclose(mine[0], theirs[0])


def test_a_bad_reply_changes_nobody_s_factor() -> None:
    class Without3(FedNova):
        def cohort(self, server_round: int) -> list[int]:
            return [0, 1, 2, 4, 5]

    settings = {"clients": 6, "fraction": 1.0, "batch_size": 4}
    bad = play(FedNova(**settings), 6, c3=toy.send_nan)
    for mine, theirs in zip(bad, play(Without3(**settings), 6), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_who_claims_fewer_samples_is_not_blown_up() -> None:
    def claim_one(weights: toy.Weights, metrics: toy.Metrics) -> None:
        metrics["num-examples"], metrics["samples"] = 1, metrics["epochs"]

    settings = {"clients": 6, "fraction": 1.0, "batch_size": 4, "weighting": "uniform"}
    for mine, theirs in zip(
        play(FedNova(**settings), 6, c3=claim_one), play(FedNova(**settings), 6), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_central_privacy_is_refused_local_is_not() -> None:
    with pytest.raises(StrategyError, match="fednova .* expected 'none' or 'local'"):
        FedNova(privacy=Privacy("central"))
    FedNova(privacy=Privacy("local"))
