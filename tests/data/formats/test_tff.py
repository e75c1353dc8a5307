"""HDF5 files of TensorFlow Federated, as h5py writes them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, read_or_refuse

from fedgen.data import datasets, formats
from fedgen.data.formats.natural import tff
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)


def emnist(*counts: int) -> dict[str, dict[str, Any]]:
    return {
        f"f{number:04}_{number}": {
            "pixels": DRAW.random((count, 28, 28), np.float32),
            "label": DRAW.integers(0, 62, count).astype(np.int32),
        }
        for number, count in enumerate(counts)
    }


CIFAR = {
    str(number): {
        "image": DRAW.integers(0, 256, (3, 32, 32, 3), np.uint8),
        "label": DRAW.integers(0, 100, (3, 1)),
        "coarse_label": DRAW.integers(0, 20, (3, 1)),
    }
    for number in range(2)
}
SNIPPETS = {
    "KING LEAR": {"snippets": [b"Blow, winds, and crack your cheeks! " * 5, b"No."]},
    "FOOL": {"snippets": ["caf\u00e9".encode(), b"a" * 79]},
}


def write(path: Path, clients: dict[str, dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as content:
        for client, arrays in clients.items():
            for name, array in arrays.items():
                content[f"examples/{client}/{name}"] = array
    return path


def test_emnist_is_read_back(tmp_path: Path) -> None:
    train, test = emnist(3, 1, 2), emnist(1, 0, 1)
    write(tmp_path / "a" / "fed_emnist_train.h5", train)
    write(tmp_path / "a" / "fed_emnist_test.h5", test)
    for path in (tmp_path / "a", tmp_path / "a" / "fed_emnist_train.h5"):
        found = formats.read(path)
        assert found.test is not None and found.notes == ()
        for part, clients in ((found.train, train), (found.test, test)):
            every = list(clients.values())
            np.testing.assert_array_equal(part.x, np.concatenate([e["pixels"] for e in every]))
            np.testing.assert_array_equal(part.y, np.concatenate([e["label"] for e in every]))
            owners = [name for name, e in clients.items() for _ in e["label"]]
            assert part.client is not None and part.client.tolist() == owners
            assert (part.x.dtype, part.y.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize(("labels", "key"), [("fine", "label"), ("coarse", "coarse_label")])
def test_cifar100_is_read_back(tmp_path: Path, labels: str, key: str) -> None:
    found = formats.read(write(tmp_path / "fed_cifar100_train.h5", CIFAR), labels=labels)
    np.testing.assert_array_equal(found.train.x[3:], CIFAR["1"]["image"])
    np.testing.assert_array_equal(found.train.y[3:], CIFAR["1"][key][:, 0])
    assert found.test is None and found.train.x.dtype == np.uint8


def letters(tokens: Any) -> str:
    named = dict(enumerate(tff.VOCABULARY, 1)) | {tff.PAD: "", tff.OTHER: "*"}
    return "".join((named | {tff.START: "<", tff.END: ">"})[token] for token in tokens)


def test_the_vocabulary_has_86_different_characters() -> None:
    assert len(tff.VOCABULARY) == len({*tff.VOCABULARY}) == 86
    assert (tff.OTHER, tff.START, tff.END) == (87, 88, 89)


def test_snippets_become_parts_of_81_tokens() -> None:
    lines = ["caf\u00e9".encode(), b"Blow, winds, and crack your cheeks! " * 5, b"No."]
    tokens, counts = tff.encode(lines)
    whole = list(map(letters, tokens))
    assert counts == [1, 3, 1] and tokens.shape == (5, 81)
    assert whole[0] == "<caf*>" and whole[4] == "<No.>"
    assert "".join(whole[1:4]) == "<" + "Blow, winds, and crack your cheeks! " * 5 + ">"


def test_shakespeare_becomes_tokens_and_the_one_after_them(tmp_path: Path) -> None:
    write(tmp_path / "shakespeare_test.h5", SNIPPETS)
    found = formats.read(write(tmp_path / "shakespeare_train.h5", SNIPPETS))
    x, y = found.train.x, found.train.y
    assert x.shape == (3, 80) and y.shape == (3,) and x.dtype == y.dtype == np.int32
    said = "<" + "Blow, winds, and crack your cheeks! " * 5
    assert list(map(letters, x)) == ["<" + "a" * 79, said[:80], said[81:161]]
    assert [found.names[token] for token in y] == ["end", said[80], said[161]]
    assert found.train.client is not None  # HDF5 sorts its names
    assert found.train.client.tolist() == ["FOOL", "KING LEAR", "KING LEAR"]
    assert "vocabulary of 86; 87 is any other character, 88 and" in found.notes[0]
    assert "the character after 80, as LEAF's task has it" in found.notes[1]
    assert len(found.names) == tff.END + 1 and found.names[tff.OTHER] == "other"


def test_shakespeare_is_loaded(tmp_path: Path) -> None:
    write(tmp_path / "shakespeare_test.h5", SNIPPETS)
    found = datasets.read(write(tmp_path / "shakespeare_train.h5", SNIPPETS), "a")
    said = "<" + "Blow, winds, and crack your cheeks! " * 5
    assert found.kind == "classes" and found.x_train.dtype == np.int32
    assert {*found.labels} == {"end", said[80], said[161]}


def test_shakespeare_without_a_whole_part_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_train.h5", {"FOOL": {"snippets": [b"No."]}})
    with pytest.raises(InputError, match="expected snippets of 80 characters or more, received no"):
        formats.read(path)


def test_text_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    same = {"a": {"snippets": [b"x" * 800] * 200}}
    path = write(tmp_path / "a_train.h5", same)
    most = 2 * path.stat().st_size
    with pytest.raises(InputError, match=f"at most {most:,} are allowed"):
        formats.read(path, limit=most)


def bad(path: Path, change: Any) -> Path:
    write(path, emnist(2, 2))
    with h5py.File(path, "a") as content:
        change(content)
    return path


def relink(link: Any) -> Any:
    def change(content: Any) -> None:
        del content["examples/f0001_1/pixels"]
        content["examples/f0001_1/pixels"] = link

    return change


def objects(content: Any) -> None:
    for client in content["examples"]:
        del content[f"examples/{client}/pixels"]
        content[f"examples/{client}/pixels"] = ["text", "text"]


def outside(content: Any) -> None:
    del content["examples/f0001_1/pixels"]
    content["examples/f0001_1"].create_dataset(
        "pixels", (2, 28, 28), np.float32, external=[("/etc/passwd", 0, 6272)]
    )


def virtual(content: Any) -> None:
    del content["examples/f0001_1/pixels"]
    layout = h5py.VirtualLayout((2, 28, 28), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (2, 28, 28))
    content["examples/f0001_1"].create_virtual_dataset("pixels", layout)


def fewer(content: Any) -> None:
    del content["examples/f0001_1/label"]
    content["examples/f0001_1/label"] = np.ones(1, np.int32)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (relink(h5py.SoftLink("/examples/f0000_0/pixels")), "expected pixels in the file itself"),
        (relink(h5py.ExternalLink("other.h5", "/x")), "received a link or another file"),
        (relink(np.zeros((2, 28, 27), np.float32)), "expected pixels of one shape and of numbers"),
        (relink(np.zeros((2, 28, 28))), "expected pixels of one shape"),
        (objects, r"expected pixels of one shape and of numbers, received object\[\]"),
        (outside, "received a link or another file"),
        (virtual, "received a link or another file"),
        (fewer, "a client has not as many labels as images"),
        (lambda content: content["examples"].pop("f0000_0/label"), "expected label of every"),
        (lambda content: content["examples"].pop("f0001_1/label"), "expected label in the file"),
        (lambda content: content.pop("examples"), "expected examples in the file itself"),
        (lambda content: content["examples"].clear(), "expected clients under examples"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, change: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        formats.read(bad(tmp_path / "a_train.h5", change))


def test_snippets_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_train.h5", {"a": {"snippets": [1, 2]}})
    with pytest.raises(InputError, match=r"expected snippets of text, received int64\[2\]"):
        formats.read(path)


def test_snippets_of_one_length_or_beyond_the_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_train.h5", {"a": {"snippets": np.array([b"one", b"two"])}})
    with pytest.raises(InputError, match=r"expected snippets of text, received \|S3\[2\]"):
        formats.read(path)
    with h5py.File(path, "w") as content:  # says so many, and has none of them
        content.create_dataset("examples/a/snippets", (90_000,), h5py.string_dtype(), chunks=(9,))
    with pytest.raises(InputError, match="says it has 90,000 snippets, more than its bytes"):
        formats.read(path)
    with pytest.raises(InputError, match="take 720,000 bytes, at most 500,000 are allowed"):
        formats.read(path, limit=500_000)


def test_a_file_whose_text_ends_beyond_it_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_train.h5", SNIPPETS)
    content = bytearray(path.read_bytes())
    size = content.index(b"GCOL") + 8
    content[size : size + 8] = len(content).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="its text is damaged; fetch the file again"):
        formats.read(path)


def test_several_training_files_are_refused(tmp_path: Path) -> None:
    for name in ("a_train.h5", "b_train.h5"):
        write(tmp_path / name, CIFAR)
    with pytest.raises(InputError, match="expected one file .*, received a_train.h5, b_train.h5"):
        formats.read(tmp_path)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take 18,432 bytes, at most 18,431 are allowed"):
        formats.read(write(tmp_path / "a_train.h5", CIFAR), limit=18_431)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("hdf5")
    small = {"a": {"pixels": np.zeros((2, 3, 3), np.float32), "label": [1, 2]}}
    return [write(folder / "a", part).read_bytes() for part in (small, SNIPPETS)]


@pytest.mark.fuzz
@given(data=st.data())
def test_any_file(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.h5"
    path.write_bytes(data.draw(st.sampled_from(contents).flatmap(mutations)))
    read_or_refuse(tff.read, path)
