"""One strategy at several settings: by name, as tables of a config, swept over."""

from datetime import date
from pathlib import Path

import pytest

from fedgen.comparison.request import read
from fedgen.config.arms import swept
from fedgen.config.tree import build, dump
from fedgen.errors import InputError
from fedgen.federation.run_config import from_run_config, to_run_config

LISTED = [
    "fedavg",
    "fedavg@1e-2",
    "fedavg@batch_size=64@learning_rate=0.1",
    "tournament@rates=[1e-3,1]/fedprox@mu=0.5",
    "centralised@1e-2",
]


def test_a_name_lays_its_settings_over_the_section_of_what_it_stands_behind() -> None:
    config = build({"fedavg": {"batch_size": 16}, "run": {"strategies": LISTED}})
    sections = [config.section_of(name) for name in LISTED]
    rates = [section.get("learning_rate") for section in sections]
    assert rates == [1e-4, 1e-2, 0.1, None, 1e-2]
    assert [section.get("batch_size") for section in sections] == [16, 16, 64, None, 32]
    tuner, trained = sections[3], config.trained_section_of(LISTED[3])
    assert (tuner["rates"], tuner["entrants"]) == ([1e-3, 1], 7)
    assert (trained["mu"], trained["learning_rate"]) == (0.5, 1e-4)
    assert config.section_of("fedavg") == config.trained_section_of("fedavg")


def test_names_with_settings_go_through_text_files_and_flower(tmp_path: Path) -> None:
    config = build({"run": {"strategies": ",".join(LISTED)}})
    assert list(config.run.strategies) == LISTED
    assert build(dump(config)) == config
    assert from_run_config(to_run_config(config)) == config


TABLES = """
[run]
strategies = ["pbt"]

[[arms]]
strategy = "fedavg"
learning_rate = 1e-2

[[arms]]
strategy = "tournament/fedprox@mu=0.5"
init = "grid"
rates = [1e-3, 1.0]

[[arms]]
strategy = "fedavg"
"""


def test_tables_of_a_config_are_names(tmp_path: Path) -> None:
    file = tmp_path / "arms.toml"
    file.write_text(TABLES)
    names = [
        *("pbt", "fedavg@learning_rate=0.01"),
        *("tournament@init=grid@rates=[0.001,1.0]/fedprox@mu=0.5", "fedavg"),
    ]
    assert list(read(file, []).config.run.strategies) == names
    asked = read(file, [("run", "strategies", "fedavg")])
    assert list(asked.config.run.strategies) == ["fedavg"], "what is asked for is all"
    file.write_text(TABLES.replace('[run]\nstrategies = ["pbt"]\n', ""))
    assert list(read(file, []).config.run.strategies) == names[1:]


@pytest.mark.parametrize(
    ("names", "sweeps", "expected"),
    [
        (
            ["genetic-cfl", "fedavg"],
            ["fedavg.learning_rate=1e-3,1e-2"],
            ["genetic-cfl", "fedavg@learning_rate=1e-3", "fedavg@learning_rate=1e-2"],
        ),
        (
            ["fedavg"],
            ["fedavg.batch_size=16,32", "fedavg.learning_rate=1,2"],
            [f"fedavg@batch_size={b}@learning_rate={r}" for b in (16, 32) for r in (1, 2)],
        ),
        (
            ["pbt/fedprox", "fedprox"],
            ["fedprox.mu=0.1,1"],
            ["pbt/fedprox@mu=0.1", "pbt/fedprox@mu=1", "fedprox@mu=0.1", "fedprox@mu=1"],
        ),
        (
            ["genetic-cfl+probe/fedavgm"],
            ["genetic-cfl.rates=[1e-4,1e-3],[1e-3,1e-2]"],
            [f"genetic-cfl+probe@rates={r}/fedavgm" for r in ("[1e-4,1e-3]", "[1e-3,1e-2]")],
        ),
    ],
)
def test_a_sweep_is_one_name_for_each_value(
    names: list[str], sweeps: list[str], expected: list[str]
) -> None:
    assert swept(names, sweeps) == expected
    assert list(build({"run": {"strategies": expected}}).run.strategies) == expected


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"arms": {"strategy": "fedavg"}}, "expected [[arms]], tables of a strategy each, rec"),
        ({"arms": ["fedavg"]}, "received 'fedavg' as number 1"),
        ({"arms": [{"learning_rate": 1}]}, "arms: expected a table with a strategy's name"),
        ({"arms": [{"strategy": "fedavg", "a": {"b": 1}}]}, "a: expected a value, received a t"),
        ({"arms": [{"strategy": "fedavg", "mu": 1}]}, "fedavg@mu=1: fedavg: unknown setting 'mu'"),
        ({"arms": [{"strategy": "fedavg+x"}]}, "arms: unknown strategy 'fedavg+x'"),
        ({"arms": [{"strategy": "fedavg", "x": [[1], [2]]}]}, "[[1], [2]] cannot be written in a"),
        ({"arms": [{"strategy": "fedavg", "x": "a,b"}]}, "'a,b' cannot be written in a name"),
        ({"arms": [{"strategy": "fedavg", "x": date(2026, 1, 1)}]}, "arms: "),
        ({"arms": [{"strategy": "fedavg@"}]}, "arms: fedavg@: expected a learning rate or SETTI"),
        ({"arms": [{"strategy": "fedvag"}]}, "unknown strategy 'fedvag': did you mean 'fedavg'?"),
        (
            {"run": {"strategies": ["fedavg@1e-3", "fedprox", "fedavg@0.001"]}},
            "the same arm twice: fedavg@1e-3 and fedavg@0.001",
        ),
        (
            {"run": {"strategies": ["fedavg@1e-3@batch_size=8", "fedavg@batch_size=8@0.001"]}},
            "the same arm twice: fedavg@1e-3@batch_size=8 and fedavg@batch_size=8@0.001",
        ),
        (
            {"run": {"strategies": ["genetic-cfl+probe+cma-es", "genetic-cfl+cma-es+probe"]}},
            "the same arm twice: genetic-cfl+probe+cma-es and genetic-cfl+cma-es+probe",
        ),
        ({"run": {"strategies": ["fedavg@-1"]}}, "fedavg@-1: fedavg.learning_rate: input should"),
        ({"run": {"strategies": ["pbt@1e-3"]}}, "pbt@1e-3: pbt: unknown setting 'learning_rate'"),
        ({"run": {"strategies": ["pbt/fedprox@mu=-1"]}}, "pbt/fedprox@mu=-1: fedprox.mu: input"),
        ({"run": {"strategies": ["pbt@every=0/fedavg"]}}, "pbt@every=0/fedavg: pbt.every: input"),
        ({"run": {"strategies": ["centralised@-1"]}}, "centralised@-1: centralised.learning_rate"),
    ],
)
def test_what_is_wrong_is_one_line(tree: dict[str, object], why: str) -> None:
    with pytest.raises(InputError) as refused:
        build(tree)
    assert why in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        ("fedavg.learning_rate=", "expected STRATEGY.SETTING=VALUE,VALUE,..., as in fedavg.lea"),
        ("fedavg.learning_rate", "expected STRATEGY.SETTING=VALUE,VALUE,..., as in fedavg.learn"),
        ("learning_rate=1,2", "setting 'learning_rate': expected SECTION.KEY"),
        ("training.local_epochs=1,2", "expected the section of a strategy that is compared"),
        ("fedavg.learning_rate=1,2", "fedavg@learning_rate=3@learning_rate=1: learning_rate is g"),
        ("fedavg.learning_rate=a/b", "'a/b' cannot be written in a name: expected a number, a w"),
        ("fedavg.mu=1,2", "unknown setting 'mu'"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(sweep: str, why: str) -> None:
    names = "fedavg@learning_rate=3" if sweep == "fedavg.learning_rate=1,2" else "fedavg"
    with pytest.raises(InputError) as refused:
        read(None, [("run", "strategies", names)], sweeps=[sweep])
    assert why in str(refused.value)
