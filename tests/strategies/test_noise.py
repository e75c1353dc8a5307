"""Privacy noise on real runs: arms of one seed have noise of their own, whoever trains them."""

from pathlib import Path

import numpy as np
import pytest
from runs import play

from fedgen.runs.run import Run

Z, CLIP, COHORT = 20.0, 1.0, 6


def released(run: Run, arm: str) -> np.ndarray:
    """The weights that an arm ends with, as one vector."""
    last = max((run.path / "shards" / f"{arm}-seed0").glob("checkpoint-*.npz"))
    with np.load(last, allow_pickle=False) as bundle:
        return np.concatenate([bundle[key].ravel() for key in bundle.files]).astype(np.float64)


def private(out: Path, kind: str, **run: object) -> Run:
    return play(
        out,
        privacy={"kind": kind, "clip_norm": CLIP, "noise_multiplier": Z},
        run={"rounds": 1, "strategies": ["fedavg", "fedprox"], **run},
    )


@pytest.mark.parametrize("kind", ["central", "local"])
def test_the_difference_of_two_released_models_has_the_noise_of_both(
    kind: str, tmp_path: Path
) -> None:
    """Two independent noises of d weights: norm sqrt(2) sigma sqrt(d), give or take
    1 / sqrt(2 d) of that (a standard deviation).

    Sigma is z C / n on the mean of n (central), and z C on each of n updates, so z C / sqrt(n)
    on their mean (local). Clipped updates add 2 C at most; shared noise would leave no more.
    """
    done = private(tmp_path / "run", kind)
    difference = released(done, "fedavg") - released(done, "fedprox")
    sigma = Z * CLIP / (COHORT if kind == "central" else COHORT**0.5)
    due = sigma * (2 * difference.size) ** 0.5
    allowed = 4 / (2 * difference.size) ** 0.5
    assert np.linalg.norm(difference) == pytest.approx(due, rel=allowed)


@pytest.mark.parametrize("kind", ["central", "local"])
def test_noise_depends_on_neither_the_other_arms_nor_on_who_computes(
    kind: str, tmp_path: Path
) -> None:
    both = private(tmp_path / "both", kind, workers=1)
    alone = private(tmp_path / "alone", kind, workers=2, strategies=["fedprox"])
    assert released(both, "fedprox").tobytes() == released(alone, "fedprox").tobytes()
