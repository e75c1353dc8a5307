"""Folders of images for each class, as Pillow writes images."""

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutations, one_line, read_or_refuse
from PIL import Image

from fedgen.config.sections import Data
from fedgen.data import datasets, formats
from fedgen.data.formats.pictures import decode, folder
from fedgen.errors import InputError

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (9, 6, 5), np.uint8)
COLOUR = DRAW.integers(0, 256, (9, 6, 5, 3), np.uint8)
DEEP = DRAW.integers(0, 2**16, (9, 6, 5), np.uint16)


def save(path: Path, image: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def classes(path: Path, images: np.ndarray, suffix: str = "png") -> Path:
    """Three cats and two dogs."""
    for place in range(5):
        name = "cat" if place < 3 else "dog"
        save(path / name / f"{place}.{suffix}", images[place])
    return path


@pytest.mark.parametrize("images", [GREY, COLOUR, DEEP])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_are_read_back(tmp_path: Path, images: np.ndarray, suffix: str) -> None:
    found = formats.read(classes(tmp_path / "a", images, suffix))
    np.testing.assert_array_equal(found.train.x, images[:5])
    assert found.train.x.dtype == images.dtype
    assert found.train.y.tolist() == [0, 0, 0, 1, 1]
    assert (found.names, found.test, found.train.client) == (("cat", "dog"), None, None)


def test_splits_have_folders_of_their_own(tmp_path: Path) -> None:
    classes(tmp_path / "train", GREY)
    save(tmp_path / "test" / "dog" / "b.png", GREY[8])
    save(tmp_path / "test" / "dog" / "a.png", GREY[7])
    save(tmp_path / "val" / "cat" / "a.png", GREY[6])
    found = formats.read(tmp_path)
    assert found.test is not None and found.validation is not None
    np.testing.assert_array_equal(found.test.x, GREY[[7, 8]])  # by their names
    assert found.test.y.tolist() == [1, 1]
    np.testing.assert_array_equal(found.validation.x, GREY[[6]])
    assert found.names == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for place, name in enumerate(("plane", "train")):
        save(tmp_path / name / "a.png", GREY[place])
    found = formats.read(tmp_path)
    assert found.names == ("plane", "train")
    assert found.train.y.tolist() == [0, 1]


@pytest.mark.parametrize("train", ["train", "training"])
@pytest.mark.parametrize("test", ["test", "testing"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_splits_have_usual_names(tmp_path: Path, train: str, test: str, validation: str) -> None:
    classes(tmp_path / train, GREY)
    save(tmp_path / test / "dog" / "a.png", GREY[7])
    save(tmp_path / validation / "cat" / "a.png", GREY[6])
    found = formats.read(tmp_path)
    assert found.test is not None and found.validation is not None and found.notes == ()
    np.testing.assert_array_equal(found.test.x, GREY[7:8])
    np.testing.assert_array_equal(found.validation.x, GREY[6:7])


def test_folders_that_are_not_read_are_said(tmp_path: Path) -> None:
    for name in ("train", "training", "extra"):
        classes(tmp_path / "a" / name, GREY)
    found = formats.read(tmp_path / "a")
    assert len(found.train) == 5 and found.notes == ("folders: not used: extra, training",)
    classes(tmp_path / "b", GREY)
    (tmp_path / "b" / "empty").mkdir()
    assert formats.read(tmp_path / "b").notes == ("folders: not used: empty",)
    assert formats.read(classes(tmp_path / "c", GREY)).notes == ()


def test_palettes_and_bits_are_unfolded(tmp_path: Path) -> None:
    flat = np.zeros((6, 5, 3), np.uint8)
    flat[:3] = (9, 200, 30)
    (tmp_path / "a").mkdir()
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a/a.png")
    with Image.open(tmp_path / "a/a.png") as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(formats.read(tmp_path).train.x[0], flat)
    Image.fromarray(GREY[0] > 99).save(tmp_path / "a/a.png")
    np.testing.assert_array_equal(formats.read(tmp_path).train.x[0], 255 * (GREY[0] > 99))


def test_big_endian_tiff_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.frombytes("I;16B", (5, 6), DEEP[0].astype(">u2").tobytes()).save(tmp_path / "a/a.tif")
    np.testing.assert_array_equal(formats.read(tmp_path).train.x[0], DEEP[0])


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (GREY[0][:5], "expected 6x5 uint8 as cat/0.png is, received 5x5 uint8; all images must be"),
        (COLOUR[0], "expected 6x5 uint8 as cat/0.png is, received 6x5x3 uint8"),
        (DEEP[0], "expected 6x5 uint8 as cat/0.png is, received 6x5 uint16"),
    ],
)
def test_the_first_image_that_differs_is_named(tmp_path: Path, image: Any, why: str) -> None:
    path = classes(tmp_path / "a", GREY)
    save(path / "dog" / "4.png", image)
    save(path / "dog" / "9.png", image)
    with pytest.raises(InputError, match=f"dog/4.png: {why}"):
        formats.read(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    path = classes(tmp_path / "a", GREY)
    (path / "dog" / "3.png").write_bytes(b"never an image")
    with pytest.raises(InputError, match=r"dog/3.png: not a readable image \(cannot identify"):
        formats.read(path)


@pytest.mark.parametrize("kind", ["tga", "ico"])
def test_formats_that_are_not_listed_are_refused(tmp_path: Path, kind: str) -> None:
    path = classes(tmp_path / "a", GREY)
    (path / "dog" / "3.png").write_bytes(encoded(COLOUR[0], kind))
    with pytest.raises(InputError, match="dog/3.png: not a readable image") as caught:
        formats.read(path)
    one_line(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "gif", "webp", "ppm", "pgm"])
def test_formats_that_are_listed_are_read(tmp_path: Path, suffix: str) -> None:
    images = GREY if suffix in ("pgm", "gif") else COLOUR
    assert formats.read(classes(tmp_path, images, suffix)).train.x.shape[:3] == (5, 6, 5)


def test_kinds_that_lose_something_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(COLOUR[0]).convert("CMYK").save(tmp_path / "a/a.tif")
    with pytest.raises(InputError, match="expected grey or colour of 8 bits.*received CMYK"):
        formats.read(tmp_path)


def deep_colour() -> bytes:
    """A PNG of 16 bits a channel, by its description: Pillow writes none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    header = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(5 * 6) for _ in range(6))
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_colour_of_16_bits_is_not_made_8_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.png").write_bytes(deep_colour())
    with pytest.raises(InputError, match="received RGB of 16 bits"):
        formats.read(tmp_path)


def test_a_class_of_test_images_alone_is_refused(tmp_path: Path) -> None:
    classes(tmp_path / "train", GREY)
    save(tmp_path / "test" / "cow" / "a.png", GREY[8])
    with pytest.raises(InputError, match=r"classes of training images \(cat, dog\), received cow"):
        formats.read(tmp_path)


def test_classes_are_called_as_their_folders(tmp_path: Path) -> None:
    for place in range(4):
        save(tmp_path / "cat" / f"{place}.png", GREY[place])
    with pytest.raises(InputError, match="different labels, received 1: cat"):
        datasets.read(tmp_path, "a")
    save(tmp_path / "dog" / "a.png", GREY[5])
    with pytest.raises(InputError, match="expected quantities.*received classes: cat and dog"):
        datasets.read(tmp_path, "a", Data(targets="quantities"))


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take 150 bytes, at most 149 are allowed"):
        formats.read(classes(tmp_path / "a", GREY), limit=149)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = classes(tmp_path / "a", GREY)
    content = bytearray((path / "cat" / "0.png").read_bytes())
    content[16:24] = b"\0\0\xff\xff" * 2  # width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (path / "cat" / "0.png").write_bytes(content)
    with pytest.raises(InputError, match="cat/0.png: not a readable image"):
        formats.read(path)


def test_without_pillow_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = classes(tmp_path / "a", GREY)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(InputError, match=r"need Pillow; pip install 'fedgen\[data\]'"):
        formats.read(path)


@pytest.mark.parametrize("threads", [1, 3])
def test_order_is_kept_whoever_decodes(tmp_path: Path, threads: int) -> None:
    images = DRAW.integers(0, 256, (3 * decode.CHUNK + 5, 4, 4), np.uint8)
    contents = [encoded(image) for image in images]
    found = decode.decode(tmp_path, contents, str, threads=threads)
    np.testing.assert_array_equal(found, images)


def encoded(image: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


KINDS = [
    encoded(GREY[0]),
    encoded(COLOUR[0]),
    encoded(GREY[0], "tiff"),
    encoded(COLOUR[0], "jpeg"),
    encoded(COLOUR[0], "gif"),
    encoded(COLOUR[0], "bmp"),
    encoded(COLOUR[0], "webp"),
]


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")  # what Pillow says of damage besides its errors
@given(st.sampled_from(KINDS).flatmap(mutations))
def test_any_image(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz-pictures"
    classes(path, GREY)
    (path / "cat" / "0.png").write_bytes(content)
    try:
        read_or_refuse(folder.read, path)
        decode.decode(path, [content], str)
    except InputError as error:
        one_line(error)
