"""The evidence: its configs can be run, and its tables are those of its rows."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fedgen.analysis import statistics
from fedgen.config.toml import read_toml
from fedgen.config.tree import build
from fedgen.data.partitions.contiguous import partition
from fedgen.files.csv import to_csv
from fedgen.runs.rows import RoundRow
from strategies.core.cohort import draw_cohort

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "experiments" / "evidence"

INTERVAL = re.compile(r"(?:\(|\(95 % interval |19\.4, )([-+]?\d+\.\d+) to ([-+]?\d+\.\d+)[,;)]")
"""How sentences of the evidence give the interval of a difference."""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EVIDENCE))
    return importlib.import_module("tables")


@pytest.fixture
def ends(tables: ModuleType) -> ModuleType:
    return importlib.import_module("ends")


@pytest.mark.parametrize("path", sorted(EVIDENCE.glob("*.toml")), ids=lambda path: path.stem)
def test_every_config_can_be_built_and_says_how_it_is_run(path: Path) -> None:
    assert build(read_toml(path)).run.strategies
    assert f"python -m fedgen compare experiments/evidence/{path.name}" in path.read_text()


def test_the_tables_in_the_readmes_are_those_of_the_rows(tables: ModuleType) -> None:
    text = "".join(page.read_text() for page in tables.PAGES)
    assert [found[1] for found in tables.MARK.findall(text)] == list(tables.TABLES)
    assert tables.filled(text) == text
    first = next(iter(tables.TABLES.values()))()
    assert first in text and tables.filled(text.replace(first, "| made up |\n")) == text


def test_the_intervals_in_the_sentences_are_those_of_the_rows(
    tables: ModuleType, ends: ModuleType
) -> None:
    """Those of the answers, of FedAvg at the rate nobody searched for, and of momentum on SGD."""
    finalists = {task: tables.finalists(task) for task in tables.TASKS}
    asked = [
        values for arms in finalists.values() for values, _ in ends.answers(tables.QUESTIONS, arms)
    ]
    (fixed,) = ends.ends("confirmation-cifar-fixed")
    asked.append(ends.differences(finalists["cifar"][tables.BEST], fixed, "test_accuracy"))
    for name in ("contiguous", "dirichlet"):
        plain, momentum = ends.ends(f"screening-{name}-sgd")
        asked.append(ends.differences(momentum, plain, "validation_accuracy"))
    known = set()
    for values in asked:
        low, high = statistics.interval(values, ends.POINTS_APART) or (0, 0)
        for bounds in ((low, high), (-high, -low)):
            known |= {tuple(f"{bound:.{digits}f}" for bound in bounds) for digits in (1, 2)}
    told = []
    for page in tables.PAGES:
        prose = " ".join(tables.MARK.sub("", page.read_text()).split())
        told += INTERVAL.findall(prose)
    assert len(told) >= 15
    assert [pair for pair in told if tuple(b.lstrip("+") for b in pair) not in known] == []


def test_the_page_counts_the_images_of_the_cyclic_replay() -> None:
    """Of its cohort, and of the published recipe: 30 slices of 1,000 to 3,999 images."""
    text = (EVIDENCE.parent / "README.md").read_text()
    cohort = draw_cohort(0, 100, 30, 0)
    for fraction in (0.1, 0.01):
        shards = partition(50_000, 100, 0, validation_fraction=fraction).clients
        held = np.unique(np.concatenate([shards[client].train for client in cohort]))
        assert f"{len(held):,} different images" in text
    draw = np.random.default_rng(0)
    starts = draw.integers(0, 45_000, (2_000, 30))
    stops = starts + draw.integers(1_000, 4_000, (2_000, 30))
    counts = []
    for begin, end in zip(starts, stops, strict=True):
        seen = np.zeros(50_000, bool)
        for start, stop in zip(begin, end, strict=True):
            seen[start:stop] = True
        counts.append(int(seen.sum()))
    mean, deviation = round(float(np.mean(counts)), -2), round(float(np.std(counts)), -2)
    assert f"{mean:,.0f} different images on average (standard deviation {deviation:,.0f}" in text


def row(strategy: str, seed: int, number: int, validation: float, test: float) -> RoundRow:
    return RoundRow(
        **{"strategy": strategy, "seed": seed, "round": number},
        **{"test_accuracy": test, "validation_accuracy": validation},
        **{"test_loss": 1.0, "validation_loss": 1.0, "train_loss": None, "clients": 3},
        **{"rejected": 0, "failed": 0, "client_epochs": 6, "samples": 60},
        **{"bytes_down": 1, "bytes_up": 1, "seconds": 0.5},
    )


def test_differences_are_paired_and_of_the_last_rounds(
    ends: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        *(row("genetic-cfl", seed, 1, 0.1, 0.9) for seed in (7, 8, 9)),
        *(row("genetic-cfl", seed, 2, 0.5 + seed / 100, 0.25) for seed in (7, 8, 9)),
        *(row("pbt", seed, 2, 0.6 + 2 * seed / 100, 0.5) for seed in (7, 8)),
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rounds.csv").write_text(to_csv(rows, RoundRow, header=True))
    monkeypatch.setattr(ends, "RESULTS", tmp_path)
    designed, rival = ends.ends("run", "<{}>")
    assert (designed.name, rival.name) == ("<genetic-cfl>", "<pbt>")
    assert designed.values("validation_accuracy") == pytest.approx({7: 57, 8: 58, 9: 59})
    assert designed.mean("test_accuracy") == pytest.approx(25)
    found = ends.differences(rival, designed, "validation_accuracy")
    assert found == pytest.approx([17, 18])  # 74 - 57 and 76 - 58: seed 9 has no pair
    assert ends.signed(found) == "+17.50 (+17.00, +18.00)", "two say more than an interval"
    many = [17.0, 18.0, 17.0, 18.0, 19.0]
    low, high = statistics.interval(many) or (0, 0)
    assert ends.signed(many) == f"+17.80 ({low:+.2f} to {high:+.2f})"
    assert ends.signed(found[:1]) == "+17.00"


def test_questions_are_answered_by_pairs_and_corrected_p(
    tables: ModuleType, ends: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The designed strategy is a little better than its placebo, far worse than the best rival."""
    level = {tables.DESIGNED: 0.5, f"{tables.DESIGNED}+shuffled-fitness": 0.4, tables.RIVAL: 0.9}
    names = {name for _, *pair in tables.QUESTIONS for name in pair}
    controls = [name for name in names if name.startswith(f"{tables.BEST}, ")]
    folder = {"t": sorted(names - {*controls}), "t-best": [c.split(", ")[1] for c in controls]}
    for run, arms in folder.items():
        played = [
            row(name, seed, 20, 0.5, level.get(name, 0.5) + seed * (name in level) / 1000)
            for name in (arms if run == "t" else [f"{tables.DESIGNED}+{arm}" for arm in arms])
            for seed in range(200, 210)
        ]
        (tmp_path / f"confirmation-{run}").mkdir()
        path = tmp_path / f"confirmation-{run}" / "rounds.csv"
        path.write_text(to_csv(played, RoundRow, header=True))
    monkeypatch.setattr(ends, "RESULTS", tmp_path)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in tables.questions("t").splitlines()[2:]
    ]
    assert [line[0] for line in lines] == [what for what, *_ in tables.QUESTIONS]
    answers = dict(zip([what for what, *_ in tables.QUESTIONS], lines, strict=True))
    selection = answers["Does selection beat its placebo?"]
    assert selection[1] == "+10.00 (+10.00 to +10.00)" and selection[3:] == ["10", "yes"]
    assert answers["Does it beat the screening's best rival?"][4] == "no, the opposite"
    assert answers["Does it beat the screening's best parallel rival?"][1:] == [
        "+0.00 (+0.00 to +0.00)",
        *("1", "10", "cannot be told"),
    ]
    assert f"| `{tables.RIVAL}` | 110.45 (" in tables.confirmation("t")
