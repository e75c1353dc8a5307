"""A fixed set of small runs whose rows, weights and pages are held to what they were.

``pinned.json`` holds what was recorded. On the same processor features and versions everything
must be the same to the byte; on others, and on another engine, accuracies and losses must be
close, as float arithmetic differs there. ``FEDGEN_RECORD=1 pytest tests/test_pinned.py`` records
anew: only where results are meant to change, and the CHANGELOG says so.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studies
from runs import ENGINE, comparable, rows

import fedgen
import strategies
from fedgen.report import pages

RECORD = Path(__file__).with_name("pinned.json")
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "scipy", "plotly", "flwr")

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "clients": 10,
    "fraction": 0.5,
    "rounds": 2,
    "workers": 2,
    "engine": ENGINE,
    "strategies": "genetic-cfl,fedavg",
}
ONE = {"training.local_epochs": 1}

RUNS: dict[str, dict[str, Any]] = {
    "strategies": {
        "strategies": [*strategies.REGISTRY, "centralised"],
        "settings": ONE
        | {
            "training.optimizer": "sgd",
            "fedavg-tuned.learning_rates": [0.1, 0.01],
            "optuna-tpe.trials": 3,
            "optuna-asha.trials": 3,
            "fedex.configurations": 4,
            "tournament.entrants": 3,
        },
    },
    "controls": {"strategies": "genetic-cfl", "controls": True, "settings": ONE},
    "variants": {
        "strategies": [n for n in strategies.VARIANTS if n not in strategies.CONTROL_ARMS],
        "settings": ONE | {"training.optimizer": "sgd"},
    },
    "probe": {"strategies": "genetic-cfl", "settings": ONE | {"genetic-cfl.init": "probe"}},
    "further genes": {
        "strategies": "genetic-cfl,fedavg",
        "settings": ONE
        | {
            "training.optimizer": "sgd",
            "genetic-cfl.evolve_epochs": True,
            "genetic-cfl.evolve_momentum": True,
        },
    },
    "faults": {
        "fraction": 1.0,
        "settings": ONE
        | {f"faults.{kind}": 1 for kind in ("nan", "wrong_rate", "duplicate", "sign_flip")}
        | {"aggregation.kind": "median"},
    },
    "central privacy": {
        "strategies": "fedavg,fedprox",
        "settings": ONE | {"privacy.kind": "central", "privacy.noise_multiplier": 0.1},
    },
    "local privacy": {"strategies": "fedavg", "settings": ONE | {"privacy.kind": "local"}},
    "budget": {
        "strategies": "fedavg,fedex,fedavg-tuned",
        "settings": ONE | {"run.budget": "client-epochs=12"},
    },
    "devices": {
        "strategies": "fedavg",
        "settings": ONE | {"devices.speed": "lognormal", "devices.deadline": 5.0},
    },
    "partition": {
        "seeds": 2,
        "model": "cnn-small",
        "settings": ONE | {"partition.kind": "dirichlet-labels", "cohort.resample": True},
    },
    "batch normalisation and dropout": {"model": "mlp-324-108-bn-dropout", "settings": ONE},
}


def machine() -> dict[str, Any]:
    """What float arithmetic depends on."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "machine": platform.machine(),
        "features": [*simd["baseline"], *simd["found"]],
        **{name: version(name) for name in PACKAGES},
    }


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def page(path: Path) -> str:
    """The page of a run, but for what depends on when, where and how fast it was played."""
    run = fedgen.load_run(path)
    timed = replace(
        run,
        rounds=[replace(row, seconds=1.0) for row in run.rounds],
        clients=[replace(row, seconds=row.seconds and 1.0) for row in run.clients],
    )
    text = pages.one(timed).replace(str(path), "RUN")
    return re.sub(r"(?m)^(fedgen|python|data_dir) = .*$", "", text)


def played(name: str, folder: Path) -> dict[str, Any]:
    """Play a run and return what is held of it."""
    path = folder / "run"
    fedgen.compare(**SMALL | RUNS[name], out=path, quiet=True)
    found = comparable(path)
    files = {
        file.name: [{k: v for k, v in row.items() if k != "seconds"} for row in rows(file)]
        for file in sorted(path.glob("*.csv"))
    }
    weights = {key: value for key, value in found.items() if "checkpoint" in key}
    figures = [
        " ".join(row[key] for key in ("strategy", "seed", "round", "test_accuracy", "test_loss"))
        for row in rows(path / "rounds.csv")
    ]
    return {
        "files": {file: digest(content) for file, content in files.items()},
        "weights": digest(weights),
        "page": digest(page(path)),
        "figures": figures,
    }


def studied(folder: Path) -> dict[str, Any]:
    """Play both kinds of studies and return what is held of them."""
    found: dict[str, Any] = {"files": {}, "figures": []}
    for name, base in (("sklearn", studies.SKLEARN), ("keras", studies.KERAS)):
        studies.play(folder / name, studies.build(base))
        table = studies.rows(folder / name / "results.csv")
        found["files"][name] = digest(sorted(table[1:]))
    return found


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, Any]]:
    held = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if os.environ.get("FEDGEN_RECORD") == "1":
        held = {"machine": machine(), "runs": {}}
        yield held
        RECORD.write_text(json.dumps(held, indent=1) + "\n")
    else:
        yield held


STUDY = ["study"] if ENGINE == "tensorflow" else []


@pytest.mark.parametrize("name", [*RUNS, *STUDY])
def test_results_are_what_they_were(name: str, recorded: dict[str, Any], tmp_path: Path) -> None:
    found = studied(tmp_path) if name == "study" else played(name, tmp_path)
    if os.environ.get("FEDGEN_RECORD") == "1":
        recorded["runs"][name] = found
    held = recorded["runs"][name]
    for mine, theirs in zip(found["figures"], held["figures"], strict=True):
        *arm, accuracy, loss = theirs.split()
        assert mine.split()[:3] == arm
        # 360 test images; a few may tip where sums are rounded otherwise.
        wanted = pytest.approx([float(accuracy), float(loss)], rel=0.02, abs=0.02)
        assert [float(figure) for figure in mine.split()[3:]] == wanted, arm
    if ENGINE == "tensorflow" and machine() == recorded["machine"]:
        assert found == held
