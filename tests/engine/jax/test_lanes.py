"""Lanes: against plain steps one client at a time, and the same bytes in whatever company."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from own_models import FUNCTIONS, build
from trainings import same

from fedgen import runtime
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models
from fedgen.engine.jax import bank
from fedgen.engine.jax.coupling import Coupling
from fedgen.engine.jax.engine import Engine
from fedgen.engine.jax.schedule import fill
from fedgen.engine.learning.descent import Descent
from fedgen.engine.learning.objective import CROSS_ENTROPY, Objective
from fedgen.engine.plan import Plan, Stopped
from fedgen.engine.rules import AutoTuned, Proximal
from fedgen.errors import InputError, RunError
from strategies.core.aggregation import Arrays

SHAPE, CLASSES = (8, 8, 1), 10
SGD = Descent("sgd")
BOTH = pytest.mark.parametrize("side_by_side", [False, True], ids=["one by one", "side by side"])


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load(Data(dataset="digits"))


def plan(batch: int, epochs: int = 2, samples: int = 75, rate: float = 1e-2) -> Plan:
    draws = np.random.default_rng(batch)
    order = [draws.permutation(1437)[:samples] for _ in range(epochs)]
    return Plan(rate, batch, np.array(order, np.int32), dropout_seed=5)


def plainly(
    model: keras.Sequential, weights: Arrays, digits: Dataset, job: Plan
) -> tuple[Arrays, list[float]]:
    """The readable twin: one client, no tiles, no lanes, no filling up; by SGD."""
    values = {id(v): jnp.asarray(w) for v, w in zip(model.weights, weights, strict=True)}
    for number, variable in enumerate(model.non_trainable_variables):
        if variable.dtype == "uint32":
            values[id(variable)] = jnp.array([job.dropout_seed + number, 0], jnp.uint32)
    losses = []

    def loss(w: list[Any], s: list[Any], pixels: Any, labels: Any) -> tuple[Any, Any]:
        logits, after, terms = model.stateless_call(w, s, pixels, training=True, return_losses=True)
        likely = jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]
        return -likely.mean() + sum(terms), after

    for order in job.order:
        total = 0.0
        for begin in range(0, len(order), job.batch_size):
            batch = order[begin : begin + job.batch_size]
            w = [values[id(v)] for v in model.trainable_variables]
            s = [values[id(v)] for v in model.non_trainable_variables]
            pixels = jnp.asarray(digits.x_train[batch], jnp.float32) * digits.scale
            (value, after), gradients = jax.value_and_grad(loss, has_aux=True)(
                w, s, pixels, digits.y_train[batch]
            )
            total += len(batch) * float(value)
            for variable, weight, gradient in zip(
                model.trainable_variables, w, gradients, strict=True
            ):
                values[id(variable)] = weight - job.learning_rate * gradient
            for variable, value in zip(model.non_trainable_variables, after, strict=True):
                values[id(variable)] = value
        losses.append(total / len(order))
    return [np.asarray(values[id(v)]) for v in model.weights], losses


@BOTH
@pytest.mark.parametrize("name", ["cnn-small", "mlp", "mlp-324-108-bn-dropout"])
def test_a_lane_trains_as_plain_steps_do(digits: Dataset, name: str, side_by_side: bool) -> None:
    model = models.build(name, SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, descent=SGD, side_by_side=side_by_side, workers=3)
    # Of few samples the variance may be nothing but rounding, which normalisation divides by.
    for batch in (16, 50, 200) if "bn" in name else (5, 16, 50, 200):
        job = plan(batch)
        trained = engine.train(weights, job)
        wanted, losses = plainly(model, weights, digits, job)
        for mine, theirs in zip(trained.weights, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-5)
        np.testing.assert_allclose(trained.losses, losses, rtol=1e-5)


def jobs() -> list[Plan]:
    return [*(plan(batch) for batch in (5, 16, 33, 100, 1, 75)), plan(300, samples=1400)]


def ruled() -> list[Plan]:
    return [
        replace(plan(16), rule=Proximal(0.1)),
        replace(plan(33), rule=AutoTuned(2.0, 0.1, 1.0)),
        replace(plan(100), rule=Proximal(0.7)),
    ]


OPTIONS: dict[str, tuple[Objective, Descent]] = {
    "adamw": (CROSS_ENTROPY, Descent("adamw", weight_decay=0.1)),
    "rmsprop, cosine": (CROSS_ENTROPY, Descent("rmsprop", schedule="cosine")),
    "adagrad, clipped, smoothed, weighted": (
        Objective("cross-entropy", 0.1, tuple(range(1, 11))),
        Descent("adagrad", clip_norm=0.1),
    ),
    "nesterov, step": (CROSS_ENTROPY, Descent("sgd", 0.9, nesterov=True, schedule="step")),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_bytes_do_not_depend_on_company_whatever_is_asked_for(
    digits: Dataset, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    objective, descent = OPTIONS[option]
    # Totals of steps that differ, and clients that leave early.
    plans = [plan(5), plan(33), plan(100), plan(16, epochs=1), ruled()[0]]

    def engine(**given: Any) -> Engine:
        return Engine(model, digits, objective=objective, descent=descent, **given)

    alone = engine(workers=1)
    wanted = [alone.train(weights, job) for job in plans]
    monkeypatch.setattr(bank, "SECONDS", 1e-9)  # a row a chunk
    company = engine(workers=3, shops=1)
    with ThreadPoolExecutor(6) as pool:
        turned = list(pool.map(lambda job: company.train(weights, job), plans[::-1]))[::-1]
    assert all(same(one, other) for one, other in zip(wanted, turned, strict=True))
    beside = engine(workers=4, side_by_side=True)
    with ThreadPoolExecutor(6) as pool:
        turned = list(pool.map(lambda job: beside.train(weights, job), plans))
    for one, other in zip(wanted, turned, strict=True):
        for mine, theirs in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=5e-5)


@pytest.mark.parametrize(
    ("name", "plans"),
    [("cnn-small", jobs()), ("mlp-324-108-bn-dropout", jobs()), ("mlp", [*jobs(), *ruled()])],
    ids=["convolutions", "normalisation", "rules"],
)
def test_bytes_depend_on_no_lane_neighbour_chunk_or_number_of_lanes(
    digits: Dataset, name: str, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build(name, SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    alone = Engine(model, digits, workers=1)
    wanted = [alone.train(weights, job) for job in plans]
    for lanes, shops, seconds in ((3, 1, 1e-9), (7, 1, 0.1), (4, 2, 0.1)):
        monkeypatch.setattr(bank, "SECONDS", seconds)  # a row a chunk, or as many as there are
        engine = Engine(model, digits, workers=lanes, shops=shops)
        with ThreadPoolExecutor(8) as pool:
            turned = list(pool.map(lambda job: engine.train(weights, job), plans[::-1]))  # noqa: B023
        for one, other in zip(wanted, turned[::-1], strict=True):
            assert same(one, other), (lanes, shops, seconds)


def test_side_by_side_neighbours_change_nothing_but_rounding(digits: Dataset) -> None:
    model = models.build("cnn-small", SHAPE, CLASSES, 0)
    weights, plans = models.get_weights(model), [*jobs()[:4], ruled()[0]]
    engine = Engine(model, digits, workers=4, side_by_side=True)
    wanted = [engine.train(weights, job) for job in plans]
    with ThreadPoolExecutor(8) as pool:
        beside = list(pool.map(lambda job: engine.train(weights, job), plans[::-1]))[::-1]
    for one, other in zip(wanted, beside, strict=True):
        for mine, theirs in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


@BOTH
def test_a_diverging_neighbour_poisons_nobody(digits: Dataset, side_by_side: bool) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, descent=SGD, workers=4, side_by_side=side_by_side)
    good = plan(16, epochs=4)
    wanted = engine.train(weights, good)
    with ThreadPoolExecutor(4) as pool:
        plans = [plan(16, epochs=4, rate=1e30), good, plan(8, epochs=4, rate=1e30), good]
        found = list(pool.map(lambda job: engine.train(weights, job), plans))
    assert not np.isfinite(found[0].losses[-1]) and not np.isfinite(found[2].losses[-1])
    for trained in (found[1], found[3]):
        np.testing.assert_allclose(trained.losses, wanted.losses, rtol=1e-6)


def test_one_of_many_is_stopped_and_the_others_go_on(digits: Dataset) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, workers=4, shops=1)
    wanted = engine.train(weights, plan(16))
    with ThreadPoolExecutor(4) as pool:
        late = pool.submit(engine.train, weights, plan(1, epochs=2000), until=0.0)
        others = [pool.submit(engine.train, weights, plan(16)) for _ in range(3)]
        with pytest.raises(Stopped):
            late.result(60)
        assert all(same(other.result(60), wanted) for other in others)


def full(*_: Any, **__: Any) -> Any:
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")


@pytest.mark.parametrize("where", ["room", "enter", "send", "leave", "read", "bank"])
def test_a_device_without_room_ends_all_who_are_there_and_nobody_after(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, workers=2, shops=1)
    wanted = Engine(model, digits, workers=2, shops=1).train(weights, plan(16))
    with monkeypatch.context() as patch:
        if where == "room":
            patch.setattr(bank, "_room", full)
        elif where == "bank":
            patch.setattr(engine._workshops[0], "_make", full)
        elif where in ("send", "read"):
            patch.setattr(bank.Bank, f"_{where}", full)
        else:
            call = engine._compiling.call
            name = {"enter": "_enter", "leave": "_lane"}[where]

            def refuse(function: Any, key: Any, *arguments: Any) -> Any:
                inner = getattr(function, "__wrapped__", function)
                inner = getattr(inner, "func", inner)
                return full() if inner.__name__ == name else call(function, key, *arguments)

            patch.setattr(engine._compiling, "call", refuse)
        with ThreadPoolExecutor(2) as pool:
            ends = [pool.submit(engine.train, weights, plan(16)) for _ in range(2)]
            for end in ends:
                with pytest.raises(RunError, match=r"2 lanes.*set run\.workers"):
                    end.result(60)
    for held in engine._workshops[0]._banks.values():
        held._call = engine._compiling.call
    assert same(engine.train(weights, plan(16)), wanted)
    assert not engine._workshops[0].load


@pytest.mark.parametrize(
    ("lanes", "total", "says"),
    [
        (400, 50 * 2**20, r"run\.workers = 400: expected at most \d+, as many lanes of this model"),
        (1, 100_000, r"expected .* GiB or more there for the data and a lane"),
    ],
)
def test_more_lanes_than_fit_are_refused_before_anything_is_trained(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, lanes: int, total: int, says: str
) -> None:
    memory = type("Memory", (), {"total": total})
    monkeypatch.setattr("psutil.virtual_memory", memory)
    model = models.build("mlp", SHAPE, CLASSES, 0)
    with pytest.raises(InputError, match=says):
        Engine(model, digits, workers=lanes)
    if lanes > 1:
        assert 1 <= Engine(model, digits, shops=1).workers <= runtime.available_cores()


def test_a_caller_that_leaves_is_trained_no_further_and_holds_nobody_up(digits: Dataset) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, workers=2, shops=1)
    wanted = engine.train(weights, plan(16))
    work, left = engine._work, 3

    def interrupted(held: bank.Bank) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        work(held)

    engine._workshops[0]._work = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine.train(weights, plan(1, epochs=3000))
    engine._workshops[0]._work = work
    assert not engine._workshops[0].load
    assert not any(held.busy for held in engine._workshops[0]._banks.values())
    assert same(engine.train(weights, plan(16)), wanted)


def test_jobs_that_are_done_hold_no_memory_while_others_go_on(digits: Dataset) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, workers=4, shops=1)
    with ThreadPoolExecutor(4) as pool:
        long = pool.submit(engine.train, weights, plan(1, epochs=2000))
        for _ in range(5):
            pool.submit(engine.train, weights, plan(16)).result(60)
        assert not long.done() and engine._workshops[0].load == 1
        with pytest.raises(ZeroDivisionError), engine.interruptible():
            raise ZeroDivisionError
        with pytest.raises(Stopped):
            long.result(60)


def test_clients_with_tiles_of_another_size_take_turns(digits: Dataset) -> None:
    engine = Engine(build(FUNCTIONS["add_loss"]), digits, descent=SGD, workers=3, shops=1)
    weights = models.get_weights(build(FUNCTIONS["add_loss"]))
    assert engine._coupling is Coupling.WHOLE
    for batch in (16, 25):
        engine.train(weights, plan(batch))  # compiles
    with ThreadPoolExecutor(3) as pool:
        long = [pool.submit(engine.train, weights, plan(16, epochs=3000)) for _ in range(2)]
        pool.submit(engine.train, weights, plan(25)).result(60)
        assert not any(other.done() for other in long)
        with pytest.raises(ZeroDivisionError), engine.interruptible():
            raise ZeroDivisionError


COUPLED = {
    "activity regulariser": Coupling.WHOLE,
    "add_loss": Coupling.WHOLE,
    "normalised": Coupling.MASKED,
    "kernel regulariser": Coupling.NONE,
    "spectral normalisation": Coupling.NONE,
    "convolution": Coupling.NONE,
    "subclassed model": Coupling.NONE,
}


@pytest.mark.parametrize("name", COUPLED)
def test_how_samples_are_coupled_is_found_by_asking(digits: Dataset, name: str) -> None:
    assert Engine(build(FUNCTIONS[name]), digits)._coupling is COUPLED[name]


def test_weights_that_nobody_can_change_are_sent_once(digits: Dataset) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    engine = Engine(model, digits)
    own = models.get_weights(model)
    fixed = [np.frombuffer(w.tobytes(), w.dtype).reshape(w.shape) for w in own]
    assert engine._on_device(fixed)[0] is engine._on_device(fixed)[0]
    assert engine._on_device(own)[0] is not engine._on_device(own)[0]
    own[0][:] = 0
    assert not np.asarray(engine._on_device(own)[0]).any()


def test_kinds_of_training_that_nobody_asks_for_hold_no_lanes(digits: Dataset) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    engine = Engine(model, digits, workers=2, shops=1)
    plain, ruled_by = plan(16), replace(plan(16), rule=Proximal(0.1))
    first = engine.train(weights, plain)
    second = engine.train(weights, ruled_by)
    banks = engine._workshops[0]._banks
    assert [held.has_lanes for held in banks.values()] == [False, True]
    assert same(engine.train(weights, plain), first)
    assert [held.has_lanes for held in banks.values()] == [True, False]
    assert same(engine.train(weights, ruled_by), second)


def test_a_row_has_as_many_samples_as_memory_is_meant_for(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build("mlp", SHAPE, CLASSES, 0)
    weights = models.get_weights(model)
    rows: list[int] = []
    monkeypatch.setattr(bank, "fill", lambda *given: rows.append(given[2][1]) or fill(*given))
    wanted = Engine(model, digits, workers=1, side_by_side=True).train(weights, plan(300))
    assert set(rows) == {16}  # 75 samples are five tiles of 16
    rows.clear()
    monkeypatch.setattr(bank, "PLACES", 100)
    small = Engine(model, digits, workers=1, side_by_side=True).train(weights, plan(300))
    assert set(rows) == {4}
    for one, other in zip(wanted.weights, small.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_how_samples_are_coupled_is_asked_without_rounding(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, str]] = []

    def of(forward: object, dataset: Dataset) -> Coupling:
        asked.append((forward, jax.config.jax_default_matmul_precision))
        return Coupling.NONE

    monkeypatch.setattr("fedgen.engine.jax.coupling.of", of)
    model = models.build("mlp", SHAPE, CLASSES, 0)
    for precision in ("float32", "bfloat16"):
        engine = Engine(model, digits, workers=1, precision=precision)
        forward, said = asked.pop()
        assert said == "highest"
        assert (forward is engine._forward) == (precision == "float32")
