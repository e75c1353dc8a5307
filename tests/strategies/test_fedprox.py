"""FedProx by hand."""

import pytest
import quadratic
import toy

from strategies.fedavg import FedAvg
from strategies.fedprox import FedProx

SETTINGS = {"clients": 2, "fraction": 1.0, "learning_rate": 0.5, "query_timeout": 0.3}


def test_clients_are_held_near_the_global_model() -> None:
    """From 1 towards 3 in two steps: g = (w - 3) + 2 (w - 1) is -2, then 1."""
    with quadratic.grid([3.0, 3.0]) as grid:
        arrays, _ = toy.play_round(FedProx(mu=2.0, **SETTINGS), grid, 1, quadratic.start())
        assert quadratic.value(arrays) == 1 + 0.5 * 2 - 0.5 * 1
        plain, _ = toy.play_round(FedAvg(**SETTINGS), grid, 1, quadratic.start())
        assert quadratic.value(plain) == 2.5
        none, _ = toy.play_round(FedProx(mu=0.0, **SETTINGS), grid, 1, quadratic.start())
        assert toy.as_bytes(none) == toy.as_bytes(plain)


def other_mu(answer: quadratic.Content) -> None:
    answer["metrics"]["proximal-mu"] = 0.25


def no_mu(answer: quadratic.Content) -> None:
    del answer["metrics"]["proximal-mu"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (other_mu, "rejected: metric proximal-mu: expected 2, received 0.25"),
        (no_mu, "rejected: metric proximal-mu: expected a number up to 1e+30, received None"),
    ],
)
def test_a_client_that_used_another_mu_or_none_is_rejected(
    fault: quadratic.Fault, reason: str
) -> None:
    strategy = FedProx(mu=2.0, **SETTINGS)
    with quadratic.grid([3.0, 100.0], {1: fault}) as grid:
        arrays, _ = toy.play_round(strategy, grid, 1, quadratic.start())
    assert quadratic.value(arrays) == 1.5
    assert strategy.outcome.clients[1].status == reason
