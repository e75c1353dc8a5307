"""CIFAR's archives: of records and of pickles, as Python 2 wrote those."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, one_line, read_or_refuse

from fedgen.data import formats
from fedgen.data.formats.arrays import cifar, pickles
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
ROWS = 2
NAMES = {
    "fine": [f"fine {place}" for place in range(100)],
    "coarse": [f"coarse {place}" for place in range(20)],
    "label": [f"class {place}" for place in range(10)],
}
PIXELS = {name: DRAW.integers(0, 256, (ROWS, 3072), np.uint8) for name in ("train", "test")}
FINE = {"train": [7, 99], "test": [0, 42]}
COARSE = {"train": [3, 19], "test": [0, 11]}


def upright(rows: np.ndarray) -> np.ndarray:
    """The images of rows, pixel by pixel."""
    images = np.empty((len(rows), 32, 32, 3), np.uint8)
    for channel in range(3):
        for line in range(32):
            start = 1024 * channel + 32 * line
            images[:, line, :, channel] = rows[:, start : start + 32]
    return images


def text(value: str) -> bytes:
    """A string as Python 2's cPickle writes it."""
    return b"U" + bytes([len(value)]) + value.encode()


def old_pickle(value: object) -> bytes:
    """What Python 2 with NumPy 1 wrote by ``cPickle.dump(value, file, 2)``, without its memo."""
    return b"\x80\x02" + old_value(value) + b"."


def old_value(value: object) -> bytes:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")
    if isinstance(value, list):
        return b"](" + b"".join(map(old_value, value)) + b"e"
    if isinstance(value, dict):
        pairs = b"".join(text(key) + old_value(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    assert isinstance(value, np.ndarray)
    rows, columns = value.shape
    content = value.tobytes()
    dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\0K\1\x87R"
    dtype += b"(K\3" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    shape = old_value(rows) + old_value(columns) + b"\x86"
    state = b"(K\1" + shape + dtype + b"\x89T" + len(content).to_bytes(4, "little") + content
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text("b") + b"\x87R"
    return made + state + b"tb"


def hundred(split: str) -> dict[str, object]:
    return {
        "filenames": ["a.png"] * ROWS,
        "batch_label": f"{split} batch 1 of 1",
        "fine_labels": FINE[split],
        "coarse_labels": COARSE[split],
        "data": PIXELS[split],
    }


def python100() -> dict[str, bytes]:
    meta = {f"{kind}_label_names": NAMES[kind] for kind in ("fine", "coarse")}
    return {name: old_pickle(hundred(name)) for name in ("train", "test")} | {
        "meta": old_pickle(meta)
    }


def python10() -> dict[str, bytes]:
    batches = [f"data_batch_{number}" for number in range(1, 6)]
    files = {
        name: old_pickle({"data": PIXELS["train"], "labels": [place, 9], "batch_label": name})
        for place, name in enumerate(batches)
    }
    files["test_batch"] = old_pickle({"data": PIXELS["test"], "labels": [0, 1]})
    meta = {"num_cases_per_batch": 10_000, "label_names": NAMES["label"], "num_vis": 3072}
    return files | {"batches.meta": old_pickle(meta)}


def binary100() -> dict[str, bytes]:
    files = {
        f"{split}.bin": b"".join(
            bytes([coarse, fine]) + row.tobytes()
            for coarse, fine, row in zip(COARSE[split], FINE[split], PIXELS[split], strict=True)
        )
        for split in ("train", "test")
    }
    names = {f"{kind}_label_names.txt": "\n".join(NAMES[kind]) for kind in ("fine", "coarse")}
    return files | {name: f"{lines}\n\n".encode() for name, lines in names.items()}


def write(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("files", [binary100, python100])
@pytest.mark.parametrize(("labels", "given"), [("fine", FINE), ("coarse", COARSE)])
def test_cifar100_has_two_kinds_of_labels(
    tmp_path: Path, files: object, labels: str, given: dict[str, list[int]]
) -> None:
    assert callable(files)
    found = formats.read(write(tmp_path / "a", files()), labels=labels)
    for split, part in (("train", found.train), ("test", found.test)):
        assert part is not None and part.y.dtype == np.uint8
        np.testing.assert_array_equal(part.x, upright(PIXELS[split]))
        np.testing.assert_array_equal(part.y, given[split])
    assert found.names == tuple(NAMES[labels])


def test_cifar10_of_pickles(tmp_path: Path) -> None:
    found = formats.read(write(tmp_path / "a", python10()))
    assert found.test is not None
    np.testing.assert_array_equal(found.train.x, upright(np.tile(PIXELS["train"], (5, 1))))
    np.testing.assert_array_equal(found.train.y, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9])
    np.testing.assert_array_equal(found.test.x, upright(PIXELS["test"]))
    np.testing.assert_array_equal(found.test.y, [0, 1])
    assert found.names == tuple(NAMES["label"])


def test_what_python_2_wrote_is_what_python_3_reads() -> None:
    """The bytes of these tests, by the library's own reader, in a process of its own."""
    code = (
        "import pickle, sys; found = pickle.load(sys.stdin.buffer, encoding='bytes'); "
        "print(found[b'data'].tobytes().hex(), found[b'fine_labels'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=python100()["train"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == f"{PIXELS['train'].tobytes().hex()} {FINE['train']}"


@pytest.mark.parametrize(
    "content",
    [
        b"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'label_names'\np3\n"
        b"(lp4\nS'airplane'\np5\naS'bird'\np6\nas.",
        b"(S'label_names'\n(S'airplane'\nS'bird'\nldp0\n.",
        b"\x80\2}q\1U\x0blabel_namesq\2]q\3(U\x08airplaneq\4U\4birdq\5es.",
        b"\x80\2}q\1U\x0blabel_names]q\3(U\x08airplaneU\4birdesh\1.",
    ],
)
def test_names_however_python_2_wrote_them(tmp_path: Path, content: bytes) -> None:
    found = formats.read(write(tmp_path / "a", python10() | {"batches.meta": content}))
    assert found.names == ("airplane", "bird")


def test_an_array_whose_first_axis_runs_fastest() -> None:
    pixels = PIXELS["train"]
    content = old_pickle({"data": pixels.T}).replace(b"\x89T", b"\x88T")
    shape = old_value(3072) + old_value(ROWS) + b"\x86"
    content = content.replace(shape, old_value(ROWS) + old_value(3072) + b"\x86")
    turned = pixels.reshape(-1, order="F").tobytes()
    content = content.replace(np.ascontiguousarray(pixels.T).tobytes(), turned)
    np.testing.assert_array_equal(pickles.read(content)["data"], pixels)


def test_cifar10_has_no_coarse_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a", python10())
    with pytest.raises(
        InputError, match="CIFAR-10 has fine labels only, received data.labels = 'coarse'"
    ):
        formats.read(path, labels="coarse")
    with pytest.raises(InputError, match="unknown data.labels 'fin': did you mean 'fine'"):
        formats.read(path, labels="fin")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = python100()
    del files["test"]
    with pytest.raises(InputError, match="expected train, test, missing test"):
        formats.read(write(tmp_path / "a", files))


def array_pickle(state: bytes) -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text("b") + b"\x87R"
    return b"\x80\x02}(" + text("data") + made + state + b"u."


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x80\x02c__builtin__\nprint\n(U\1xtR.", "it asks for __builtin__.print"),
        (b"\x80\4\x8c\x08builtins\x8c\5print\x93)R.", "it asks for builtins.print"),
        (b"c__builtin__\nprint\n(S'x'\ntR.", "it asks for __builtin__.print"),
        (b"\x80\x02(U\1xi__builtin__\nprint\n.", "it has the instruction INST"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(tR.", "it holds no dict"),
        (b"\x80\x02cnumpy\nload\n.", "it asks for numpy.load"),
        (b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.", "calls what makes no array"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "it holds no dict"),
        (b"\x80\x02](K\1K\2e.", "it holds no dict"),
        (b"\x80\x02}" + text("data") + b"G" + bytes(8) + b"s.", "has the instruction BINFLOAT"),
        (b"\x80\x02}" + text("data") + b"Ns.", "it holds a NoneType"),
        (b"\x80\x02}K\1K\2s.", "it has a int for a name"),
        (b"\x80\x02}" + text("data") + b"a.", "it fills what is no list"),
        (b"\x80\5}\x8c\4data\x96" + b"\xff" * 7 + b"\x7fs.", "it is damaged|BYTEARRAY8"),
        (b"\x80\5}\x8c\4data\x96\3" + bytes(10) + b"s.", "has the instruction BYTEARRAY8"),
        (b"\x80\x02}", "it is damaged"),
        (b"", "it is damaged"),
        (b"\x80\x02cnumpy\nndarray\nN}" + text("x") + b"K\1s\x86b.", "it changes what is no array"),
        (array_pickle(b""), "an array in it is not one of bytes"),
        (array_pickle(b"(K\1K\2\x85cnumpy\ndtype\nU\2u1\x85R\x89U\1xtb"), "not one of bytes"),
        (array_pickle(b"(K\1K\1\x85cnumpy\ndtype\nU\1O\x85R\x89U\1xtb"), "not one of bytes"),
        (array_pickle(b"(K\1K\1\x85NNNtb"), "not one of bytes"),
        (
            old_pickle({"data": PIXELS["train"][:, :9], "fine_labels": [0, 1]}),
            "its data are not rows of 3072 bytes",
        ),
        (old_pickle({"data": PIXELS["train"], "fine_labels": [0]}), "are not 2 small integers"),
        (old_pickle({"data": PIXELS["train"], "fine_labels": [0, 256]}), "not 2 small integers"),
        (old_pickle({"data": PIXELS["train"]}), "not 2 small integers"),
    ],
)
def test_a_pickle_that_is_more_than_plain_data_is_refused(
    tmp_path: Path, content: bytes, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a", python100() | {"train": content} if content else {})
    if not content:
        with pytest.raises(pickles.Refused, match=why):
            pickles.read(content)
        return
    with pytest.raises(InputError, match=why) as caught:
        formats.read(path)
    one_line(caught.value)
    assert "cifar-100-binary.tar.gz, holds no pickles" in str(caught.value)
    assert not capsys.readouterr().out


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    files = python100() | {"meta": old_pickle({"fine_label_names": [1, 2]})}
    with pytest.raises(InputError, match="meta: its names are not a list of text"):
        formats.read(write(tmp_path / "a", files))


@pytest.mark.fuzz
@given(mutations(python100()["meta"]) | st.binary(max_size=60).map(b"\x80\x02".__add__))
def test_any_pickle(content: bytes) -> None:
    try:
        assert isinstance(pickles.read(content), dict)
    except pickles.Refused as error:
        assert str(error)


@pytest.mark.fuzz
@given(mutations(old_pickle(hundred("train"))[:400]), st.sampled_from(["train", "test", "meta"]))
def test_any_pickle_in_an_archive(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-cifar.tar.gz"
    read_or_refuse(cifar.read, write(path, python100() | {name: content}))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("packed") / "a", binary100()).read_bytes()


@pytest.mark.fuzz
@given(data=st.data())
def test_any_archive(
    tmp_path_factory: pytest.TempPathFactory, packed: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-cifar.tar.gz"
    path.write_bytes(data.draw(mutations(packed)))
    read_or_refuse(cifar.read, path)
