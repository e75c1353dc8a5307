from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgen.config import CENTRALISED, DATASETS, MODELS, Config, build, dump
from fedgen.errors import InputError
from fedgen.runconfig import Arm, from_run_config, to_run_config
from strategies import REGISTRY

STRATEGIES = (*REGISTRY, CENTRALISED)

EVERYTHING = {
    "data": {"dataset": '/a b/it\'s "x".npz', "data_dir": "/d\\e f", "validation_fraction": 0.25},
    "partition": {"clients": 11, "min_samples": 3, "max_samples": 9},
    "cohort": {"fraction": 0.7, "resample": True},
    "model": {"name": "mlp-324-108-bn-dropout"},
    "training": {"local_epochs": 3, "optimizer": "sgd", "momentum": 0.9},
    "run": {
        "rounds": 4,
        "seed": 2**62,
        "seeds": 3,
        "strategies": ["centralised", "fedavg"],
        "workers": 2,
    },
    "genetic-cfl": {
        "init": "probe",
        "fitness": "improvement",
        "eps": 1e-300,
        "min_samples": 3,
        "elites": 1,
        "mutation": 0.2,
        "recluster_every": 5,
        "deal": "index",
        "weighting": "uniform",
    },
    "fedavg": {"learning_rate": 1e-7, "batch_size": 8},
    "centralised": {"learning_rate": 0.1 + 0.2, "batch_size": 128},
}
ONLY_CHOICE = ("partition", "kind")

paths = st.text(st.characters(codec="utf-8"))
counts = st.integers(1, 2**31 - 1)
rates = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
fixed = st.fixed_dictionaries({}, optional={"learning_rate": rates, "batch_size": counts})
trees = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "dataset": st.one_of(
                    st.sampled_from(DATASETS), paths.map(lambda text: f"{text}.npz")
                ),
                "data_dir": paths,
                "validation_fraction": st.floats(0.001, 0.999),
            },
        ),
        "partition": st.fixed_dictionaries({}, optional={"clients": st.integers(100, 10**9)}),
        "cohort": st.fixed_dictionaries(
            {}, optional={"fraction": st.floats(0.01, 1), "resample": st.booleans()}
        ),
        "model": st.fixed_dictionaries({}, optional={"name": st.sampled_from(MODELS)}),
        "training": st.fixed_dictionaries(
            {}, optional={"optimizer": st.just("sgd"), "momentum": st.floats(0, 0.999)}
        ),
        "run": st.fixed_dictionaries(
            {},
            optional={
                "rounds": counts,
                "seed": st.integers(0, 2**62),
                "strategies": st.lists(st.sampled_from(STRATEGIES), min_size=1, unique=True),
                "workers": st.integers(0, 99),
            },
        ),
        "genetic-cfl": st.fixed_dictionaries(
            {},
            optional={
                "init": st.sampled_from(["probe", "reference"]),
                "eps": rates,
                "mutation": st.floats(0, 0.999),
            },
        ),
        "fedavg": fixed,
        "centralised": fixed,
    },
)


def test_defaults_are_short() -> None:
    assert to_run_config(Arm(Config(), "fedavg", 0)) == {
        "rounds": 10,
        "dataset": "cifar10",
        "data-dir": "",
        "model": "cnn",
        "clients": 100,
        "fraction": 0.3,
        "seed": 0,
        "strategy": "fedavg",
        "set": "",
    }


def test_the_example_changes_every_setting() -> None:
    changed, defaults = dump(build(EVERYTHING)), dump(Config())
    for section, part in defaults.items():
        for key, value in part.items():
            assert changed[section][key] != value or (section, key) == ONLY_CHOICE, (section, key)


@pytest.mark.parametrize("tree", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_round_trip(tree: dict[str, Any], strategy: str) -> None:
    config = build(tree)
    arm = Arm(config, strategy, config.run.seed)
    assert from_run_config(to_run_config(arm)) == arm


@settings(max_examples=50, deadline=None)
@given(trees, st.sampled_from(STRATEGIES))
def test_any_config_comes_back(tree: dict[str, Any], strategy: str) -> None:
    config = build(tree)
    arm = Arm(config, strategy, config.run.seed)
    flat = to_run_config(arm)
    assert all(type(value) in (str, int, float, bool) for value in flat.values())
    assert all(type(key) is str for key in flat)
    assert from_run_config(flat) == arm


def test_the_arm_of_a_later_seed_carries_its_own_seed() -> None:
    config = build({"run": {"seed": 5, "seeds": 3}})
    flat = to_run_config(Arm(config, "fedavg", 7))
    assert flat["seed"] == 7
    assert from_run_config(flat).seed == 7
    assert from_run_config(flat).name == "fedavg-seed7"


def test_flags_of_flwr_run_are_read() -> None:
    arm = from_run_config(
        {"strategy": "genetic-cfl", "rounds": 3, "set": "genetic-cfl.init=probe run.workers=2"}
    )
    assert (arm.strategy, arm.config.run.rounds) == ("genetic-cfl", 3)
    assert (arm.config.genetic_cfl.init, arm.config.run.workers) == ("probe", 2)


def test_equal_run_configs_give_the_same_object() -> None:
    flat = to_run_config(Arm(build(EVERYTHING), "fedavg", 2**62))
    assert from_run_config(flat) is from_run_config(dict(reversed(flat.items())))


@pytest.mark.parametrize(
    "flat",
    [{"rounds": 0}, {"model": "cn"}, {"set": "run.rounds"}, {"set": "rum.x=1"}, {"clients": "9"}],
)
def test_wrong_values_are_input_errors(flat: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        from_run_config(flat)
