"""Parquet files hold what the CSV files hold, with types, as pandas and polars read both."""

from pathlib import Path

import pandas
import polars
import pyarrow as pa
import pytest
from commands import environment
from commands import run as fedgen
from polars.testing import assert_frame_equal
from pyarrow import parquet
from runs import play, without
from shards import arm, new_shard

from fedgen.config.toml import to_toml
from fedgen.config.tree import build
from fedgen.export import parquet as tables
from fedgen.report.results import load
from fedgen.runs.run import Run
from fedgen.runs.shard import written

NAMES = ["rounds", "clients", "evaluation", "partition", "classes"]
WIDE = {
    "run": {"rounds": 1, "strategies": ["genetic-cfl", "fedavg"], "personalise": "rounds"},
    "training": {"optimizer": "adamw", "local_epochs": 1},
    "devices": {"speed": "uniform"},
    "genes": {
        "learning_rate": {"low": 1e-3, "high": 1e-1},
        "weight_decay": {"low": 1e-4, "high": 1e-2},
    },
}


@pytest.fixture(scope="module", params=["plain", "wide"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, of no settings that add columns, and of many."""
    wide = WIDE if request.param == "wide" else {"run": {"rounds": 1, "strategies": ["fedavg"]}}
    return play(tmp_path_factory.mktemp("parquet") / "run", **wide).path


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    """A run after two rounds, with losses that are infinite and a status of two lines."""
    run = Run(tmp_path / "run", build({"run": {"rounds": 9, "strategies": ["fedavg"]}}), {})
    run.path.mkdir()
    (run.path / "config.toml").write_text(to_toml(run.tree()))
    new_shard(run.path, 2, arm())
    return run.path


def same_as_csv(table: Path, csv: Path) -> None:
    """Hold a Parquet file against the CSV file, column by column."""
    found = polars.read_parquet(table)
    assert_frame_equal(found, polars.read_csv(csv, schema_overrides=found.schema))
    told, read = pandas.read_csv(csv), pandas.read_parquet(table)
    assert [*read] == [*told]
    numbers = {*told.select_dtypes("number")} & {*read.select_dtypes("number")}
    assert len(numbers) > 3
    for name in numbers:
        pandas.testing.assert_series_equal(read[name], told[name])


def test_a_finished_run_s_tables_are_its_csv_files(finished: Path) -> None:
    made = tables.write(load(finished))
    assert made == [finished / f"{name}.parquet" for name in NAMES]
    for path in made:
        same_as_csv(path, path.with_suffix(".csv"))
    assert not list(finished.glob(".*.tmp"))


def test_types_are_those_of_the_columns(finished: Path) -> None:
    tables.write(load(finished))
    rounds = parquet.read_schema(finished / "rounds.parquet")
    clients = parquet.read_schema(finished / "clients.parquet")
    expected = {"strategy": pa.string(), "seed": pa.int64(), "test_loss": pa.float64()}
    assert {name: rounds.field(name).type for name in expected} == expected
    assert rounds.field("test_macro_f1").type == pa.float64()
    # Of plain averaging these are empty, and would be read as anything.
    expected = {"cluster": pa.int64(), "parent": pa.int64(), "mutation": pa.float64()}
    assert {name: clients.field(name).type for name in expected} == expected
    labels = parquet.read_table(finished / "partition.parquet").column("labels")
    assert labels.type == pa.string() and labels[0].as_py().count(" ") == 9
    columns = {*rounds.names, *clients.names}
    wide = {"simulated_seconds", "weight_decay", "own_accuracy"}
    assert columns & wide in (set(), wide)


def test_a_half_done_run_has_the_rows_of_its_shards(half_done: Path) -> None:
    result = fedgen(half_done.parent, half_done.parent, "export", "run", "--parquet")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Parquet: run/rounds.parquet, run/clients.parquet\n"
    results = load(half_done)
    for name in ("rounds", "clients"):
        csv = half_done.parent / f"{name}.csv"
        csv.write_text(written(results.run.config, f"{name}.csv", getattr(results, name)))
        same_as_csv(half_done / f"{name}.parquet", csv)
    read = polars.read_parquet(half_done / "rounds.parquet")
    assert read["test_loss"].to_list() == [float("inf")] * 2
    assert read["train_loss"].null_count() == 2


def test_what_there_is_no_row_of_any_more_is_gone(half_done: Path) -> None:
    (half_done / "ended.parquet").write_bytes(b"of an arm that was tried again")
    tables.write(load(half_done))
    names = sorted(path.name for path in half_done.glob("*.parquet"))
    assert names == ["clients.parquet", "rounds.parquet"]


def test_a_missing_library_is_named(half_done: Path) -> None:
    asked = ["export", "run", "--parquet", "--optuna=sqlite:///a.db"]
    folder = half_done.parent
    result = without("pyarrow", asked, folder, environment(folder))
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: --parquet: pyarrow is missing")
    assert line.endswith("pip install 'fedgen[data]'")
    assert not (half_done.parent / "a.db").exists() and not list(half_done.glob("*.parquet"))
