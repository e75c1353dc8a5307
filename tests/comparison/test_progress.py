"""What is shown while a comparison runs."""

import io
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from runs import FLAGS, environment, finish, start
from shards import round_row

from fedgen.comparison.progress import Lines, LiveTable
from fedgen.config.tree import Arm, build
from fedgen.console import duration
from fedgen.runs.watch import Several, Watcher


def shown(table: LiveTable) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(table.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_has_a_line_per_arm_and_a_bar_of_clients() -> None:
    table = LiveTable(Console(file=io.StringIO(), width=100))
    config = build({"run": {"rounds": 5}})
    arms = [Arm(config, name, 0) for name in ("genetic-cfl", "fedavg")]
    table.begin("seed 0 on CPU", arms, [-1, 2])
    assert "0/5" in shown(table) and "2/5" in shown(table)
    table.answered(arms[0], 3, 30)
    assert "genetic-cfl, seed 0, probe" in shown(table) and "3/30" in shown(table)
    for number in (0, 1, 2):
        row = round_row(number, "genetic-cfl")
        table.finished([row, round_row(number + 2, "fedavg")])
    table.answered(arms[1], 7, 30)
    text = shown(table)
    assert "fedavg, seed 0, round 5" in text and "7/30" in text
    lines = {line.split()[1]: line for line in text.splitlines() if "/5" in line and "│" in line}
    assert lines["genetic-cfl"].split()[2:] == [
        *("│", "0", "│", "2/5", "│", "0.1000", "│", "0.1000", "│", "0", "│", "0.3", "│"),
        *("0:01", "│"),
    ]


def test_the_best_so_far_stays_and_what_was_not_used_adds_up() -> None:
    from dataclasses import replace

    table = LiveTable(Console(file=io.StringIO(), width=100))
    arm = Arm(build({"run": {"rounds": 3}}), "fedavg", 7)
    table.begin("seed 7 on CPU", [arm], [-1])
    for number, accuracy in enumerate((0.2, 0.6, 0.4)):
        row = replace(round_row(number, "fedavg", 7), test_accuracy=accuracy, rejected=1, failed=2)
        table.finished([row])
    (line,) = (line for line in shown(table).splitlines() if "fedavg" in line)
    assert "0.4000" in line and "0.6000" in line and " 9 " in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (185, "3:05"), (7800, "2:10:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_name_what_was_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(["genetic-cfl", "fedavg"])
    lines.begin("seed 0 on CPU", [], [])
    lines.finished([round_row(3, "fedavg")])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "seed 0 on CPU" and len(out) == 4
    assert out[3].split() == ["3", "0.1000", "inf", "0.3"]


class Heard(Watcher):
    """Notes what it is told."""

    def __init__(self, told: list[tuple[str, object]], name: str) -> None:
        self.told, self.name = told, name

    def begin(self, text: str, arms: object, finished: object) -> None:
        self.told.append((self.name, (text, arms, finished)))

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
        all_.begin("seed 0", [arm], [-1])
        all_.answered(arm, 1, 3)
        all_.finished([row])
        all_.note("by the way")
        all_.warn("careful")
        raise KeyboardInterrupt
    said = [("seed 0", [arm], [-1]), (arm, 1, 3), [row], "by the way", "careful"]
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


def test_an_arm_that_ended_early_has_no_time_left() -> None:
    stream = io.StringIO()
    table = LiveTable(Console(file=stream, width=100))
    mine = Arm(build({"run": {"rounds": 5}}), "fedavg", 0)
    table.begin("seed 0", [mine], [-1])
    for number in (0, 1):
        table.finished([round_row(number)])
    table.ended(mine, "round 2: too few")
    assert "!!! fedavg-seed0 ends here: round 2: too few" in stream.getvalue()
    assert "ended in round 2" in shown(table)


def test_a_large_loss_keeps_its_distance(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(["fedavg", "a_module.of_mine:WithALongName", "another.module:OfMine"])
    lines.begin("seed 0", [], [])
    lines.finished([replace(round_row(1), test_accuracy=0.0806, test_loss=16791.6285)])
    _, heading, _, row = capsys.readouterr().out.splitlines()
    assert "WithALongName another.module" in heading
    assert row.split()[:3] == ["1", "0.0806", "1.7e+04"]
