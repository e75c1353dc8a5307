"""CSV tables."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, one_line, read_or_refuse

from fedgen.config.sections import Data
from fedgen.data import datasets, formats
from fedgen.data.formats.tables import text
from fedgen.errors import InputError

TABLE = "a,b,label,owner\n1,2.5,0,anna\n-3,1e2,1,bo\n0,7,1,anna\n"


def write(path: Path, content: str = TABLE) -> Path:
    path.write_text(content)
    return path


def test_a_table_is_read_back(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a.csv"), client="owner")
    np.testing.assert_array_equal(found.train.x, [[1, 2.5], [-3, 100], [0, 7]])
    assert found.train.y.tolist() == [0, 1, 1]
    assert found.train.client is not None
    assert found.train.client.tolist() == ["anna", "bo", "anna"]
    assert (found.names, found.test) == ((), None)
    assert found.notes == ("data: column 'label' is learned",)


def test_labels_that_are_text_stay_what_they_are(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "x,kind\n1,no\n2, yes \n")
    write(tmp_path / "test.csv", "x,kind\n3,maybe\n4,7\n")
    write(tmp_path / "val.csv", "x,kind\n5,nan\n")
    found = formats.read(tmp_path, target="kind")
    assert found.test is not None and found.validation is not None
    assert (found.names, found.notes) == ((), ())
    assert found.train.y.tolist() == ["no", "yes"]
    assert found.test.y.tolist() == ["maybe", "7"]
    assert found.validation.y.tolist() == ["nan"]


@pytest.mark.parametrize(
    ("train", "test", "kind", "expected"),
    [
        ("12", "3", np.int64, [1, 2, 3]),
        (["1.5", "-2e3"], ["0.25"], np.float64, [1.5, -2000, 0.25]),
        ("12", ["0.5"], np.float64, [1, 2, 0.5]),  # all splits are of one kind
        (["1.0", "2.0"], "3", np.float64, [1, 2, 3]),
        (["1", "9" * 20], "1", np.str_, ["1", "9" * 20, "1"]),  # beyond 64 bits
        (["1_0", "2"], "2", np.str_, ["1_0", "2", "2"]),
        (["007", "7"], "8", np.str_, ["007", "7", "8"]),
        (["+1", "-1"], ["-1"], np.str_, ["+1", "-1", "-1"]),
        (["-1", "0"], ["-1"], np.int64, [-1, 0, -1]),
        ("7a", "b", np.str_, ["7", "a", "b"]),
        (["Inf", "Flu"], ["Flu"], np.str_, ["Inf", "Flu", "Flu"]),
    ],
)
def test_what_is_learned_is_whole_numbers_or_numbers_or_text(
    tmp_path: Path, train: str | list, test: str | list, kind: type, expected: list
) -> None:
    for name, cells in (("train", train), ("test", test)):
        rows = "".join(f"{place},{cell}\n" for place, cell in enumerate(cells))
        write(tmp_path / f"{name}.csv", f"x,y\n{rows}")
    found = formats.read(tmp_path)
    assert found.test is not None
    assert found.train.y.dtype.type == found.test.y.dtype.type == kind
    assert [*found.train.y.tolist(), *found.test.y.tolist()] == expected


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["007", "7", "07"], np.str_),
        (["1_10", "11_0", "110"], np.str_),
        (["+5", "5", "-0"], np.str_),
        (["\u0663", "3", "4"], np.str_),  # a digit of another script
        ([" 7 ", "-3", "0"], np.int64),
    ],
)
def test_clients_whose_names_differ_are_different(
    tmp_path: Path, names: list[str], kind: type
) -> None:
    rows = "".join(f"{place},0,{name}\n" for place, name in enumerate(names))
    owner = formats.read(write(tmp_path / "a.csv", f"x,y,who\n{rows}"), client="who").train.client
    assert owner is not None and owner.dtype.type == kind and len({*owner.tolist()}) == 3
    assert list(map(str, owner.tolist())) == [name.strip() for name in names]


def test_names_are_of_one_kind_in_all_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "x,y,who\n1,0,7\n2,1,8\n")
    write(tmp_path / "test.csv", "x,y,who\n1,0,007\n2,1,8\n")
    found = formats.read(tmp_path, client="who")
    assert found.test is not None and found.test.client is not None
    assert found.train.client is not None and found.train.client.tolist() == ["7", "8"]
    assert found.test.client.tolist() == ["007", "8"]


def test_floats_are_quantities_as_they_are_in_other_formats(tmp_path: Path) -> None:
    rows = "".join(f"{place},{place / 4 + 0.1}\n" for place in range(20))
    found = datasets.read(write(tmp_path / "a.csv", f"x,y\n{rows}"), "a")
    assert found.kind == "quantities" and found.y_train.dtype == np.float32
    assert found.y_train.shape == (16, 1)


def test_names_of_classes_are_no_quantities(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "x,y\n" + "1,no\n2,yes\n" * 5)
    with pytest.raises(InputError, match="y_train: expected quantities.*received text: no and yes"):
        datasets.read(tmp_path / "a.csv", "a", Data(targets="quantities"))


def test_labels_are_called_as_the_data_call_them(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "x,y\n" + "1,yes\n" * 5)
    with pytest.raises(InputError, match="different labels, received 1: yes"):
        datasets.read(tmp_path / "a.csv", "a")
    write(tmp_path / "train.csv", "x,y\n1,no\n2,yes\n")
    write(tmp_path / "test.csv", "x,y\n1,maybe\n2,yes\n")
    with pytest.raises(InputError, match=r"y_test: .*y_train has \(no and yes\), received maybe"):
        datasets.read(tmp_path, "a")


def test_columns_of_splits_are_matched_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a,b,y,who\n1,2,0,u\n3,4,1,v\n")
    write(tmp_path / "test.csv", "who,y,b,a\nv,1,6,5\n")
    write(tmp_path / "validation.csv", "y,who,a,b\n0,u,7,8\n")
    write(tmp_path / "extra.csv", "z\n")
    found = formats.read(tmp_path, client="who")
    assert found.test is not None and found.validation is not None
    assert found.train.x.tolist() == [[1, 2], [3, 4]] and found.test.x.tolist() == [[5, 6]]
    assert found.test.y.tolist() == [1] and found.validation.x.tolist() == [[7, 8]]
    assert found.test.client is not None and found.test.client.tolist() == ["v"]
    assert found.notes == ("data: column 'y' is learned", "files: not used: extra.csv")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("a,y", "expected the columns of train.csv, missing b"),
        ("a,b,c,y", "expected the columns of train.csv, received c beside them"),
        ("a,c,y", "expected the columns of train.csv, missing b, received c beside them"),
        ("a,b,label", "expected the columns of train.csv, missing y, received label beside them"),
    ],
)
def test_other_columns_of_a_split_are_refused(tmp_path: Path, header: str, why: str) -> None:
    write(tmp_path / "train.csv", "a,b,y\n1,2,0\n3,4,1\n")
    write(tmp_path / "test.csv", f"{header}\n{','.join('1' * len(header.split(',')))}\n")
    with pytest.raises(InputError, match=f"test.csv: {why}$"):
        formats.read(tmp_path)


@pytest.mark.parametrize("name", ["label", "Labels", "TARGET", "y", "Class"])
def test_the_column_that_is_learned_may_have_a_usual_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.csv", f"a,{name}\n5,0\n6,1\n")
    found = formats.read(path)
    assert found.train.y.tolist() == [0, 1]
    assert found.notes == (f"data: column '{name}' is learned",)
    assert formats.read(path, target=name).notes == ()


@pytest.mark.parametrize(("separator", "told"), [(";", "semicolons"), ("\t", "tabs")])
def test_separators_are_found_and_said(tmp_path: Path, separator: str, told: str) -> None:
    rows = ['a,1,"b;\t;\t;\t",y', "1,2,3,0", "4,5,6,1", ""]
    write(tmp_path / "test.csv", "\n".join(rows))
    other = [row.replace("a,1", "'a 1'").replace("1,2,", "1,") for row in rows[:2]]
    content = "\n".join([*other, ""]).replace(",", separator).replace("'a 1'", '"a,1"')
    assert "a,1" in content
    write(tmp_path / "a", content)
    found = formats.read(tmp_path / "a")
    assert found.train.x.tolist() == [[1, 3]] and found.train.y.tolist() == [0]
    assert found.notes[1:] == (f"data: cells of a are separated by {told}",)
    found = formats.read(tmp_path / "test.csv")
    assert found.train.x.tolist() == [[1, 2, 3], [4, 5, 6]] and len(found.notes) == 1


def test_splits_may_be_separated_in_two_ways(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a;b;y\n1;2;0\n")
    write(tmp_path / "test.csv", "a;b;y\n1;2;0\n")
    write(tmp_path / "val.csv", "a\tb\ty\n1\t2\t0\n")
    assert formats.read(tmp_path).notes[1:] == (
        "data: cells of train.csv, test.csv are separated by semicolons",
        "data: cells of val.csv are separated by tabs",
    )


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    """A mark of the byte order, lines that end in two characters, and cells of many lines."""
    content = '\ufeffa;"the y";label\r\n1;"2";"one\r\nor two"\r\n\r\n3;;x\r\n'
    (tmp_path / "a.csv").write_bytes(content.encode())
    with pytest.raises(InputError, match="line 5, column the y: expected a number, received ''"):
        formats.read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(content.replace("3;;", "3;4;").encode())
    found = formats.read(tmp_path / "a.csv")
    assert found.train.x.tolist() == [[1, 2], [3, 4]]
    assert found.train.y.tolist() == ["one\r\nor two", "x"]


def test_random_tables_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 7)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(50, 3)), draw.integers(0, 5, 50)
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["y", "f, 0", 'f "1"', "f2"])
        rows.writerows([label, *map(repr, row)] for label, row in zip(y, x.tolist(), strict=True))
    found = formats.read(tmp_path / "a.csv")
    np.testing.assert_array_equal(found.train.x, x)
    np.testing.assert_array_equal(found.train.y, y)


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        ("a,b\n1,2\n", {}, "which column is learned? Set data.target to one of a, b"),
        ("a,b\n1,2\n", {"target": "c"}, "a.csv for data.target 'c': expected one of a, b"),
        ("a,label\n1,2\n", {"client": "labl"}, "for data.client 'labl': did you mean 'label'"),
        (
            "Label,y,b\n1,2,3\n",
            {},
            "which column is learned, one of Label, y? data.target sets it",
        ),
        (TABLE, {}, "line 2, column owner: expected a number, received 'anna'; leave the column"),
        (TABLE, {}, "or name it as data.target or data.client"),
        ("a,y\n1,0\n,1\n", {}, "line 3, column a: expected a number, received ''; fill it, or"),
        ("a,y\n\n1,0\n\nx,1\n", {}, "line 5, column a: expected a number, received 'x'"),
        ("a,y\n1,0\n1_0,1\n", {}, "line 3, column a: expected a number, received '1_0'"),
        ("a,y\n1,0\nnan,1\n", {}, "line 3, column a: expected a number, received 'nan'; fill it"),
        ("a,y\n1,0\n-inf,1\n", {}, "line 3, column a: expected a finite number, received '-inf'"),
        ("a,y\n1,0\n1e999,1\n", {}, "line 3, column a: expected a finite number, received '1e999'"),
        ("a,y\n1,0\n\n1, \n", {}, "line 4, column y: expected what is learned, received ''; fill"),
        ("a,y\n1,no\n1,\n", {}, "line 3, column y: expected what is learned, received ''"),
        ("a,y\n1,0\n1,?\n", {}, "line 3, column y: expected a number, received '?'; fill it, or"),
        ("a,y\n1,0\n1,NaN\n", {}, "line 3, column y: expected a number, received 'NaN'; fill it"),
        ("a,y\n1,.5\n1,nan\n", {}, "line 3, column y: expected a number, received 'nan'; fill it"),
        ("a,y\n1,.5\n1,inf\n", {}, "line 3, column y: expected a finite number, received 'inf'"),
        ("a,y\n1,.5\n1,.7\n1,#REF!\n", {}, "line 4, column y: expected a number, received '#REF!'"),
        ("a,w,y\n1,,0\n", {"client": "w"}, "line 2, column w: expected whose row it is, received"),
        ("a;y\n1,5;0\n", {}, "line 2, column a: expected a number, received '1,5'; decimals have"),
        ("a;y\n1;0,5\n2;1,5\n", {}, "line 2, column y: expected a number, received '0,5'; decimal"),
        ("a,y\n1,0\n1,2,3\n", {}, "line 3: expected 2 cells as the header has, received 3"),
        ("a,a\n1,0\n", {}, "in its first line, received a, a"),
        ("a,,y\n1,0,2\n", {}, "expected a header of different names"),
        ("a,y\n", {}, "expected rows below the header, received none"),
        ("y,\n", {}, "expected a header of different names"),
        ("y,x\n1,2\n", {"client": "x"}, "expected columns of numbers besides y"),
        (TABLE, {"labels": "fine"}, "takes data.target, data.client, received data.labels='fine'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, options: dict, why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)) as caught:
        formats.read(write(tmp_path / "a.csv", content), **options)
    one_line(caught.value)
    assert "a.csv" in str(caught.value)


def test_the_file_that_lacks_a_cell_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a,y\n1,0\n2,1\n")
    write(tmp_path / "test.csv", "y,a\n0,1\n?,2\n")
    with pytest.raises(InputError, match=r"test\.csv: line 3, column y: expected a number, rec"):
        formats.read(tmp_path)


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 99 are allowed"):
        formats.read(write(tmp_path / "a.csv"), client="owner", limit=99)
    # One long name makes all names long.
    long = f"a,y\n1,{'n' * 10_000}\n" + "2,b\n" * 1000
    with pytest.raises(InputError, match="take 40,040,000 bytes, at most 999,999 are allowed"):
        formats.read(write(tmp_path / "a.csv", long), limit=999_999)


@pytest.mark.fuzz
@given(mutations(TABLE.encode()) | st.binary(max_size=60))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-table.csv"
    path.write_bytes(content)
    read_or_refuse(lambda path: text.read(path, client="owner"), path)
    read_or_refuse(lambda path: text.read(path, target="a"), path)


@pytest.mark.fuzz
@given(mutations(b"b;a;label\n.5;1;no\n2;3;yes\n") | st.binary(max_size=60))
def test_any_test_set(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-tables"
    path.mkdir(exist_ok=True)
    write(path / "train.csv", "a,b,label\n1,2,no\n3,4,yes\n")
    (path / "test.csv").write_bytes(content)
    read_or_refuse(text.read, path)
