import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from fedgen import cifar, datasets
from fedgen.datasets import Archive, check_hash, fetch, from_arrays, read_cifar10, read_npz
from fedgen.errors import InputError
from fedgen.sections import Data

SHARED = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"
RECORDS = 2  # in every file of the miniature archive
Arrays = dict[str, NDArray[Any]]


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
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave every test without a cache, a data directory, the network, or earlier results."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDGEN_DATA_DIR", raising=False)
    datasets.load.cache_clear()
    yield
    datasets.load.cache_clear()


def cifar_files() -> dict[str, bytes]:
    draw = np.random.default_rng(0)
    names = (*cifar.TRAIN, *cifar.TEST)
    files = {}
    for number, name in enumerate(names):
        records = draw.integers(0, 256, (RECORDS, cifar.RECORD)).astype(np.uint8)
        records[:, 0] = (number, 9 - number)
        files[name] = records.tobytes()
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def small(**changed: Any) -> Arrays:
    draw = np.random.default_rng(1)
    arrays: Arrays = {
        "x_train": draw.integers(0, 256, (4, 3, 2)).astype(np.uint8),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": draw.integers(0, 256, (2, 3, 2)).astype(np.uint8),
        "y_test": np.array([2, 0]),
    }
    return arrays | changed


def write_npz(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


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
    dataset = read_cifar10(path)
    assert dataset.x_train.shape == (5 * RECORDS, 32, 32, 3)
    assert dataset.x_test.shape == (RECORDS, 32, 32, 3)
    assert dataset.y_train.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert dataset.y_test.tolist() == [5, 4]
    assert (dataset.name, dataset.classes, dataset.scale) == ("cifar10", 10, 1 / 255)
    assert dataset.shape == (32, 32, 3)
    assert fetch(archive, tmp_path / "kept") == path  # the server is gone


def test_mnist_is_fetched_parsed_and_cached(site: Path, tmp_path: Path) -> None:
    with serving(site) as base:
        archive = published(site / "mnist.npz", base)
        path = fetch(archive, tmp_path / "kept")
    assert fetch(archive, tmp_path / "kept") == path
    dataset = read_npz(path, "mnist")
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


def test_channels_are_in_the_right_order(tmp_path: Path) -> None:
    red, green, blue = np.full((3, 32, 32), [[[10]], [[20]], [[30]]], np.uint8)
    red[0, 1], green[2, 0], blue[31, 30] = 11, 21, 31  # row 0 column 1, and so on
    record = bytes([3]) + red.tobytes() + green.tobytes() + blue.tobytes()
    files = dict.fromkeys(cifar_files(), record)
    image = read_cifar10(write_tar(tmp_path / "a.tar.gz", files)).x_train[0]
    assert image[5, 5].tolist() == [10, 20, 30]
    assert image[0, 1].tolist() == [11, 20, 30]
    assert image[2, 0].tolist() == [10, 21, 30]
    assert image[31, 30].tolist() == [10, 20, 31]


def test_the_order_inside_the_archive_does_not_matter(tmp_path: Path) -> None:
    files = cifar_files()
    one = read_cifar10(write_tar(tmp_path / "a.tar.gz", files))
    other = read_cifar10(write_tar(tmp_path / "b.tar.gz", dict(reversed(files.items()))))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("member", ["data_batch_3.bin", "test_batch.bin"])
def test_a_missing_member_is_named(tmp_path: Path, member: str) -> None:
    files = cifar_files()
    del files[member]
    with pytest.raises(InputError, match=f"missing {member}"):
        read_cifar10(write_tar(tmp_path / "a.tar.gz", files))


@pytest.mark.parametrize("length", [0, 1, 3072, 3074])
def test_a_member_of_the_wrong_length_is_named(tmp_path: Path, length: int) -> None:
    files = cifar_files() | {"data_batch_2.bin": bytes(length)}
    with pytest.raises(InputError, match=rf"data_batch_2\.bin has {length} bytes"):
        read_cifar10(write_tar(tmp_path / "a.tar.gz", files))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    path = write_tar(tmp_path / "a.tar.gz", cifar_files())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"archive .*a\.tar\.gz"):
        read_cifar10(path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"<html>not found</html>")
    for wrong in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="truncated or not a"):
            read_cifar10(wrong)


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


def test_the_data_directory_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    for folder, pixel in ((named, 1), (other, 2)):
        folder.mkdir()
        write_npz(folder / "mnist.npz", small(x_train=np.full((4, 3, 2), pixel, np.uint8)))
    monkeypatch.setenv("FEDGEN_DATA_DIR", str(other))
    assert datasets.load(Data(dataset="mnist")).x_train.flat[0] == 2
    assert datasets.load(Data(dataset="mnist", data_dir=str(named))).x_train.flat[0] == 1


@pytest.mark.parametrize(
    ("name", "archive"),
    [("cifar10", datasets.CIFAR10), ("mnist", datasets.MNIST)],
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
    assert datasets.CIFAR10.name == "cifar-10-binary.tar.gz"
    assert datasets.CIFAR10.sha256 == (
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    )
    assert datasets.MNIST.sha256 == (
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


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"x_train": np.array([[["a"]]] * 4, object)}, "not a readable .npz of plain arrays"),
        ({"y_test": np.array([None, 1], object)}, "not a readable .npz of plain arrays"),
        ({"x_train": np.full((4, 3, 2), np.nan)}, "x_train: expected floats in [0, 1]"),
        ({"x_test": np.array([0, 0, 0, 0, np.nan, 0] * 2).reshape(2, 3, 2)}, "x_test: expected"),
        ({"x_train": np.full((4, 3, 2), 1.5)}, "received 1.5 to 1.5"),
        ({"x_train": np.full((4, 3, 2), -0.25)}, "received -0.25"),
        ({"x_train": np.full((4, 3, 2), np.inf)}, "received inf"),
        ({"x_train": np.zeros((4, 3, 2), np.int64)}, "expected uint8 or floats"),
        ({"x_train": np.zeros((4, 3, 2), complex)}, "expected uint8 or floats"),
        ({"x_train": np.zeros((4, 6), np.uint8)}, "x_train: expected shape"),
        ({"x_train": np.zeros((4, 3, 2, 1, 1), np.uint8)}, "x_train: expected shape"),
        ({"x_train": np.uint8(3)}, "x_train: expected shape"),
        ({"x_test": np.zeros((2, 2, 3), np.uint8)}, "x_test: expected uint8 images of shape"),
        ({"x_test": np.zeros((2, 3, 2))}, "x_test: expected uint8 images"),
        ({"y_train": np.array([0.0, 1, 2, 1])}, "y_train: expected integers"),
        ({"y_train": np.array([0, 1, 2, -1])}, "y_train: expected labels from 0"),
        ({"y_train": np.array([0, 1, 2, 2**63], np.uint64)}, "y_train: expected labels from 0"),
        ({"y_train": np.eye(4, dtype=int)}, "y_train: expected integers of shape (n,) or (n, 1)"),
        ({"y_train": np.zeros(4, int), "y_test": np.zeros(2, int)}, "at least two"),
        ({"y_test": np.array([3, 0])}, "y_test: labels must be among those of y_train (0 to 2"),
        ({"y_train": np.array([0, 1, 2])}, "y_train: expected 4 labels as x_train has, received 3"),
        ({"y_test": np.array([0, 1, 2])}, "y_test: expected 2 labels"),
        ({"x_train": np.zeros((0, 3, 2), np.uint8)}, "x_train: expected at least one image"),
        ({"y_train": np.zeros(0, int)}, "y_train: expected at least one label"),
        (
            {"x_test": np.zeros((0, 3, 2), np.uint8), "y_test": np.zeros(0, int)},
            "x_test: expected at least one image",
        ),
    ],
)
def test_unfit_arrays_are_named(tmp_path: Path, changed: Arrays, part: str) -> None:
    path = write_npz(tmp_path / "own.npz", small(**changed))
    with pytest.raises(InputError) as caught:
        read_npz(path, "own")
    assert part in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("key", datasets.NPZ_KEYS)
def test_a_missing_array_is_named(tmp_path: Path, key: str) -> None:
    arrays = small()
    del arrays[key]
    with pytest.raises(InputError, match=f"missing {key}$"):
        read_npz(write_npz(tmp_path / "own.npz", arrays), "own")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: does not exist"):
        read_npz(tmp_path / "none.npz", "none")


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "own.npz", small())
    content = path.read_bytes()
    plain = io.BytesIO()
    np.save(plain, np.zeros(3))
    for wrong in (b"", b"text", content[: len(content) // 2], content[:-1], plain.getvalue()):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="not a readable"):
            read_npz(path, "own")
    with pytest.raises(InputError, match="not a readable"):
        read_npz(tmp_path, "own")


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_altered_byte_gives_the_same_data_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, share: float, change: int
) -> None:
    path = write_npz(tmp_path_factory.mktemp("npz") / "own.npz", small())
    expected = read_npz(path, "own").fingerprint
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= change
    path.write_bytes(content)
    try:
        assert read_npz(path, "own").fingerprint == expected
    except InputError as error:
        assert "own.npz" in str(error)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as bundle:
        for key in datasets.NPZ_KEYS:
            bundle.writestr(key, b"plain text")
    with pytest.raises(InputError, match="not a readable"):
        read_npz(path, "own")


def test_labels_may_be_a_column_and_images_may_have_channels(tmp_path: Path) -> None:
    flat = read_npz(write_npz(tmp_path / "a.npz", small()), "own")
    arrays = {key: array[..., None] for key, array in small().items()}
    column = read_npz(write_npz(tmp_path / "b.npz", arrays), "own")
    assert flat.shape == column.shape == (3, 2, 1)
    assert flat.y_train.tolist() == column.y_train.tolist() == [0, 1, 2, 1]
    assert flat.fingerprint == column.fingerprint
    colour = {"x_train": np.zeros((4, 3, 2, 3), np.uint8), "x_test": np.ones((2, 3, 2, 3), "u1")}
    assert from_arrays("own", **small(**colour), source="").shape == (3, 2, 3)


def test_load_takes_the_path_of_an_npz(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "my own.npz", small())
    dataset = datasets.load(Data(dataset=str(path)))
    assert (dataset.name, dataset.classes) == ("my own", 3)


def test_every_pixel_and_label_is_in_the_fingerprint() -> None:
    plain = from_arrays("own", **small(), source="here")
    assert from_arrays("own", **small(), source="there").fingerprint == plain.fingerprint
    seen = {plain.fingerprint}
    for key in datasets.NPZ_KEYS:
        arrays = {name: array.copy() for name, array in small().items()}
        arrays[key].flat[-1] = 1 - min(arrays[key].flat[-1], 1)
        seen.add(from_arrays("own", **arrays, source="here").fingerprint)
    floats = {name: small()[name] / 255 for name in ("x_train", "x_test")}
    seen.add(from_arrays("own", **small(**floats), source="here").fingerprint)
    assert len(seen) == 6


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_fit_arrays_are_accepted(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=3)))
    train, test = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 8))
    kind = data.draw(st.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
    pixels = (
        st.integers(0, 255)
        if kind is np.uint8
        else st.floats(0, 1, width=np.dtype(kind).itemsize * 8)
    )
    classes = data.draw(st.integers(2, 5))
    labels = data.draw(npst.arrays(data.draw(npst.integer_dtypes()), train, elements=st.just(0)))
    labels[-1] = classes - 1
    arrays = {
        "x_train": data.draw(npst.arrays(kind, (train, *shape), elements=pixels)),
        "y_train": labels,
        "x_test": data.draw(npst.arrays(kind, (test, *shape), elements=pixels)),
        "y_test": data.draw(npst.arrays(np.int64, test, elements=st.integers(0, classes - 1))),
    }
    dataset = from_arrays("own", **arrays, source="")
    assert dataset.shape == (*shape, 1)[:3]
    assert dataset.classes == classes
    for images, key in ((dataset.x_train, "x_train"), (dataset.x_test, "x_test")):
        assert images.dtype == (np.uint8 if kind is np.uint8 else np.float32)
        scaled = images.reshape(arrays[key].shape) * np.float32(dataset.scale)
        expected = arrays[key] / (255 if kind is np.uint8 else 1)
        assert scaled.min() >= 0 and scaled.max() <= 1
        np.testing.assert_allclose(scaled, expected, atol=1e-6)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int32
    np.testing.assert_array_equal(dataset.y_train, labels)
    np.testing.assert_array_equal(dataset.y_test, arrays["y_test"])


def test_digits() -> None:
    dataset = datasets.load(Data(dataset="digits"))
    assert dataset.x_train.shape == (1437, 8, 8, 1)
    assert dataset.x_test.shape == (360, 8, 8, 1)
    assert dataset.x_train.dtype == np.uint8 and dataset.x_train.max() == 16
    assert (dataset.name, dataset.scale, dataset.classes) == ("digits", 1 / 16, 10)
    assert np.bincount(dataset.y_train).min() > 100
    # The split is part of every published digits result.
    assert dataset.fingerprint.startswith("f5d990a46057")


def test_the_real_mnist_loads() -> None:
    if not SHARED.exists():
        pytest.skip(f"the real MNIST is not at {SHARED}")
    dataset = datasets.load(Data(dataset="mnist", data_dir=str(SHARED.parent)))
    assert dataset.x_train.shape == (60_000, 28, 28, 1)
    assert dataset.x_test.shape == (10_000, 28, 28, 1)
    assert np.bincount(dataset.y_train).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert np.bincount(dataset.y_test).sum() == 10_000 and dataset.classes == 10
