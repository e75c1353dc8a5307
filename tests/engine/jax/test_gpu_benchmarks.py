"""What is to be run on a GPU runs here, small: its figures are figures, and bytes are the same."""

import math
import sys
from pathlib import Path

import numpy as np
import parity
import pytest

from benchmarks import gpu, gpu_checks

SMALL = {"model": "mlp", "train": 200, "samples": 20, "rounds": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CLIENTS", 3)
    monkeypatch.setattr(gpu, "REPEATS", 1)
    monkeypatch.setattr(gpu_checks, "STEPS", 2)
    monkeypatch.setattr(gpu_checks, "LANES", (3, 2))


def test_speeds_of_a_cohort_and_what_is_beside_training() -> None:
    figures = gpu.engine_figures(SMALL, "float32")
    assert set(figures) == {
        *("batch 32", "batches 16 to 128", "batch 32, one lane", "cohort to one lane")
    }
    assert all(value > 0 for value in figures.values())
    assert math.isfinite(gpu.beside_training(SMALL))


def test_whole_processes_at_once_and_in_turn(tmp_path: Path) -> None:
    data = gpu.whole_data(tmp_path, SMALL)
    found = dict(gpu.whole_processes(tmp_path, data, SMALL, "float32"))
    assert list(found) == ["cold", "warm", "warm, arms in turn"]
    for seconds in found.values():
        assert isinstance(seconds, dict), seconds
        assert 0 < seconds["rounds"] < seconds["process"]
    failed = dict(gpu.whole_processes(tmp_path, ["--dataset=none"], SMALL, "float32"))
    assert set(failed.values()) == {"exit code 2"}


def test_images_of_the_size_of_cifar10_stand_in_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEDGEN_DATA_DIR", raising=False)
    (flag,) = gpu.whole_data(tmp_path, SMALL | {"rounds": 10})
    with np.load(flag.removeprefix("--dataset=")) as arrays:
        assert arrays["x_train"].shape == (50_000, 32, 32, 3)
        assert arrays["y_test"].shape == (10_000,)


def test_the_checks_tell_good_from_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(iter(parity.CASES))
    monkeypatch.setattr(parity, "CASES", {name: parity.CASES[name]})
    monkeypatch.setattr(gpu_checks, "MODELS", ("mlp-324-108-bn-dropout",))
    monkeypatch.setattr(
        sys, "argv", ["checks", "--json", "--reference", str(tmp_path / "good.npz")]
    )
    figures = parity.figures(parity.train(parity.CASES[name]))
    for spoiled, file in ((0.0, "good.npz"), (math.nan, "nan.npz"), (0.1, "far.npz")):
        wanted = {f"{name}/{key}": np.asarray(value) + spoiled for key, value in figures.items()}
        np.savez(tmp_path / file, **wanted)
    assert gpu_checks.main() == 0
    out, err = capsys.readouterr()
    assert '"good": true' in out and '"same": 8, "of": 8' in out and name in err
    same, far, nowhere = (
        gpu_checks.against(tmp_path / file)[name] for file in ("good.npz", "far.npz", "nan.npz")
    )
    assert same == 0 and far == pytest.approx(0.1, rel=1e-4) and math.isnan(nowhere)
    monkeypatch.setattr(gpu_checks, "bytes_in_company", dict)
    monkeypatch.setattr(gpu_checks, "against", lambda file: {name: nowhere})
    assert gpu_checks.main() == 1
