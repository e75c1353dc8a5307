import dataclasses
import math
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgen.errors import InputError
from fedgen.files.csv import MEASURED, all_columns, columns, read_csv, to_csv
from fedgen.runs.rows import ClientRow, RoundRow, Row

ROUNDS = (
    "strategy,seed,round,test_accuracy,test_loss,validation_accuracy,validation_loss,train_loss,"
    "clients,rejected,failed,client_epochs,samples,bytes_down,bytes_up,seconds"
)
CLIENTS = (
    "strategy,seed,round,client,cluster,learning_rate,batch_size,applied_learning_rate,"
    "applied_batch_size,fitness,train_loss,samples,origin,parent,batch_parent,mutation,status,"
    "seconds"
)
ROUND = RoundRow(
    "fedavg", 0, 1, 0.1, 2.5, 0.25, math.inf, None, 30, 1, 2, 60, 12345, 10**12, 7, 1.5
)
CLIENT = ClientRow(
    "genetic-cfl",
    3,
    2,
    99,
    -1,
    1e-7,
    16,
    1.0000000116860974e-07,
    16,
    math.inf,
    None,
    4000,
    "mutant",
    4,
    None,
    1.1,
    'rejected: "w, h" is\nnot finite',
    0.125,
)

BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-1, 2**63 - 1),
    float: st.floats(),
    # What a field may hold; a bare carriage return is never in a reason.
    str: st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1),
    NoneType: st.none(),
}


def rows(kind: type[Row]) -> st.SearchStrategy[Row]:
    values = {}
    for field in dataclasses.fields(kind):
        if field.name == MEASURED:
            values[field.name] = st.just({})
            continue
        types = get_args(field.type) or (field.type,)
        values[field.name] = st.one_of([BY_TYPE[part] for part in types])
    return st.builds(kind, **values)


def bits(row: Row) -> list[str]:
    """Compare NaN as equal to NaN, and 0.0 as different from -0.0 and 0."""
    return [repr(value) for value in dataclasses.astuple(row)]


def test_columns_are_literally_those_of_the_issue() -> None:
    assert to_csv([], RoundRow, header=True) == f"{ROUNDS}\n"
    assert to_csv([], ClientRow, header=True) == f"{CLIENTS}\n"
    assert to_csv([], ClientRow, header=False) == ""
    assert ",".join(columns(RoundRow)) == ROUNDS
    assert columns(RoundRow, optional=True)[-1] == "simulated_seconds"
    assert columns(ClientRow, optional=True)[-2:] == ["local_epochs", "momentum"]


def test_what_is_measured_has_columns_of_its_own_and_gaps(tmp_path: Path) -> None:
    one = dataclasses.replace(ROUND, measured={"test_auc": 0.1, "validation_r2": -math.inf})
    other = dataclasses.replace(ROUND, measured={"test_auc": 0.25})
    path = tmp_path / "rounds.csv"
    path.write_text(all_columns([one, other], RoundRow))
    assert path.read_text().splitlines()[0].endswith("simulated_seconds,test_auc,validation_r2")
    assert path.read_text().splitlines()[2].endswith(",1.5,,0.25,")
    assert read_csv(path, RoundRow) == [one, other]
    assert read_csv(path, RoundRow)[0].value("test", "auc") == 0.1
    assert read_csv(path, RoundRow)[1].value("validation", "r2") is None
    path.write_text(path.read_text().replace("0.25,\n", "many,\n"))
    with pytest.raises(InputError, match="line 3: expected numbers, received others"):
        read_csv(path, RoundRow)


def test_rows_are_written_as_expected() -> None:
    assert to_csv([ROUND], RoundRow, header=False) == (
        "fedavg,0,1,0.1,2.5,0.25,1e999,,30,1,2,60,12345,1000000000000,7,1.5\n"
    )
    assert to_csv([CLIENT], ClientRow, header=False) == (
        "genetic-cfl,3,2,99,-1,1e-07,16,1.0000000116860974e-07,16,1e999,,4000,mutant,4,,1.1,"
        '"rejected: ""w, h"" is\nnot finite",0.125\n'
    )


@pytest.mark.parametrize("row", [ROUND, CLIENT], ids=["round", "client"])
def test_round_trip(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(to_csv([row, row], type(row), header=True), newline="")
    assert read_csv(path, type(row)) == [row, row]


@settings(max_examples=50, deadline=None)
@given(st.lists(rows(RoundRow), max_size=4), st.lists(rows(ClientRow), max_size=4))
def test_any_rows_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[RoundRow], clients: list[ClientRow]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pairs: list[tuple[type[Row], list[Any]]] = [(RoundRow, rounds), (ClientRow, clients)]
    for kind, written in pairs:
        path.write_bytes(to_csv(written, kind, header=True, optional=True).encode())
        assert [bits(row) for row in read_csv(path, kind)] == [bits(row) for row in written]


GOOD = "fedavg,0,1,0.1,2.5,0.25,1.0,,30,1,2,60,1,2,7,1.5"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected the columns strategy,seed"),
        (f"{CLIENTS}\n", "expected the columns strategy,seed"),
        (f"{ROUNDS},extra\n", "expected the columns"),
        (f"{ROUNDS}\n{GOOD}\n{GOOD[:-4]}\n", "line 3: expected 16 fields, received 15"),
        (f"{ROUNDS}\n{GOOD},1\n", "line 2: expected 16 fields, received 17"),
        (f"{ROUNDS}\n{GOOD.replace(',0,1', ',x,1')}\n", "line 2: seed must be int, received 'x'"),
        (f"{ROUNDS}\n{GOOD.replace('7,1.5', '7,')}\n", "seconds must be float, received ''"),
        (f"{ROUNDS}\n{GOOD.replace(',30,', ',30.0,')}\n", "clients must be int, received '30.0'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "rounds.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_csv(path, RoundRow)
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_or_undecodable_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "rounds.csv"
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(path, RoundRow)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(path, RoundRow)


@pytest.mark.parametrize(
    ("value", "spelled", "before"),
    [(math.nan, "NaN", "nan"), (math.inf, "1e999", "inf"), (-math.inf, "-1e999", "-inf")],
)
def test_what_is_not_finite_has_one_spelling_and_the_old_one_is_read(
    tmp_path: Path, value: float, spelled: str, before: str
) -> None:
    row = dataclasses.replace(ROUND, test_loss=value, train_loss=np.float64(value))
    text = to_csv([row], RoundRow, header=True)
    assert text.count(f",{spelled},") == 2 and f",{before}," not in text
    path = tmp_path / "rounds.csv"
    for content in (text, text.replace(spelled, before)):
        path.write_text(content)
        (read,) = read_csv(path, RoundRow)
        assert bits(read) == bits(dataclasses.replace(row, train_loss=value))
        assert to_csv([read], RoundRow, header=True) == text


NOT_FINITE: dict[str, list[float | None]] = {
    "alone": [math.nan],
    "both": [math.nan, math.inf],
    "first": [-math.inf, 1.5, 2.25],
    "NaN first": [math.nan, 1.5, 2.25],
    "last": [1.5, math.inf],
    "beside empty fields": [None, math.nan, None, 1.5],
    "after many": [*[1.5] * 150, math.nan, math.inf, -math.inf],
    "after many empty fields": [*[None] * 150, math.inf, math.nan],
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_losses_that_are_not_finite_are_in_a_column_of_floats(tmp_path: Path, name: str) -> None:
    import pandas
    import polars

    wanted = NOT_FINITE[name]
    path = tmp_path / "rounds.csv"
    written = [dataclasses.replace(ROUND, train_loss=value) for value in wanted]
    path.write_text(to_csv(written, RoundRow, header=True))
    slow, fast = pandas.read_csv(path), polars.read_csv(path, infer_schema_length=None)
    assert (slow["train_loss"].dtype, fast["train_loss"].dtype) == ("float64", polars.Float64)
    assert repr(fast["train_loss"].to_list()) == repr(wanted)
    # pandas has one NaN for both: what is missing, and what is none.
    assert repr(slow["train_loss"].tolist()) == repr([math.nan if x is None else x for x in wanted])


def test_csv_files_load_in_pandas_and_polars_as_they_are(tmp_path: Path) -> None:
    """Numbers are numbers and empty fields are missing, also infinite ones and quoted text.

    An arm that evolves nothing may come first: polars has to look at more than 100 rows.
    """
    import pandas
    import polars

    genes = {"local_epochs": 2, "momentum": 0.5}
    whole = dataclasses.replace(CLIENT, train_loss=0.5, batch_parent=5, **genes)
    bare = {field.name: None for field in dataclasses.fields(whole) if "None" in str(field.type)}
    cases: list[tuple[list[Any], type[Row]]] = [
        (
            [dataclasses.replace(ROUND, train_loss=x, simulated_seconds=x) for x in (None, 7.5)],
            RoundRow,
        ),
        ([*[dataclasses.replace(whole, **bare)] * 150, whole], ClientRow),
    ]
    for written, kind in cases:
        path = tmp_path / f"{kind.__name__}.csv"
        path.write_text(to_csv(written, kind, header=True, optional=True))
        slow, fast = pandas.read_csv(path), polars.read_csv(path, infer_schema_length=None)
        own = [field for field in dataclasses.fields(kind) if field.name != MEASURED]
        for field in own:
            wanted = [getattr(row, field.name) for row in written]
            text = "str" in str(field.type)
            assert pandas.api.types.is_numeric_dtype(slow[field.name]) != text, field.name
            assert fast[field.name].dtype.is_numeric() != text, field.name
            assert [None if pandas.isna(x) else x for x in slow[field.name]] == wanted
            assert fast[field.name].to_list() == wanted
