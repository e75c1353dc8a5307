import pytest
from pydantic import ValidationError
from wrong_settings import RANGES, TYPES, UNKNOWN

from fedgen.config.sections import CENTRALISED
from fedgen.config.toml import merge, parse_setting
from fedgen.config.tree import Config, build, dump
from fedgen.errors import InputError
from strategies import REGISTRY

FIXED = {"learning_rate": 1e-4, "batch_size": 32}
DESIGNED = {"rates": [1e-7, 1e-3]}
DRAWN = {"rate_range": [1e-5, 1e-2], "batch_range": [16, 128], "search_epochs": 1}

DEFAULTS = {
    "data": {
        **{"dataset": "cifar10", "data_dir": "", "scale": "auto", "layout": "auto"},
        **{"standardise": False, "targets": "auto", "labels": "", "target": "", "client": ""},
        **{"test_fraction": 0.2, "validation_fraction": 0.1},
    },
    "partition": {
        **{"kind": "contiguous", "clients": 100, "file": ""},
        **{"min_samples": 0, "max_samples": 0},
        **{"alpha": 1.0, "min_partition_size": 10, "labels_per_client": 2, "sigma": 0.5},
    },
    "cohort": {"fraction": 0.3, "resample": False, "deadline": 60.0, "min_available": 0},
    "model": {"name": "cnn"},
    "training": {"local_epochs": 2, "optimizer": "adam", "momentum": 0.0, "deadline": 0.0}
    | {"nesterov": False, "weight_decay": "auto", "clip_norm": 0.0, "schedule": "constant"}
    | {"loss": "auto", "label_smoothing": 0.0, "class_weights": "none"}
    | {"engine": "auto", "precision": "float32", "augmentation": []},
    "devices": {
        **{"speed": "none", "samples_per_second": 100.0, "spread": 0.5, "sigma": 0.5},
        "deadline": 0.0,
    },
    "aggregation": {"kind": "mean", "f": 1, "trim": 0.2, "clip_norm": 0.0},
    "privacy": {"kind": "none", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5},
    "messages": {"compression": "none"},
    "faults": {
        **dict.fromkeys(("crash", "hang", "nan", "inf", "wrong_shape", "wrong_dtype"), 0),
        **dict.fromkeys(("missing_key", "extra_key", "negative_examples", "nan_examples"), 0),
        **dict.fromkeys(("zero_examples", "absurd_examples", "wrong_rate", "wrong_batch"), 0),
        **dict.fromkeys(("sign_flip", "scale", "duplicate", "late"), 0),
        "factor": 10.0,
    },
    "run": {
        "rounds": 10,
        "seed": 0,
        "seeds": 1,
        "strategies": ["genetic-cfl", "fedavg"],
        "workers": 0,
        "evaluate_every": 1,
        "metric": "auto",
        "better": "auto",
        "metrics": [],
        "target": 0.0,
        "patience": "",
        "personalise": "none",
        "budget": "",
    },
    "genetic-cfl": {
        "init": "random",
        **{"fitness": "validation", "common_samples": 256},
        "eps": 0.15,
        "min_samples": 2,
        "elites": 2,
        "mutation": 0.1,
        "recluster_every": 0,
        "deal": "owner",
        "weighting": "samples",
        "mutation_scale": "step",
        "log_width": 0.1,
        **{"crossover": "none", "move": "genetic", "move_every": 1, "age_limit": 0},
        "migrate_every": 0,
        **{"fitness_window": 1, "rank_halflife": 0.0, "racing": 0.0},
        **{"schedule": "none", "horizon": 10, "floor": 0.01},
        **{"evolve_epochs": False, "evolve_momentum": False},
        "models": "global",
        "control": "none",
        "rates": [1e-7, 1e-3],
    },
    "fedavg": FIXED,
    "fedavg-tuned": {
        "learning_rates": [1e-2, 1e-3, 1e-4, 1e-5],
        "batch_sizes": [16, 64],
        "search_rounds": 1,
        "search_epochs": 1,
    },
    "optuna-tpe": {**DRAWN, "trials": 24, "search_rounds": 1},
    "optuna-asha": {**DRAWN, "trials": 9, "max_rounds": 6, "reduction": 3},
    "fedavg-decay": {**FIXED, "horizon": 10, "floor": 0.01},
    "fedavgm": {**FIXED, "server_rate": 1.0, "momentum": 0.9},
    "fedadam": {**FIXED, "server_rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3},
    "fedyogi": {**FIXED, "server_rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3},
    "fednova": FIXED,
    "random-search": DESIGNED,
    "pbt": {"fitness": "validation", "quantile": 0.2, "redraw": 0.0, "every": 1, **DESIGNED},
    "fedex": {"configurations": 16, "schedule": "aggressive", "baseline": 0.0, **DESIGNED},
    "tournament": {
        **{"entrants": 7, "every": 1, "halflife": 1.0, "init": "spread", "rates": [1e-4, 1e-1]}
    },
    "fedprox": {"learning_rate": 1e-4, "batch_size": 32, "mu": 0.01},
    "cyclic": {"learning_rate": 1e-3, "batch_size": 0, "average": "snapshots"},
    "scaffold": {"learning_rate": 0.1, "batch_size": 32, "global_rate": 1.0},
    "delta-sgd": {
        "initial_rate": 0.2,
        "gamma": 2.0,
        "delta": 0.1,
        "theta": 1.0,
        "batch_size": 32,
    },
    "ifca": {"learning_rate": 1e-4, "batch_size": 32, "models": 2},
    "centralised": FIXED,
}


def refusal(*assignments: str) -> str:
    with pytest.raises(InputError) as caught:
        build(merge({}, [parse_setting(text) for text in assignments]))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_the_documented_ones() -> None:
    assert dump(build({})) == DEFAULTS


def test_config_is_frozen_all_the_way_down() -> None:
    with pytest.raises(ValidationError):
        Config().run = Config().run  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Config().run.rounds = 3  # type: ignore[misc]


def test_later_settings_win_and_the_tree_stays_as_it_was() -> None:
    tree = {"run": {"rounds": 3, "seed": 7}}
    merged = merge(tree, [("run", "rounds", 4), ("run", "rounds", 5), ("model", "name", "mlp")])
    assert merged == {"run": {"rounds": 5, "seed": 7}, "model": {"name": "mlp"}}
    assert tree == {"run": {"rounds": 3, "seed": 7}}
    config = build(merged)
    assert (config.run.rounds, config.run.seed, config.run.seeds) == (5, 7, 1)


@pytest.mark.parametrize(("setting", "parts"), UNKNOWN)
def test_unknown_names_are_refused_with_a_hint(setting: str, parts: list[str]) -> None:
    message = refusal(setting)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("section", DEFAULTS)
def test_every_section_refuses_unknown_keys(section: str) -> None:
    assert f"{section}: unknown setting 'zzz': expected one of" in refusal(f"{section}.zzz=3")


@pytest.mark.parametrize("setting", TYPES)
def test_types_and_choices_must_match(setting: str) -> None:
    name = setting.partition("=")[0]
    message = refusal(setting)
    assert name in message and "received" in message


@pytest.mark.parametrize("setting", RANGES)
def test_ranges(setting: str) -> None:
    name, _, value = setting.partition("=")
    message = refusal(setting)
    assert name in message and "received" in message
    if value != "nan":
        assert str(parse_setting(setting)[2]) in message


def test_the_smallest_and_largest_values_are_accepted() -> None:
    accepted = [
        "run.rounds=1",
        "run.seeds=1",
        "run.workers=0",
        "partition.clients=1",
        "cohort.fraction=1",
        "fedavg.learning_rate=1e-300",
        "fedavg.batch_size=1",
        "genetic-cfl.elites=0",
        "genetic-cfl.mutation=0",
    ]
    config = build(merge({}, [parse_setting(text) for text in accepted]))
    assert (config.partition.clients, config.cohort.fraction) == (1, 1.0)


@pytest.mark.parametrize(
    ("clients", "fraction"), [(1, 0.3), (9, 0.1), (3, 0.33), (100, 0.0099), (1, 1e-300)]
)
def test_an_empty_cohort_is_refused(clients: int, fraction: float) -> None:
    message = refusal(f"partition.clients={clients}", f"cohort.fraction={fraction!r}")
    assert "cohort would be empty" in message and f"x {clients}" in message


@pytest.mark.parametrize(
    ("clients", "fraction"), [(10, 0.1), (3, 1 / 3), (100, 0.01), (49, 1 / 49)]
)
def test_a_cohort_of_one_is_accepted(clients: int, fraction: float) -> None:
    tree = {"partition": {"clients": clients}, "cohort": {"fraction": fraction}}
    assert build(tree).cohort.fraction == fraction


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["training.nesterov=true"], ["training: nesterov", "'sgd'", "with 'adam' and 0"]),
        (
            ["training.nesterov=true", "training.optimizer=sgd"],
            ["momentum over 0", "with 'sgd' and 0"],
        ),
        (
            ["training.weight_decay=0.01"],
            ["training: weight_decay", "'adamw'", "received 0.01 with 'adam'"],
        ),
        (["training.weight_decay=0", "training.optimizer=sgd"], ["received 0 with 'sgd'"]),
    ],
)
def test_what_an_optimizer_has_not_is_refused(settings: list[str], parts: list[str]) -> None:
    message = refusal(*settings)
    for part in parts:
        assert part in message


def test_what_an_optimizer_has_is_accepted() -> None:
    given = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True}
    assert build({"training": given}).training.nesterov
    for decay in ("auto", 0, 0.1):
        given = {"optimizer": "adamw", "weight_decay": decay}
        assert build({"training": given}).training.weight_decay == decay


@pytest.mark.parametrize("strategy", ["scaffold", "fednova", "delta-sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_schedule_is_refused_where_one_rate_is_reckoned_with(
    strategy: str, schedule: str
) -> None:
    asked = f"training.schedule={schedule}", f"run.strategies=fedavg,{strategy}"
    message = refusal(*asked)
    assert f"training.schedule = '{schedule}'" in message
    assert f"run.strategies = '{strategy}'" in message and "expected 'constant'" in message
    others = [*REGISTRY, CENTRALISED]
    kept = [name for name in others if name not in ("scaffold", "fednova", "delta-sgd")]
    build({"training": {"schedule": schedule}, "run": {"strategies": kept}})


def test_slice_lengths_must_be_ordered() -> None:
    assert "received 5 and 5" in refusal("partition.min_samples=5", "partition.max_samples=5")
    build({"partition": {"min_samples": 5, "max_samples": 6}})


@pytest.mark.parametrize("names", ["", ",", "fedavg,fedavg"])
def test_strategies_must_be_there_and_differ(names: str) -> None:
    assert "expected one or more different strategies" in refusal(f'run.strategies="{names}"')


def test_strategies_may_be_a_list_or_comma_separated() -> None:
    expected = ("centralised", "fedavg")
    for value in (["centralised", "fedavg"], "centralised,fedavg", " centralised , fedavg "):
        assert build({"run": {"strategies": value}}).run.strategies == expected


def test_a_section_must_be_a_table() -> None:
    with pytest.raises(InputError, match="run: .*received 3"):
        build({"run": 3})
    with pytest.raises(InputError, match=r"^my\.toml: run\.rounds"):
        build({"run": {"rounds": 0}}, "my.toml")


def test_metrics_of_ones_own_have_names_that_are_free() -> None:
    assert "expected a function of a name that is free" in refusal("run.metrics=mine:macro_f1")
    assert "expected functions of different names" in refusal("run.metrics=a:cost,b:cost")
    assert "expected MODULE:NAME of a function" in refusal("run.metrics=cost")


def test_who_takes_part_of_a_known_partition_is_checked_when_it_is_known() -> None:
    built = build({"partition": {"kind": "natural"}, "cohort": {"fraction": 0.001}})
    with pytest.raises(ValueError, match="the cohort would be empty"):
        built.check_cohort()


def test_momentum_is_sgd_s() -> None:
    assert "momentum: expected 0 without optimizer 'sgd', received 0.9 with 'adam'" in refusal(
        "training.momentum=0.9"
    )


def test_lists_of_names_may_be_text_with_commas() -> None:
    built = build(merge({}, [parse_setting("training.augmentation=flip, crop")]))
    assert built.training.augmentation == ("flip", "crop")


@pytest.mark.parametrize("key", ["budget", "patience"])
def test_amounts_have_units(key: str) -> None:
    assert f"run.{key}: expected UNIT=AMOUNT, as in client-epochs=600, received 5" in refusal(
        f"run.{key}=5"
    )
