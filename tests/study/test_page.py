"""The page of a study: complete, escaped, with every chart in words and as a table."""

import json
import re
from dataclasses import replace
from pathlib import Path

import studies
from studies import KERAS, SKLEARN

from fedgen.study.fits.outcome import Epoch, Fit
from fedgen.study.ledger import Ledger
from fedgen.study.report import page as report
from fedgen.study.report import panels


def drawn(folder: Path, study: studies.Study, leaked: float = 0.0, **changes: object) -> str:
    """Return the page of a study whose fits are made up."""
    (folder / "study.toml").write_text("[study]\nname = '<b>'\n")
    kept = Ledger(folder, study)
    for number, case in enumerate(studies.cases(study)):
        for seed in study.seeds:
            score = 0.5 + 0.1 * number + 0.01 * seed
            fit = Fit(case.key, seed, "ok", None, *[score] * 6, 2.0 + number, 0.5, 3, True, 10)
            kept.fits[case.key, seed] = replace(fit, **changes) if number == 0 else fit
            if study.study.estimator == "keras":
                kept.epochs[case.key, seed] = [
                    Epoch(case.key, seed, e, 1 / e, score, 2 / e, score, "held-out") for e in (1, 2)
                ]
    return report.draw(kept, studies.cases(study), leaked)


def figures(page: str) -> dict[str, dict]:
    found = re.findall(
        r'<script type="application/json" data-plot="chart-([\w-]+)">(.*?)</script>', page
    )
    return {name: json.loads(text) for name, text in found}


def test_a_panel_per_metric_and_the_choice_with_its_reason(tmp_path: Path) -> None:
    page = drawn(tmp_path, studies.build(SKLEARN))
    charts = figures(page)
    assert [*charts] == [
        *("accuracy", "precision", "recall", "zero_one_loss"),
        *("train_seconds", "predict_seconds", "cost"),
    ]
    assert "Best: (4, 6), alpha 1. Why: highest mean validation accuracy, 0.8050" in page
    assert page.count("in words and as a table") == len(charts)
    assert "leaks" not in page and "&lt;b&gt;" in page and "<b>" not in page


def test_numbers_are_joined_by_lines_and_other_settings_are_grouped_points(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    lines = [t for t in figures(drawn(tmp_path, study))["accuracy"]["data"] if "name" in t]
    assert [(t["name"], t["mode"], t["x"]) for t in lines] == [
        ("(8)", "lines+markers", [1e-4, 1.0]),
        ("(4, 6)", "lines+markers", [1e-4, 1.0]),
    ]
    assert figures(drawn(tmp_path, study))["accuracy"]["layout"]["xaxis"]["type"] == "log"
    axes = {"hidden_layers": [[8], [4, 6]], "solver": ["sgd", "adam"]}
    page = drawn(tmp_path, studies.build(SKLEARN | {"axes": axes}))
    points = [t for t in figures(page)["accuracy"]["data"] if "name" in t]
    assert [(t["name"], t["mode"], t["x"]) for t in points] == [
        ("sgd", "markers", ["(8)", "(4, 6)"]),
        ("adam", "markers", ["(8)", "(4, 6)"]),
    ]


def test_settings_that_follow_from_others_split_no_series() -> None:
    listed = [
        {"hidden_layers": [8], "batch_norm": True, "initialiser": "he-normal"},
        {"hidden_layers": [8], "batch_norm": False, "initialiser": "he-normal"},
        {"hidden_layers": [9], "batch_norm": True, "initialiser": "glorot-uniform"},
    ]
    study = studies.build(KERAS | {"axes": {}}, cases=listed)
    where = panels.layout(study, studies.cases(study))
    assert (where.axis, where.groups) == ("hidden_layers", ("batch_norm",))
    assert where.names == ["batch norm", "no batch norm"]


def test_keras_has_curves(tmp_path: Path) -> None:
    charts = figures(drawn(tmp_path, studies.build(KERAS)))
    loss = charts["epochs-loss"]["data"]
    assert len(loss) == 2 * 2 * 2, "cases, seeds, training and validation"
    assert (loss[0]["y"], loss[1]["y"]) == ([1.0, 0.5], [2.0, 1.0])
    assert sum(trace["showlegend"] for trace in loss) == 2
    assert "epochs-accuracy" in charts


def test_leaks_and_faults_are_told(tmp_path: Path) -> None:
    study = studies.build(SKLEARN, study={"sampling": "with-replacement"})
    page = drawn(tmp_path, study, 0.5, status="diverged", reason="a loss is <not> finite")
    assert "This study leaks: test images are among the training images</strong> (50.0 %" in page
    assert "diverged: a loss is &lt;not&gt; finite" in page
    trace = figures(page)["accuracy"]["data"][0]
    assert trace["marker"]["symbol"] == ["x", "circle"]
    assert "A cross is a case with a diverged or failed fit" in page


def test_nothing_is_chosen_by_the_test_set(tmp_path: Path) -> None:
    page = drawn(tmp_path, studies.build(SKLEARN, data={"validation_fraction": 0.0}))
    assert "No case is chosen: no images are held out" in page and "Best:" not in page


def test_fits_without_scores_are_drawn_as_gaps(tmp_path: Path) -> None:
    page = drawn(
        tmp_path,
        studies.build(SKLEARN),
        **dict.fromkeys(("accuracy", "precision", "recall", "zero_one_loss", "train_accuracy")),
        status="failed",
        reason="ValueError",
        validation_accuracy=None,
        train_seconds=None,
        predict_seconds=None,
        epochs=None,
        converged=None,
    )
    traces = [t for t in figures(page)["accuracy"]["data"] if "name" in t]
    assert [t["x"] for t in traces] == [[1.0], [1e-4, 1.0]]
