"""A plan's own values: as an engine that is built with them, as Keras, and what is refused."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from targets import dataset_of, initial, made, plan, trained_by_keras
from trainings import engine_of, same

from fedgen.config.sections.tuning import GENES
from fedgen.engine.learning.descent import Descent
from fedgen.engine.learning.further import values
from fedgen.engine.learning.objective import Objective, Targets
from fedgen.engine.plan import Trained
from fedgen.engine.rules import AutoTuned, Corrected, Proximal
from fedgen.engine.rules.rule import Rule
from fedgen.errors import RunError


def near(one: Trained, other: Trained) -> None:
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)


CASES: list[tuple[str, float, Targets, dict[str, Any]]] = [
    ("momentum", 0.3, "classes", {"optimizer": "sgd"}),
    ("momentum", 0.9, "classes", {"optimizer": "sgd", "momentum": 0.5, "nesterov": True}),
    ("momentum", 0.0, "classes", {"optimizer": "sgd", "momentum": 0.5}),
    ("weight_decay", 0.3, "classes", {"optimizer": "adamw"}),
    ("weight_decay", 0.0, "classes", {"optimizer": "adamw", "weight_decay": 0.5}),
    *(("clip_norm", 0.05, "classes", {"optimizer": kind}) for kind in ("adam", "sgd", "rmsprop")),
    ("clip_norm", 1.7, "quantities", {"clip_norm": 0.01, "schedule": "cosine"}),
    ("label_smoothing", 0.3, "classes", {}),
    ("label_smoothing", 0.3, "classes", {"class_weights": "balanced"}),
    ("label_smoothing", 0.0, "classes", {"label_smoothing": 0.2}),
    ("label_smoothing", 0.1, "labels", {"label_smoothing": 0.4}),
]


@pytest.mark.parametrize(("gene", "value", "kind", "settings"), CASES)
def test_a_value_is_as_if_the_engine_was_built_with_it(
    gene: str, value: float, kind: Targets, settings: dict[str, Any]
) -> None:
    data, weights, job = dataset_of(kind), initial(kind), plan(0.01)
    engine = engine_of(made(kind), data, **settings)
    own = engine.train(weights, job)
    found = engine.train(weights, replace(job, further={gene: value}))
    if not value:
        settings = {key: setting for key, setting in settings.items() if key != "nesterov"}
    near(found, engine_of(made(kind), data, **settings | {gene: value}).train(weights, job))
    assert found.applied == {gene: float(np.float32(value))} and not own.applied
    assert not same(found, own)
    assert same(engine.train(weights, job), own)  # it is nobody else's


def test_values_are_applied_as_keras_does() -> None:
    data, weights = dataset_of("classes"), initial("classes")
    jobs = [
        ("sgd", {"momentum": 0.7}, keras.optimizers.SGD(0.05, momentum=0.7), Objective()),
        ("adamw", {"weight_decay": 0.5}, keras.optimizers.AdamW(0.01, 0.5), Objective()),
        ("sgd", {"clip_norm": 0.1}, keras.optimizers.SGD(0.05, global_clipnorm=0.1), Objective()),
        (
            *("sgd", {"label_smoothing": 0.25}, keras.optimizers.SGD(0.05)),
            Objective(label_smoothing=0.25),
        ),
    ]
    for kind, further, optimizer, objective in jobs:
        job = plan(0.01 if kind == "adamw" else 0.05)
        engine = engine_of(made("classes"), data, optimizer=kind)
        found = engine.train(weights, replace(job, further=further))
        wanted, losses = trained_by_keras(data, job, objective, optimizer)
        for mine, theirs in zip(found.weights, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-5)
        np.testing.assert_allclose(found.losses, losses, rtol=1e-4)


def test_values_go_together() -> None:
    data, weights, job = dataset_of("classes"), initial("classes"), plan(0.05)
    given = {"momentum": 0.4, "label_smoothing": 0.2, "clip_norm": 0.3}
    found = engine_of(made("classes"), data, optimizer="sgd").train(
        weights, replace(job, further=given)
    )
    near(found, engine_of(made("classes"), data, optimizer="sgd", **given).train(weights, job))
    assert found.applied == {name: float(np.float32(value)) for name, value in given.items()}


@pytest.mark.parametrize("name", ["proximal", "tuned", "corrected"])
def test_a_rule_leaves_clipping_and_smoothing(name: str) -> None:
    """Gradients are clipped before any rule, also where it steps without the optimiser."""
    data, weights = dataset_of("classes"), initial("classes")
    offset = [np.full_like(weight, 1e-3) for weight in weights]
    made_by: dict[str, Rule] = {
        "proximal": Proximal(0.5),
        "tuned": AutoTuned(2.0, 0.1, 1.0),
        "corrected": Corrected(offset),
    }
    job = replace(plan(0.05), rule=made_by[name])
    given = {"clip_norm": 0.1, "label_smoothing": 0.2}
    engine = engine_of(made("classes"), data, optimizer="sgd")
    found = engine.train(weights, replace(job, further=given))
    near(found, engine_of(made("classes"), data, optimizer="sgd", **given).train(weights, job))
    assert not same(found, engine.train(weights, job))


def test_nothing_is_compiled_for_another_value() -> None:
    engine = engine_of(made("classes"), dataset_of("classes"), optimizer="sgd", momentum=0.5)
    seconds, results = [], []
    for value in (0.1, 0.2, 0.3):
        job = replace(plan(0.05), further={"clip_norm": value, "momentum": value})
        results.append(engine.train(initial("classes"), job))
        seconds.append(engine.compiling)
    assert 0 < seconds[0] == seconds[1] == seconds[2]
    assert not same(results[0], results[1]) and not same(results[1], results[2])


def test_loops_are_always_given_a_momentum() -> None:
    assert values({}, Descent("sgd", 0.9)) == {"momentum": np.float32(0.9)}
    given = values({"momentum": 0.1, "clip_norm": 0.3}, Descent("sgd", 0.9))
    assert [*given] == ["clip_norm", "momentum"] and given["momentum"] == np.float32(0.1)
    assert {type(value) for value in given.values()} == {np.float32}


REFUSED: list[tuple[dict[str, Any], Rule | None, dict[str, float], str]] = [
    ({}, None, {"momentum": 0.9}, "momentum = 0.9: needs optimizer 'sgd', which here is 'adam'"),
    (
        *({}, None, {"weight_decay": 0.1}),
        "weight_decay = 0.1: needs optimizer 'adamw', which here is 'adam'",
    ),
    (
        *({"loss": "huber"}, None, {"label_smoothing": 0.1}),
        "label_smoothing = 0.1: needs a cross-entropy, the loss here is 'huber', which has no "
        "labels to smooth",
    ),
    (
        *({}, None, {"dropout": 0.1}),
        "dropout = 0.1: needs a model with Dropout layers of a rate over 0, this one has none",
    ),
    (
        *({"optimizer": "sgd"}, AutoTuned(2.0, 0.1, 1.0), {"momentum": 0.9}),
        "momentum = 0.9: needs steps of the optimiser, the rule 'auto-tune' takes its own",
    ),
    (
        *({"optimizer": "adamw"}, Corrected([]), {"weight_decay": 0.9}),
        "weight_decay = 0.9: needs steps of the optimiser, the rule 'gradient-offset' takes its "
        "own",
    ),
    ({}, None, {"clip_norm": 0.0}, "clip_norm = 0: expected a float32 in (0, inf]"),
    ({}, None, {"clip_norm": 1e-60}, "clip_norm = 1e-60: expected a float32 in (0, inf]"),
    ({}, None, {"clip_norm": float("nan")}, "clip_norm = nan: expected a float32 in (0, inf]"),
    ({}, None, {"label_smoothing": 1.0}, "label_smoothing = 1: expected a float32 in [0, 1)"),
    ({}, None, {"learning_rate": 1.0}, f"learning_rate = 1: expected one of {', '.join(GENES)}"),
]


@pytest.mark.parametrize(("settings", "rule", "given", "line"), REFUSED)
def test_a_value_that_cannot_be_applied_is_refused_in_one_line(
    settings: dict[str, Any], rule: Rule | None, given: dict[str, float], line: str
) -> None:
    kind: Targets = "quantities" if "loss" in settings else "classes"
    engine = engine_of(made(kind), dataset_of(kind), **settings)
    with pytest.raises(RunError) as refusal:
        engine.train(initial(kind), replace(plan(0.01), rule=rule, further=given))
    assert str(refusal.value) == refusal.value.line == line


def test_an_engine_says_what_it_can_apply() -> None:
    engine = engine_of(made("classes"), dataset_of("classes"), optimizer="sgd")
    can = {gene: engine.why_not(gene) is None for gene in GENES}
    assert [gene for gene, able in can.items() if able] == [
        *("momentum", "clip_norm", "label_smoothing")
    ]
