"""Fitness of what is not the client's own after training, worked out without fedgen.

That is on samples of the server's that a cluster has in common, or of the model that was sent.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from runs import SMALL

from fedgen.config.tree import build
from fedgen.engine import models
from fedgen.federation import client_app
from fedgen.federation.grid import FIRST_NODE, InProcessGrid
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import to_run_config
from strategies.messages.arrays import read_arrays
from strategies.streams import rng

SIZE, EPOCHS = 40, 2


@pytest.fixture(scope="module")
def here() -> Resources:
    return Resources(build(SMALL), slots=1)


@pytest.fixture
def grid(here: Resources) -> Iterator[InProcessGrid]:
    run_config = to_run_config(here.config)
    made = InProcessGrid(client_app.made(lambda _: here), run_config, clients=12, workers=1)
    yield made
    made.close()


def asked(grid: InProcessGrid, client: int, number: int, weights: list[np.ndarray]) -> RecordDict:
    """What a client answers that is judged on a share."""
    return told(grid, client, weights, {"fitness": "common", "common-share": [number, SIZE]})


def told(
    grid: InProcessGrid, client: int, weights: list[np.ndarray], more: dict[str, object]
) -> RecordDict:
    """What a client answers that is told more."""
    settings = {"seed": 0, "server-round": 1, **more}
    settings |= {"learning-rate": 1e-2, "batch-size": 16, "local-epochs": EPOCHS}
    content = {"arrays": ArrayRecord(weights), "config": ConfigRecord(settings)}
    (reply,) = grid.send_and_receive([Message(RecordDict(content), FIRST_NODE + client, "train")])
    return reply.content


def cross_entropy(here: Resources, weights: list[np.ndarray], samples: np.ndarray) -> float:
    """The mean loss, from the model's logits; pixels of digits go up to 16."""
    model = here.model(0)
    model.set_weights(weights)
    logits = np.array(model(here.dataset.x_train[samples].astype(np.float32) / 16), np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    due = here.dataset.y_train[samples].reshape(-1)
    return float(-np.log(chances[np.arange(len(due)), due]).mean())


def test_it_is_the_improvement_per_sample_on_the_share(
    here: Resources, grid: InProcessGrid
) -> None:
    start = models.get_weights(here.model(0))
    held_out = np.sort(here.partition(0).validation)
    for client, number in ((3, 0), (5, 2)):
        content = asked(grid, client, number, start)
        draw = rng(0, "common-share", 0, number)
        share = draw.choice(held_out, SIZE, replace=False)
        after = cross_entropy(here, read_arrays(content["arrays"]), share)
        before = cross_entropy(here, start, share)
        trained = EPOCHS * len(here.partition(0).clients[client].train)
        wanted = (after - before) / trained
        assert content["metrics"]["fitness"] == pytest.approx(wanted, rel=1e-3)
        assert wanted < 0 and content["metrics"]["samples"] == trained


def test_a_cluster_has_one_share_and_nobody_sees_the_test_set(
    here: Resources, grid: InProcessGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, seen = here.engine(0), []
    evaluate = engine.evaluate

    def noting(weights: object, samples: np.ndarray, *given: object, **named: object) -> object:
        seen.append((samples.tolist(), given, named))
        return evaluate(weights, samples, *given, **named)

    monkeypatch.setattr(engine, "evaluate", noting)
    start, shares = models.get_weights(here.model(0)), {}
    for client, number in ((3, 1), (5, 1), (5, 2)):
        asked(grid, client, number, start)
        (before, *_), (after, *_) = seen[-2:]
        assert before == after and len(before) == SIZE
        shares[client, number] = before
    assert len(seen) == 6
    assert not any("test" in given or "test" in named.values() for _, given, named in seen)
    assert shares[3, 1] == shares[5, 1] != shares[5, 2]
    trained = {i for mine in here.partition(0).clients for i in mine.train.tolist()}
    for share in shares.values():
        assert set(share) <= set(here.partition(0).validation.tolist())
        assert not set(share) & trained


def test_of_the_model_that_was_sent_the_share_that_it_gets_wrong_counts(
    here: Resources, grid: InProcessGrid
) -> None:
    weights = models.get_weights(here.model(0))
    for client in (3, 5):
        content = told(grid, client, weights, {"fitness": "sent"})
        held = here.partition(0).clients[client].validation
        model = here.model(0)
        model.set_weights(weights)
        guesses = np.array(model(here.dataset.x_train[held].astype(np.float32) / 16)).argmax(axis=1)
        wrong = float((guesses != here.dataset.y_train[held].reshape(-1)).mean())
        assert content["metrics"]["fitness"] == pytest.approx(wrong, abs=1e-12)
        weights = read_arrays(content["arrays"])
    assert 0 < wrong < 0.9  # the second was sent what the first had trained
