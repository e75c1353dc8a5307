"""Server optimisers: steps by hand, Flower's own on the same replies, what stays plain."""

import math

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import strategy as flower

from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.fedavg import FedAvg
from strategies.fedopt import FedAdam, FedAvgM, FedYogi, ServerOptimiser

CLIENTS = 6
KINDS = (FedAvgM, FedAdam, FedYogi)


def everybody(kind: type[FedAvg], **settings: object) -> FedAvg:
    return kind(seed=1, clients=CLIENTS, fraction=1.0, learning_rate=1e-3, **settings)


def play(strategy: FedAvg, rounds: int = 1) -> list[ArrayRecord]:
    """The weights after every round of toy clients."""
    found = [toy.start()]
    with toy.toy_grid(CLIENTS) as grid:
        for number in range(1, rounds + 1):
            found.append(toy.play_round(strategy, grid, number, found[-1])[0])
    return found[1:]


def steps(strategy: ServerOptimiser, differences: list[float], start: float = 1.0) -> list[float]:
    """Where one weight is after every round, when the mean is so far from it."""
    found = [start]
    for number, difference in enumerate(differences, 1):
        here, mean = np.array([found[-1]]), np.array([found[-1] + difference])
        stepped = strategy.step(number, ArrayRecord([here]), ArrayRecord([mean]))
        (array,) = stepped.to_numpy_ndarrays()
        found.append(array.item())
    return found[1:]


def test_momentum_by_hand() -> None:
    # v: 2, then 0.5 * 2 + 1 = 2, then 0.5 * 2 + 0 = 1.
    assert steps(FedAvgM(momentum=0.5, server_rate=1.0), [2.0, 1.0, 0.0]) == [3.0, 5.0, 6.0]
    assert steps(FedAvgM(momentum=0.0, server_rate=0.5), [2.0, 1.0]) == [2.0, 2.5]


def test_yogi_by_hand() -> None:
    # d = 2: m = 1, v = 0 + 0.25 * 4 = 1. d = 3: m = 2, v = 1 + 0.25 * 9 = 3.25.
    # d = 0: m = 1, v as it is. d = 1: m = 1, v = 3.25 - 0.25 * 1 = 3.
    strategy = FedYogi(server_rate=1.0, beta_1=0.5, beta_2=0.75, tau=1.0)
    moves = [1 / 2, 2 / (1 + math.sqrt(3.25)), 1 / (1 + math.sqrt(3.25)), 1 / (1 + math.sqrt(3))]
    expected = 1 + np.cumsum(moves)
    assert steps(strategy, [2.0, 3.0, 0.0, 1.0]) == pytest.approx(expected.tolist(), rel=1e-14)


def test_adam_by_hand() -> None:
    # d = 2: m = 1, v = 0.25 * 4 = 1. d = 1: m = 1, v = 0.75 + 0.25 = 1.
    strategy = FedAdam(server_rate=2.0, beta_1=0.5, beta_2=0.75, tau=1.0)
    rates = [2 * math.sqrt(1 - 0.75**t) / (1 - 0.5**t) for t in (2, 3)]
    expected = 1 + np.cumsum([rates[0] / 2, rates[1] / 2])
    assert steps(strategy, [2.0, 1.0]) == pytest.approx(expected.tolist(), rel=1e-14)


@pytest.mark.parametrize(
    ("mine", "flowers"),
    [
        (FedAvgM(seed=1, clients=CLIENTS, fraction=1.0), flower.FedAvgM(server_momentum=0.9)),
        (FedAdam(seed=1, clients=CLIENTS, fraction=1.0), flower.FedAdam(eta=0.01)),
        (FedYogi(seed=1, clients=CLIENTS, fraction=1.0), flower.FedYogi(eta=0.01)),
    ],
    ids=["fedavgm", "fedadam", "fedyogi"],
)
def test_flower_s_own_strategy_steps_alike_on_the_same_replies(
    mine: ServerOptimiser, flowers: flower.FedAvg
) -> None:
    arrays = theirs = toy.start()
    with toy.toy_grid(CLIENTS) as grid:
        for number in (1, 2, 3):
            messages = list(mine.configure_train(number, arrays, ConfigRecord(), grid))
            replies = list(grid.send_and_receive(messages))
            if isinstance(flowers, flower.FedAvgM):
                flowers.current_arrays = arrays
            else:
                flowers.current_arrays = {key: a.numpy() for key, a in arrays.items()}
            theirs, _ = flowers.aggregate_train(number, replies)
            arrays, _ = mine.aggregate_train(number, replies)
            for a, b in zip(arrays.to_numpy_ndarrays(), theirs.to_numpy_ndarrays(), strict=True):
                assert a.dtype == np.float32
                np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_first_step_with_momentum_is_that_of_fedavg_to_the_byte() -> None:
    plain, moved = play(everybody(FedAvg), 2), play(everybody(FedAvgM), 2)
    assert toy.as_bytes(plain[0]) == toy.as_bytes(moved[0])
    assert toy.as_bytes(plain[1]) != toy.as_bytes(moved[1])


@pytest.mark.parametrize("kind", KINDS)
def test_moving_statistics_are_averaged_plainly(kind: type[ServerOptimiser]) -> None:
    for position in (0, 1):
        strategy = everybody(kind, statistics={position: "mean"})
        stepped, plain = play(strategy, 2), play(everybody(FedAvg), 1)
        assert toy.as_bytes(stepped[0])[position] == toy.as_bytes(plain[0])[position]
        assert len(strategy.state_arrays()) in (1, 2)  # moments of the other array alone
        other = stepped[1].to_numpy_ndarrays()[1 - position]
        assert not np.array_equal(other, plain[0].to_numpy_ndarrays()[1 - position])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_before_round_1(kind: type[ServerOptimiser]) -> None:
    strategy = everybody(kind)
    assert strategy.state_arrays() == []
    strategy.restore(strategy.state())
    strategy.restore_arrays([])
    assert toy.as_bytes(play(strategy)[0]) == toy.as_bytes(play(everybody(kind))[0])


@pytest.mark.parametrize("kind", (FedAdam, FedYogi))
def test_moments_that_do_not_fit_are_refused(kind: type[ServerOptimiser]) -> None:
    strategy = everybody(kind)
    play(strategy)
    other = everybody(kind)
    other.restore(strategy.state())
    with pytest.raises(ValueError, match="zip"):
        other.restore_arrays(strategy.state_arrays()[:-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"privacy": Privacy("central", 1.0, 0.5), "arm": "one"},  # whose noise both draw
        {"aggregation": Aggregation("median")},
        {"aggregation": Aggregation("krum")},
    ],
    ids=str,
)
def test_the_step_starts_from_whatever_the_round_is_aggregated_to(
    settings: dict[str, object],
) -> None:
    plain, moved = play(everybody(FedAvg, **settings)), play(everybody(FedAvgM, **settings))
    assert toy.as_bytes(plain[0]) == toy.as_bytes(moved[0])
    assert toy.as_bytes(plain[0]) != toy.as_bytes(play(everybody(FedAvg))[0])
