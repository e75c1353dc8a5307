#!/bin/sh
# How four readers of CSV files take a column of numbers of which some are not finite.
#
# Versions: Python 3.11, pandas 3.1.1, polars 2.1.0, pyarrow 26.0.1, duckdb 2.0.1; no options.
# Input: a file with a text column and a column x of plain numbers, valid for all four.
#
# Seen: of "nan", polars makes a text column, and so it does of "Infinity".
# Of "inf", DuckDB makes dates where nothing else is in the column (9999-12-31), and text where a
# number comes after it. pyarrow takes every common spelling of NaN for a missing value: a column
# of nothing else has the type null, and one of whole numbers stays one of integers. pandas and
# pyarrow keep no difference between NaN and an empty field.
#
# What all four read as floats beside other floats: NaN, 1e999 and -1e999, the last two as they are
# greater than any double. pandas 2 makes text of 1e999; pandas 3 does not.
#
# Prints what was seen, and fails if it has changed. Not part of the tests: it installs packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 duckdb==2.0.1
cd "$folder"
cat > read.py <<'PYTHON'
import duckdb
import pandas
import polars
import pyarrow.csv

COLUMNS = {
    "nan, 1.5": "float64 String double DOUBLE",
    "NaN, 1.5": "float64 Float64 double DOUBLE",
    "NaN": "float64 Float64 null DOUBLE",
    "NaN, 2": "float64 Float64 int64 DOUBLE",
    "inf": "float64 Float64 double DATE",
    "inf, 1.5": "float64 Float64 double VARCHAR",
    "-inf, 1.5": "float64 Float64 double VARCHAR",
    "Infinity, 1.5": "float64 String double VARCHAR",
    "1e999": "float64 Float64 double DOUBLE",
    "1e999, 1.5": "float64 Float64 double DOUBLE",
    "-1e999, 1.5": "float64 Float64 double DOUBLE",
    "1.5, , NaN, 1e999, -1e999": "float64 Float64 double DOUBLE",
}

changed = False
print("column x: pandas, polars, pyarrow, duckdb")
for cells, expected in COLUMNS.items():
    with open("x.csv", "w") as file:
        file.write("name,x\n" + "".join(f"a,{cell.strip()}\n" for cell in cells.split(",")))
    types = [
        pandas.read_csv("x.csv")["x"].dtype,
        polars.read_csv("x.csv")["x"].dtype,
        pyarrow.csv.read_csv("x.csv")["x"].type,
        duckdb.sql("SELECT x FROM read_csv('x.csv')").types[0],
    ]
    received = " ".join(map(str, types))
    print(f"{cells}: {received}" + ("" if received == expected else f"; was {expected}"))
    changed = changed or received != expected
raise SystemExit("the behaviour has changed" if changed else 0)
PYTHON
"$folder/venv/bin/python" read.py
