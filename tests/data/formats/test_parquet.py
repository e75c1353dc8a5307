"""Parquet files as pyarrow and as hubs write them, and tables of numbers."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, read_or_refuse
from parquets import CELL, COLOUR, DRAW, GREY, LABELS, LEARNED, WRITERS, cells, encoded, write

from fedgen.data import datasets as datasets_by_name
from fedgen.data import formats
from fedgen.data.formats.tables import arrow, parquet
from fedgen.errors import InputError


@pytest.mark.parametrize("images", [GREY, COLOUR])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_cells_of_hubs_are_read_back(tmp_path: Path, images: np.ndarray, kind: str) -> None:
    path = write(tmp_path / "a", image=cells(images, kind), label=LABELS)
    found = formats.read(path)
    np.testing.assert_array_equal(found.train.x, images)
    assert found.train.x.dtype == np.uint8 and found.train.y.tolist() == LABELS
    assert (found.names, found.test, found.train.client) == ((), None, None)
    assert found.notes == (LEARNED,)


def test_cells_of_bytes_alone(tmp_path: Path) -> None:
    content = pa.array([encoded(image) for image in GREY], pa.binary())
    found = formats.read(write(tmp_path / "a", img=content, y=LABELS))
    np.testing.assert_array_equal(found.train.x, GREY)


@pytest.mark.parametrize("fixed", [True, False])
def test_lists_of_integers_are_images(tmp_path: Path, fixed: bool) -> None:
    kind = pa.list_(pa.list_(pa.int64(), 5), 6) if fixed else pa.list_(pa.list_(pa.int64()))
    for images, dtype in ((GREY.astype(int), np.uint8), (GREY.astype(int) - 9, np.int64)):
        column = pa.array(images.tolist(), kind)
        found = formats.read(write(tmp_path / "a", image=column, label=LABELS))
        np.testing.assert_array_equal(found.train.x, images)
        assert found.train.x.dtype == dtype  # narrowed where nothing is lost


def test_vectors_are_samples(tmp_path: Path) -> None:
    rows = DRAW.normal(size=(7, 4)).astype(np.float32)
    column = pa.array(rows.tolist(), pa.list_(pa.float32()))
    found = formats.read(write(tmp_path / "a", embedding=column, label=LABELS))
    np.testing.assert_array_equal(found.train.x, rows)


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet", "validation.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-0.parquet", "data/valid-0.parquet"),
        ("train/0000.parquet", "test/0000.parquet", "validation/0000.parquet"),
    ],
)
def test_splits_are_files(tmp_path: Path, names: tuple[str, ...]) -> None:
    for place, name in enumerate(names):
        write(tmp_path / name, a=[place, 5], b=[0.5, 1.5], target=["no", "yes"])
    write(tmp_path / "extra.parquet", z=[1])
    found = formats.read(tmp_path)
    assert found.test is not None and found.validation is not None
    for place, part in enumerate((found.train, found.test, found.validation)):
        np.testing.assert_array_equal(part.x, [[place, 0.5], [5, 1.5]])
        assert part.y.tolist() == ["no", "yes"]
    assert found.names == ()
    assert found.notes == ("data: column 'target' is learned", "files: not used: extra.parquet")


def test_files_without_a_split_are_all_of_training(tmp_path: Path) -> None:
    for place in range(2):
        write(tmp_path / f"part-{place}.parquet", a=[place, place], y=[0, 1])
    found = formats.read(tmp_path)
    assert found.train.x.tolist() == [[0], [0], [1], [1]] and found.test is None


def test_a_table_of_numbers(tmp_path: Path) -> None:
    columns = {"a": [1, 2], "b": [True, False], "c": ["u", "v"], "k": [5, 6], "who": [7, 8]}
    found = formats.read(write(tmp_path / "a", **columns), target="k", client="who")
    np.testing.assert_array_equal(found.train.x, [[1, 1], [2, 0]])
    assert found.train.y.tolist() == [5, 6]
    assert found.train.client is not None and found.train.client.tolist() == [7, 8]
    assert found.notes == ("columns: not used: c",)


def test_fine_and_coarse_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a", img=cells(GREY), fine_label=LABELS, coarse_label=LABELS[::-1])
    assert formats.read(path).train.y.tolist() == LABELS
    assert formats.read(path).notes[0] == "data: column 'fine_label' is learned"
    assert formats.read(path, labels="fine").notes == ("columns: not used: coarse_label",)
    assert formats.read(path, labels="fine").train.y.tolist() == LABELS
    assert formats.read(path, labels="coarse").train.y.tolist() == LABELS[::-1]


def test_labels_of_another_kind_are_no_features(tmp_path: Path) -> None:
    columns = {"a": [1, 2], "fine_label": [0, 1], "coarse_label": [1, 0], "y": [5, 6]}
    path = write(tmp_path / "a", **columns)
    for options, others in (
        ({"labels": "fine"}, "coarse_label, y"),
        ({"labels": "coarse"}, "fine_label, y"),
        ({"target": "y"}, "fine_label, coarse_label"),
    ):
        found = formats.read(path, **options)
        told = [name for name in others.split(", ") if name != "y"]
        assert found.train.x[:, 0].tolist() == [1, 2]
        assert found.train.x.shape[1] == 1 + ("y" in others)
        assert found.notes == (f"columns: not used: {', '.join(told)}",)


def test_the_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "label": [0, 1, 0]})
    for index, name in (
        (pd.Index([7, 3, 9]), "__index_level_0__"),
        (pd.Index([7, 3, 9], name="id"), "id"),
    ):
        frame.set_index(index).to_parquet(tmp_path / "a")
        found = formats.read(tmp_path / "a")
        assert found.train.x.tolist() == [[1], [2], [3]]
        assert found.notes == (LEARNED, f"columns: not used: {name}")
        mine = formats.read(tmp_path / "a", client=name).train  # unless somebody names it
        assert mine.client is not None and mine.client.tolist() == [7, 3, 9]
    frame.to_parquet(tmp_path / "a")  # numbered from 0, which is in no column
    assert formats.read(tmp_path / "a").notes == (LEARNED,)
    path = write(tmp_path / "b", a=[1, 2], label=[0, 1], __index_level_0__=[7, 3])
    assert formats.read(path).train.x.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    "told", [b"{", b"[]", b'{"index_columns": 1}', b'{"index_columns": [{}, 3]}', b"\xff"]
)
def test_what_pandas_says_may_be_anything(tmp_path: Path, told: bytes) -> None:
    pq.write_table(pa.table(BAD).replace_schema_metadata({"pandas": told}), tmp_path / "a")
    assert formats.read(tmp_path / "a").train.x.tolist() == [[1], [2]]


def test_labels_of_several_places(tmp_path: Path) -> None:
    several = [[0, 1], [1, 1]]
    found = formats.read(write(tmp_path / "a", a=[1, 2], label=pa.array(several)), target="label")
    assert found.train.y.tolist() == several


def test_dictionaries_are_text(tmp_path: Path) -> None:
    label = pa.array(["no", "yes", "no"]).dictionary_encode()
    found = formats.read(write(tmp_path / "a", a=[1, 2, 3], label=label))
    assert (found.train.y.tolist(), found.names) == (["no", "yes", "no"], ())


def test_columns_of_bits_are_numbers_of_which_nothing_is_said(tmp_path: Path) -> None:
    columns = {"a": [True, False] * 5, "b": [False] * 10, "y": [0, 1] * 5}
    found = datasets_by_name.read(write(tmp_path / "a", **columns), "a")
    assert found.x_train.dtype == np.float32 and found.scale == 1 and not found.scale_note
    assert set(np.unique(found.x_train).tolist()) == {0.0, 1.0}


BAD = {"a": [1, 2], "label": [0, 1]}


@pytest.mark.parametrize(
    ("columns", "options", "why"),
    [
        ({"a": [1], "b": [2]}, {}, "which column is learned. Set data.target to one of a, b"),
        ({"a": [1], "y": [2], "Class": [3]}, {}, "learned, one of y, Class. data.target sets it"),
        (BAD, {"target": "lable"}, "for data.target 'lable': did you mean 'label'"),
        (BAD, {"client": "who"}, "unknown column of .* for data.client 'who'"),
        (BAD, {"labels": "coarse"}, "data.labels: 'coarse' expects a column coarse_label, receive"),
        (BAD, {"labels": "course"}, "unknown data.labels 'course': did you mean 'coarse'"),
        (BAD, {"kind": "x"}, "takes data.labels, data.target, data.client, received kind='x'"),
        (
            {"label": [0, 1]},
            {},
            "a column of images or columns of numbers besides label, received n",
        ),
        ({"a": ["x"], "label": [0]}, {}, "besides label, received a"),
        ({"a": [1, None], "label": [0, 1]}, {}, "train: column a lacks 1 of 2 values; leave those"),
        ({"a": [1, 2], "label": [0, None]}, {}, "train: column label lacks 1 of 2 values"),
        (
            {"a": [[1, 2], [3]], "label": [0, 1]},
            {},
            "expected lists of one length, received 1 to 2",
        ),
        ({"a": [[1, None]], "label": [0]}, {}, "expected lists of numbers, received 1 missing of"),
        (
            {"a": [["x"]], "label": [0]},
            {},
            "expected lists of numbers, received 0 missing of string",
        ),
        (
            {"a": [[1]], "b": [[2]], "label": [0]},
            {},
            "expected one column of images, received a, b",
        ),
        (
            {"a": [1], "label": [{"u": 1}]},
            {},
            "column label: expected numbers or text, received st",
        ),
        ({"a": pa.array([], "i4"), "label": pa.array([], "i4")}, {}, "expected samples in train"),
        (
            {"image": pa.array([{"bytes": None, "path": "/etc/passwd"}], CELL), "label": [0]},
            {},
            "train, row 0: image has no bytes, and files that it may name are not read",
        ),
        ({"image": [b"never"], "label": [0]}, {}, "train, row 0, image: not a readable image"),
        (
            {"image": [encoded(GREY[0]), encoded(GREY[1, :5])], "label": [0, 1]},
            {},
            "train, row 1, image: expected 6x5 uint8 as train, row 0, image is, received 5x5 uint8",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, columns: dict, options: dict, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        formats.read(write(tmp_path / "a", **columns), **options)
    assert "\n" not in str(caught.value)


def test_a_test_split_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", **BAD)
    with pytest.raises(InputError, match=r"expected train\.parquet .*, received test\.parquet"):
        formats.read(tmp_path)


def test_a_test_split_of_other_columns_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", **BAD)
    for columns, why in (
        ({"a": [1], "b": [2]}, "missing label, received b beside them"),
        ({"a": [1]}, "missing label"),
        ({"a": [1], "label": [0], "b": [2]}, "received b beside them"),
    ):
        write(tmp_path / "test.parquet", **columns)
        with pytest.raises(
            InputError, match=rf"test\.parquet: expected the columns of train\.parquet, {why}$"
        ):
            formats.read(tmp_path)


def test_columns_of_files_are_matched_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", a=[1], b=[2], label=[0])
    write(tmp_path / "train-1.parquet", label=[1], b=[4], a=[3])
    write(tmp_path / "test.parquet", b=[6], label=[0], a=[5])
    found = formats.read(tmp_path)
    assert found.test is not None
    assert found.train.x.tolist() == [[1, 2], [3, 4]] and found.train.y.tolist() == [0, 1]
    assert found.test.x.tolist() == [[5, 6]]


def test_text_beside_a_column_with_names_is_not_clear(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "a": datasets.Value("int64"),
            "sex": datasets.ClassLabel(names=["f", "m"]),
            "target": datasets.Value("int64"),
        }
    )
    rows = {"a": [1, 2], "sex": [0, 1], "target": [5, 6]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="which column is learned, one of sex, target"):
        formats.read(tmp_path / "a.parquet")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    lists = pa.array(GREY.tolist())
    for columns in ({"image": cells(GREY)}, {"image": lists}, {"number": LABELS}):
        path = write(tmp_path / "a", **columns, label=LABELS)
        with pytest.raises(InputError, match="at most 99 are allowed"):
            formats.read(path, limit=99)


def test_equal_cells_count_as_what_they_take(tmp_path: Path) -> None:
    """Packed, they take next to nothing, of which a file says no more."""
    rows = 4000
    vector = pa.array([[0] * 50] * rows, pa.list_(pa.int32(), 50))
    label = np.zeros(rows, np.int8)
    for columns, size in (
        ({"a": np.zeros(rows)}, 9 * rows),
        ({"a": np.zeros(rows, bool)}, 2 * rows),
        ({"a": vector}, 201 * rows),
        ({"a": vector.cast(pa.list_(pa.int32()))}, 201 * rows),
    ):
        path = write(tmp_path / "a", **columns, label=label)
        assert path.stat().st_size < size
        why = f"take {size:,} bytes, at most {size - 1:,} are allowed"
        with pytest.raises(InputError, match=why):
            formats.read(path, limit=size - 1)


def test_cells_of_any_length_are_counted_while_they_are_read(tmp_path: Path) -> None:
    cell = encoded(COLOUR[0])
    images = pa.array([{"bytes": cell, "path": None}] * 3000, CELL)
    path = write(tmp_path / "a", image=images, label=[0, 1, 2] * 1000)
    most = 2000 * len(cell)
    assert path.stat().st_size < most / 10
    with pytest.raises(InputError, match=f"at most {most:,} are allowed"):
        formats.read(path, limit=most)
    for names in (["a" * 999] * 3000, pa.array(["a" * 999] * 3000).dictionary_encode()):
        write(tmp_path / "a", a=np.zeros(3000), label=names)
        with pytest.raises(InputError, match="at most 2,000,000 are allowed"):
            formats.read(path, limit=2_000_000)


@pytest.mark.parametrize("rows", [1, 2, 1024])
def test_rows_are_those_of_the_file_however_many_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "ROWS", rows)
    names = pa.array(WRITERS).dictionary_encode()
    path = write(tmp_path / "a", image=cells(GREY), label=LABELS, who=names)
    found = formats.read(path, client="who").train
    np.testing.assert_array_equal(found.x, GREY)
    assert found.y.tolist() == LABELS
    assert found.client is not None and found.client.tolist() == WRITERS


@pytest.mark.parametrize(
    "told", [b"{", b"[]", b'{"info": 1}', b'{"info": {"features": []}}', b"[" * 9999, b"\xff"]
)
def test_what_hubs_say_may_be_anything(told: bytes) -> None:
    assert arrow.known_features(pa.schema([], {b"huggingface": told})) == {}


@pytest.mark.parametrize("label", [3, {"_type": "ClassLabel"}, {"_type": "Value", "names": ["a"]}])
def test_features_that_are_none_name_no_classes(tmp_path: Path, label: object) -> None:
    told = json.dumps({"info": {"features": {"label": label}}})
    table = pa.table(BAD).replace_schema_metadata({"huggingface": told})
    pq.write_table(table, tmp_path / "a")
    assert formats.read(tmp_path / "a").names == ()


def content(**columns: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, write_page_checksum=True)
    return stream.getvalue()


FILES = [
    content(image=cells(GREY[:2]), label=LABELS[:2]),
    content(image=pa.array(GREY[:2].tolist()), label=LABELS[:2]),
    content(a=[1.0, 2.0], b=[1, 2], label=["no", "yes"]),
]


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")  # of Pillow, about damaged cells
@given(st.sampled_from(FILES).flatmap(mutations))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    path.write_bytes(content)
    read_or_refuse(parquet.read, path)
