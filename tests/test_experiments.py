"""The shipped experiments are complete and say what they claim."""

import tomllib
from pathlib import Path

import pytest

from fedgen.config.toml import read_toml
from fedgen.config.tree import build, dump

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "experiments").glob("*mlp*.toml"))
EXPERIMENTS = sorted({*(ROOT / "experiments").glob("*.toml")} - {*STUDIES})


def test_the_experiments_ship() -> None:
    assert [path.stem for path in EXPERIMENTS] == [
        *("cifar10", "digits", "higher_rates", "mnist", "tournament")
    ]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_setting_stands_in_the_file(path: Path) -> None:
    tree = tomllib.loads(path.read_text())
    assert dump(build(tree)) == tree
    named = path.stem if path.stem not in ("higher_rates", "tournament") else "mnist"
    assert tree["data"]["dataset"] == named


def test_higher_rates_are_played_as_they_were_measured() -> None:
    """But for the seeds, on which nothing depends but chance."""
    mine, measured = (
        build(read_toml(ROOT / "experiments" / name))
        for name in ("higher_rates.toml", "evidence/confirmation-contiguous.toml")
    )
    for name in ("genetic-cfl+higher-rates", "genetic-cfl", "fedavg", "fedavg-tuned"):
        assert name in mine.run.strategies and name in measured.run.strategies
    assert mine.run.budget == measured.run.budget and mine.genetics == {
        name: genetic for name, genetic in measured.genetics.items() if name in mine.genetics
    }
    for section in ("data", "partition", "cohort", "model", "training"):
        assert getattr(mine, section) == getattr(measured, section)
    for strategy in ("fedavg", "fedavg-tuned"):
        assert mine.section_of(strategy) == measured.section_of(strategy)


def test_the_tournament_is_played_as_it_was_measured() -> None:
    mine, measured = (
        build(read_toml(ROOT / "experiments" / name))
        for name in ("tournament.toml", "evidence/tournament-contiguous.toml")
    )
    assert mine.run.budget == measured.run.budget
    assert {*mine.run.strategies} <= {*measured.run.strategies}
    for section in ("data", "partition", "cohort", "model", "training"):
        assert getattr(mine, section) == getattr(measured, section)
    for strategy in ("fedavg", "fedprox", "fedavg-tuned"):
        assert mine.section_of(strategy) == measured.section_of(strategy)
    ((name, gene),) = measured.genes.declared.items()
    assert name == "learning_rate"
    assert mine.section_of("tournament")["rates"] == (gene.low, gene.high)


def test_the_mnist_experiment_is_the_replay_that_was_measured() -> None:
    mine, measured = (
        build(read_toml(ROOT / "experiments" / name))
        for name in ("mnist.toml", "evidence/replay-mnist.toml")
    )
    assert mine == measured


def test_the_cifar10_experiment_is_the_default() -> None:
    tree = tomllib.loads((ROOT / "experiments" / "cifar10.toml").read_text())
    assert build(tree) == build({})
