"""How weights step: by hand, and whole local trainings against Keras' optimisers."""

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from targets import dataset_of, initial, made, plan, trained_by_keras
from trainings import engine_of, same

from fedgen.config.sections import Training
from fedgen.engine.learning.descent import Descent, Kind, factor
from fedgen.engine.learning.objective import Objective
from fedgen.engine.plan import Moments, Plan
from fedgen.engine.rules import AutoTuned, Corrected, Proximal

KINDS: tuple[Kind, ...] = ("adam", "sgd", "adamw", "rmsprop", "adagrad")


def stepped(
    descent: Descent, rate: float, gradient: float, state: tuple[float, float, float], number: int
) -> tuple[float, float, float]:
    """One step of one weight: weight, first and second moment before and after."""
    held = [np.full(2, value, np.float32) for value in state]
    slope = np.full(2, gradient, np.float32)
    scalars, momentum = (np.float32(rate), np.float32(number)), np.float32(descent.momentum)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        from fedgen.engine.tensorflow import optimizers as on_tensorflow

        variables = [[tf.Variable(value)] for value in held]
        given = *map(tf.constant, scalars), {"momentum": tf.constant(momentum)}
        on_tensorflow.apply(descent, *variables, [tf.constant(slope)], *given)
        after = [variable[0].numpy() for variable in variables]
    else:
        from fedgen.engine.jax import optimizers as on_jax

        lists = on_jax.step(
            descent, *([value] for value in held), [slope], *scalars, {"momentum": momentum}
        )
        after = [np.asarray(part[0]) for part in lists]
    weight, first, second = (float(part[0]) for part in after)
    return weight, first, second


STEPS = [
    (Descent("adam"), 2.0 - 0.5 * 1.0, 0.1, 0.001),
    (Descent("sgd"), 2.0 - 0.5 * 1.0, -0.5, 0.0),
    (Descent("sgd", 0.9), 2.0 - 0.5 * 1.0, -0.5, 0.0),
    (Descent("sgd", 0.9, nesterov=True), 2.0 + 0.9 * -0.5 - 0.5, -0.5, 0.0),
    (Descent("adamw"), 2.0 * (1 - 0.5 * 0.004) - 0.5, 0.1, 0.001),
    (Descent("adamw", weight_decay=0.1), 2.0 * (1 - 0.5 * 0.1) - 0.5, 0.1, 0.001),
    (Descent("rmsprop"), 2.0 - 0.5 / math.sqrt(0.1), 0.0, 0.1),
    (Descent("adagrad"), 2.0 - 0.5 / math.sqrt(1.1), 0.0, 1.0),
]


@pytest.mark.parametrize(("descent", "weight", "first", "second"), STEPS)
def test_the_first_step_by_hand(
    descent: Descent, weight: float, first: float, second: float
) -> None:
    """From 2 by a gradient of 1 at a rate of 0.5."""
    found = stepped(descent, 0.5, 1.0, (2.0, 0.0, 0.0), 1)
    if descent.optimizer == "rmsprop":
        found, first = (found[0], 0.0, found[2]), 0.0  # whose first moments are anybody's
    assert found == pytest.approx((weight, first, second), rel=2e-5)  # 1 - 0.999 in float32


SECOND = [
    (Descent("adam"), 0.1 * 0.9 - 0.2, 0.001 * 0.999 + 0.004),
    (Descent("sgd", 0.9), 0.9 * 0.1 + 0.5 * 2, None),
    (Descent("sgd", 0.9, nesterov=True), 0.9 * 0.1 + 0.5 * 2, None),
    (Descent("rmsprop"), None, 0.9 * 0.001 + 0.1 * 4),
    (Descent("adagrad"), None, 0.001 + 4),
]


@pytest.mark.parametrize(("descent", "first", "second"), SECOND)
def test_a_later_step_by_hand(descent: Descent, first: float | None, second: float | None) -> None:
    """From 1 by a gradient of -2 at a rate of 0.5, with moments of 0.1 and 0.001."""
    weight, one, two = stepped(descent, 0.5, -2.0, (1.0, 0.1, 0.001), 2)
    assert first is None or one == pytest.approx(first, rel=1e-6)
    assert second is None or two == pytest.approx(second, rel=2e-5)
    if descent.optimizer == "adam":
        assert first is not None and second is not None
        size = 0.5 * math.sqrt(1 - 0.999**2) / (1 - 0.9**2)
        wanted = 1 - size * first / (math.sqrt(second) + 1e-7)
    elif descent.optimizer == "sgd":
        assert first is not None
        wanted = 1 + (0.9 * first + 0.5 * 2 if descent.nesterov else first)
    else:
        assert second is not None
        begun = 0.1 if descent.optimizer == "adagrad" else 0.0
        wanted = 1 + 0.5 * 2 / math.sqrt(second + begun + 1e-7)
    assert weight == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("kind", ["rmsprop", "adagrad"])
def test_epsilon_is_under_the_root(kind: Kind) -> None:
    """With next to no squares: beside the root it would be 3000 times less."""
    weight, _, _ = stepped(Descent(kind), 1.0, 1e-6, (0.0, 0.0, 0.0), 1)
    begun = 0.1 if kind == "adagrad" else 0.0
    share = 1.0 if kind == "adagrad" else 0.1
    assert weight == pytest.approx(-1e-6 / math.sqrt(share * 1e-12 + begun + 1e-7), rel=1e-5)


# The schedule.


def test_schedules_by_hand() -> None:
    def factors(schedule: Any, steps: int) -> list[float]:
        return [float(factor(schedule, s, steps, np)) for s in range(steps)]

    assert factors("constant", 3) == [1, 1, 1]
    assert factors("cosine", 4) == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])
    assert factors("step", 6) == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert factors("step", 4) == [1, 1, 0.1, 0.01]  # thirds begin at 0, 4 / 3 and 8 / 3
    assert factors("step", 1) == factors("cosine", 1) == [1]


@given(st.integers(1, 10**6), st.data())
def test_schedules_begin_at_the_rate_and_only_fall(steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    for schedule in ("cosine", "step"):
        here, after = (
            float(factor(schedule, np.float32(s), np.float32(steps), np))  # type: ignore[arg-type]
            for s in (step, min(step + 1, steps - 1))
        )
        assert 0 <= after <= here + 1e-6 <= 1 + 1e-6
        assert float(factor(schedule, 0, steps, np)) == 1  # type: ignore[arg-type]
    assert float(factor("step", step, steps, np)) == pytest.approx(0.1 ** (3 * step // steps))


# Whole trainings against Keras'.


class Thirds(keras.optimizers.schedules.LearningRateSchedule):
    """The step schedule, as Keras has schedules."""

    def __init__(self, rate: float, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        third = keras.ops.floor(3 * keras.ops.cast(step, "float32") / self.steps + 1e-6)
        return self.rate * keras.ops.power(0.1, third)


def made_by_keras(kind: Kind, rate: Any, **given: Any) -> keras.optimizers.Optimizer:
    names = {"adam": "Adam", "sgd": "SGD", "adamw": "AdamW", "rmsprop": "RMSprop"}
    return getattr(keras.optimizers, names.get(kind, "Adagrad"))(rate, **given)


RATES: dict[Kind, float] = {kind: 1e-3 for kind in KINDS} | {"sgd": 0.05, "adagrad": 0.02}


def check(job: Plan, reference: keras.optimizers.Optimizer, **settings: Any) -> None:
    data = dataset_of("classes")
    trained = engine_of(made("classes"), data, **settings).train(initial("classes"), job)
    wanted, losses = trained_by_keras(data, job, Objective(), reference)
    for mine, theirs in zip(trained.weights, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    assert trained.learning_rate == trained.initial_rate == np.float32(job.learning_rate)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_has_keras_momentum(nesterov: bool) -> None:
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=nesterov)
    check(plan(0.05), optimizer, optimizer="sgd", momentum=0.9, nesterov=nesterov)


@pytest.mark.parametrize("decay", [0.0, 0.004, 0.5])
def test_adamw_decays_as_keras_does(decay: float) -> None:
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=decay)
    check(plan(1e-2), optimizer, optimizer="adamw", weight_decay=decay)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", [1e-3, 0.5, 1e3])
def test_gradients_are_clipped_as_keras_clips_them(kind: Kind, norm: float) -> None:
    rate = RATES[kind]
    optimizer = made_by_keras(kind, rate, global_clipnorm=norm)
    check(plan(rate), optimizer, optimizer=kind, clip_norm=norm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_schedule_is_one_of_keras(kind: Kind, schedule: str) -> None:
    job, rate = plan(RATES[kind]), RATES[kind]
    steps = 2 * 3
    cosine = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = made_by_keras(kind, cosine if schedule == "cosine" else Thirds(rate, steps))
    check(job, optimizer, optimizer=kind, schedule=schedule)


# What holds whatever the optimiser.


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_zeros_are_a_fresh_optimiser_and_kept_ones_go_on(kind: Kind) -> None:
    momentum = 0.5 if kind == "sgd" else 0.0
    engine = engine_of(made("classes"), dataset_of("classes"), optimizer=kind, momentum=momentum)
    weights, job = initial("classes"), plan(RATES[kind])
    zeros = [np.zeros_like(weight) for weight in weights]
    whole = engine.train(weights, job, keep=True)
    assert same(whole, engine.train(weights, replace(job, moments=Moments(zeros, zeros, 0))))
    first = engine.train(weights, replace(job, order=job.order[:1]), keep=True)
    rest = replace(job, order=job.order[1:], moments=first.moments)
    second = engine.train(first.weights, rest, keep=True)
    assert second.losses == whole.losses[1:]
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(whole.weights, second.weights, strict=True)
    )
    assert whole.moments is not None and whole.moments.steps == 6
    for kept, part in zip(
        Descent(kind).keeps, (whole.moments.first, whole.moments.second), strict=True
    ):
        assert all(array.any() == kept for array in part)
    assert all((array >= 0).all() for array in whole.moments.second)


@pytest.mark.parametrize("kind", KINDS)
def test_a_diverged_client_leaves_nothing_to_the_next_one(kind: Kind) -> None:
    engine = engine_of(made("classes"), dataset_of("classes"), optimizer=kind)
    weights, job = initial("classes"), plan(RATES[kind])
    wanted = engine.train(weights, job)
    broken = [np.full_like(weight, np.nan) for weight in weights]
    assert not np.isfinite(engine.train(broken, job).losses).any()
    assert same(engine.train(weights, job), wanted)


def test_a_schedule_begins_anew_with_every_plan() -> None:
    settings = {"optimizer": "sgd", "schedule": "step"}
    engine = engine_of(made("classes"), dataset_of("classes"), **settings)
    job = plan(0.05, batch=25, epochs=1)  # 3 steps: one a third
    first = engine.train(initial("classes"), job, keep=True)
    again = engine.train(first.weights, replace(job, moments=first.moments))
    fresh = engine.train(first.weights, job)
    assert first.moments is not None and first.moments.steps == 3
    assert same(again, fresh)


def test_clipping_comes_before_a_rule() -> None:
    """By hand, one step: what the data ask for has the norm, and the offset stays whole."""
    data, weights = dataset_of("classes"), initial("classes")
    engine = engine_of(made("classes"), data, optimizer="sgd", clip_norm=0.01)
    job = plan(0.5, batch=75, epochs=1)
    offset = [np.full_like(weight, 3.0) for weight in weights]
    found = engine.train(weights, replace(job, rule=Corrected(offset)))
    moved = [(b - a) / -0.5 - 3 for a, b in zip(weights, found.weights, strict=True)]
    assert math.sqrt(sum((part**2).sum() for part in moved)) == pytest.approx(0.01, rel=2e-2)
    # Without the rule it is the same, but for the offset.
    plain = engine.train(weights, job)
    for one, other in zip(plain.weights, found.weights, strict=True):
        np.testing.assert_allclose(one - other, 1.5, atol=1e-5)


def test_rules_go_with_clipping_and_a_schedule() -> None:
    data, weights = dataset_of("classes"), initial("classes")
    settings = {"optimizer": "sgd", "schedule": "cosine", "clip_norm": 0.1}
    engine = engine_of(made("classes"), data, **settings)
    plain = engine.train(weights, plan(0.1))
    none = [np.zeros_like(weight) for weight in weights]
    for rule in (Proximal(0.0), Corrected(none)):
        found = engine.train(weights, replace(plan(0.1), rule=rule))
        for one, other in zip(found.weights, plain.weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    tuned = engine.train(weights, replace(plan(0.1), rule=AutoTuned(2.0, 0.1, 1.0)))
    unscheduled = engine_of(made("classes"), data, optimizer="sgd", clip_norm=0.1)
    assert same(
        unscheduled.train(weights, replace(plan(0.1), rule=AutoTuned(2.0, 0.1, 1.0))), tuned
    )


def test_settings_say_how_weights_step() -> None:
    assert Descent.of(Training()) == Descent()
    assert Descent.of(Training(optimizer="adamw")).weight_decay == 0.004
    given = Training(optimizer="adamw", weight_decay=0.0, clip_norm=2.0, schedule="step")
    assert Descent.of(given) == Descent("adamw", weight_decay=0.0, clip_norm=2.0, schedule="step")
