"""Codes of arrays: what comes back, how far off it may be, and that any bytes are refused."""

import math

import numpy as np
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mutations import mutations
from numpy.typing import NDArray

from strategies.messages.compression import LEVEL, SCALE, decode, encode
from strategies.streams import rng

LOSSY = ("float16", "int8")
CODES = ("zstd", *LOSSY)
FLOATS = ("<f4", ">f4", "<f8", "<f2")
SHAPES = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)

Pair = tuple[NDArray[np.generic], NDArray[np.generic]]


@st.composite
def pairs(draw: st.DrawFn, dtypes: tuple[str, ...], size: float | None = None) -> Pair:
    """What a client sends and what it was sent: two arrays of one shape and type."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(SHAPES)
    limits = {} if size is None else {"min_value": -size, "max_value": size}
    entries = npst.from_dtype(dtype, **limits)
    one, other = (draw(npst.arrays(dtype, shape, elements=entries)) for _ in range(2))
    return one, other


def through(array: NDArray, sent: NDArray, code: str, seed: int = 0) -> NDArray:
    found = decode(encode(array, sent, code, rng(seed, "test")), sent, code)
    assert found.dtype == sent.dtype and found.shape == sent.shape
    return found


def packed(rows: list[bytes]) -> bytes:
    """Numbers as bytes, the first ones of all, then the second ones, and so on."""
    places = range(len(rows[0])) if rows else ()
    ordered = bytes(row[place] for place in places for row in rows)
    return zstandard.ZstdCompressor(level=LEVEL).compress(ordered) if ordered else b""


def slowly(array: NDArray, sent: NDArray, code: str, draw: np.random.Generator) -> bytes:
    """What ``encode`` says, number by number."""
    size = array.itemsize
    mine, theirs = array.tobytes(), sent.tobytes()
    if code == "zstd":
        differing = [one ^ other for one, other in zip(mine, theirs, strict=True)]
        return packed([bytes(differing[i : i + size]) for i in range(0, len(mine), size)])
    update = [float(x) - float(y) for x, y in zip(array.flat, sent.flat, strict=True)]
    largest = max(map(abs, update), default=0.0)
    tiny = 2.0**-1022
    if code == "int8":
        scale = max(largest / 127, tiny)
        entries = (math.floor(x / scale + draw.random()) for x in update)
        words = [max(-127, min(127, x)).to_bytes(1, "little", signed=True) for x in entries]
    else:
        scale = tiny
        while scale * 2**15 <= largest:
            scale *= 2
        if largest == 0:
            scale = 2.0**-15
        words = [np.array(x / scale).astype("<f2").tobytes() for x in update]
    return np.array(scale, "<f8").tobytes() + packed(words)


@given(pairs(("<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1", "<c8")))
def test_zstd_gives_back_every_bit(pair: Pair) -> None:
    array, sent = pair
    assert through(array, sent, "zstd").tobytes() == array.tobytes()


@given(pairs(FLOATS, 1e4), st.sampled_from(CODES), st.integers(0, 99))
@example((np.float32([5e-324, 1e-45]), np.float32([0, 0])), "float16", 0)
@example((np.float64([5e-324, -3e-310]), np.float64([0, 0])), "int8", 0)
def test_the_bytes_are_those_of_the_slow_twin(pair: Pair, code: str, seed: int) -> None:
    array, sent = pair
    assert encode(array, sent, code, rng(seed, "test")) == slowly(
        array, sent, code, rng(seed, "test")
    )


@given(pairs(("<f8",), 1e300), st.integers(0, 99))
@example((np.float64([5e-324]), np.float64([0])), 0)
@example((np.float64([[]]), np.float64([[]])), 0)
@example((np.float64(3.5), np.float64(-2)), 0)
def test_int8_is_off_by_less_than_a_127th_of_the_largest_entry(pair: Pair, seed: int) -> None:
    array, sent = pair
    update = array - sent
    scale = max(float(np.max(np.abs(update), initial=0)) / 127, 2.0**-1022)
    # The rounding of sums comes on top.
    slack = 1e-12 * (np.abs(sent) + np.abs(update))
    assert (np.abs(through(array, sent, "int8", seed) - array) <= scale + slack).all()


@given(pairs(("<f8",), 1e300))
@example((np.float64([65504.1, 1e-30, -65520]), np.float64([0, 0, 0])))
@example((np.float64([1e-320]), np.float64([0])))
def test_float16_is_off_by_a_2048th_of_every_entry(pair: Pair) -> None:
    """And of entries far below the largest one by next to nothing."""
    array, sent = pair
    update = array - sent
    largest = float(np.max(np.abs(update), initial=0))
    bound = np.abs(update) * 2.0**-11 + largest * 2.0**-39 + 2.0**-1040
    slack = 1e-12 * (np.abs(sent) + np.abs(update))
    assert (np.abs(through(array, sent, "float16") - array) <= bound + slack).all()


def test_int8_is_right_on_average() -> None:
    """Over 4,000 draws the mean is within five standard errors; to the nearest, it would not be."""
    update = np.array([1.0, 0.3, -0.004, 0.0011, 0.0, -1.0])
    sent = np.array([5.0, -5.0, 0.0, 0.5, 1.0, 2.0])
    draw = rng(3, "test")
    found = np.array(
        [decode(encode(sent + update, sent, "int8", draw), sent, "int8") for _ in range(4000)]
    )
    error = np.abs(found.mean(axis=0) - (sent + update))
    assert (error <= 5 * (1 / 127) / 2 / math.sqrt(4000)).all()
    nearest = np.rint(update * 127) / 127
    assert (np.abs(nearest - update) > 5 * (1 / 127) / 2 / math.sqrt(4000)).any()
    # Three entries are between two whole numbers, up and down.
    assert len({array.tobytes() for array in found}) == 2**3


@pytest.mark.parametrize("code", CODES)
def test_what_did_not_change_comes_back_as_it_was(code: str) -> None:
    for sent in (np.full((3, 4), 0.1, np.float32), np.float32(7), np.zeros((0, 3), np.float32)):
        assert through(np.array(sent), sent, code).tobytes() == sent.tobytes()


@pytest.mark.parametrize("code", LOSSY)
def test_a_constant_step_comes_back(code: str) -> None:
    sent = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(through(sent + 0.75, sent, code), sent + 0.75, rtol=1e-7)


def test_sizes_of_an_update_of_floats() -> None:
    """Bell-shaped, as of training: a quarter of the bytes, or half, and then Zstandard's share."""
    draw = np.random.default_rng(0)
    sent = draw.normal(size=50_000).astype(np.float32)
    array = (sent + 1e-3 * draw.normal(size=50_000)).astype(np.float32)
    sizes = {code: len(encode(array, sent, code, draw)) / array.nbytes for code in CODES}
    assert sizes["int8"] < 0.25 and sizes["float16"] < 0.5 and sizes["zstd"] < 0.75


@pytest.mark.parametrize("code", LOSSY)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_as_that(code: str, value: float) -> None:
    sent = np.ones(3, np.float32)
    data = encode(np.float32([1, value, 2]), sent, code, rng(0, "test"))
    with pytest.raises(ValueError, match="^weights are not finite$"):
        decode(data, sent, code)


def test_zstd_gives_back_what_is_not_finite() -> None:
    sent = np.ones(3, np.float32)
    array = np.float32([1, math.nan, -math.inf])
    assert through(array, sent, "zstd").tobytes() == array.tobytes()


SENT = np.linspace(-1, 1, 40, dtype=np.float32)


def good(code: str) -> bytes:
    return encode((SENT * 1.01).astype(np.float32), SENT, code, rng(0, "test"))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: bytes(len(data)),
    ],
)
def test_other_lengths_and_trailing_bytes_are_refused(code: str, spoil: object) -> None:
    with pytest.raises(ValueError, match="payload|scale"):
        decode(spoil(good(code)), SENT, code)


@pytest.mark.parametrize("code", LOSSY)
@pytest.mark.parametrize("scale", [0.0, -0.0, -1.0, -math.inf, math.inf, math.nan, -5e-324])
def test_a_scale_that_is_none_is_refused(code: str, scale: float) -> None:
    data = np.array(scale, SCALE).tobytes() + good(code)[SCALE.itemsize :]
    with pytest.raises(ValueError, match="expected a scale above 0|weights are not finite"):
        decode(data, SENT, code)


@pytest.mark.parametrize("code", LOSSY)
def test_a_scale_beyond_all_floats_comes_to_what_is_not_finite(code: str) -> None:
    data = np.array(1e308, SCALE).tobytes() + good(code)[SCALE.itemsize :]
    assert not np.isfinite(decode(data, SENT, code)).all()


def frame(size: int, **how: bool) -> bytes:
    return zstandard.ZstdCompressor(**how).compress(bytes(size))


@pytest.mark.parametrize(
    "bomb",
    [
        frame(10**8),
        frame(10**8, write_content_size=False),
        frame(160, write_content_size=False),
        frame(159),
        frame(161),
        frame(80) + frame(80),
        # A frame of 100 MB that claims 160 bytes, and one of a window of 2 GB.
        b"\x28\xb5\x2f\xfd\xa0" + (160).to_bytes(4, "little") + frame(10**8)[9:],
        b"\x28\xb5\x2f\xfd\x80\xa8" + (160).to_bytes(4, "little") + frame(10**8)[9:],
        b"\x50\x2a\x4d\x18\xa0\0\0\0" + bytes(160),
    ],
    ids=["long", "unsaid", "unsaid size", "short", "over", "two", "liar", "window", "skipped"],
)
def test_what_holds_another_size_is_refused_before_it_is_read(bomb: bytes) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="payload is not one frame of Zstandard that holds"):
            decode(bomb, SENT, "zstd")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.fuzz
@given(st.sampled_from(CODES).flatmap(lambda c: st.tuples(st.just(c), mutations(good(c)))))
def test_any_bytes_are_an_array_or_refused(coded: tuple[str, bytes]) -> None:
    code, data = coded
    try:
        found = decode(data, SENT, code)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.dtype == SENT.dtype and found.shape == SENT.shape
