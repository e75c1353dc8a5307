"""Every tuner over every strategy: trained as told, resumed to the same bytes, named everywhere."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import quadratic
import toy
from runs import FLAGS, comparable, finish, play, rows, start, wait_for_line

import strategies
from fedgen.comparison import flow, opening
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher
from strategies import REGISTRY
from strategies.fedavg import FedAvg
from strategies.names import SELF_CHOOSING, TUNERS
from strategies.tournament import Competing

BEHIND = [name for name in REGISTRY if name not in TUNERS and name not in SELF_CHOOSING]
ONE_MODEL = [name for name in BEHIND if name not in ("fedavg", "fedprox", "fednova", "delta-sgd")]
"""Strategies that keep more of a model than its weights, so that no tournament goes over them."""
TOLD = [
    (tuner, name)
    for tuner in TUNERS
    for name in BEHIND
    if tuner != "tournament" or name not in ONE_MODEL
]
PAIRS = [f"{tuner}/{name}" for tuner, name in TOLD]
STARTED = [
    f"genetic-cfl+{start}/{name}"
    for start in ("probe", "rate-grid")
    for name in BEHIND
    if name != "cyclic"  # whose clients do not start from one model
]
MOVED = [
    f"genetic-cfl+{variants}/fedavg"
    for variants in (
        *("differential", "cma-es", "halving", "self-adaptive+whole-genomes"),
        *(
            "age-limit+cosine",
            "one-cluster+rank-halflife+racing",
            "common-ground",
            "momentum+epochs+log-mutation",
        ),
    )
]
NAMES = ["genetic-cfl", *PAIRS, *STARTED, *MOVED]
SMALL = {
    "partition": {"clients": 6},
    "cohort": {"fraction": 0.5, "resample": True},
    "training": {"optimizer": "sgd", "momentum": 0.5},
    "genetic-cfl": {"eps": 0.5, "elites": 1},
    "fedex": {"configurations": 3},
    "tournament": {"entrants": 2},
}
ROUNDS = 3


def read(run: Run, file: str, name: str) -> list[dict[str, str]]:
    """Rows of an arm, but its name and what took how long."""
    left = ("strategy", "seconds")
    mine = (row for row in rows(run.path / file) if row["strategy"] == name)
    return [{key: value for key, value in row.items() if key not in left} for row in mine]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("pairs") / "whole"
    return play(out, run={"rounds": ROUNDS, "strategies": NAMES}, **SMALL)


def test_everybody_trains_at_what_was_assigned(whole: Run) -> None:
    told = rows(whole.path / "clients.csv")
    assert {row["strategy"] for row in told} == set(NAMES)
    assert {row["status"] for row in told} == {"ok"}
    for row in told:
        if "delta-sgd" not in row["strategy"]:  # whose steps have sizes of their own
            assigned = np.float32(row["learning_rate"])
            assert assigned == np.float32(row["applied_learning_rate"]), row
        assert row["batch_size"] == row["applied_batch_size"]


def test_all_pairs_train_on_the_same_cohorts_and_start_alike(whole: Run) -> None:
    def cohorts(name: str) -> list[tuple[str, str]]:
        mine = read(whole, "clients.csv", name)
        return [(row["round"], row["client"]) for row in mine if row["round"] != "0"]

    first = read(whole, "rounds.csv", "genetic-cfl")[0]["test_loss"]
    for name in NAMES:
        assert cohorts(name) == cohorts("genetic-cfl")
        start = read(whole, "rounds.csv", name)[0]
        if "+probe/" not in name:  # which goes on from the mean of what was probed
            assert start["test_loss"] == first
        tried = {"+probe/": 18, "+rate-grid/": 3}  # of 3 clients, an epoch of 6 pairs or 1 rate
        spent = [epochs for variant, epochs in tried.items() if variant in name] or [0]
        assert int(start["client_epochs"]) == spent[0]


def test_genetic_over_averaging_is_the_genetic_strategy(whole: Run) -> None:
    for file in ("rounds.csv", "clients.csv"):
        assert read(whole, file, "genetic-cfl/fedavg") == read(whole, file, "genetic-cfl")
    found = comparable(whole.path)
    for number in range(ROUNDS + 1):
        ours, theirs = (
            found.get(f"{arm}-seed0/checkpoint-{number:06}.npz")
            for arm in ("genetic-cfl-over-fedavg", "genetic-cfl")
        )
        assert ours == theirs
    assert f"genetic-cfl-seed0/checkpoint-{ROUNDS:06}.npz" in found


@pytest.mark.parametrize("name", MOVED)
def test_no_move_or_judge_is_the_designed_one(whole: Run, name: str) -> None:
    assert read(whole, "clients.csv", name) != read(whole, "clients.csv", "genetic-cfl")


def test_resumed_between_rounds_all_go_on_to_the_same_bytes(whole: Run, tmp_path: Path) -> None:
    part = play(tmp_path / "part", run={"rounds": 2, "strategies": NAMES}, **SMALL)
    with opening.resumed(part.path, rounds=ROUNDS) as (longer, held):
        flow.play(longer, held, Watcher())
    assert comparable(part.path) == comparable(whole.path)


def test_rows_say_what_the_server_worked_with(tmp_path: Path) -> None:
    names = ["fedavg", *(f"{tuner}/fedavgm" for tuner in TUNERS if tuner != "tournament")]
    genes = {"server_rate": {"low": 0.1, "high": 2}, "server_momentum": {"low": 0, "high": 0.5}}
    given = {**SMALL, "genes": genes}
    whole = play(tmp_path / "whole", run={"rounds": 4, "strategies": names}, **given)
    part = play(tmp_path / "part", run={"rounds": 3, "strategies": names}, **given)
    with opening.resumed(part.path, rounds=4) as (longer, held):
        flow.play(longer, held, Watcher())
    assert comparable(part.path) == comparable(whole.path)
    for row in rows(whole.path / "rounds.csv"):
        told = [row[name] for name in genes]
        if row["strategy"] == "fedavg" or row["round"] == "0":
            assert told == ["", ""]
        else:
            assert 0.1 <= float(told[0]) <= 2 and 0 <= float(told[1]) <= 0.5
    clients = rows(whole.path / "clients.csv")
    assert {(r["learning_rate"], r["batch_size"]) for r in clients} == {("0.0001", "32")}


@pytest.mark.parametrize(("tuner", "name"), TOLD, ids=PAIRS)
def test_flower_s_own_start_gives_the_weights_of_rounds_by_hand(tuner: str, name: str) -> None:
    """Also where a run is restored between them, all of it through JSON."""

    def made() -> FedAvg:
        given = {"seed": 3, "clients": 4, "fraction": 0.5, "resample": True}
        kind: type[FedAvg] = strategies.load(name)
        chooses = strategies.tuner(f"{tuner}/{name}")
        tuning = Competing(entrants=2) if tuner == "tournament" else None
        return kind(**given, arm=f"{tuner}/{name}", tuner=chooses, tuning=tuning)

    with quadratic.grid([1.0, -2.0, 3.0, 0.5]) as grid:
        strategy = made()
        arrays = strategy.initialise(grid, quadratic.start())
        for number in (1, 2, 3):
            again = made()
            again.restore(json.loads(json.dumps(strategy.state())))
            again.restore_arrays([array.copy() for array in strategy.state_arrays()])
            strategy = again
            arrays, _ = toy.play_round(strategy, grid, number, arrays)
            assert not strategy.outcome.rejected and not strategy.outcome.failed
        result = made().start(grid=grid, initial_arrays=quadratic.start(), num_rounds=3)
    assert toy.as_bytes(result.arrays) == toy.as_bytes(arrays)


def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    names = ["genetic-cfl+cma-es/fedadam", "genetic-cfl+differential/scaffold", "pbt/fedprox"]
    genes = {"learning_rate": (1e-4, 1e-1), "local_epochs": (1, 3)}
    typed = [f"--set=genes.{g}={{low = {low}, high = {high}}}" for g, (low, high) in genes.items()]
    command = ["compare", *FLAGS, "--rounds=6", f"--strategies={','.join(names)}", *typed]
    assert finish(start([*command, "--out=whole"], tmp_path))[0] == 0
    process = start([*command, "--out=part"], tmp_path)
    wait_for_line(process, "2 ")
    process.kill()
    process.communicate()
    assert not (tmp_path / "part" / "report.html").exists()
    code, _, err = finish(start(["resume", "part", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    assert comparable(tmp_path / "part") == comparable(tmp_path / "whole")


def test_files_and_pages_name_every_pair(whole: Run) -> None:
    summary = json.loads((whole.path / "summary.json").read_text())
    assert set(NAMES) <= set(_keys(summary))
    files = {path.name for path in (whole.path / "models").iterdir()}
    assert files == {f"{name.replace('/', '-over-')}-seed0.keras" for name in NAMES}
    page = (whole.path / "report.html").read_text()
    for name in NAMES:
        assert name in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    assert not [found for found in ids if re.search(r"\s|/", found)]
    assert {link for link in re.findall(r'href="#([^"]+)"', page)} <= set(ids)


def _keys(tree: object) -> list[str]:
    """All keys, and all values that are texts."""
    if isinstance(tree, dict):
        return [*tree, *(key for value in tree.values() for key in _keys(value))]
    if isinstance(tree, list):
        return [key for value in tree for key in _keys(value)]
    return [tree] if isinstance(tree, str) else []
