"""Images that somebody made: which axis holds the channels, and what their values mean."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedgen.data.inputs import (
    AS_GIVEN,
    arrange,
    as_stored,
    divisor,
    find_layout,
    standardised,
)
from fedgen.errors import InputError

FIRST, LAST = "channels-first", "channels-last"


def images(top: float, kind: type = np.uint8) -> np.ndarray:
    array = np.zeros((2, 3, 3, 1), kind)
    array.flat[-1] = top
    return array


@pytest.mark.parametrize(
    "shape",
    [(9, 28, 28), (9, 3, 32), (9, 32, 32, 3), (9, 28, 20, 1), (9, 4, 4, 1), (9, 3, 3, 4)]
    + [(9, 64, 64, 12), (9, 28, 28, 2), (9, 5, 2, 3)],
)
def test_channels_that_are_plainly_last_are_read_as_such(shape: tuple[int, ...]) -> None:
    assert find_layout("x_train", np.zeros(shape, np.uint8), "auto") == LAST


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((9, 4)), AS_GIVEN),
        (np.zeros((9, 4), np.int64), AS_GIVEN),
        (np.zeros((9, 4, 4, 4, 4)), AS_GIVEN),
        (np.zeros((9, 28, 28)), LAST),
        (np.full((9, 28, 28), 1 + 2**-10), LAST),
        (np.full((9, 28, 28), 1.01), AS_GIVEN),
        (np.full((9, 28, 3), -1.0), AS_GIVEN),
        (np.zeros((9, 28, 28), np.uint16), LAST),
        (np.zeros((9, 28, 28), np.int64), AS_GIVEN),
    ],
)
def test_what_is_no_image_stays_as_it_is(array: np.ndarray, found: str) -> None:
    assert find_layout("x_train", array, "auto") == found
    assert arrange("x_train", array, AS_GIVEN) is array


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((9, 3, 32, 32), "channels seem to come first"),
        ((9, 1, 8, 8), "channels seem to come first"),
        ((9, 4, 64, 48), "channels seem to come first"),
        ((9, 12, 64, 64), "channels seem to come first"),
        ((9, 1, 100, 20), "channels seem to come first"),
        ((9, 1, 3, 3), "channels seem to come first"),
        ((9, 3, 32, 3), "channels may come first or last"),
        ((9, 1, 8, 1), "channels may come first or last"),
        ((9, 3, 3, 3), "channels may come first or last"),
        ((9, 8, 8, 8), "channels may come first or last"),
        ((9, 5, 7, 9), "channels may come first or last"),
    ],
)
def test_any_other_channels_are_refused_until_somebody_says_where(
    shape: tuple[int, ...], found: str
) -> None:
    with pytest.raises(InputError) as caught:
        find_layout("x_train", np.zeros(shape, np.uint8), "auto")
    a, b, c = shape[1:]
    assert str(caught.value) == (
        f"x_train: in shape {shape}, {found}; set data.layout to 'channels-first' if images are "
        f"{b} high and {c} wide with {a} channels, or to 'channels-last' if they are {a} high and "
        f"{b} wide with {c}"
    )
    for layout in (FIRST, LAST):
        assert find_layout("x_train", np.zeros(shape, np.uint8), layout) == layout


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=4, max_dims=4, max_side=4)))
def test_channels_first_moves_the_pixels_and_nothing_else(last: np.ndarray) -> None:
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    moved = arrange("x_train", first, FIRST)
    np.testing.assert_array_equal(moved, last)
    assert moved.flags.c_contiguous and arrange("x_train", last, LAST) is last
    assert arrange("x_train", last[..., 0], FIRST).shape == (*last.shape[:3], 1)


def test_rows_of_values_are_no_images_where_somebody_says_images() -> None:
    with pytest.raises(InputError, match=r"data.layout = 'channels-last' says, received \(4, 6\)"):
        arrange("x_train", np.zeros((4, 6), np.uint8), LAST)
    with pytest.raises(InputError, match=r"received \(4,\); a single feature is \(n, 1\)"):
        arrange("x_train", np.zeros(4, np.uint8), AS_GIVEN)


@pytest.mark.parametrize("top", [1.0, 1.0000001, 1 + 2**-10])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_that_rounding_left_outside_are_taken_as_they_are(top: float, kind: type) -> None:
    stored = as_stored("x_train", np.array([[[[top], [-1e-7]]]], kind), scaled=False)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored.ravel(), np.float32(kind([top, -1e-7])))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scaled", [False, True])
def test_floats_of_any_finite_range_are_taken_as_they_are(kind: type, scaled: bool) -> None:
    array = np.array([[-300.5, 1001.0]], kind)
    stored = as_stored("x_test", array, scaled=scaled)
    assert stored.dtype == np.float32 and np.array_equal(stored, np.float32(array))


def test_rows_of_integers_stay_integers_and_bits_become_floats() -> None:
    ids = as_stored("x_train", np.array([[3, 70_000]]), scaled=False)
    assert ids.dtype == np.int32 and ids.tolist() == [[3, 70_000]]
    bits = as_stored("x_train", np.array([[True, False]]), scaled=False)
    assert bits.dtype == np.float32 and bits.tolist() == [[1, 0]]
    assert divisor(bits, bits, "auto") == (1, "")  # no pixels, of which much would be said


def test_floats_of_images_outside_of_the_usual_range_are_told() -> None:
    far = images(255.0, np.float32)
    found, said = divisor(far, far, "auto")
    assert found == 1 and "floats of x_train end at 255, and are taken as they are" in said
    rows = np.array([[255.0]], np.float32)
    assert divisor(rows, rows, "auto") == (1, "")


def test_sixteen_bits_end_at_65535_or_at_their_own_maximum() -> None:
    full, medical = images(40_000, np.uint16), images(4_095, np.uint16)
    assert divisor(full, full, "auto") == (65_535, "")
    found, said = divisor(medical, medical, "auto")
    assert found == 4_095 and "uint16 of x_train end at 4095" in said and "not by 65,535" in said


def test_features_are_standardised_by_the_training_set_alone() -> None:
    train = np.array([[1, 5], [3, 5], [5, 5]], np.float32)
    test = np.array([[3, 7]], np.float32)
    one, other = standardised(train, test)
    # Of 1, 3 and 5 the mean is 3 and the deviation sqrt(8/3); the second feature does not vary.
    np.testing.assert_allclose(one[:, 0], [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-6)
    assert one[:, 1].tolist() == [0, 0, 0] and other.tolist() == [[0, 2]]
    assert one.dtype == other.dtype == np.float32


@pytest.mark.parametrize("scaled", [False, True])
def test_values_that_are_not_finite_are_named(scaled: bool) -> None:
    array = np.array([[[[np.nan], [np.inf], [0.5], [-np.inf]]]])
    for kind in (np.float16, np.float32, np.float64):
        with pytest.raises(InputError, match=r"received 1 NaN and 2 infinite among 4; "):
            as_stored("x_train", array.astype(kind), scaled=scaled)


def test_values_beyond_float32_are_refused() -> None:
    with pytest.raises(InputError, match=r"values of float32, received 0\.0 to 1e\+39"):
        as_stored("x_train", images(1e39, np.float64), scaled=True)
    with pytest.raises(InputError, match=r"integers from .*, received 0 to 16777217"):
        as_stored("x_train", images(2**24 + 1, np.int64), scaled=True)
    with pytest.raises(InputError, match="divisor that leaves values of float32, received 1e-30"):
        divisor(images(1e10, np.float32), images(1, np.float32), 1e-30)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint32, np.int64, np.uint64])
def test_wider_integers_need_a_scale_and_then_stay_what_they_are(kind: type) -> None:
    array = images(100, kind)
    with pytest.raises(InputError, match=rf"received {np.dtype(kind)}; .* set data\.scale"):
        as_stored("x_train", array, scaled=False)
    stored = as_stored("x_train", array, scaled=True)
    assert stored.dtype == np.float32 and np.array_equal(stored, array)


@pytest.mark.parametrize("kind", [np.str_, np.complex64])
def test_other_types_are_refused(kind: type) -> None:
    for scaled in (False, True):
        with pytest.raises(InputError, match="expected uint8, uint16 or floats, received"):
            as_stored("x_train", np.zeros((2, 3, 3, 1), kind), scaled=scaled)


@pytest.mark.parametrize(
    ("top", "other", "expected", "told"),
    [
        (255, 255, 255, ""),
        (128, 100, 255, ""),
        (127, 127, 127, "pixels: uint8 of x_train end at 127, so they are divided by 127, not"),
        (16, 16, 16, "by 255; data.scale sets another divisor, 1 for none"),
        (16, 17, 16, "x_train end at 16, and x_test at 17, so they are divided by 16"),
        (1, 1, 1, "so they are divided by 1, not by 255"),
        (0, 0, 1, "pixels: all are 0"),
    ],
)
def test_the_scale_of_uint8_is_their_own_where_that_is_small(
    top: int, other: int, expected: int, told: str
) -> None:
    found, said = divisor(images(top), images(other), "auto")
    assert found == expected and told in said and bool(told) == bool(said)
    assert divisor(images(top), images(other), 255.0) == (255.0, "")
    assert divisor(images(top), images(other), "auto", 16) == (16, "")


@pytest.mark.parametrize(
    ("top", "told"),
    [(1.0, ""), (0.5, ""), (1 / 255, "floats of x_train end at 0.00392156886, and")],
)
def test_floats_are_not_scaled_and_small_ones_are_told(top: float, told: str) -> None:
    small = images(top, np.float32)
    found, said = divisor(small, small, "auto")
    assert found == 1 and told in said and bool(told) == bool(said)


@pytest.mark.parametrize(
    ("top", "other", "kind"),
    [(255, 1, np.uint8), (1, 255, np.uint8), (16, 255, np.uint8), (255, 0, np.uint8)]
    + [(1.0, 1 / 255, np.float32), (0, 1, np.float32)],
)
def test_training_and_test_images_must_be_on_one_scale(
    top: float, other: float, kind: type
) -> None:
    pair = images(top, kind), images(other, kind)
    told = f"x_test: ends at {pair[1].max():.9g}, and x_train at {pair[0].max():.9g}, so they do"
    with pytest.raises(InputError, match=re.escape(told)):
        divisor(*pair, "auto")
    assert divisor(*pair, 255.0) == (255.0, "")


@given(npst.arrays(np.uint8, (2, 2, 2, 1)), st.sampled_from(["auto", 1.0, 3.5, 16.0, 255.0]))
def test_no_scale_is_ever_zero(array: np.ndarray, scale: float | str) -> None:
    found, _ = divisor(array, array, scale)
    assert found > 0
    if scale == "auto":
        assert (array / found).max() <= 1
    else:
        assert found == scale
