"""Rounds that the server does not evaluate: trained alike, and empty in the rows."""

from pathlib import Path

import pytest
from runs import FLAGS, comparable, finish, play, rows, start

from fedgen.analysis.summary import best, final, reach, within
from fedgen.config.toml import parse_setting
from fedgen.export.scalars import curve
from fedgen.report.results import load

MEASURED = ("test_accuracy", "test_loss", "validation_accuracy", "validation_loss")


@pytest.fixture(scope="module")
def every_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("every") / "run", run={"rounds": 5, "seeds": 2}).path


@pytest.fixture(scope="module")
def sometimes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = {"rounds": 5, "seeds": 2, "evaluate_every": 3}
    return play(tmp_path_factory.mktemp("sometimes") / "run", run=plan).path


def test_rounds_are_trained_alike_and_the_first_and_last_are_evaluated(
    every_round: Path, sometimes: Path
) -> None:
    whole, some = rows(every_round / "rounds.csv"), rows(sometimes / "rounds.csv")
    for one, other in zip(whole, some, strict=True):
        seen = other["round"] in ("0", "3", "5")
        measured = {name for name in one if name.startswith(("test_", "validation_"))}
        assert {*MEASURED} < measured
        for name in measured:
            assert other[name] == (one[name] if seen else "")
        rest = set(one) - {*measured, "seconds"}
        assert {name: one[name] for name in rest} == {name: other[name] for name in rest}
    assert (every_round / "clients.csv").read_text().count("\n") > 20
    mine, theirs = comparable(every_round), comparable(sometimes)
    assert mine.keys() == theirs.keys()
    assert all(mine[key] == theirs[key] for key in mine if "checkpoint" in key)


def test_figures_are_of_evaluated_rounds_and_costs_of_all(
    every_round: Path, sometimes: Path
) -> None:
    whole, some = load(every_round), load(sometimes)
    arm = [row for row in some.rounds if (row.strategy, row.seed) == ("fedavg", 0)]
    assert final(arm).round == 5 and best(arm).round in (0, 3, 5)
    cost = arm[1].client_epochs
    # An earlier round would be one of another cost.
    assert within(arm, cost * 4) is None and within(arm, cost * 3).round == 3  # type: ignore[union-attr]
    assert reach(arm, final(arm).test_accuracy or 0.0)[0] in (3, 5)  # type: ignore[index]
    for name in ("final_accuracy", "final_loss", "rounds", "client_epochs", "samples"):
        values = [run.summary["strategies"]["fedavg"][name] for run in (whole, some)]
        assert values[0] == values[1]
    accuracy = some.figure("accuracy")
    assert {tuple(trace.customdata) for trace in accuracy.data if trace.customdata} == {(0, 3, 5)}
    names = [set(point) for point in curve(arm)]
    assert "accuracy/test" in names[0] & names[3] & names[5] and "cost/samples" in names[1]
    assert not any(name.startswith(("accuracy", "loss/t")) for name in names[1] - {"loss/train"})


def test_it_goes_on_and_shows_what_there_is(sometimes: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, "--rounds=2", "--seeds=2", "--out=run", "--set=run.evaluate_every=3"]
    code, out, _ = finish(start(["compare", *flags], tmp_path))
    assert code == 0
    line = next(line for line in out.splitlines() if line.split()[:1] == ["1"])
    assert line.split()[1:-1] == ["-"] * 4  # between the round and its seconds
    code, _, err = finish(start(["resume", "run", "--rounds=5", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    mine, theirs = rows(tmp_path / "run" / "rounds.csv"), rows(sometimes / "rounds.csv")
    kept = [row for row in mine if row["round"] != "2"]  # which was the last one
    assert [row["test_loss"] for row in kept] == [
        row["test_loss"] for row in theirs if row["round"] != "2"
    ]
    assert all(row["test_loss"] for row in mine if row["round"] == "2")


def test_under_a_budget_every_round_is_evaluated(tmp_path: Path) -> None:
    plan = {"rounds": 5, "evaluate_every": 4, "budget": "client-epochs=14"}
    run = play(tmp_path / "run", run=plan | {"strategies": ["fedavg"]})
    found = rows(run.path / "rounds.csv")
    assert [row["round"] for row in found] == ["0", "1", "2"]
    assert all(row["test_accuracy"] for row in found)


def test_nought_is_refused() -> None:
    section, key, value = parse_setting("run.evaluate_every=0")
    from fedgen.config.tree import build
    from fedgen.errors import InputError

    with pytest.raises(InputError, match=r"run\.evaluate_every: .*greater than or equal to 1"):
        build({section: {key: value}})
