"""A study's directory: only what is missing runs, torn ends are cut, other studies refused."""

import csv
from pathlib import Path

import pytest
import studies
from studies import KERAS, SKLEARN

from fedgen.data import datasets
from fedgen.errors import InputError
from fedgen.files import locks
from fedgen.study import ledger, sweep
from fedgen.study.cases import Case
from fedgen.study.fits.outcome import Outcome
from fedgen.study.ledger import EPOCHS, RESULTS, STUDY
from fedgen.study.sweep import Watcher


class Counting(Watcher):
    """Counts what runs, and stops a study after some fits as Ctrl-C does."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.ran: list[tuple[str, int]] = []
        self._stop_after = stop_after

    def finished(self, case: Case, outcome: Outcome) -> None:
        self.ran.append((case.title, outcome.fit.seed))
        if len(self.ran) == self._stop_after:
            raise KeyboardInterrupt


def play(out: Path, study: studies.Study, stop_after: int = 10**6, jobs: int = 1) -> Counting:
    watching = Counting(stop_after)
    cases = studies.cases(study)
    with ledger.opened(out, study, datasets.load(study.data), cases) as kept:
        try:
            sweep.play(kept, cases, jobs, watching)
        except KeyboardInterrupt:
            assert stop_after < 10**6
    return watching


@pytest.mark.parametrize("base", [SKLEARN, KERAS], ids=["sklearn-mlp", "keras"])
def test_an_interrupted_study_runs_only_what_is_missing_and_ends_the_same(
    base: dict, tmp_path: Path
) -> None:
    study = studies.build(base)
    whole = play(tmp_path / "whole", study)
    assert len(whole.ran) == len(set(whole.ran)) == len(studies.cases(study)) * 2
    first = play(tmp_path / "parts", study, stop_after=2)
    second = play(tmp_path / "parts", study)
    assert sorted(first.ran + second.ran) == sorted(whole.ran)
    for name in (RESULTS, EPOCHS):
        assert studies.rows(tmp_path / "whole" / name) == studies.rows(tmp_path / "parts" / name)


@pytest.mark.parametrize("base", [SKLEARN, KERAS], ids=["sklearn-mlp", "keras"])
def test_two_jobs_give_the_rows_of_one(base: dict, tmp_path: Path) -> None:
    study = studies.build(base)
    for jobs in (1, 2):
        play(tmp_path / str(jobs), study, jobs=jobs)
    for name in (RESULTS, EPOCHS):
        assert studies.rows(tmp_path / "1" / name) == studies.rows(tmp_path / "2" / name)


def test_a_finished_study_runs_nothing_and_leaves_its_bytes(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert play(tmp_path, study).ran == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_study_from_before_there_were_scales_and_layouts_goes_on(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study, stop_after=3)
    lines = (tmp_path / STUDY).read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("scale = ", "layout = "))]
    assert len(kept) == len(lines) - 2
    (tmp_path / STUDY).write_text("".join(kept))
    assert len(play(tmp_path, study).ran) == 5


def test_rows_say_what_was_fitted_and_how_it_went(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study)
    with (tmp_path / RESULTS).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = [(row["hidden_layers"], row["alpha"], row["seed"]) for row in rows]
    assert told[:3] == [("8", "0.0001", "0"), ("8", "0.0001", "1"), ("8", "1.0", "0")]
    assert {row["study"] for row in rows} == {"small"}
    assert {row["sampling"] for row in rows} == {"split"}
    wanted = "accuracy precision recall zero_one_loss validation_accuracy train_accuracy"
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in wanted.split())
        assert float(row["train_seconds"]) > 0 and float(row["predict_seconds"]) > 0
        assert (row["epochs"], row["converged"], row["status"]) == ("5", "False", "ok")
        assert int(row["parameters"]) == (682 - 72 if row["hidden_layers"] == "8" else 360)


def test_more_repeats_run_only_the_new_ones(tmp_path: Path) -> None:
    play(tmp_path, studies.build(SKLEARN))
    ran = play(tmp_path, studies.build(SKLEARN, study={"seeds": 3})).ran
    assert len(ran) == 4 and {seed for _, seed in ran} == {2}


def test_a_changed_case_runs_anew_and_the_old_rows_stay_after_it(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study)
    changed = studies.build(SKLEARN, axes={"alpha": [1e-4, 2.0]})
    ran = play(tmp_path, changed).ran
    assert {title for title, _ in ran} == {"(8), alpha 2", "(4, 6), alpha 2"} and len(ran) == 4
    with (tmp_path / RESULTS).open(newline="") as stream:
        alphas = [row["alpha"] for row in csv.DictReader(stream)]
    assert alphas == ["0.0001", "0.0001", "2.0", "2.0"] * 2 + ["1.0"] * 4
    assert play(tmp_path, study).ran == [], "and are found again"


@pytest.mark.parametrize("cut", [1, 7, 150])
def test_a_torn_last_line_is_cut_and_its_fit_runs_again(cut: int, tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study)
    before = studies.rows(tmp_path / RESULTS)
    content = (tmp_path / RESULTS).read_bytes()
    (tmp_path / RESULTS).write_bytes(content[:-cut])
    assert play(tmp_path, study).ran == [("(4, 6), alpha 1", 1)]
    assert studies.rows(tmp_path / RESULTS) == before


def test_epochs_without_their_fit_are_dropped(tmp_path: Path) -> None:
    study = studies.build(KERAS)
    play(tmp_path, study)
    before = studies.rows(tmp_path / RESULTS), studies.rows(tmp_path / EPOCHS)
    lines = (tmp_path / RESULTS).read_text().splitlines(keepends=True)
    (tmp_path / RESULTS).write_text("".join(lines[:-1]))
    torn = (tmp_path / EPOCHS).read_bytes()[:-5]
    (tmp_path / EPOCHS).write_bytes(torn)
    assert len(play(tmp_path, study).ran) == 1
    assert (studies.rows(tmp_path / RESULTS), studies.rows(tmp_path / EPOCHS)) == before


@pytest.mark.parametrize(
    ("other", "pattern"),
    [
        ({"study": {"name": "other"}}, "study.name was 'small' and is 'other'"),
        ({"study": {"sampling": "with-replacement"}}, "study.sampling was 'split'"),
        ({"study": {"seed": 1}}, "study.seed was 0 and is 1"),
        ({"data": {"train_samples": 299}}, "data.train_samples was 300 and is 299"),
        ({"data": {"pixels": "raw"}}, "data.pixels was 'unit' and is 'raw'"),
    ],
)
def test_results_of_another_study_are_refused(other: dict, pattern: str, tmp_path: Path) -> None:
    play(tmp_path, studies.build(SKLEARN), stop_after=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=f"of another study: .*{pattern}.*--out"):
        play(tmp_path, studies.build(SKLEARN, **other))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_data_and_another_estimator_are_refused(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study, stop_after=1)
    text = (tmp_path / STUDY).read_text()
    (tmp_path / STUDY).write_text(text.replace('fingerprint = "', 'fingerprint = "0'))
    with pytest.raises(InputError, match="provenance.fingerprint was '0"):
        play(tmp_path, study)
    (tmp_path / STUDY).write_text(text)
    with pytest.raises(InputError, match="study.estimator was 'sklearn-mlp' and is 'keras'"):
        play(tmp_path, studies.build(KERAS))


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        (lambda text: text.replace("solver", "slover", 1), "expected the columns study,sampling"),
        (lambda text: text.replace("\nsmall", "\nother", 1), "line 2: expected .* study 'small'"),
        (lambda text: text.replace(",ok,", ",ok,extra,", 1), "line 2: "),
        (
            lambda text: text.replace(",False,610", ",maybe,610", 1),
            "converged must be bool, .*'maybe'",
        ),
        (lambda text: text.replace("\nsmall", '\n"small', 1), "cannot be read"),
        (lambda text: "", "expected the columns"),
    ],
)
def test_a_damaged_results_file_is_refused(damage: object, pattern: str, tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study, stop_after=2)
    text = damage((tmp_path / RESULTS).read_text())  # type: ignore[operator]
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(InputError, match=pattern):
        play(tmp_path, study)
    assert (tmp_path / RESULTS).read_text() == text


def test_results_without_their_study_are_refused(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    play(tmp_path, study, stop_after=1)
    (tmp_path / STUDY).unlink()
    with pytest.raises(InputError, match="expected study.toml beside results.csv"):
        play(tmp_path, study)


def test_a_place_that_is_no_studys_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="expected a new or empty directory"):
        play(tmp_path, studies.build(SKLEARN))
    with pytest.raises(InputError, match="expected a directory, received a file"):
        play(tmp_path / "thesis.tex", studies.build(SKLEARN))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_one_process_works_on_a_study(tmp_path: Path) -> None:
    with locks.hold(tmp_path), pytest.raises(InputError, match="is working on it"):
        play(tmp_path, studies.build(SKLEARN))


def test_a_failed_fit_is_a_row_and_is_not_run_again(tmp_path: Path) -> None:
    data = {"train_samples": 8, "validation_fraction": 0.2}
    study = studies.build(SKLEARN | {"axes": {"early_stopping": [True, False]}}, data=data)
    assert len(play(tmp_path, study).ran) == 4
    with (tmp_path / RESULTS).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows[:2]] == ["failed", "failed"]
    assert "ValueError" in rows[0]["reason"] and rows[0]["accuracy"] == ""
    assert all(row["accuracy"] for row in rows[2:]), "the others went on"
    assert play(tmp_path, study).ran == []


def test_losses_that_are_not_finite_are_floats_also_where_older_rows_spelled_them_otherwise(
    tmp_path: Path,
) -> None:
    """A study that diverged, and goes on: the rows of its epochs are written anew."""
    study = studies.build(KERAS, fixed={"learning_rate": 1e30, "optimizer": "sgd"})
    play(tmp_path, study)
    text = (tmp_path / EPOCHS).read_text()
    assert ",NaN," in text and ",nan," not in text
    (tmp_path / EPOCHS).write_text(text.replace(",NaN,", ",nan,").replace("1e999", "inf"))
    assert play(tmp_path, study).ran == []
    assert (tmp_path / EPOCHS).read_text() == text
    import polars

    table = polars.read_csv(tmp_path / EPOCHS, infer_schema_length=None)
    assert table["train_loss"].dtype == table["validation_loss"].dtype == polars.Float64


def test_a_leaking_study_says_so_in_every_row(tmp_path: Path) -> None:
    play(tmp_path, studies.build(SKLEARN, study={"sampling": "with-replacement"}), stop_after=1)
    assert "leaks: test images are among the training images" in (tmp_path / RESULTS).read_text()
