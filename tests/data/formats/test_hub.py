"""Data sets that the library of hubs writes, finds and reads."""

import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, read_or_refuse
from parquets import GREY, LABELS, WRITERS, write
from PIL import Image

from fedgen.data import formats
from fedgen.data.formats.tables import hub
from fedgen.errors import InputError


def femnist() -> datasets.Dataset:
    """A data set with the columns of Flower's FEMNIST, as the library of hubs makes it."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "writer_id": datasets.Value("string"),
            "hsf_id": datasets.Value("int64"),
            "character": datasets.ClassLabel(names=["a", "b", "c"]),
        }
    )
    columns = {
        "image": [Image.fromarray(image) for image in GREY],
        "writer_id": WRITERS,
        "hsf_id": [0] * 7,
        "character": LABELS,
    }
    return datasets.Dataset.from_dict(columns, features)


def same_femnist(found: formats.found.Raw) -> None:
    np.testing.assert_array_equal(found.train.x, GREY)
    assert found.train.y.tolist() == LABELS and found.names == ("a", "b", "c")
    assert found.train.client is not None and found.train.client.tolist() == WRITERS
    assert found.notes == ("data: column 'character' is learned", "columns: not used: hsf_id")


def test_femnist_as_flower_publishes_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    whole = femnist()
    for shard in range(2):
        part = whole.shard(2, shard, contiguous=True)
        part.to_parquet(tmp_path / "data" / f"train-0000{shard}-of-00002.parquet")
    same_femnist(formats.read(tmp_path, client="writer_id"))


def test_a_data_set_saved_by_the_library_of_hubs(tmp_path: Path) -> None:
    whole = femnist()
    whole.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": whole, "test": whole.select([1, 3])}).save_to_disk(
        tmp_path / "two"
    )
    same_femnist(formats.read(tmp_path / "one", client="writer_id"))
    for path in (tmp_path / "two", Path(f"hf:{tmp_path / 'two'}")):
        found = formats.read(path, client="writer_id")
        same_femnist(found)
        assert found.test is not None and found.test.client is not None
        np.testing.assert_array_equal(found.test.x, GREY[[1, 3]])
        assert found.test.y.tolist() == [0, 2] and found.test.client.tolist() == ["f02", "f01"]


def test_a_local_folder_through_the_library_of_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of image files, which the library leaves on disk; the reader follows it there."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for place, image in enumerate(GREY):
        split, name = ("train", "cat") if place < 4 else ("test", "dog")
        for kind in (name, "cow"):
            path = tmp_path / "data" / split / kind / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    found = formats.read(Path(f"hf:{tmp_path / 'data'}"))
    assert found.test is not None and found.names == ("cat", "cow", "dog")
    assert found.train.x.shape == (8, 6, 5) and found.test.x.shape == (6, 6, 5)
    assert sorted(found.train.y.tolist()) == [0] * 4 + [1] * 4


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="hf:nobody/nothing: not a readable data set of a hub"):
        formats.read(Path("hf:nobody/nothing"))


@pytest.mark.parametrize("version", ["3.6.0", "2.21.0", "0.9"])
def test_a_library_that_runs_code_of_data_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(datasets, "__version__", version)
    with pytest.raises(InputError, match=f"needs datasets 4 or later.*; received {version}; pip"):
        formats.read(Path("hf:mnist"))


def test_a_library_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a", a=[1], y=[2])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs the library datasets; pip install datasets"):
        formats.read(Path("hf:mnist"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"tables: need pyarrow; pip install 'fedgen\[data\]'"):
        formats.read(path)


@pytest.mark.parametrize("name", ["", "/", "//", " ", "/ "])
def test_a_hub_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected hf:NAME, hf:OWNER/NAME or hf:/FOLDER, received"):
        hub.read(Path(f"hf:{name}"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "a"
    femnist().save_to_disk(path)
    return path


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
def test_any_saved_data_set(saved: Path, data: st.DataObject) -> None:
    files = {path: path.read_bytes() for path in sorted(saved.iterdir())}
    path = data.draw(st.sampled_from(list(files)))
    path.write_bytes(data.draw(mutations(files[path])))
    try:
        read_or_refuse(hub.read, saved)
    finally:
        path.write_bytes(files[path])
