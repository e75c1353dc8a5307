"""Archives and array files that somebody prepared: refused in one line, at no great cost."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datafiles import cifar_files, small, write_npz, write_tar

from fedgen.data.datasets import read
from fedgen.data.formats.arrays import cifar
from fedgen.errors import InputError
from fedgen.files import npz


@contextmanager
def little_memory(most: int = 64 * 2**20) -> Iterator[None]:
    """Fail if Python's objects and arrays ever took more inside the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def with_member(path: Path, content: bytes = b"", **changed: Any) -> Path:
    """A good archive with one more member in front of the others."""
    with tarfile.open(path, "w:gz") as archive:
        extra = tarfile.TarInfo(changed.pop("name", "extra"))
        extra.size = len(content)
        for key, value in changed.items():
            setattr(extra, key, value)
        archive.addfile(extra, io.BytesIO(content))
        for name, records in cifar_files().items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(records)
            archive.addfile(info, io.BytesIO(records))
    return path


def test_an_unknown_member_is_passed_over(tmp_path: Path) -> None:
    path = with_member(tmp_path / "a.tar.gz", b"hello", name="readme.html")
    assert read(path, "cifar10").outputs == 10


@pytest.mark.parametrize(
    "name", ["../data_batch_1.bin", "/etc/data_batch_1.bin", "a/../../readme.html", "/x"]
)
def test_a_path_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = with_member(tmp_path / "a.tar.gz", b"x", name=name)
    with pytest.raises(InputError, match="points outside of it"):
        read(path, "cifar10")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = with_member(
        tmp_path / "a.tar.gz", name="data_batch_1.bin", type=kind, linkname="/etc/passwd"
    )
    with pytest.raises(InputError, match="is a link or no plain file"):
        read(path, "cifar10")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = with_member(tmp_path / "a.tar.gz", bytes(cifar.RECORD), name="x/test_batch.bin")
    with pytest.raises(InputError, match=r"test_batch\.bin is there twice"):
        read(path, "cifar10")


@pytest.mark.parametrize("records", [0, 10_001, 10_000_000])
def test_a_member_of_an_impossible_size_is_refused(tmp_path: Path, records: int) -> None:
    """By its header: nothing of that size is there, and nothing is read."""
    info = tarfile.TarInfo("data_batch_1.bin")
    info.size = records * cifar.RECORD
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf()))
    with little_memory(), pytest.raises(InputError, match=f"has {info.size} bytes, expected a"):
        read(path, "cifar10")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    """A member, or a header of one, that unpacks to much more than the published archive."""
    monkeypatch.setattr(cifar, "LIMIT", 2**24)
    info = tarfile.TarInfo("readme.html")
    info.type = kind
    info.size = 2**30
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(info.tobuf())
        for _ in range(2**6):
            stream.write(bytes(2**20))
    with little_memory(), pytest.raises(InputError, match="unpacks to more than 16,777,216 bytes"):
        read(path, "cifar10")


def npy(shape: str, dtype: str, payload: bytes) -> bytes:
    """An ``.npy`` file with whatever header."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload


def zipped(path: Path, **members: bytes) -> Path:
    arrays = {name: npy("(4, 3, 2)", "|u1", bytes(24)) for name in ("x_train", "x_test")}
    arrays |= {name: npy("(4,)", "<i8", bytes(32)) for name in ("y_train", "y_test")}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (arrays | members).items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (npy("(10000000000000,)", "<f8", bytes(8)), r"takes 80,000,000,000,000 bytes, 8 are there"),
        (npy("(4, 3, 2)", "|u1", bytes(23)), "takes 24 bytes, 23 are there"),
        (npy("(4, 3, 2)", "|u1", bytes(25)), "takes 24 bytes, 25 are there"),
        (npy("(-4, 3, 2)", "|u1", bytes(24)), "shape"),
        (npy("(4,)", "|O", bytes(32)), "expected booleans or numbers, received object"),
        (npy("(4,)", "|V8", bytes(32)), "expected booleans or numbers, received"),
        (npy("(4,)", "<U2", bytes(32)), "expected booleans or numbers, received <U2"),
        (npy("(" * 3000, "|u1", b""), "not a readable"),
        (b"\x93NUMPY\x03\x00" + bytes(80), r"unknown \.npy version"),
        (b"not an array", "magic string"),
        (b"", "EOF"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused_before_it_is_read(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = zipped(tmp_path / "a.npz", x_train=content)
    with little_memory(), pytest.raises(InputError, match=why) as caught:
        read(path, "a")
    assert str(caught.value).startswith(f"data file {path}: ")


def test_a_header_that_claims_to_be_long_is_not_read(tmp_path: Path) -> None:
    bomb = b"\x93NUMPY\x02\x00" + (2**28).to_bytes(4, "little") + bytes(2**28)
    path = zipped(tmp_path / "a.npz", x_train=bomb)
    del bomb
    assert path.stat().st_size < 10**6
    with little_memory(), pytest.raises(InputError, match="a header of 268,435,456 bytes"):
        read(path, "a")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions_are_not_read(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", npy("(4,)", "|u1", bytes(4)))
    with pytest.raises(InputError, match="compressed in a way that is not read"):
        read(tmp_path / "a.npz", "a")


def test_arrays_that_do_not_fit_into_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_npz(tmp_path / "a.npz", small(x_train=np.zeros((20_000_000, 2, 1), np.uint8)))
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: type("Memory", (), {"available": 30_000_000})
    )
    with (
        little_memory(),
        pytest.raises(InputError, match="take 40,000,060 bytes, at most 30,000,0"),
    ):
        read(path, "a")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x_train.npy", b"")
    with pytest.raises(InputError, match="expected one array x_train, received 2"):
        read(path, "a")


def test_names_are_those_of_the_arrays(tmp_path: Path) -> None:
    with zipped(tmp_path / "a.npz").open("rb") as stream:
        assert npz.names(stream) == ["x_train", "x_test", "y_train", "y_test"]


def test_a_good_archive_is_still_read(tmp_path: Path) -> None:
    assert len(read(write_tar(tmp_path / "a.tar.gz", cifar_files()), "cifar10").x_train) == 10
