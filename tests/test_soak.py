"""A long run neither grows nor slows down. Takes minutes: run by `make soak`."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from runs import SMALL

from fedgen.comparison import flow, opening
from fedgen.config.tree import build
from fedgen.federation.resources import Resources
from fedgen.runs.rows import RoundRow
from fedgen.runs.watch import Watcher

ROUNDS = 2_000


class Watch(Watcher):
    """Notes the memory that this process holds, and the time, after every round."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self.seconds: list[float] = []

    def finished(self, rows: Sequence[RoundRow]) -> None:
        self.megabytes.append(psutil.Process().memory_info().rss / 2**20)
        self.seconds.append(sum(row.seconds for row in rows))


@pytest.mark.soak
def test_two_thousand_rounds_are_flat(tmp_path: Path) -> None:
    watch = Watch()
    held = Resources(build(SMALL | {"run": {"rounds": ROUNDS}}))
    with opening.created(held, tmp_path / "run") as run:
        flow.play(run, held, watch)
    assert len(watch.seconds) == ROUNDS + 1
    quarter = ROUNDS // 4
    second, last = slice(quarter, 2 * quarter), slice(3 * quarter, None)
    memory = [statistics.mean(watch.megabytes[part]) for part in (second, last)]
    time = [1000 * statistics.median(watch.seconds[part]) for part in (second, last)]
    print(
        f"\n{ROUNDS} rounds of two arms, second quarter and last: memory {memory[0]:.0f} and "
        f"{memory[1]:.0f} MiB, a round {time[0]:.1f} and {time[1]:.1f} ms (median)"
    )
    assert memory[1] < 1.05 * memory[0]
    assert time[1] < 1.25 * time[0]
