"""A study of Keras models on JAX, and what its directory says of it."""

from pathlib import Path

import studies

from fedgen.study import sweep
from fedgen.study.ledger import Ledger


def test_a_study_is_played_and_compiles_before_it_is_timed(tmp_path: Path) -> None:
    study = studies.build(studies.KERAS, study={"engine": "jax"})
    kept: Ledger = studies.play(tmp_path / "study", study)
    fits = list(kept.fits.values())
    assert len(fits) == 4 and {fit.status for fit in fits} == {"ok"}
    assert all(fit.accuracy is not None and fit.accuracy > 0.15 for fit in fits)
    assert max(fit.train_seconds or 0 for fit in fits) < 1.5
    about = (tmp_path / "study" / "study.toml").read_text()
    assert 'engine = "jax"' in about and 'engine = "jax ' in about and "tensorflow" not in about
    before = (tmp_path / "study" / "results.csv").read_bytes()
    studies.play(tmp_path / "study", study)  # nothing is missing
    assert (tmp_path / "study" / "results.csv").read_bytes() == before
    assert sweep.weight(studies.cases(study)[0])
