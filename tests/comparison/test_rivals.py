"""What holds for every rival of genetic-cfl: resumed, sized and refused alike."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import toy
from flwr.app import ArrayRecord
from runs import comparable, play, rows

import strategies
from fedgen.comparison import flow, opening, request
from fedgen.config.tree import build
from fedgen.errors import InputError
from fedgen.federation.resources import Resources
from fedgen.runs.watch import Watcher
from strategies.fedavg import FedAvg

CLIENTS = 10
RIVALS = (
    *("fedavg-tuned", "optuna-tpe", "optuna-asha"),
    *("fedavg-decay", "fedavgm", "fedadam", "fedyogi", "fednova"),
    *("random-search", "pbt", "fedex"),
)
SEARCHED = ("fedavg-tuned", "optuna-tpe", "optuna-asha")
WITH_ARRAYS = ("fedavgm", "fedadam", "fedyogi")


def rival(name: str, **settings: object) -> FedAvg:
    made: FedAvg = strategies.load(name)(seed=3, clients=CLIENTS, **settings)
    return made


@pytest.mark.parametrize("settings", [{"fraction": 1.0}, {"fraction": 0.5, "resample": True}])
@pytest.mark.parametrize("name", RIVALS)
def test_a_restored_run_continues_identically(name: str, settings: dict[str, object]) -> None:
    faults = {5: toy.report_infinite_fitness, 8: toy.crash}
    with toy.toy_grid(CLIENTS, faults) as grid, toy.toy_grid(CLIENTS, faults) as other:
        strategy = rival(name, **settings)
        arrays = strategy.initialise(grid, toy.start())
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        resumed, resumed_arrays = rival(name, **settings), ArrayRecord(arrays.to_numpy_ndarrays())
        resumed.restore(json.loads(json.dumps(strategy.state())))
        resumed.restore_arrays([array.copy() for array in strategy.state_arrays()])
        for number in (3, 4):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            resumed_arrays, resumed_sent = toy.play_round(resumed, other, number, resumed_arrays)
            assert resumed_sent == sent
            assert toy.as_bytes(resumed_arrays) == toy.as_bytes(arrays)
    assert resumed.state() == strategy.state()
    for mine, theirs in zip(resumed.state_arrays(), strategy.state_arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("genetic-cfl", {}), ("random-search", {}), ("pbt", {}), ("pbt", {"redraw": 1.0})]
    + [("fedex", {})],
)
def test_rates_are_drawn_from_the_range_that_is_set(name: str, settings: dict[str, object]) -> None:
    designed, moved = (
        rival(name, fraction=1.0, **settings, **rates) for rates in ({}, {"rates": (1e-5, 1e-1)})
    )
    with toy.toy_grid(CLIENTS) as grid, toy.toy_grid(CLIENTS) as other:
        _, usual = toy.play_round(designed, grid, 1, toy.start())
        _, sent = toy.play_round(moved, other, 1, toy.start())
        for client, genome in sent.items():
            assert genome.learning_rate == pytest.approx(100 * usual[client].learning_rate)
        _, second = toy.play_round(moved, other, 2, toy.start())
    assert all(0.8e-5 <= genome.learning_rate <= 1.2e-1 for genome in second.values())
    if "redraw" in settings:
        fresh = [
            genome.learning_rate for client, genome in second.items() if genome != sent[client]
        ]
        assert fresh and all(1e-5 <= rate <= 1e-1 for rate in fresh)
        assert max(fresh) > 1e-3


@pytest.mark.parametrize("name", WITH_ARRAYS)
def test_without_its_arrays_it_would_not(name: str) -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy, forgetful = rival(name, fraction=1.0), rival(name, fraction=1.0)
        arrays, _ = toy.play_round(strategy, grid, 1, toy.start())
        mine, _ = toy.play_round(strategy, grid, 2, arrays)
        theirs, _ = toy.play_round(forgetful, grid, 2, arrays)
    assert toy.as_bytes(mine) != toy.as_bytes(theirs)


@pytest.mark.parametrize("name", RIVALS)
def test_stock_start_gives_the_weights_of_rounds_by_hand(name: str) -> None:
    with toy.toy_grid(CLIENTS) as grid:
        strategy = rival(name, fraction=1.0)
        arrays = strategy.initialise(grid, toy.start())
        for number in (1, 2):
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
        result = rival(name, fraction=1.0).start(
            grid=grid, initial_arrays=toy.start(), num_rounds=2
        )
    assert toy.as_bytes(result.arrays) == toy.as_bytes(arrays)


def test_who_looks_at_losses_says_so() -> None:
    looking = {name for name in RIVALS if strategies.load(name).selects_on_losses}
    assert looking == {*SEARCHED, "pbt", "fedex"}


def test_a_comparison_of_all_rivals_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    names = [*RIVALS, "fedavg"]
    small = {
        "fedavg-tuned": {"learning_rates": [1e-2, 1e-4], "batch_sizes": [32]},
        "optuna-tpe": {"trials": 2},
        "optuna-asha": {"trials": 2, "max_rounds": 1},
        "fedex": {"configurations": 3},
        "partition": {"clients": 4},
        "cohort": {"fraction": 1.0},
        "training": {"optimizer": "sgd", "momentum": 0.5, "local_epochs": 1},
    }
    whole = play(tmp_path / "whole", run={"rounds": 2, "strategies": names}, **small)
    part = play(tmp_path / "part", run={"rounds": 1, "strategies": names}, **small)
    with opening.resumed(part.path, rounds=2) as (longer, held):
        flow.play(longer, held, Watcher())
    assert comparable(part.path) == comparable(whole.path)

    table = [r for r in rows(whole.path / "rounds.csv") if r["round"] in "01"]
    clients = [r for r in rows(whole.path / "clients.csv") if r["round"] == "1"]
    by_round = {(r["strategy"], r["round"]): r for r in table}
    for name in RIVALS:
        start, first = by_round[name, "0"], by_round[name, "1"]
        # Paired: the same initial weights, cohort and samples as fedavg.
        assert start["test_loss"] == by_round["fedavg", "0"]["test_loss"]
        assert first["samples"] == by_round["fedavg", "1"]["samples"]
        mine = [(r["client"], r["samples"]) for r in clients if r["strategy"] == name]
        assert mine == [(r["client"], r["samples"]) for r in clients if r["strategy"] == "fedavg"]
        # Two pairs, one round of one epoch each, four clients.
        assert start["client_epochs"] == ("8" if name in SEARCHED else "0")
    applied = {r["strategy"]: r["status"] for r in clients}
    assert set(applied.values()) == {"ok"}
    report = (whole.path / "report.html").read_text()
    for name in ("random-search", "pbt", "fedex"):
        assert f"Hyperparameters of {name}, round by round" in report


@pytest.mark.parametrize(
    ("section", "key", "value", "why"),
    [
        ("fedavg-tuned", "learning_rates", [], "at least 1 item"),
        (
            "fedavg-tuned",
            "batch_sizes",
            [16, 0],
            "batch_sizes.1: input should be greater than or equal to 1",
        ),
        ("optuna-tpe", "rate_range", [1e-2, 1e-3], "rate_range: expected the lower end first"),
        ("optuna-tpe", "trials", 0, "greater than or equal to 1"),
        ("optuna-tpe", "reduction", 3, "unknown setting 'reduction'"),
        ("optuna-asha", "reduction", 1, "greater than or equal to 2"),
        ("optuna-asha", "batch_range", [16], "optuna-asha.batch_range"),
        ("fedavg-decay", "horizon", 0, "greater than or equal to 1, received 0"),
        ("fedavg-decay", "floor", 0.0, "greater than 0"),
        ("fedavgm", "momentum", 1.0, "less than 1"),
        ("fedadam", "tau", 0.0, "greater than 0"),
        ("fedyogi", "beta_2", -0.1, "greater than or equal to 0"),
        ("fednova", "momentum", 0.5, "unknown setting 'momentum'"),
        ("pbt", "quantile", 0.6, "less than or equal to 0.5, received 0.6"),
        ("pbt", "fitness", "test", "'validation' or 'improvement', received 'test'"),
        ("fedex", "configurations", 0, "greater than or equal to 1"),
        ("fedex", "schedule", "fast", "received 'fast'"),
    ],
)
def test_wrong_settings_are_one_line(section: str, key: str, value: object, why: str) -> None:
    with pytest.raises(InputError) as error:
        build({section: {key: value}})
    assert section in error.value.line and why in error.value.line
    assert "\n" not in error.value.line and error.value.exit_code == 2


def test_fednova_with_central_privacy_is_one_line() -> None:
    tree = {"privacy": {"kind": "central"}, "run": {"strategies": ["fedavg", "fednova"]}}
    tree |= {"data": {"dataset": "digits"}, "model": {"name": "mlp"}}
    with pytest.raises(InputError, match="fednova .* expected 'none' or 'local'"):
        request.check(Resources(build(tree)), print)
    request.check(Resources(build(tree | {"privacy": {"kind": "local"}})), print)


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_that_was_interrupted_is_played_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"run": {"rounds": 1, "strategies": ["fedavg", name]}, "optuna-tpe": {"trials": 12}}
    whole = play(tmp_path / "whole", **small)
    average, played = FedAvg.average, []

    def interrupted(*given: object) -> ArrayRecord:
        played.append(given)
        if len(played) == 6:
            raise KeyboardInterrupt
        return average(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(FedAvg, "average", interrupted)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path / "part", **small)
    assert [row["strategy"] for row in rows(tmp_path / "part" / "rounds.csv")] == ["fedavg"]
    with opening.resumed(tmp_path / "part") as (again, held):
        flow.play(again, held, Watcher())
    assert comparable(tmp_path / "part") == comparable(whole.path)


@pytest.mark.parametrize("name", ["optuna-tpe", "optuna-asha"])
def test_without_optuna_nothing_is_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"run": {"strategies": ["fedavg", name]}}
    tree |= {"data": {"dataset": "digits"}, "model": {"name": "mlp"}}
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=f"^{name}: optuna is missing .*fedgen.optuna") as error:
        request.check(Resources(build(tree)), print)
    assert error.value.exit_code == 2 and "\n" not in error.value.line
