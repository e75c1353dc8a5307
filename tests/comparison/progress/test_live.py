"""What is shown while a comparison runs."""

import io
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from runs import FLAGS, environment, finish, start
from shards import new_shard, round_row

from fedgen.comparison.progress.live import LiveTable, rows_of
from fedgen.config.tree import Arm, build
from fedgen.console import duration
from fedgen.runs.run import Run
from fedgen.runs.watch import Several, Watcher

STRATEGIES = (
    *("fedavg", "genetic-cfl@rates=[1e-3,1e-2]/scaffold", "genetic-cfl+one-cluster+cma-es"),
    *("fedprox", "centralised", "fedavg-tuned"),
)


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def arms_of(seeds: int, strategies: Sequence[str] = STRATEGIES, **run: Any) -> list[Arm]:
    config = build({"run": {"rounds": 10, "seeds": seeds, **run}})
    return [Arm(config, name, seed) for name in strategies for seed in range(seeds)]


def table_of(
    arms: Sequence[Arm], width: int = 100, height: int = 30, **given: Any
) -> tuple[LiveTable, Clock]:
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, height=height)
    return LiveTable(arms, console=console, clock=clock, **given), clock


def shown(table: LiveTable) -> list[str]:
    """Return the lines on the terminal."""
    width, height = table._console.size
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(table.render())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def row_of(table: LiveTable, strategy: str) -> list[str]:
    """Return the cells of an arm's row behind its name."""
    (line,) = (line for line in shown(table) if line.startswith(f"{strategy} "))
    return line.split()[1:]


def begin(table: LiveTable, arms: Sequence[Arm], finished: int = -1) -> None:
    table.begin(f"seed {arms[0].seed} on CPU", arms, [finished] * len(arms))
    for arm in arms:
        table.started(arm)


def test_a_row_moves_as_its_arm_ends_a_round() -> None:
    arms = arms_of(1, ["genetic-cfl", "fedavg"], rounds=5)
    table, _ = table_of(arms)
    begin(table, arms)
    assert row_of(table, "genetic-cfl") == ["0", "0/5", "-", "-", "0", "-"]
    table.answered(arms[0], 3, 30)
    assert "genetic-cfl, seed 0, probe" in shown(table)[-1] and "3/30" in shown(table)[-1]
    for number in (0, 1, 2):
        table.played(round_row(number, "genetic-cfl"))
    assert row_of(table, "genetic-cfl") == ["0", "2/5", "0.1000", "0.1000", "0", "0.33"]
    assert row_of(table, "fedavg") == ["0", "0/5", "-", "-", "0", "-"]
    table.answered(arms[1], 7, 30)
    assert "fedavg, seed 0, probe" in shown(table)[-1] and "7/30 clients" in shown(table)[-1]


def test_arms_that_go_on_show_what_they_had() -> None:
    """Of five rounds that another process has played, the shard goes back to the fourth."""
    (arm,) = arms_of(1, ["fedavg"])
    rows = [replace(round_row(n), test_accuracy=0.5 - 0.1 * n, failed=1) for n in range(5)]
    table, _ = table_of([arm], played={("fedavg", 0): rows})
    begin(table, [arm], 3)
    assert row_of(table, "fedavg") == ["0", "3/10", "0.2000", "0.5000", "4", "0.33"]


def test_what_is_there_is_read_from_the_shards_and_a_damaged_one_has_nothing(
    tmp_path: Path,
) -> None:
    """Who plays the arm opens its shard anew, and goes back a round or says what is wrong."""
    whole, damaged, none = (Arm(build({}), name, 0) for name in ("fedavg", "pbt", "fedprox"))
    new_shard(tmp_path, 3, whole)
    rounds = new_shard(tmp_path, 3, damaged).folder / "rounds.csv"
    rounds.write_bytes(rounds.read_bytes()[:-9])
    run = Run(tmp_path, build({}), {})
    assert [row.round for row in rows_of(run, whole)] == [0, 1, 2]
    assert rows_of(run, damaged) == rows_of(run, none) == []


@pytest.mark.parametrize("height", [10, 15, 24, 50])
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("finished", [0, 3, 9])
def test_the_running_arms_and_the_bar_show_on_any_terminal(
    width: int, height: int, finished: int
) -> None:
    """Six strategies, ten seeds; nothing is wider than the terminal, nor as high as it is."""
    arms = arms_of(10)
    table, _ = table_of(arms, width, height)
    for seed in range(finished + 1):
        mine = [arm for arm in arms if arm.seed == seed]
        begin(table, mine)
        for number in range(11 if seed < finished else 4):
            for arm in mine:
                table.played(round_row(number, arm.strategy, seed))
    table.answered(mine[1], 3, 10)
    lines = shown(table)
    assert len(lines) < height and max(map(len, lines)) <= width
    assert "round 4" in lines[-1] and "3/10 clients" in lines[-1]
    assert sum(" 3/10 " in f"{line} " for line in lines[:-1]) == 6
    assert lines[0].startswith("time left")
    folded = [line for line in lines if "finished" in line][1:]
    assert len(folded) == min(finished, height - 1 - 9)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 6])
def test_on_the_smallest_terminals_the_bar_is_the_last_to_go(height: int) -> None:
    arms = arms_of(1)
    table, _ = table_of(arms, 20, height)
    begin(table, arms)
    table.answered(arms[0], 3, 10)
    lines = shown(table)
    assert len(lines) <= max(1, height - 1) and "3/10" in lines[-1]
    assert (lines[0][:9] == "time left") == (height > 2)


def test_what_does_not_fit_is_counted() -> None:
    arms = arms_of(1)
    table, _ = table_of(arms, 80, 8)
    begin(table, arms)
    for place, arm in enumerate(arms):
        table.played(replace(round_row(0, arm.strategy), test_accuracy=0.1 * place))
    lines = shown(table)
    assert [line.split()[0] for line in lines[2:-2]] == ["fedavg-tuned", "centralised", "fedprox"]
    assert lines[-2] == "and 3 more running"


def test_arms_beside_one_another_have_a_bar_of_their_rounds() -> None:
    arms = arms_of(3, ["fedavg", "pbt"])
    table, _ = table_of(arms)
    table.begin("6 arms, 2 at once", arms, [-1] * 6, 2)
    table.started(arms[0])
    table.started(arms[1])
    for number in range(4):
        table.played(round_row(number))
    lines = shown(table)
    assert "3/60 rounds" in lines[-1] and [line.split()[:2] for line in lines[2:-1]] == [
        ["fedavg", "0"],
        ["fedavg", "1"],
    ]


def test_one_time_left_goes_down_between_rounds_and_holds() -> None:
    """Two arms in turn, a round of each takes 2 s and 3 s: 3 seeds of 10 rounds take 150 s."""
    arms = arms_of(3, ["fedavg", "pbt"])
    table, clock = table_of(arms)
    told = {}
    for seed in range(3):
        mine = [arm for arm in arms if arm.seed == seed]
        begin(table, mine)
        for number in range(11):
            for arm, seconds in zip(mine, (2.0, 3.0), strict=True):
                clock.now += seconds if number else 0.0
                table.played(round_row(number, arm.strategy, seed))
            told[clock.now - 100.0] = shown(table)[0].split(",")[0]
    assert told[20.0] == "time left: not known yet"
    assert told[25.0] == "time left 2:05" and told[75.0] == "time left 1:15"
    assert told[145.0] == "time left 0:05"
    assert shown(table)[0].startswith("last evaluation, 6 of 6 arms finished")


def test_the_time_left_goes_down_while_a_round_takes_as_long_as_the_others() -> None:
    (arm,) = arms_of(1, ["fedavg"])
    table, clock = table_of([arm])
    begin(table, [arm])
    for number in range(7):
        clock.now += 10.0
        table.played(round_row(number))
    for gone, left in ((0.0, "0:40"), (4.0, "0:36"), (10.0, "0:30"), (99.0, "0:00")):
        clock.now = 170.0 + gone
        assert shown(table)[0].startswith(f"time left {left},")


def test_until_a_round_is_played_the_time_of_earlier_ones_stands() -> None:
    (arm,) = arms_of(1, ["fedavg"])
    rows = [replace(round_row(n), seconds=10.0) for n in range(7)]
    table, clock = table_of([arm], played={("fedavg", 0): rows})
    begin(table, [arm], 6)
    clock.now += 15.0
    assert shown(table)[0].startswith("time left 0:40,")


def test_a_run_that_is_left_says_how_far_it_came() -> None:
    arms = arms_of(1, ["fedavg", "pbt"])
    table, clock = table_of(arms)
    with pytest.raises(KeyboardInterrupt), table:
        begin(table, arms)
        table.played(round_row(0))
        clock.now += 65.0
        raise KeyboardInterrupt
    out = table._console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert out[0] == "0 of 2 arms finished in 1:05" and "clients" not in out[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (185, "3:05"), (7800, "2:10:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Heard(Watcher):
    """Notes what it is told."""

    def __init__(self, told: list[tuple[str, object]], name: str) -> None:
        self.told, self.name = told, name

    def begin(self, text: str, arms: object, finished: object, at_once: int = 1) -> None:
        self.told.append((self.name, (text, arms, finished, at_once)))

    def started(self, arm: object) -> None:
        self.told.append((self.name, ("started", arm)))

    def played(self, row: object) -> None:
        self.told.append((self.name, row))

    def spent(self, arm: object, why: str) -> None:
        self.told.append((self.name, (arm, why)))

    def answered(self, arm: object, done: int, asked: int) -> None:
        self.told.append((self.name, (arm, done, asked)))

    def finished(self, rows: object) -> None:
        self.told.append((self.name, rows))

    def note(self, text: str) -> None:
        self.told.append((self.name, text))

    def warn(self, text: str) -> None:
        self.told.append((self.name, text))

    def __exit__(self, *_: object) -> None:
        self.told.append((self.name, "left"))


def test_several_watchers_are_told_the_same_and_left_in_the_end() -> None:
    told: list[tuple[str, object]] = []
    arm, row = Arm(build({}), "fedavg", 0), round_row(1)
    with pytest.raises(KeyboardInterrupt), Several([Heard(told, "a"), Heard(told, "b")]) as all_:
        all_.begin("seed 0", [arm], [-1], 2)
        all_.started(arm)
        all_.answered(arm, 1, 3)
        all_.played(row)
        all_.finished([row])
        all_.spent(arm, "why")
        all_.note("by the way")
        all_.warn("careful")
        raise KeyboardInterrupt
    said = [
        *(("seed 0", [arm], [-1], 2), ("started", arm), (arm, 1, 3)),
        *(row, [row], (arm, "why"), "by the way", "careful"),
    ]
    assert told == [
        *((name, what) for what in said for name in "ab"),
        *(("b", "left"), ("a", "left")),
    ]


def test_without_a_terminal_there_is_a_line_per_round_and_no_control_sequence(
    tmp_path: Path,
) -> None:
    code, out, err = finish(start(["compare", *FLAGS, "--rounds=2", "--out=run"], tmp_path))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    numbers = [line.split()[0] for line in out.splitlines() if line[:5].strip().isdigit()]
    assert numbers == ["0", "1", "2"]
    tail = out.splitlines()[-2:]
    assert tail == [
        "report: run/report.html",
        "again, exactly: python -m fedgen compare run/config.toml",
    ]


def test_on_a_terminal_there_is_a_live_table(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fedgen", "compare", *FLAGS, "--rounds=3", "--out=run"],
        cwd=tmp_path,
        env=environment(tmp_path / "cache") | {"TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=follower,
        stderr=subprocess.PIPE,
    )
    os.close(follower)
    seen, until = b"", time.monotonic() + 200
    while time.monotonic() < until:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    os.close(leader)
    assert process.stderr is not None
    with process.stderr as errors:
        assert (process.wait(30), errors.read()) == (0, b"")
    text = seen.decode(errors="replace")
    assert "3/3" in text and "not used" in text and "s/round" in text
    assert "again, exactly" in text


def test_an_arm_that_ended_early_says_so_and_has_no_time_left() -> None:
    mine, other, third = arms_of(1, ["fedavg", "pbt", "fedprox"], rounds=5)
    table, clock = table_of([mine, other, third])
    begin(table, [mine, other, third])
    table.played(round_row(0))
    table.ended(mine, "round 1: too few")
    table.rested(other, "patience")
    table.spent(third, "budget")
    out = table._console.file.getvalue()  # type: ignore[attr-defined]
    assert out.splitlines() == [
        "!!! fedavg-seed0 ends here: round 1: too few",
        "note: pbt-seed0 ends here: patience",
    ]
    assert row_of(table, "fedavg")[:3] == ["0", "0/5", "ended"]
    assert shown(table)[0].startswith("last evaluation, 3 of 3 arms finished")
