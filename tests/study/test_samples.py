"""Which images train, choose and test: disjoint, or leaking and marked as such."""

from pathlib import Path

import numpy as np
import pytest
import studies
from studies import SKLEARN

from fedgen.data import datasets
from fedgen.errors import InputError
from fedgen.study import samples as samples_module
from fedgen.study.samples import Samples, draw, load

COUNT, OWN = 1797, 1437


def drawn(**sections: dict) -> Samples:
    return load(draw(studies.build(SKLEARN | {"data": {"dataset": "digits"}}, **sections)))


def test_the_default_is_the_data_sets_own_split() -> None:
    samples, digits = drawn(), datasets.load(studies.build(SKLEARN).data)
    assert np.array_equal(samples.dataset.x_train, digits.x_train)
    assert np.array_equal(samples.dataset.y_test, digits.y_test)
    assert np.array_equal(samples.train, np.arange(OWN)) and len(samples.validation) == 0
    assert samples.leaked == 0 and samples.dataset.scale == 1 / 16


def test_a_share_of_all_images_is_drawn_without_overlap() -> None:
    samples = drawn(data={"test_fraction": 0.3, "validation_fraction": 0.1})
    tests = round(0.3 * COUNT)
    assert len(samples.dataset.y_test) == tests
    assert len(samples.train) + len(samples.validation) == COUNT - tests
    assert not set(samples.train) & set(samples.validation) and samples.leaked == 0
    digits = datasets.load(studies.build(SKLEARN).data)
    both = np.concatenate([samples.dataset.x_train, samples.dataset.x_test])
    whole = np.concatenate([digits.x_train, digits.x_test])
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole)), "every image once"
    assert not np.array_equal(both, whole), "shuffled"


def test_with_replacement_half_of_the_test_images_leak() -> None:
    samples = drawn(data={"test_fraction": 0.3}, study={"sampling": "with-replacement"})
    assert len(samples.dataset.y_test) == round(0.3 * COUNT)
    assert samples.leaked == pytest.approx(1 - np.exp(-0.7), abs=0.05)
    seen = set(map(bytes, samples.dataset.x_train))
    inside = np.mean([bytes(image) in seen for image in samples.dataset.x_test])
    assert inside == pytest.approx(samples.leaked, abs=0.01)


def test_images_depend_on_the_seed_alone_and_not_on_repeats() -> None:
    sizes = {"test_fraction": 0.3, "train_samples": 50, "validation_fraction": 0.2}

    def images(**study: int) -> bytes:
        samples_module._draw.cache_clear()
        samples = drawn(data=sizes, study=study)
        return samples.dataset.x_train.tobytes() + samples.validation.tobytes()

    assert images(seeds=1) == images(seeds=7) != images(seed=1)


def write_own(path: Path, label: int) -> str:
    """Digits of two labels, which end at 16 as digits do."""
    digits = datasets.load(studies.build(SKLEARN).data)
    arrays = {}
    for split in ("train", "test"):
        kept = getattr(digits, f"y_{split}") < 2
        arrays[f"x_{split}"] = getattr(digits, f"x_{split}")[kept]
        arrays[f"y_{split}"] = getattr(digits, f"y_{split}")[kept] * label
    np.savez(path, **arrays)
    return str(path)


def test_a_file_that_is_overwritten_is_drawn_from_anew(tmp_path: Path) -> None:
    for label in (7, 123):
        path = write_own(tmp_path / "own.npz", label)
        samples = drawn(data={"dataset": path, "train_samples": 0})
        assert samples.dataset.labels == (0, label)
        assert drawn(data={"dataset": path, "train_samples": 0}) is samples


def test_raw_pixels_are_not_said_to_be_scaled(tmp_path: Path) -> None:
    path = write_own(tmp_path / "own.npz", 1)
    for pixels, scale, notes in (("unit", 1 / 16, 1), ("raw", 1, 0)):
        sizes = {"dataset": path, "train_samples": 0, "pixels": pixels}
        found = drawn(data=sizes).dataset
        assert found.scale == scale and len(found.notes) == notes


def test_fewer_training_images() -> None:
    samples = drawn(data={"train_samples": 100, "validation_fraction": 0.25, "pixels": "raw"})
    assert (len(samples.train), len(samples.validation)) == (75, 25)
    assert samples.dataset.scale == 1


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        ({"train_samples": OWN + 1}, "data.train_samples: expected at most 1,437"),
        ({"test_fraction": 0.999999}, "expected at least one image to train"),
        ({"train_samples": 2, "validation_fraction": 0.1}, "expected at least one image"),
        ({"test_fraction": 0.00001}, "expected at least one image"),
    ],
)
def test_too_few_images(data: dict, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        drawn(data=data)
