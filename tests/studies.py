"""Small real studies on digits, in this process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fedgen.data import datasets
from fedgen.study import cases as studies
from fedgen.study import ledger, sweep
from fedgen.study.cases import Case, Study
from fedgen.study.fits.outcome import Epoch, Fit
from fedgen.study.ledger import Ledger
from fedgen.study.report import page as report

SECONDS = ("train_seconds", "predict_seconds")

SKLEARN: dict[str, Any] = {
    "study": {"name": "small", "estimator": "sklearn-mlp", "seeds": 2},
    "data": {"dataset": "digits", "train_samples": 300, "validation_fraction": 0.2},
    "fixed": {"max_iter": 5, "learning_rate_init": 0.03},
    "axes": {"hidden_layers": [[8], [4, 6]], "alpha": [1e-4, 1.0]},
}
KERAS: dict[str, Any] = {
    "study": {"name": "small", "estimator": "keras", "seeds": 2},
    "data": {"dataset": "digits", "train_samples": 300, "validation_fraction": 0.2},
    "fixed": {"epochs": 3, "learning_rate": 0.01, "batch_size": 32},
    "axes": {"hidden_layers": [[8]], "dropout": [0.0, 0.5]},
}


def build(base: dict[str, Any], **sections: Any) -> Study:
    """Check a study with sections laid over another one's."""
    tree = {**base, **{name: part for name, part in sections.items() if name == "cases"}}
    for name, part in sections.items():
        if name != "cases":
            tree[name] = base.get(name, {}) | part
    return studies.build(tree, "test")


def cases(study: Study) -> list[Case]:
    """Return a study's cases with the hashes that its data give them."""
    return studies.cases(study, datasets.load(study.data).fingerprint)


def play(out: Path, study: Study, jobs: int = 1) -> Ledger:
    """Run what a study lacks."""
    with ledger.opened(out, study, datasets.load(study.data), cases(study)) as kept:
        sweep.play(kept, cases(study), jobs, sweep.Watcher())
    return kept


def rows(path: Path) -> list[list[str]]:
    """Return a CSV file's fields, but for the seconds."""
    table = [line.split(",") for line in path.read_text().splitlines()]
    kept = [place for place, name in enumerate(table[0]) if name not in SECONDS]
    return [[line[place] for place in kept] for line in table]


def drawn(folder: Path, study: Study, leaked: float = 0.0, **changes: object) -> str:
    """Return the page of a study whose fits are made up."""
    (folder / "study.toml").write_text("[study]\nname = '<b>'\n")
    kept, mine = Ledger(folder, study), studies.cases(study, "")
    for number, case in enumerate(mine):
        for seed in study.seeds:
            score = 0.5 + 0.1 * number + 0.01 * seed
            fit = Fit(case.key, seed, "ok", None, *[score] * 6, 2.0 + number, 0.5, 3, True, 10)
            kept.fits[case.key, seed] = replace(fit, **changes) if number == 0 else fit
            if study.study.estimator == "keras":
                kept.epochs[case.key, seed] = [
                    Epoch(case.key, seed, e, 1 / e, score, 2 / e, score, "held-out") for e in (1, 2)
                ]
    return report.draw(kept, mine, leaked)
