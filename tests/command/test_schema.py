"""The schema of a config against what reads one: neither takes what the other refuses."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import imported
from commands import run as fedgen
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from wrong_settings import RANGES, TYPES, UNKNOWN

from fedgen.command.schema import schema
from fedgen.config.sections import CENTRALISED
from fedgen.config.toml import merge, parse_setting, read_toml
from fedgen.config.tree import build, dump, sections
from fedgen.errors import InputError
from fedgen.runs.run import PROVENANCE
from strategies import REGISTRY, VARIANTS
from strategies.core.genes import KINDS

ROOT = Path(__file__).parents[2]
SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)

TREES = {
    str(path.relative_to(ROOT)): read_toml(path)
    for path in sorted((ROOT / "experiments").rglob("*.toml"))
}
COMPARED = {name: tree for name, tree in TREES.items() if "study" not in tree}


def takes(tree: dict[str, Any]) -> bool:
    """Whether a config is read."""
    try:
        build({name: part for name, part in tree.items() if name != PROVENANCE})
    except InputError:
        return False
    return True


def test_it_is_a_schema_and_refers_to_nothing() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    assert "$ref" not in text and "$id" not in SCHEMA and "null" not in text


@pytest.mark.parametrize("name", COMPARED)
def test_every_experiment_is_valid(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(COMPARED[name])] == []


def test_there_are_experiments_of_every_kind() -> None:
    assert len(COMPARED) > 100 and len(TREES) - len(COMPARED) == 7
    used = {name for tree in COMPARED.values() for name in tree}
    assert {"genes", "tournament", PROVENANCE} <= used


@pytest.mark.parametrize("name", sorted({*TREES} - {*COMPARED}))
def test_a_study_is_no_config(name: str) -> None:
    assert not VALIDATOR.is_valid(TREES[name])


def test_the_defaults_are_valid_and_are_the_config_s() -> None:
    tree = json.loads(json.dumps(dump(build({}))))
    assert VALIDATOR.is_valid(tree)
    for name, settings in tree.items():
        said = SCHEMA["properties"][name]["properties"]
        assert {key: said[key]["default"] for key in settings} == settings


def test_every_setting_is_there_and_says_what_it_is() -> None:
    known = sections()
    assert {*SCHEMA["properties"]} == {*known, "arms", PROVENANCE}
    for name, keys in known.items():
        section = SCHEMA["properties"][name]
        assert [*section["properties"]] == keys
        told = [section, *section["properties"].values()]
        assert all(part["description"].endswith(".") for part in told), name


CANNOT_TELL = {
    "run.rounds=10.0",  # a whole number, as JSON has no other
    "fedavg.learning_rate=inf",  # a number, as JSON has none that is not finite
    "data.dataset=cifar-10",  # may be a file
    "data.dataset=zzz",
    "data.dataset=hf:",
}


@pytest.mark.parametrize("setting", [*(setting for setting, _ in UNKNOWN), *TYPES, *RANGES])
def test_what_the_config_refuses_is_refused(setting: str) -> None:
    tree = merge({}, [parse_setting(setting)])
    assert not takes(tree)
    assert VALIDATOR.is_valid(tree) == (setting in CANNOT_TELL or setting.endswith("=nan"))


@pytest.mark.parametrize("section", sections())
def test_unknown_settings_are_refused(section: str) -> None:
    assert not VALIDATOR.is_valid({section: {"zzz": 3}}) and not VALIDATOR.is_valid({section: 3})


@pytest.mark.parametrize(
    ("names", "valid"),
    [
        *((name, True) for name in (*REGISTRY, *VARIANTS, CENTRALISED)),
        ("genetic-cfl+one-cluster+cma-es@elites=1/fedprox@mu=0.5", True),
        ("fedavg@1e-3, tournament@rates=[1e-3,1] ,mine:Strategy@share=1", True),
        (["fedavg@1e-3", "pbt/some.mine:Strategy"], True),
        (["fedavg", "fedavg"], False),
        ("fedavg,fedvag", False),
        ("fedavg fedprox", False),
        (["fedavg,fedprox"], False),
        (["mine:"], False),
        (3, False),
    ],
)
def test_names_of_strategies(names: object, valid: bool) -> None:
    tree = {"run": {"strategies": names}, "training": {"optimizer": "sgd"}}
    assert takes(tree) == valid == VALIDATOR.is_valid(tree)


@pytest.mark.parametrize(
    ("arm", "valid"),
    [
        ({"strategy": "fedprox", "mu": 0.1, "batch_size": 64}, True),
        ({"strategy": "genetic-cfl+probe/scaffold", "elites": 1}, True),
        ({"strategy": "fedavg-tuned", "search_rounds": 2}, True),
        ({"strategy": "mine:Strategy", "anything": 1}, True),
        ({"strategy": "fedprox", "nu": 0.1}, False),
        ({"strategy": "fedprox", "mu": -0.1}, False),
        ({"strategy": "fedavg", "mu": 0.1}, False),
        ({"strategy": "fedavg", "mu": {"low": 1}}, False),
        ({"strategy": "fedvag"}, False),
        ({"mu": 0.1}, False),
    ],
)
def test_tables_of_arms(arm: dict[str, object], valid: bool) -> None:
    tree = {"run": {"strategies": []}, "arms": [arm]}
    assert takes(tree) == valid == VALIDATOR.is_valid(tree)


@pytest.mark.parametrize("gene", KINDS)
def test_a_gene_s_range_is_that_of_its_kind(gene: str) -> None:
    kind = KINDS[gene]
    inside = {"low": 1.0, "high": 2.0} if kind.whole else {"low": 0.25, "high": 0.5}
    expected = [
        (inside | {"scale": "linear"}, True),
        (inside | {"low": kind.low, "scale": "linear"}, not kind.open_low),
        (inside | {"low": kind.low - 1}, False),
        (inside | {"high": 2.5 if kind.whole else "0.6"}, False),
        ({"low": 1}, False),
    ]
    if kind.high < math.inf:
        expected += [(inside | {"high": kind.high}, not kind.open_high)]
        expected += [(inside | {"high": kind.high + 1}, False)]
    for given_range, valid in expected:
        assert VALIDATOR.is_valid({"genes": {gene: given_range}}) == valid, given_range


SETTINGS = [(name, key) for name, keys in sections().items() for key in keys if name != "genes"]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(-1, 2),
    st.floats(),
    st.sampled_from(["auto", "none", "fedavg", "", "client-epochs=6", "samples = 1e3", "a:b"]),
    st.text(max_size=9),
    st.lists(st.integers(-1, 99) | st.floats(0, 1) | st.text(max_size=9), max_size=3),
    st.just({}),
)


@given(setting=st.sampled_from(SETTINGS), value=VALUES)
@example(setting=("training", "augmentation"), value=["flip", "flip"])
@example(setting=("model", "name"), value="mine:model")
@example(setting=("run", "budget"), value="samples=1_0e+2 ")
def test_what_is_refused_is_refused_by_the_config_as_well(
    setting: tuple[str, str], value: object
) -> None:
    name, key = setting
    tree = {name: {key: value}}
    assert VALIDATOR.is_valid(tree) or not takes(tree)


def test_the_command_prints_it_and_starts_no_framework(tmp_path: Path) -> None:
    result = fedgen(tmp_path, tmp_path, "schema", options=("-X", "importtime"))
    assert result.returncode == 0 and json.loads(result.stdout) == SCHEMA
    assert not imported(result.stderr) & {"tensorflow", "keras", "jax", "torch", "optuna"}
