"""One more pass of JPEG: what it changes, and what the pass before it cost."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "experiments" / "evidence" / "recompress.py"


@pytest.fixture(scope="module")
def recompress() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recompress", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_second_pass_loses_something_on_another_grid_only(recompress: ModuleType) -> None:
    draw = np.random.default_rng(0)
    once = [
        recompress.recompressed(draw.integers(64, 192, (32, 32, 3), np.uint8), 0) for _ in range(8)
    ]
    for image in once:
        same, other = (
            float(np.mean((recompress.luma(recompress.recompressed(image, offset)) - luma) ** 2))
            for luma in [recompress.luma(image)]
            for offset in (0, 5)
        )
        assert recompress.recompressed(image).shape == image.shape
        assert same < 8 < 80 < other


def test_a_file_keeps_its_labels_and_names(
    recompress: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (5, 32, 32, 3), np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    names = {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]}
    np.savez(tmp_path / "from.npz", **names)
    recompress.main(tmp_path / "from.npz", tmp_path / "to.npz")
    with np.load(tmp_path / "to.npz") as made:
        assert set(made.files) == set(names)
        assert (made["y_train"] == labels).all() and (made["y_test"] == labels[:2]).all()
        assert (made["x_train"][:2] == made["x_test"]).all()
        assert made["x_train"].dtype == np.uint8 and (made["x_train"] != images).any()
    assert "first pass, estimated" in capsys.readouterr().out


def test_the_error_of_a_pass_is_read_off_what_it_left(recompress: ModuleType) -> None:
    """Coefficients drawn, rounded by hand and turned into pixels: the true error is known."""
    draw = np.random.default_rng(2)
    steps = recompress.STEPS
    drawn = draw.laplace(size=(400, 4, 4, 8, 8)) * np.linspace(40, 2, 64).reshape(8, 8)
    drawn[..., 0, 0] = draw.uniform(-300, 300, (400, 4, 4))
    rounded = np.round(drawn / steps) * steps
    pixels = (recompress.DCT.T @ rounded @ recompress.DCT + 128).swapaxes(2, 3)
    truth = float(np.mean((drawn - rounded) ** 2))
    found = recompress.estimated_error(pixels.reshape(400, 32, 32))
    assert found == pytest.approx(truth, rel=0.02) and 50 < truth < 60
    assert recompress.estimated_error(np.zeros((1, 8, 8))) == pytest.approx(64 / 12 / 64)
