"""Arms of a seed beside one another in the lanes: the rows and weights of arms in turn."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from runs import PATIENCE, SMALL, comparable, play, rows

from fedgen.comparison import arms, flow, opening
from fedgen.config.tree import Config, build
from fedgen.errors import RunError
from fedgen.federation.resources import Resources
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher
from strategies import REGISTRY
from strategies.core.hyperparameters import Assignment
from strategies.core.outcomes import StrategyError
from strategies.fedavg import FedAvg

STRATEGIES = ["genetic-cfl", "fedavg", "scaffold", "centralised"]
ROUNDS = 3
MET = threading.Barrier(2, timeout=PATIENCE)


class Meets(FedAvg):
    """Begins a round when another arm does."""

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        MET.wait()
        return super().assign(server_round, cohort)


class Breaks(FedAvg):
    """Goes on for a round."""

    def assign(self, server_round: int, cohort: list[int]) -> dict[int, Assignment]:
        if server_round == 2:
            raise StrategyError("out of order")
        return super().assign(server_round, cohort)


@dataclass(frozen=True)
class Places:
    """What is asked of an engine."""

    workers: int
    joins: bool = True


@pytest.mark.parametrize(
    ("places", "clients", "deadline", "due"),
    [
        (Places(32), 30, 0, 3),  # 2 arms fill them, and one more
        (Places(32), 32, 0, 2),
        (Places(32), 3, 0, 12),
        (Places(2), 30, 0, 2),
        (Places(2, joins=False), 30, 0, 1),
        (Places(32), 30, 9, 1),
    ],
)
def test_one_arm_more_than_fill_the_places(
    places: Places, clients: int, deadline: float, due: int
) -> None:
    config: Config = build(
        {
            "partition": {"clients": 2 * clients},
            "cohort": {"fraction": 0.5},
            "training": {"deadline": deadline},
        }
    )
    assert arms.at_once(places, config) == due


def test_rows_and_weights_are_those_of_arms_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"rounds": ROUNDS, "seeds": 2, "strategies": STRATEGIES}
    beside = play(tmp_path / "beside", run=settings)
    monkeypatch.setattr(arms, "at_once", lambda engine, config: 1)
    in_turn = play(tmp_path / "in turn", run=settings)
    assert comparable(beside.path) == comparable(in_turn.path)
    for name in ("evaluation.csv", "classes.csv", "partition.csv"):
        assert (beside.path / name).read_bytes() == (in_turn.path / name).read_bytes()


def test_arms_play_their_rounds_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, the first one would wait for the second until the barrier breaks."""
    for name in ("one", "other"):
        monkeypatch.setitem(REGISTRY, name, f"{__name__}:Meets")
    run = play(tmp_path / "run", run={"rounds": 2, "strategies": ["one", "other"]})
    assert len(rows(run.path / "rounds.csv")) == 2 * 3


def test_an_arm_that_fails_stops_the_others_and_they_go_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "breaks", f"{__name__}:Breaks")
    settings = {"rounds": 40, "strategies": ["breaks", "fedavg"]}
    with pytest.raises(RunError, match="out of order"):
        play(tmp_path / "run", run=settings)
    played = [r for r in rows(tmp_path / "run" / "rounds.csv") if r["strategy"] == "fedavg"]
    assert len(played) < 41
    monkeypatch.setattr(Breaks, "assign", FedAvg.assign)
    with opening.resumed(tmp_path / "run") as (again, held):
        flow.play(again, held, Watcher())
    whole = play(tmp_path / "whole", run=settings)
    assert comparable(tmp_path / "run") == comparable(whole.path)


class Interrupts(Watcher):
    """Presses Ctrl-C when so many rounds were told."""

    def __init__(self, rounds: int) -> None:
        self.left = rounds
        self.told_by: set[threading.Thread] = set()

    def answered(self, arm: object, done: int, asked: int) -> None:
        self.told_by.add(threading.current_thread())

    def played(self, row: RoundRow) -> None:
        self.told_by.add(threading.current_thread())
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    settings = {"rounds": 12, "strategies": STRATEGIES}
    held = Resources(build(SMALL | {"run": settings}))
    watcher = Interrupts(5)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), opening.created(held, tmp_path / "run") as run:
        flow.play(run, held, watcher)
    assert watcher.told_by == {threading.main_thread()}
    assert threading.active_count() <= before  # no arm plays on
    assert 5 <= len(rows(tmp_path / "run" / "rounds.csv")) < 4 * 13
    with opening.resumed(tmp_path / "run") as (again, held):
        flow.play(again, held, Watcher())
    whole = play(tmp_path / "whole", run=settings)
    assert comparable(tmp_path / "run") == comparable(whole.path)
