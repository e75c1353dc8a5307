"""Lanes whose clients have values of their own: bytes depend on nobody beside them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from targets import SHAPE, dataset_of, plan
from trainings import same

from fedgen.config.sections.model import Model
from fedgen.engine import models
from fedgen.engine.jax import bank
from fedgen.engine.jax.engine import Engine
from fedgen.engine.learning.descent import Descent
from fedgen.engine.plan import Plan
from fedgen.engine.rules import AutoTuned, Proximal

MODEL = Model(name="layers", hidden_layers=(32, 16), dropout=0.5)
SGD = Descent("sgd", 0.5)

BY_SGD: list[dict[str, float]] = [
    {"momentum": m, "clip_norm": c, "label_smoothing": s, "dropout": d}
    for m, c, s, d in ((0.9, 0.1, 0.0, 0.1), (0.0, 5.0, 0.3, 0.8), (0.3, 0.01, 0.9, 0.0))
]
BY_ADAMW: list[dict[str, float]] = [{"weight_decay": decay} for decay in (0.0, 0.1, 2.0)]


def plans(given: list[dict[str, float]]) -> list[Plan]:
    """Clients with values, those without beside them, and some of equal batches."""
    batches = (16, 33, 16, 5, 75)
    jobs = [plan(0.02, batch) for batch in batches]
    tuned = [replace(job, further=given[n % len(given)]) for n, job in enumerate(jobs)]
    ruled = replace(tuned[0], rule=Proximal(0.5))
    back = {key: value for key, value in given[1].items() if key in ("clip_norm", "dropout")}
    looking = replace(tuned[1], rule=AutoTuned(2.0, 0.1, 1.0), further=back)
    return [*tuned, jobs[0], jobs[1], ruled, looking]


@pytest.mark.parametrize(
    ("descent", "given"), [(SGD, BY_SGD), (Descent("adamw"), BY_ADAMW)], ids=["sgd", "adamw"]
)
def test_bytes_depend_on_no_neighbour_with_other_values(
    descent: Descent, given: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = models.build(MODEL, SHAPE, 10, 0), dataset_of("classes")
    weights, jobs = models.get_weights(model), plans(given)

    alone = Engine(model, data, descent=descent, workers=1)
    wanted = [alone.train(weights, job) for job in jobs]
    assert not any(same(wanted[0], other) for other in wanted[1:])
    for found, job in zip(wanted, jobs, strict=True):
        assert found.applied == {n: float(np.float32(v)) for n, v in job.further.items()}
    monkeypatch.setattr(bank, "SECONDS", 1e-9)  # a row a chunk
    company = Engine(model, data, descent=descent, workers=3, shops=1)
    with ThreadPoolExecutor(9) as pool:
        turned = list(pool.map(lambda job: company.train(weights, job), jobs[::-1]))[::-1]
    assert all(same(one, other) for one, other in zip(wanted, turned, strict=True))
    assert all(a.applied == b.applied for a, b in zip(wanted, turned, strict=True))


def test_side_by_side_a_value_is_as_if_the_engine_was_built_with_it() -> None:
    data = dataset_of("classes")

    def engine(rate: float, **descent: Any) -> Engine:
        model = models.build(MODEL.model_copy(update={"dropout": rate}), SHAPE, 10, 0)
        kind = Descent("sgd", **descent)
        return Engine(model, data, descent=kind, workers=3, side_by_side=True)

    weights = models.get_weights(models.build(MODEL, SHAPE, 10, 0))
    values = [(0.1, 0.3), (0.6, 0.1), (0.3, 5.0)]
    many, job = engine(0.5), plan(0.05)
    jobs = [replace(job, further={"dropout": d, "clip_norm": c}) for d, c in values]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda job: many.train(weights, job), jobs))
    for (rate, norm), trained in zip(values, found, strict=True):
        wanted = engine(rate, clip_norm=norm).train(weights, job)
        for mine, theirs in zip(trained.weights, wanted.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_clients_with_other_values_share_a_bank() -> None:
    model = models.build(MODEL, SHAPE, 10, 0)
    engine = Engine(model, dataset_of("classes"), descent=SGD, workers=2, shops=1)
    weights = models.get_weights(model)
    engine.train(weights, plan(0.02))
    for given in BY_SGD:
        engine.train(weights, replace(plan(0.02), further=given))
    names = ("clip_norm", "dropout", "label_smoothing", "momentum")
    assert [*engine._workshops[0]._banks] == [(None, ("momentum",)), (None, names)]
