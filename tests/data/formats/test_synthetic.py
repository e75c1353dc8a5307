"""Synthetic(alpha, beta)."""

import numpy as np
import pytest

from fedgen.data.formats.natural import synthetic
from fedgen.data.raw import Raw
from fedgen.errors import InputError


def of_client(found: Raw, client: int) -> np.ndarray:
    assert found.train.client is not None
    return found.train.x[found.train.client == client]


def spread_of_labels(found: Raw) -> float:
    """Mean share of a client's commonest label."""
    assert found.train.client is not None
    shares = [
        np.bincount(found.train.y[found.train.client == client], minlength=10).max()
        / (found.train.client == client).sum()
        for client in np.unique(found.train.client)
    ]
    return float(np.mean(shares))


def test_shapes_and_clients() -> None:
    found = synthetic.read()
    assert found.test is not None and found.test.client is not None
    assert found.train.x.shape[1:] == (60,) and found.train.x.dtype == np.float32
    assert {*np.unique(found.train.y)} == {*range(10)}
    assert {*found.train.client} == {*found.test.client} == {*range(30)}
    sizes = np.bincount(found.train.client) + np.bincount(found.test.client)
    assert sizes.min() >= 50 and sizes.max() > 5 * np.median(sizes)  # log-normal: a long tail
    np.testing.assert_array_equal(np.bincount(found.test.client), sizes // 10)


def test_equal_arguments_give_equal_draws_and_other_seeds_others() -> None:
    first, again, other = synthetic.read(), synthetic.read(), synthetic.read(seed=1)
    np.testing.assert_array_equal(first.train.x, again.train.x)
    np.testing.assert_array_equal(first.train.y, again.train.y)
    assert first.train.x[0].tolist() != other.train.x[0].tolist()


def test_a_client_is_the_same_however_many_there_are() -> None:
    few, many = synthetic.read(clients=3), synthetic.read(clients=9)
    for client in range(3):
        np.testing.assert_array_equal(of_client(few, client), of_client(many, client))


def test_labels_are_those_of_a_linear_model_of_each_client() -> None:
    """What alpha is for: one model fits one client, and not another."""
    found = synthetic.read(alpha=1, beta=1, clients=40)
    assert found.train.client is not None
    client = int(np.argmax(np.bincount(found.train.client)))
    mine = found.train.client == client
    x = np.column_stack([found.train.x[mine], np.ones(mine.sum())])
    weights, *_ = np.linalg.lstsq(x, np.eye(10)[found.train.y[mine]], rcond=None)
    everybody = np.column_stack([found.train.x, np.ones(len(found.train))])
    right = np.argmax(everybody @ weights, axis=1) == found.train.y
    assert right[mine].mean() > 0.75 > 0.5 > right[~mine].mean()


def test_features_fall_off_as_their_variance_does() -> None:
    found = synthetic.read(alpha=0, beta=0, clients=200)
    assert found.train.client is not None
    within = np.mean([of_client(found, client).std(axis=0) for client in range(200)], axis=0)
    np.testing.assert_allclose(within, np.arange(1, 61) ** -0.6, rtol=0.03)


def test_labels_are_skewed() -> None:
    assert spread_of_labels(synthetic.read()) > 0.3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"alpha": -1}, "alpha: expected at least 0, received -1"),
        ({"beta": float("nan")}, "beta: expected at least 0, received nan"),
        ({"beta": float("inf")}, "beta: expected at least 0, received inf"),
        ({"clients": 0}, "clients: expected at least 1, received 0"),
        ({"seed": -1}, "seed: expected at least 0, received -1"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        synthetic.read(**options)
