"""The evidence: its configs can be run, and its tables are those of its rows."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fedgen import statistics
from fedgen.config import build, read_toml
from fedgen.records import RoundRow, to_csv

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "experiments" / "evidence"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evidence_tables", EVIDENCE / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EVIDENCE.glob("*.toml")), ids=lambda path: path.stem)
def test_every_config_can_be_built_and_says_how_it_is_run(path: Path) -> None:
    assert build(read_toml(path)).run.strategies
    assert f"python -m fedgen compare experiments/evidence/{path.name}" in path.read_text()


def test_the_tables_in_the_readme_are_those_of_the_rows(tables: ModuleType) -> None:
    text = tables.README.read_text()
    assert [found[1] for found in tables.MARK.findall(text)] == list(tables.TABLES)
    assert tables.filled(text) == text
    first = next(iter(tables.TABLES.values()))()
    assert first in text and tables.filled(text.replace(first, "| made up |\n")) == text


def row(strategy: str, seed: int, number: int, validation: float, test: float) -> RoundRow:
    return RoundRow(
        **{"strategy": strategy, "seed": seed, "round": number},
        **{"test_accuracy": test, "validation_accuracy": validation},
        **{"test_loss": 1.0, "validation_loss": 1.0, "train_loss": None, "clients": 3},
        **{"rejected": 0, "failed": 0, "client_epochs": 6, "samples": 60},
        **{"bytes_down": 1, "bytes_up": 1, "seconds": 0.5},
    )


def test_differences_are_paired_and_of_the_last_rounds(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        *(row("genetic-cfl", seed, 1, 0.1, 0.9) for seed in (7, 8, 9)),
        *(row("genetic-cfl", seed, 2, 0.5 + seed / 100, 0.25) for seed in (7, 8, 9)),
        *(row("pbt", seed, 2, 0.6 + 2 * seed / 100, 0.5) for seed in (7, 8)),
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rounds.csv").write_text(to_csv(rows, RoundRow, header=True))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    designed, rival = tables.ends("run", "<{}>")
    assert (designed.name, rival.name) == ("<genetic-cfl>", "<pbt>")
    assert designed.values("validation_accuracy") == pytest.approx({7: 57, 8: 58, 9: 59})
    assert designed.mean("test_accuracy") == pytest.approx(25)
    found = tables.differences(rival, designed, "validation_accuracy")
    assert found == pytest.approx([17, 18])  # 74 - 57 and 76 - 58: seed 9 has no pair
    low, high = statistics.interval(found) or (0, 0)
    assert tables.signed(found) == f"+17.50 ({low:+.2f} to {high:+.2f})"
    assert tables.signed(found[:1]) == "+17.00"
