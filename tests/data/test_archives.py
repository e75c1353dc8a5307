"""Published archives: found, downloaded from a real server, and checked."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from datafiles import RECORDS, cifar_files, small, write_npz, write_tar

from fedgen.config.sections import Data
from fedgen.data import archives, datasets
from fedgen.data.archives import Archive, check_hash, fetch
from fedgen.data.datasets import read
from fedgen.errors import InputError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; what is asked for under /short/ stops half way."""

    def do_GET(self) -> None:
        if not self.path.startswith("/short/"):
            return super().do_GET()
        content = (Path(self.directory) / self.path.rsplit("/", 1)[-1]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every test without a cache, a data directory, or the network."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDGEN_DATA_DIR", raising=False)


def published(path: Path, base: str) -> Archive:
    return Archive(f"{base}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    write_tar(folder / "cifar-10-binary.tar.gz", cifar_files() | {"readme.html": b"hello"})
    write_npz(folder / "mnist.npz", small())
    return folder


def test_cifar10_is_fetched_parsed_and_cached(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        archive = published(site / "cifar-10-binary.tar.gz", base)
        path = fetch(archive, tmp_path / "kept")
    dataset = read(path, "cifar10")
    assert dataset.x_train.shape == (5 * RECORDS, 32, 32, 3)
    assert dataset.x_test.shape == (RECORDS, 32, 32, 3)
    assert dataset.y_train.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert dataset.y_test.tolist() == [5, 4]
    assert (dataset.name, dataset.outputs, dataset.scale) == ("cifar10", 10, 1 / 255)
    assert dataset.shape == (32, 32, 3)
    assert fetch(archive, tmp_path / "kept") == path  # the server is gone


def test_mnist_is_fetched_parsed_and_cached(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        archive = published(site / "mnist.npz", base)
        path = fetch(archive, tmp_path / "kept")
    assert fetch(archive, tmp_path / "kept") == path
    dataset = read(path, "mnist")
    np.testing.assert_array_equal(dataset.x_train[..., 0], small()["x_train"])
    np.testing.assert_array_equal(dataset.y_test, [2, 0])


def test_a_download_with_the_wrong_hash_is_refused(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        archive = Archive(f"{base}/mnist.npz", "0" * 64)
        with pytest.raises(InputError, match="wrong hash, expected sha256 0000"):
            fetch(archive, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*.npz"))


def test_a_download_that_stops_half_way_is_refused(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        good = published(site / "mnist.npz", base)
        with pytest.raises(InputError, match="could not be downloaded"):
            fetch(Archive(f"{base}/short/mnist.npz", good.sha256), tmp_path / "kept")
        assert not list((tmp_path / "kept").glob("*.npz"))
        assert fetch(good, tmp_path / "kept").exists()


def test_a_missing_file_or_server_is_named(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        with pytest.raises(InputError, match=r"could not be downloaded from .*404"):
            fetch(Archive(f"{base}/none.npz", "0" * 64), tmp_path / "kept")
    with pytest.raises(InputError, match=r"none\.npz is not in --data-dir and could not") as caught:
        fetch(Archive(f"{base}/none.npz", "0" * 64), tmp_path / "kept")
    assert "\n" not in str(caught.value)


def test_an_altered_file_in_the_cache_is_not_used(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        archive = published(site / "mnist.npz", base)
        path = fetch(archive, tmp_path / "kept")
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        assert fetch(archive, tmp_path / "kept").read_bytes() == good
    path.write_bytes(good[:-1])
    with pytest.raises(InputError):
        fetch(archive, tmp_path / "kept")


def test_check_hash(site: Path) -> None:
    path = site / "mnist.npz"
    check_hash(path, published(path, ""))
    with pytest.raises(InputError, match="expected sha256 1111.* received"):
        check_hash(path, Archive("http://x/mnist.npz", "1" * 64))


def test_an_npz_in_the_data_directory_comes_first(tmp_path: Path) -> None:
    write_npz(tmp_path / "cifar10.npz", small())
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"never looked at")
    dataset = datasets.load(Data(dataset="cifar10", data_dir=str(tmp_path)))
    assert (dataset.name, dataset.shape) == ("cifar10", (3, 2, 1))
    assert str(tmp_path) in dataset.source
    assert dataset.notes == (
        "data: cifar10 is read from cifar10.npz, which is not the published file",
    )


def test_the_data_directory_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    for folder, pixel in ((named, 201), (other, 202)):
        folder.mkdir()
        write_npz(folder / "mnist.npz", small(x_train=np.full((4, 3, 2), pixel, np.uint8)))
    monkeypatch.setenv("FEDGEN_DATA_DIR", str(other))
    assert datasets.load(Data(dataset="mnist")).x_train.flat[0] == 202
    assert datasets.load(Data(dataset="mnist", data_dir=str(named))).x_train.flat[0] == 201


@pytest.mark.parametrize(
    ("name", "archive"),
    [("cifar10", archives.CIFAR10), ("mnist", archives.MNIST)],
)
def test_an_archive_in_the_data_directory_must_have_the_right_hash(
    site: Path, name: str, archive: Archive
) -> None:
    if name == "mnist":  # the archive of MNIST is an .npz, which may have any hash
        assert datasets.load(Data(dataset=name, data_dir=str(site))).name == "mnist"
        return
    with pytest.raises(InputError, match=f"truncated or altered, expected sha256 {archive.sha256}"):
        datasets.load(Data(dataset=name, data_dir=str(site)))


def test_the_archives_are_the_published_ones() -> None:
    assert archives.CIFAR10.name == "cifar-10-binary.tar.gz"
    assert archives.CIFAR10.sha256 == (
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    )
    assert archives.MNIST.sha256 == (
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
    )


def test_without_files_and_network_the_archive_is_named(tmp_path: Path) -> None:
    for data_dir in ("", str(tmp_path)):
        with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz is not in --data-dir"):
            datasets.load(Data(dataset="cifar10", data_dir=data_dir))


def test_a_data_directory_must_exist(tmp_path: Path) -> None:
    for name in ("digits", "mnist"):
        with pytest.raises(InputError, match="not an existing directory"):
            datasets.load(Data(dataset=name, data_dir=str(tmp_path / "none")))


def test_every_data_set_has_a_hash_of_its_kind_and_a_licence() -> None:
    for name, published in archives.PUBLISHED.items():
        assert published.licence and published.files, name
        for archive in published.files:
            kind, value = archive.hash
            assert len(value) == {"sha256": 64, "md5": 32}[kind] and int(value, 16), name
        assert bool(published.folder) == (len(published.files) > 1), name
    assert len({*archives.MEDMNIST.values()}) == 12
    assert archives.PUBLISHED["medmnist:pathmnist"].place == "pathmnist.npz"
    assert archives.PUBLISHED["emnist:letters"].options == {"kind": "letters"}


def several(site: Path, base: str) -> archives.Published:
    files = [published(site / name, base) for name in ("mnist.npz", "cifar-10-binary.tar.gz")]
    return archives.Published(tuple(files), "MIT", "both")


def test_several_files_are_fetched_into_a_folder(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archives, "cache", lambda: tmp_path / "kept")
    with serving(site) as base:
        both = several(site, base)
        monkeypatch.setattr(archives, "PUBLISHED", {"both": both})
        folder = archives.find("both", None)
        assert folder == tmp_path / "kept" / "both"
        for archive in both.files:
            assert (folder / archive.name).read_bytes() == (site / archive.name).read_bytes()
        (folder / "mnist.npz").write_bytes(b"altered")
        archives.verify("both", folder)  # which fetches it again
        assert (folder / "mnist.npz").read_bytes() == (site / "mnist.npz").read_bytes()
    assert archives.find("both", None) == folder  # the server is gone
    archives.verify("both", folder)


def test_files_in_the_data_directory_come_first_and_are_checked(
    site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both = several(site, "http://127.0.0.1:9")
    one = archives.Published(both.files[:1], "MIT")
    monkeypatch.setattr(archives, "PUBLISHED", {"both": both, "kinds:one": one})
    assert archives.find("both", site) == site
    folder = tmp_path / "data" / "both"
    folder.mkdir(parents=True)
    for archive in both.files:
        (folder / archive.name).write_bytes((site / archive.name).read_bytes())
    assert archives.find("both", folder.parent) == folder
    assert archives.find("kinds:one", folder) == folder / "mnist.npz"
    archives.verify("both", folder)
    other = tmp_path / "other"  # files of another data set, which are called alike
    other.mkdir()
    for archive in both.files:
        (other / archive.name).write_bytes(b"another")
    with pytest.raises(InputError, match="could not be downloaded"):
        archives.find("both", other)
    (folder / "mnist.npz").write_bytes(b"altered")
    with pytest.raises(InputError, match="mnist.npz: truncated or altered"):
        archives.verify("both", folder)
    (folder / "kinds-one.npz").write_bytes(b"somebody's own")
    assert archives.find("kinds:one", folder) == folder / "kinds-one.npz"


def test_an_md5_is_checked_where_it_is_all_there_is(site: Path, tmp_path: Path) -> None:
    md5 = hashlib.md5((site / "mnist.npz").read_bytes()).hexdigest()
    with serving(site) as base:
        good = Archive(f"{base}/mnist.npz?download=1", md5=md5)
        assert fetch(good, tmp_path / "kept").name == "mnist.npz"
        check_hash(tmp_path / "kept" / "mnist.npz", good)
        bad = Archive(f"{base}/mnist.npz", md5="0" * 32, name="other.npz")
        with pytest.raises(InputError, match="wrong hash, expected md5 0000"):
            fetch(bad, tmp_path / "kept")
    with pytest.raises(InputError, match="expected md5 0000.* received"):
        check_hash(site / "mnist.npz", bad)
