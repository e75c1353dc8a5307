"""What a watcher is told of a real comparison, and when."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from runs import SMALL

from fedgen.comparison import flow, opening, processes
from fedgen.config.tree import Arm, build
from fedgen.federation.resources import Resources
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher


class Heard(Watcher):
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(
        self, text: str, arms: Sequence[Arm], finished: Sequence[int], at_once: int = 1
    ) -> None:
        self.told.append(("begin", len(arms), at_once))

    def started(self, arm: Arm) -> None:
        self.told.append(("started", arm.name))

    def played(self, row: RoundRow) -> None:
        self.told.append(("played", row.strategy, row.round))

    def finished(self, rows: Sequence[RoundRow]) -> None:
        self.told.append(("finished", *(row.strategy for row in rows)))

    def rested(self, arm: Arm, why: str) -> None:
        self.told.append(("rested", arm.name))

    def spent(self, arm: Arm, why: str) -> None:
        self.told.append(("spent", arm.name, why))


def heard(out: Path, jobs: int = 1, **run: Any) -> list[tuple[Any, ...]]:
    heard = Heard()
    held = Resources(build(SMALL | {"run": {"rounds": 2, **run}}))
    with opening.created(held, out) as opened:
        spread = (lambda run, told: processes.play(run, jobs, told)) if jobs > 1 else None
        flow.play(opened, held, heard, spread=spread)
    return heard.told


def test_an_arm_is_told_of_as_it_ends_its_round_not_when_all_have(tmp_path: Path) -> None:
    told = heard(tmp_path / "run", strategies="fedavg,fedprox")
    assert told[:3] == [("begin", 2, 1), ("started", "fedavg-seed0"), ("started", "fedprox-seed0")]
    assert told[3:] == [
        step
        for number in (0, 1, 2)
        for step in (
            ("played", "fedavg", number),
            ("played", "fedprox", number),
            ("finished", "fedavg", "fedprox"),
        )
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_arm_that_its_budget_ends_is_told_of_once(tmp_path: Path, jobs: int) -> None:
    """A round costs 6 client-epochs: the third one is beyond 12."""
    told = heard(
        tmp_path / "run", jobs, strategies="fedavg,fedprox", rounds=9, budget="client-epochs=12"
    )
    assert sum(step[0] == "played" for step in told) == 2 * 3
    spent = sorted(step[1] for step in told if step[0] == "spent")
    assert spent == ["fedavg-seed0", "fedprox-seed0"]
    assert told[0] == ("begin", 2, jobs)
