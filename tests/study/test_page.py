"""The page of a study: complete, escaped, with every chart in words and as a table."""

import json
import re
from pathlib import Path

import studies
from studies import KERAS, SKLEARN, drawn

from fedgen.study.report import panels


def figures(page: str) -> dict[str, dict]:
    found = re.findall(
        r'<script type="application/json" data-plot="chart-([\w-]+)">(.*?)</script>', page
    )
    return {name: json.loads(text) for name, text in found}


def test_a_panel_per_metric_and_the_choice_with_its_reason(tmp_path: Path) -> None:
    page = drawn(tmp_path, studies.build(SKLEARN))
    charts = figures(page)
    assert [*charts] == [
        *("cases", "accuracy", "precision", "recall", "zero_one_loss"),
        *("train_seconds", "predict_seconds", "cost"),
    ]
    lead = "(4, 6), alpha 1 is best: a validation accuracy of 80.50&nbsp;%, 10.00 points ahead of"
    assert f"{lead} (4, 6), alpha 0.0001; too few repeats to tell whether that is chance." in page
    assert "(4, 6), alpha 1 is chosen: highest mean validation accuracy, 0.8050" in page
    assert page.count("in words and as a table") == len(charts)
    assert "leaks" not in page and "&lt;b&gt;" in page and "<b>" not in page


def test_the_first_screen_ranks_by_what_decides_and_says_what_training_took(tmp_path: Path) -> None:
    page = drawn(tmp_path, studies.build(SKLEARN))
    head, first, *_ = re.findall("<tr.*?</tr>", page[page.index('<table class="ranked') :])
    assert re.findall("<th[^>]*>(.*?)</th>", head) == [
        *("case", "validation accuracy", "test accuracy", "seconds to train")
    ]
    assert 'class="best"' in first and "1. (4, 6), alpha 1</th>" in first
    assert "<td>80.50 %<small>80.00, 81.00</small></td>" in first
    assert 'style="width:100%"' in first and "<small>5.0</small>" in first
    assert page.count('<details class="part section" ') >= 6 and " open>" not in page


def test_every_case_has_a_row_the_best_on_top(tmp_path: Path) -> None:
    chart = figures(drawn(tmp_path, studies.build(SKLEARN)))["cases"]
    repeats, means, names = chart["data"]
    titles = [f"({layers}), alpha {alpha}" for layers in ("4, 6", "8") for alpha in (1, 0.0001)]
    assert names["text"] == means["text"] == titles
    assert means["y"] == [3, 2, 1, 0] and len(repeats["x"]) == 2 * 4
    assert means["x"] == sorted(means["x"], reverse=True)
    assert means["marker"]["symbol"] == ["star", "circle", "circle", "circle"]
    assert all(y < at < y + 1 for y, at in zip(means["y"], names["y"], strict=True))
    assert {*names["x"]} == {chart["layout"]["xaxis"]["range"][0]}, "names begin where rows do"


def test_many_cases_are_cut_to_the_best_and_the_page_says_so(tmp_path: Path) -> None:
    layers = [[width] for width in range(1, panels.MOST + 3)]
    study = studies.build(SKLEARN | {"axes": {"hidden_layers": layers}})
    page = drawn(tmp_path, study)
    assert len(figures(page)["cases"]["data"][1]["y"]) == panels.MOST
    assert f"The best {panels.MOST} of {len(layers)} cases." in page


def test_numbers_are_joined_by_lines_and_other_settings_have_a_row_each(tmp_path: Path) -> None:
    study = studies.build(SKLEARN)
    charts = figures(drawn(tmp_path, study))
    lines = [t for t in charts["accuracy"]["data"] if "name" in t]
    assert [(t["name"], t["mode"], t["x"]) for t in lines] == [
        ("(8)", "lines+markers", [1e-4, 1.0]),
        ("(4, 6)", "lines+markers", [1e-4, 1.0]),
    ]
    assert charts["accuracy"]["layout"]["xaxis"]["type"] == "log"
    axes = {"hidden_layers": [[8], [4, 6]], "solver": ["sgd", "adam"]}
    _, means, _ = figures(drawn(tmp_path, studies.build(SKLEARN | {"axes": axes})))["accuracy"][
        "data"
    ]
    assert means["text"] == ["(4, 6), adam", "(4, 6), sgd", "(8), adam", "(8), sgd"]


def test_seconds_far_apart_have_a_logarithmic_scale_with_ticks_that_people_read(
    tmp_path: Path,
) -> None:
    page = drawn(tmp_path, studies.build(SKLEARN), train_seconds=500.0)
    for name, axis in (("train_seconds", "yaxis"), ("cost", "xaxis")):
        scale = figures(page)[name]["layout"][axis]
        assert scale["type"] == "log" and scale["ticktext"] == [
            "5",
            "10",
            "20",
            "50",
            "100",
            "200",
            "500",
        ]


def test_settings_that_follow_from_others_split_no_series() -> None:
    listed = [
        {"hidden_layers": [8], "batch_norm": True, "initialiser": "he-normal"},
        {"hidden_layers": [8], "batch_norm": False, "initialiser": "he-normal"},
        {"hidden_layers": [9], "batch_norm": True, "initialiser": "glorot-uniform"},
    ]
    study = studies.build(KERAS | {"axes": {"dropout": [0.1, 0.2]}}, cases=listed)
    where = panels.layout(study, studies.cases(study))
    assert where is not None
    assert (where.axis, where.groups) == ("dropout", ("hidden_layers", "batch_norm"))
    assert where.names == ["(8), batch norm", "(8), no batch norm", "(9), batch norm"]
    alone = studies.build(KERAS | {"axes": {}}, cases=listed)
    assert panels.layout(alone, studies.cases(alone)) is None, "no axis of numbers"


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
    assert "No case is chosen: no images are held out" in page and "is best" not in page
    assert "validation accuracy</th>" not in page.partition("<main>")[0]


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
