"""Plain lines: columns that never run together."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import round_row

from fedgen.comparison.progress.lines import WIDEST, Columns, Lines
from fedgen.config.metrics import ACCURACY, KNOWN
from fedgen.config.tree import Arm, build
from fedgen.live.standing import figure

NAMES = st.sampled_from(
    ["fedavg", "genetic-cfl@rates=[1e-3,1e-2]/scaffold", "genetic-cfl+one-cluster+cma-es", "m:C"]
) | st.from_regex(r"[a-z][a-z0-9+@=./-]{0,60}", fullmatch=True)
NUMBERS = st.none() | st.floats() | st.sampled_from([1.2e30, -1e300, 99.99999, -99.99999])


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


@given(
    st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), min_size=1, max_size=10, unique_by=lambda x: x[0]),
    st.integers(0, 10**7),
    st.sampled_from(sorted(KNOWN)),
    st.booleans(),
    st.floats(0, 1e9),
)
def test_two_spaces_part_every_cell_from_the_next(
    arms: list[tuple[str, float | None, float | None]],
    number: int,
    metric: str,
    apart: bool,
    seconds: float,
) -> None:
    names = [name for name, _, _ in arms]
    columns = Columns.of(names, KNOWN[metric], apart)
    rows = [
        replace(
            round_row(number, name, 7),
            **({} if metric == "loss" else {"measured": {f"test_{metric}": value}}),
            test_loss=value if metric == "loss" else loss,
            seconds=seconds,
        )
        for name, value, loss in arms
        if value is not None
    ]
    if not rows:
        return
    told = {
        row.strategy: [figure(row.value("test", metric)), figure(row.test_loss)] for row in rows
    }
    lines = columns.lines(rows)
    if columns.apart:
        assert [cells(line) for line in lines] == [
            [str(number), "7", row.strategy, *told[row.strategy], f"{seconds:.1f}"] for row in rows
        ]
        (heading,) = columns.headings()
        assert len(cells(heading)) == 6
    else:
        figures = [figure for name in names for figure in told.get(name, ["-", "-"])]
        assert [cells(line) for line in lines] == [
            [str(number), *figures, f"{sum(row.seconds for row in rows):.1f}"]
        ]
        first, second = columns.headings()
        assert cells(first) == ["round", *names, "seconds"] and len(first) <= WIDEST
        assert len(cells(second)) == 2 * len(names)


def test_columns_are_as_wide_as_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(["fedavg", "a_module.of_mine:WithALongName"])
    lines.begin("seed 0 on CPU", [], [])
    lines.finished([replace(round_row(1), test_accuracy=0.0806, test_loss=16791.6285)])
    title, first, second, row = capsys.readouterr().out.splitlines()
    assert title == "seed 0 on CPU"
    assert first == "round                fedavg  a_module.of_mine:WithALongName  seconds"
    assert second == "        accuracy       loss             accuracy       loss"
    assert row == "    1     0.0806   1.68e+04                    -          -      0.3"


def test_ten_strategies_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"fedavg@learning_rate={10.0**-n:g}" for n in range(10)]
    lines = Lines(names)
    lines.begin("seed 0 on CPU", [Arm(build({}), name, 0) for name in names], [-1] * 10)
    lines.finished([replace(round_row(1, name), rejected=2) for name in names])
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "round  seed  strategy                      accuracy       loss  seconds"
    assert out[2] == (
        "    1     0  fedavg@learning_rate=1          0.1000        inf      0.3"
        "  2 replies not used"
    )
    assert len(out) == 2 + 10


def test_seeds_beside_one_another_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(["fedavg"])
    lines.begin("2 arms, 2 at once", [Arm(build({}), "fedavg", s) for s in (0, 1)], [-1, -1], 2)
    lines.finished([round_row(0, "fedavg", 1)])
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["0", "1", "fedavg"]


def test_arms_in_turn_share_a_line_and_one_that_was_there_has_dashes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(["genetic-cfl", "fedavg"])
    lines.begin("seed 0 on CPU", [], [])
    lines.finished([replace(round_row(3, "fedavg"), failed=1)])
    row = capsys.readouterr().out.splitlines()[-1]
    assert cells(row) == ["3", "-", "-", "0.1000", "inf", "0.3", "1 reply not used"]
    assert not Columns.of(["fedavg"], ACCURACY, False).apart
