import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datafiles import Arrays, cifar_files, small, write_npz, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.data.dataset import from_arrays
from fedgen.data.datasets import read
from fedgen.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "mnist.npz"


def test_channels_are_in_the_right_order(tmp_path: Path) -> None:
    red, green, blue = np.full((3, 32, 32), [[[10]], [[20]], [[30]]], np.uint8)
    red[0, 1], green[2, 0], blue[31, 30] = 11, 21, 31  # row 0 column 1, and so on
    record = bytes([3]) + red.tobytes() + green.tobytes() + blue.tobytes()
    files = dict.fromkeys(cifar_files(), record)
    files["data_batch_2.bin"] = bytes([4]) + record[1:]  # there must be two labels
    image = read(write_tar(tmp_path / "a.tar.gz", files), "cifar10").x_train[0]
    assert image[5, 5].tolist() == [10, 20, 30]
    assert image[0, 1].tolist() == [11, 20, 30]
    assert image[2, 0].tolist() == [10, 21, 30]
    assert image[31, 30].tolist() == [10, 20, 31]


def test_the_order_inside_the_archive_does_not_matter(tmp_path: Path) -> None:
    files = cifar_files()
    one = read(write_tar(tmp_path / "a.tar.gz", files), "cifar10")
    other = read(write_tar(tmp_path / "b.tar.gz", dict(reversed(files.items()))), "cifar10")
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("member", ["data_batch_3.bin", "test_batch.bin"])
def test_a_missing_member_is_named(tmp_path: Path, member: str) -> None:
    files = cifar_files()
    del files[member]
    with pytest.raises(InputError, match=f"missing {member}"):
        read(write_tar(tmp_path / "a.tar.gz", files), "cifar10")


@pytest.mark.parametrize("length", [0, 1, 3072, 3074])
def test_a_member_of_the_wrong_length_is_named(tmp_path: Path, length: int) -> None:
    files = cifar_files() | {"data_batch_2.bin": bytes(length)}
    with pytest.raises(InputError, match=rf"data_batch_2\.bin has {length} bytes"):
        read(write_tar(tmp_path / "a.tar.gz", files), "cifar10")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    path = write_tar(tmp_path / "a.tar.gz", cifar_files())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"archive .*a\.tar\.gz"):
        read(path, "cifar10")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"<html>not found</html>")
    for wrong in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="truncated|of no known format|does not exist"):
            read(wrong, "cifar10")


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"x_train": np.array([[["a"]]] * 4, object)}, "not a readable .npz of plain arrays"),
        ({"y_test": np.array([None, 1], object)}, "not a readable .npz of plain arrays"),
        ({"x_train": np.full((4, 3, 2), np.nan)}, "received 24 NaN among 24"),
        ({"x_test": np.array([0, 0, 0, 0, np.nan, 0] * 2).reshape(2, 3, 2)}, "x_test: expected"),
        ({"x_train": np.full((4, 3, 2), np.inf)}, "received 24 infinite among 24"),
        ({"x_train": np.zeros((4, 3, 2), np.int64)}, "expected uint8, uint16 or floats"),
        ({"x_train": np.zeros((4, 3, 2), complex)}, "expected uint8, uint16 or floats"),
        ({"x_train": np.zeros((4, 6), np.uint8)}, "x_test: expected uint8 samples of shape (6,)"),
        ({"x_train": np.zeros(4, np.uint8)}, "x_train: expected shape (n, ...)"),
        ({"x_train": np.uint8(3)}, "x_train and y_train: expected arrays of samples"),
        ({"x_test": np.zeros((2, 2, 3), np.uint8)}, "x_test: expected uint8 samples of shape"),
        ({"x_test": np.zeros((2, 3, 2))}, "x_test: expected uint8 samples"),
        ({"y_train": np.array([0, 1, 2, 2**63], np.uint64)}, "received 9223372036854775808"),
        ({"y_train": np.eye(4, dtype=int)}, "y_test: expected 4 columns as y_train has"),
        (
            {"y_train": np.zeros(4, int), "y_test": np.zeros(2, int)},
            "expected 2 to 65,536 different labels",
        ),
        ({"y_test": np.array([3, 0])}, "y_train has (0 to 2), received 3 in 1 of 2"),
        ({"y_train": np.array([0, 1, 2])}, "y_train: expected 4 labels as x_train has, received 3"),
        ({"y_test": np.array([0, 1, 2])}, "y_test: expected 2 labels"),
        ({"x_train": np.zeros((0, 3, 2), np.uint8)}, "y_train: expected 0 labels as x_train has"),
        ({"y_train": np.zeros(0, int)}, "y_train: expected 4 labels as x_train has, received 0"),
        (
            {"x_test": np.zeros((0, 3, 2), np.uint8), "y_test": np.zeros(0, int)},
            "x_test: expected at least one sample",
        ),
    ],
)
def test_unfit_arrays_are_named(tmp_path: Path, changed: Arrays, part: str) -> None:
    path = write_npz(tmp_path / "own.npz", small(**changed))
    with pytest.raises(InputError) as caught:
        read(path, "own")
    assert part in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("key", datasets.NPZ_KEYS)
def test_a_missing_array_is_named(tmp_path: Path, key: str) -> None:
    arrays = small()
    del arrays[key]
    with pytest.raises(InputError, match=f"missing {key}$"):
        read(write_npz(tmp_path / "own.npz", arrays), "own")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: does not exist"):
        read(tmp_path / "none.npz", "none")


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "own.npz", small())
    content = path.read_bytes()
    plain = io.BytesIO()
    np.save(plain, np.zeros(3))
    for wrong in (b"", b"text", content[: len(content) // 2], content[:-1], plain.getvalue()):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="not a readable"):
            read(path, "own")
    with pytest.raises(InputError, match="not a readable"):
        read(tmp_path, "own")


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_altered_byte_gives_the_same_data_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, share: float, change: int
) -> None:
    path = write_npz(tmp_path_factory.mktemp("npz") / "own.npz", small())
    expected = read(path, "own").fingerprint
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= change
    path.write_bytes(content)
    try:
        assert read(path, "own").fingerprint == expected
    except InputError as error:
        assert "own.npz" in str(error)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as bundle:
        for key in datasets.NPZ_KEYS:
            bundle.writestr(key, b"plain text")
    with pytest.raises(InputError, match="not a readable"):
        read(path, "own")


def test_labels_may_be_a_column_and_images_may_have_channels(tmp_path: Path) -> None:
    flat = read(write_npz(tmp_path / "a.npz", small()), "own")
    arrays = {key: array[..., None] for key, array in small().items()}
    path = write_npz(tmp_path / "b.npz", arrays)
    column = read(path, "own", Data(layout="channels-last"))
    assert flat.shape == column.shape == (3, 2, 1)
    assert flat.y_train.tolist() == column.y_train.tolist() == [0, 1, 2, 1]
    assert flat.fingerprint == column.fingerprint
    colour = {"x_train": np.ones((4, 5, 2, 3), np.uint8), "x_test": np.ones((2, 5, 2, 3), "u1")}
    assert from_arrays("own", **small(**colour), source="").shape == (5, 2, 3)


def test_load_takes_the_path_of_an_npz(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "my own.npz", small())
    dataset = datasets.load(Data(dataset=str(path)))
    assert (dataset.name, dataset.outputs) == ("my own", 3)


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    more = {"client_id": np.zeros(4, int), "weird\n": np.zeros(1)}
    dataset = read(write_npz(tmp_path / "own.npz", small() | more), "own")
    assert dataset.notes == (r"arrays: not used: client_id, weird\n",)
    plain = read(write_npz(tmp_path / "own.npz", small()), "own")
    assert plain.notes == () and plain.fingerprint == dataset.fingerprint
    many = {f"a{number}": np.zeros(1) for number in range(10)}
    with pytest.raises(InputError, match=r"missing y_test: a0, .*, a7 and 2 more$"):
        arrays = {key: array for key, array in small().items() if key != "y_test"}
        read(write_npz(tmp_path / "own.npz", arrays | many), "own")


def test_what_was_made_of_the_data_is_told_in_the_order_of_the_arrays() -> None:
    pixels = {"x_train": small()["x_train"] // 16, "x_test": small()["x_test"] // 16}
    labels = {"y_train": small()["y_train"] + 1, "y_test": small()["y_test"] + 1}
    dataset = from_arrays("own", **pixels, **labels, source="", notes=("first",))
    assert dataset.scale == 1 / 15 and dataset.class_names == ("1", "2", "3")
    assert [note.partition(":")[0] for note in dataset.notes] == ["pixels", "first", "labels"]
    assert dataset.y_train.tolist() == [0, 1, 2, 1] and dataset.y_test.tolist() == [2, 0]


def test_a_scale_that_is_given_is_used_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "own.npz", small())
    by_scale = {
        scale: datasets.load(Data(dataset=str(path), scale=scale))
        for scale in ("auto", 255.0, 16.0, 1.0)
    }
    assert [found.scale for found in by_scale.values()] == [1 / 255, 1 / 255, 1 / 16, 1]
    assert all(found.notes == () for found in by_scale.values())
    # An engine that is kept by fingerprint must not serve another scale.
    assert len({found.fingerprint for found in by_scale.values()}) == 3
    assert by_scale["auto"].fingerprint == by_scale[255.0].fingerprint
    digits = datasets.load(Data(dataset="digits", scale=1.0))
    assert digits.scale == 1 and digits.holds_ids
    assert digits.fingerprint != datasets.load(Data(dataset="digits")).fingerprint


def test_token_ids_arrive_unharmed() -> None:
    ids = {"x_train": [[[5], [300]], [[0], [9999]]], "x_test": [[[70_000], [1]]]}
    labels = {"y_train": [0, 1], "y_test": [1]}
    dataset = from_arrays("tokens", **ids, **labels, source="", scale=1.0)
    assert dataset.x_train.ravel().tolist() == [5, 300, 0, 9999] and dataset.holds_ids
    assert dataset.x_test.ravel().tolist() == [70_000, 1] and dataset.notes == ()
    small_ids = {key: np.minimum(array, 255).astype(np.uint8) for key, array in ids.items()}
    for scale, kept in ((1.0, True), ("auto", False)):
        found = from_arrays("tokens", **small_ids, **labels, source="", scale=scale)
        assert found.holds_ids is kept
    for wrong in (-1.0, 0.5):
        changed = {"x_train": np.full((2, 2, 1), wrong), "x_test": np.ones((1, 2, 1))}
        assert not from_arrays("own", **changed, **labels, source="", scale=1.0).holds_ids


def test_a_file_that_is_overwritten_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    data = Data(dataset=str(path))
    first = datasets.load(Data(dataset=str(write_npz(path, small()))))
    assert datasets.load(data) is first
    write_npz(path, small(x_train=small()["x_train"] ^ 1))
    second = datasets.load(data)
    np.testing.assert_array_equal(second.x_train[..., 0], small()["x_train"] ^ 1)
    assert second.fingerprint != first.fingerprint and datasets.load(data) is second
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        datasets.load(data)


def test_arrays_are_held_until_their_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    mine = small()
    assert datasets.hold(path, [mine[key] for key in datasets.NPZ_KEYS]) == path
    held = datasets.load(Data(dataset=str(path)))
    assert not path.exists() and held.fingerprint == from_arrays("x", **mine, source="").fingerprint
    mine["x_train"][:] = 0
    assert held.x_train.any(), "what was given may change"
    other = small(y_train=[[1], [0], [2], [1]])
    datasets.hold(path, [other[key] for key in datasets.NPZ_KEYS])
    changed = datasets.load(Data(dataset=str(path)))
    assert changed.fingerprint != held.fingerprint
    datasets.write(path)
    assert path.exists()
    written = datasets.load(Data(dataset=str(path)))
    assert written.fingerprint == changed.fingerprint and written.source == str(path)
    datasets.hold(path, [np.array([[["a"]]] * 4), *list(small().values())[1:]])
    with pytest.raises(
        InputError, match=r"^x_train: expected uint8, uint16 or floats, received <U1"
    ):
        datasets.load(Data(dataset=str(path)))


def test_objects_that_are_text_are_written_as_text(tmp_path: Path) -> None:
    path, words = tmp_path / "data.npz", np.array(["no", "yes", "no", "yes"], object)
    given = small(y_train=words, y_test=words[: len(small()["y_test"])])
    datasets.hold(path, [given[key] for key in datasets.NPZ_KEYS])
    held = datasets.load(Data(dataset=str(path)))
    datasets.write(path)
    written = datasets.load(Data(dataset=str(path)))
    assert held.labels == written.labels == ("no", "yes")
    assert held.fingerprint == written.fingerprint


def test_channels_first_is_the_same_data_set_as_channels_last(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    last = {
        "x_train": draw.integers(0, 256, (4, 8, 6, 3)).astype(np.uint8),
        "x_test": draw.integers(0, 256, (2, 8, 6, 3)).astype(np.uint8),
    }
    first = {key: array.transpose(0, 3, 1, 2) for key, array in last.items()}
    plain = datasets.load(Data(dataset=str(write_npz(tmp_path / "a.npz", small(**last)))))
    path = str(write_npz(tmp_path / "b.npz", small(**first)))
    with pytest.raises(
        InputError, match=r"b\.npz: x_train: in shape \(4, 3, 8, 6\), channels seem"
    ):
        datasets.load(Data(dataset=path))
    moved = datasets.load(Data(dataset=path, layout="channels-first"))
    assert moved.shape == (8, 6, 3) and moved.fingerprint == plain.fingerprint
    wrong = datasets.load(Data(dataset=path, layout="channels-last"))
    assert wrong.shape == (3, 8, 6)
    with pytest.raises(InputError, match="data.layout: expected 'auto'.* for digits"):
        datasets.load(Data(dataset="digits", layout="channels-first"))


def test_other_labels_are_in_the_fingerprint_though_classes_are_equal() -> None:
    plain = from_arrays("own", **small(), source="")
    seen = {plain.fingerprint}
    for names in ([1, 2, 3], [3, 7, 40], [-1, 0, 1]):
        labels = {key: np.array(names)[small()[key]] for key in ("y_train", "y_test")}
        found = from_arrays("own", **small(**labels), source="")
        assert found.y_train.tolist() == plain.y_train.tolist() and found.labels == tuple(names)
        seen.add(found.fingerprint)
    assert len(seen) == 4


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
    labels = data.draw(
        npst.arrays(data.draw(npst.integer_dtypes()), train, elements=st.integers(0, classes - 1))
    )
    labels[-1] = classes - 1
    arrays = {
        "x_train": data.draw(npst.arrays(kind, (train, *shape), elements=pixels)),
        "y_train": labels,
        "x_test": data.draw(npst.arrays(kind, (test, *shape), elements=pixels)),
        "y_test": data.draw(npst.arrays(np.int64, test, elements=st.integers(0, classes - 1))),
    }
    arrays["y_test"][~np.isin(arrays["y_test"], labels)] = classes - 1
    known = np.unique(labels)
    scale = 255 if kind is np.uint8 else 1
    try:
        dataset = from_arrays("own", **arrays, source="", scale=scale, layout="channels-last")
    except InputError as error:
        assert len(known) == 1 and "different labels" in str(error)
        return
    assert dataset.shape == (*shape, 1)[:3]
    assert dataset.labels == tuple(known.tolist())
    for images, key in ((dataset.x_train, "x_train"), (dataset.x_test, "x_test")):
        assert images.dtype == (np.uint8 if kind is np.uint8 else np.float32)
        scaled = images.reshape(arrays[key].shape) * np.float32(dataset.scale)
        expected = arrays[key] / scale
        assert scaled.min() >= 0 and scaled.max() <= 1
        np.testing.assert_allclose(scaled, expected, atol=1e-6)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int32
    np.testing.assert_array_equal(known[dataset.y_train], labels)
    np.testing.assert_array_equal(known[dataset.y_test], arrays["y_test"])


def test_digits() -> None:
    dataset = datasets.load(Data(dataset="digits"))
    assert dataset.x_train.shape == (1437, 8, 8, 1)
    assert dataset.x_test.shape == (360, 8, 8, 1)
    assert dataset.x_train.dtype == np.uint8 and dataset.x_train.max() == 16
    assert (dataset.name, dataset.scale, dataset.outputs) == ("digits", 1 / 16, 10)
    assert np.bincount(dataset.y_train).min() > 100
    assert dataset.notes == () and dataset.labels == tuple(range(10))
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
    assert np.bincount(dataset.y_test).sum() == 10_000 and dataset.outputs == 10
    # As in every row of the evidence: the arrays of MNIST, in a file that somebody wrote.
    assert dataset.fingerprint.startswith("20e3b70094f3")
    assert dataset.notes == ("data: mnist is read from mnist.npz, which is not the published file",)
