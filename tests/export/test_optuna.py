"""Genomes as an Optuna study: read back through Optuna, against the CSV file."""

import math
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from commands import imported
from commands import run as fedgen
from optuna.trial import TrialState
from runs import play, rows
from shards import client_row

from fedgen.config.tree import build
from fedgen.errors import InputError, RunError
from fedgen.export import optuna as genomes
from fedgen.report.results import Results, load
from fedgen.runs.rows import ClientRow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run some of whose clients have no fitness: their answers were rejected."""
    folder = tmp_path_factory.mktemp("study") / "small"
    strategies = ["genetic-cfl", "fedavg"]
    return load(
        play(
            folder, run={"rounds": 2, "seeds": 2, "strategies": strategies}, faults={"nan": 1}
        ).path
    )


def number(text: str) -> float | None:
    return float(text) if text else None


def test_every_evolved_genome_is_a_trial(results: Results, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    told = fedgen(
        *(tmp_path, tmp_path, "export", str(results.path), "--optuna", url),
        options=("-X", "importtime"),
    )
    assert told.returncode == 0, told.stderr
    assert not {"tensorflow", "keras", "flwr", "mlflow"} & imported(told.stderr)
    evolved = [row for row in rows(results.path / "clients.csv") if row["origin"] != "fixed"]
    assert {row["strategy"] for row in evolved} == {"genetic-cfl"}
    assert told.stdout == f"Optuna: {len(evolved)} trials in {url}\n"
    loaded = optuna.load_study(study_name="small", storage=url)
    assert loaded.direction == optuna.study.StudyDirection.MINIMIZE
    assert len(loaded.trials) == len(evolved)
    for trial, row in zip(loaded.trials, evolved, strict=True):
        assert trial.params == {
            "learning_rate": float(row["learning_rate"]),
            "batch_size": int(row["batch_size"]),
        }
        assert trial.value == number(row["fitness"])
        assert trial.state == (TrialState.COMPLETE if row["fitness"] else TrialState.FAIL)
        assert trial.user_attrs == {
            **{key: row[key] for key in ("strategy", "origin", "status")},
            **{key: int(row[key]) for key in ("seed", "round", "client", "cluster")},
            **{key: number(row[key]) for key in ("parent", "batch_parent", "mutation")},
        }
    assert {trial.state for trial in loaded.trials} == {TrialState.COMPLETE, TrialState.FAIL}
    best = min(float(row["fitness"]) for row in evolved if row["fitness"])
    assert loaded.best_value == best


def test_further_genes_are_parameters_where_they_are_genes() -> None:
    own = {"mu": 0.5, "weight_decay": 0.0, "own_accuracy": 0.9}
    found = [
        client_row(1, 1),
        replace(client_row(1, 2), learning_rate=1e-2, local_epochs=3, measured=own),
    ]
    plain, further = genomes.trials(found)
    assert plain.params == {"learning_rate": 1e-4, "batch_size": 32}
    assert further.params == {
        **{"learning_rate": 1e-2, "batch_size": 32, "local_epochs": 3},
        **{"mu": 0.5, "weight_decay": 0.0},
    }
    assert further.distributions["mu"] == optuna.distributions.FloatDistribution(0.5, 0.5, log=True)
    nothing = further.distributions["weight_decay"]
    assert nothing == optuna.distributions.FloatDistribution(0.0, 0.0)  # no logarithm
    assert further.distributions["local_epochs"] == optuna.distributions.IntDistribution(3, 3)


def test_the_distributions_hold_all_values_on_a_logarithmic_scale() -> None:
    evolved = [
        replace(client_row(1, client), learning_rate=rate, batch_size=batch, origin="mutant")
        for client, (rate, batch) in enumerate([(1e-3, 64), (1e-6, 17), (0.1, 128)])
    ]
    for trial in genomes.trials(evolved):
        rate, batch = (trial.distributions[name] for name in ("learning_rate", "batch_size"))
        assert rate == optuna.distributions.FloatDistribution(1e-6, 0.1, log=True)
        assert batch == optuna.distributions.IntDistribution(17, 128, log=True)


@pytest.mark.parametrize("fitness", [None, math.inf, math.nan])
def test_without_a_finite_fitness_a_trial_has_failed(fitness: float | None) -> None:
    (trial,) = genomes.trials([replace(client_row(1, 0), origin="mutant", fitness=fitness)])
    assert (trial.state, trial.value) == (TrialState.FAIL, None)


def test_a_study_of_that_name_is_left_as_it_is(results: Results, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    optuna.create_study(study_name="small", storage=url)
    with pytest.raises(InputError, match="has a study 'small' already.*optuna delete-study --stu"):
        genomes.write(results, url)
    assert optuna.load_study(study_name="small", storage=url).trials == []


def test_what_cannot_be_written_whole_is_not_kept(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    url = f"sqlite:///{path}"
    optuna.create_study(study_name="another", storage=url)
    refuse = "WHEN (SELECT count(*) FROM trials) > 3 BEGIN SELECT RAISE(ABORT, 'no more'); END"
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"CREATE TRIGGER full BEFORE INSERT ON trial_params {refuse}")
    with pytest.raises(RunError, match="study 'small' cannot be written") as caught:
        genomes.write(results, url)
    assert caught.value.line.endswith("it was not kept")
    assert optuna.get_all_study_names(url) == ["another"]
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT count(*) FROM trials").fetchone() == (0,)
        base.execute("DROP TRIGGER full")
    assert genomes.write(results, url) == 24


@pytest.mark.parametrize(
    "url", ["", "x.db", "sqlite:////proc/x.db", "nonsense://x", "oracle://me:secret@127.0.0.1/x"]
)
def test_a_bad_url_is_one_line(results: Results, url: str) -> None:
    with pytest.raises(InputError, match="expected the URL of a database") as caught:
        genomes.write(results, url)
    assert "secret" not in caught.value.line


def of(results: Results, strategies: list[str], clients: list[ClientRow]) -> Results:
    """A run of other strategies, with these rows."""
    config = build({"run": {"strategies": strategies}})
    return replace(results, run=replace(results.run, config=config), clients=clients)


WITHOUT: list[tuple[list[str], list[ClientRow], str]] = [
    (["fedavg", "fedprox"], [], "expected a strategy that evolves .*; received fedavg, fedprox$"),
    (["fedavg"], [client_row(1, 0)], "expected a strategy that evolves them, .*; received fedavg$"),
    (["genetic-cfl"], [], "expected a finished round of training of genetic-cfl, received none"),
    (
        ["fedavg", "pbt", "genetic-cfl+one-cluster"],
        [client_row(1, 0)],
        "expected a finished round of training of pbt or genetic-cfl.one-cluster, received none; "
        "go on with: python -m fedgen resume ",
    ),
]


@pytest.mark.parametrize(("strategies", "clients", "told"), WITHOUT)
def test_a_run_without_genomes_is_told_why(
    results: Results,
    tmp_path: Path,
    strategies: list[str],
    clients: list[ClientRow],
    told: str,
) -> None:
    """Nobody evolves any, or who does has finished no round: the line never names what it wants."""
    with pytest.raises(InputError, match=f"no evolved genomes .*{told}"):
        genomes.write(of(results, strategies, clients), f"sqlite:///{tmp_path / 'x.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=re.escape("pip install 'fedgen[optuna]'")):
        genomes.write(results, "sqlite:///x.db")
