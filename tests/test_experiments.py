"""The shipped experiments are complete and say what they claim."""

import tomllib
from pathlib import Path

import pytest

from fedgen.config import Config, build, dump

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "experiments").glob("*mlp*.toml"))
EXPERIMENTS = sorted({*(ROOT / "experiments").glob("*.toml")} - {*STUDIES})


def test_the_three_experiments_ship() -> None:
    assert [path.stem for path in EXPERIMENTS] == ["cifar10", "digits", "mnist"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_setting_stands_in_the_file(path: Path) -> None:
    tree = tomllib.loads(path.read_text())
    assert dump(build(tree)) == tree
    assert tree["data"]["dataset"] == path.stem


def test_the_cifar10_experiment_is_the_default() -> None:
    tree = tomllib.loads((ROOT / "experiments" / "cifar10.toml").read_text())
    assert build(tree) == Config()
