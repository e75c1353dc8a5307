import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgen.config.sections import CENTRALISED, DATASETS, Faults
from fedgen.config.sections.model import MODELS
from fedgen.config.tree import build, dump
from fedgen.errors import InputError
from fedgen.federation.run_config import FLAT, from_run_config, to_run_config
from strategies import REGISTRY, VARIANTS

NEEDY = {"genetic-cfl+momentum", "genetic-cfl+cluster-models"}
"""They need something of other sections, which here are drawn without regard to them."""
STRATEGIES = tuple(name for name in (*REGISTRY, *VARIANTS, CENTRALISED) if name not in NEEDY)

ADAPTIVE = {"server_rate": 0.5, "beta_1": 0.0, "beta_2": 0.5, "tau": 1e-6}
DRAWN = {"rate_range": [1e-6, 0.1], "batch_range": [8, 8], "search_epochs": 2, "trials": 5}

EVERYTHING = {
    "data": {
        **{"dataset": '/a b/it\'s "x".npz', "data_dir": "/d\\e f", "validation_fraction": 0.25},
        **{"scale": 16.0, "layout": "channels-first", "standardise": True, "targets": "labels"},
        **{"labels": "coarse", "target": "a b", "client": "who", "test_fraction": 0.1},
    },
    "partition": {
        **{"kind": "given", "file": "/a b.json", "clients": 31, "min_samples": 3, "max_samples": 9},
        **{"alpha": 0.1, "labels_per_client": 3, "sigma": 1.5, "min_partition_size": 4},
    },
    "cohort": {"fraction": 0.7, "resample": True, "deadline": 2.5, "min_available": 3},
    "model": {"name": "mlp-324-108-bn-dropout", "weights": "/a b/it's.keras", "freeze": ["d*"]},
    "training": {
        **{"local_epochs": 3, "optimizer": "sgd", "momentum": 0.9, "deadline": 1.5},
        **{"engine": "jax", "precision": "bfloat16", "augmentation": ["flip", "mine:crop"]},
        **{"schedule": "cosine", "loss": "cross-entropy", "label_smoothing": 0.1},
        **{"class_weights": "balanced", "nesterov": True, "clip_norm": 1.5},
    },
    "devices": {
        **{"speed": "lognormal", "samples_per_second": 50.0, "spread": 0.1, "sigma": 1.0},
        "deadline": 9.0,
    },
    "aggregation": {"kind": "krum", "f": 2, "trim": 0.3, "clip_norm": 1.5},
    "privacy": {"clip_norm": 2.5, "noise_multiplier": 0.5, "delta": 1e-6},
    "messages": {"compression": "int8"},
    "faults": {**dict.fromkeys(set(Faults.model_fields) - {"factor"}, 1), "factor": 3.0},
    "run": {
        "rounds": 4,
        "seed": 2**62,
        "seeds": 3,
        "strategies": ["centralised", "pbt/fedavg"],
        "workers": 2,
        "evaluate_every": 3,
        "target": 0.9,
        "metric": "cost",
        "better": "lower",
        "metrics": ["mine:cost", "mine.other:gain"],
        "patience": "bytes=1e9",
        "personalise": "rounds",
        "budget": "client-epochs=600",
    },
    "genetic-cfl": {
        "init": "probe",
        "rates": [1e-6, 0.1],
        **{"fitness": "improvement", "common_samples": 9, "horizon": 3, "floor": 0.5},
        "eps": 1e-300,
        "min_samples": 3,
        "elites": 1,
        "mutation": 0.2,
        "recluster_every": 5,
        "deal": "index",
        "weighting": "uniform",
        "mutation_scale": "log",
        "log_width": 0.3,
        **{"crossover": "average", "move_every": 3, "age_limit": 4, "schedule": "cosine"},
        "migrate_every": 2,
        **{"fitness_window": 1, "rank_halflife": 2.5, "racing": 1.5},
        "evolve_epochs": True,
        "evolve_momentum": True,
        "control": "no-mutation",
    },
    "fedavg": {"learning_rate": 1e-7, "batch_size": 8},
    "fedavg-tuned": {
        "learning_rates": [1e-5, 0.3],
        "batch_sizes": [8],
        "search_rounds": 2,
        "search_epochs": 3,
    },
    "optuna-tpe": {**DRAWN, "search_rounds": 2},
    "optuna-asha": {**DRAWN, "max_rounds": 8, "reduction": 2},
    "fedavg-decay": {"learning_rate": 0.5, "batch_size": 9, "horizon": 3, "floor": 0.5},
    "fedavgm": {"learning_rate": 0.5, "batch_size": 9, "server_rate": 0.5, "momentum": 0.0},
    "fedadam": {"learning_rate": 0.5, "batch_size": 9, **ADAPTIVE},
    "fedyogi": {"learning_rate": 0.5, "batch_size": 9, **ADAPTIVE},
    "fednova": {"learning_rate": 0.5, "batch_size": 9},
    "random-search": {"rates": [1e-6, 0.1]},
    "pbt": {
        **{"fitness": "improvement", "quantile": 0.5, "redraw": 0.25, "every": 2},
        "rates": [1e-6, 0.1],
    },
    "fedex": {
        **{"configurations": 3, "schedule": "adaptive", "baseline": 0.5},
        "rates": [1e-6, 0.1],
    },
    "tournament": {
        **{"entrants": 2, "every": 3, "halflife": 0.5, "init": "grid", "rates": [1e-6, 0.1]}
    },
    "fedprox": {"learning_rate": 1e-7, "batch_size": 8, "mu": 0.0},
    "cyclic": {"learning_rate": 1e-7, "batch_size": 8, "average": "last"},
    "scaffold": {"learning_rate": 1e-7, "batch_size": 8, "global_rate": 0.5},
    "delta-sgd": {
        "initial_rate": 1e-7,
        "gamma": 1.0,
        "delta": 0.02,
        "theta": 0.5,
        "batch_size": 8,
    },
    "ifca": {"learning_rate": 1e-7, "batch_size": 8, "models": 3},
    "genes": {
        "learning_rate": {"low": 1e-5, "high": 0.1, "scale": "log"},
        **dict.fromkeys(("batch_size", "local_epochs"), {"low": 1.0, "high": 4.0, "scale": "log"}),
        "mu": {"low": 0.0, "high": 1.0, "scale": "linear"},
    },
    "centralised": {"learning_rate": 0.1 + 0.2, "batch_size": 128},
}
SAME = (("privacy", "kind"), ("genetic-cfl", "models"), ("training", "weight_decay"))
SAME += (("genetic-cfl", "fitness_window"), ("genetic-cfl", "move"))
"""Privacy and models of clusters go with no aggregation but the mean, nesterov with sgd alone."""
DECAYING = {"training": {"optimizer": "adamw", "weight_decay": 0.25}}
PRIVATE = {"privacy": {"kind": "local"}}
IN_PLACE = {
    "model": {
        "name": "layers",
        "hidden_layers": [30, 20],
        "activation": "tanh",
        "batch_norm": True,
        "dropout": 0.25,
        "initialiser": "normal",
        "stddevs": [0.1, 0.2],
    }
}

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
            {"optimizer": st.just("sgd")}, optional={"momentum": st.floats(0, 0.999)}
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


def test_the_app_s_defaults_are_the_config_s() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    app = project["tool"]["flwr"]["app"]
    assert app["config"] == to_run_config(build({}))
    assert from_run_config(app["config"]) == build({})
    assert set(app["config"]) == {*FLAT, "set", "out", "resume"}


def test_the_example_changes_every_setting() -> None:
    changed, defaults = dump(build(EVERYTHING)), dump(build({}))
    for section, part in defaults.items():
        for key, value in part.items():
            assert changed[section][key] != value or (section, key) in SAME, (section, key)


@pytest.mark.parametrize(
    "tree",
    [{}, EVERYTHING, PRIVATE, IN_PLACE, DECAYING],
    ids=["defaults", "everything", "private", "in place", "decaying"],
)
def test_round_trip(tree: dict[str, Any]) -> None:
    config = build(tree)
    assert from_run_config(to_run_config(config)) == config


@settings(max_examples=50, deadline=None)
@given(trees)
def test_any_config_comes_back(tree: dict[str, Any]) -> None:
    config = build(tree)
    flat = to_run_config(config)
    assert all(type(value) in (str, int, float, bool) for value in flat.values())
    assert all(type(key) is str for key in flat)
    assert from_run_config(flat) == config


def test_flags_of_flwr_run_are_read() -> None:
    config = from_run_config(
        {"strategy": "genetic-cfl", "rounds": 3, "set": "genetic-cfl.init=probe run.workers=2"}
    )
    assert (config.run.strategies, config.run.rounds) == (("genetic-cfl",), 3)
    assert (config.section_of("genetic-cfl")["init"], config.run.workers) == ("probe", 2)


def test_equal_run_configs_give_the_same_object() -> None:
    flat = to_run_config(build(EVERYTHING))
    assert from_run_config(flat) is from_run_config(dict(reversed(flat.items())))


@pytest.mark.parametrize(
    ("flat", "says"),
    [
        ({"rounds": 0}, "run.rounds"),
        ({"model": "cn"}, "did you mean 'cnn'"),
        ({"strategy": "fedavq"}, "did you mean 'fedavg'"),
        ({"set": "run.rounds"}, "SECTION.KEY=VALUE"),
        ({"set": "rum.x=1"}, "did you mean 'run'"),
        ({"set": "'"}, "no closing quotation"),
        ({"clients": "9"}, "partition.clients"),
        ({"datset": "digits"}, "did you mean 'dataset'"),
    ],
)
def test_wrong_values_are_input_errors(flat: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_run_config(flat)
