"""The best is chosen on held-out images alone, with a reason, and can be federated."""

import tomllib
from pathlib import Path

import pytest
import studies
from studies import KERAS, SKLEARN

from fedgen.config.tree import build as build_config
from fedgen.errors import InputError
from fedgen.study.export import to_model_file
from fedgen.study.fits.outcome import Fit
from fedgen.study.ledger import Ledger
from fedgen.study.ranking import Standing, choose, rank, summarise
from fedgen.study.report.terminal import reasons


def filled(study: studies.Study, *scores: tuple[list[float], float], **faults: str) -> Ledger:
    """Return a ledger whose cases have these validation accuracies and test accuracy."""
    kept = Ledger(Path("somewhere"), study)
    for case, (validation, test) in zip(studies.cases(study), scores, strict=False):
        for seed, value in enumerate(validation):
            status = faults.get(case.title.split()[-1].replace(".", "_"), "ok")
            kept.fits[case.key, seed] = Fit(
                case.key, seed, status, accuracy=test, validation_accuracy=value
            )
    return kept


ALPHAS = SKLEARN | {"axes": {"alpha": [1.0, 2.0, 3.0]}}


def test_validation_chooses_and_the_test_set_does_not() -> None:
    study = studies.build(ALPHAS)
    kept = filled(study, ([0.8, 0.9], 0.99), ([0.9, 0.9], 0.1), ([0.7, 0.7], 1.0))
    standings = rank(kept, studies.cases(study))
    assert [s.case.title for s in standings] == ["alpha 2", "alpha 1", "alpha 3"]
    reason = choose(kept, standings).reason
    assert reason.startswith("highest mean validation accuracy, 0.9000 (0.9000, 0.9000) over 2")
    assert "0.0500 ahead of alpha 1" in reason and "too few repeats" in reason


def test_few_repeats_allow_no_claim_however_clear() -> None:
    """Two repeats that differ by one image of 126 were "more than chance" before."""
    study = studies.build(ALPHAS, study={"seeds": 8})
    kept = filled(study, ([0.90, 0.91], 0.5), ([0.90 - 1 / 126, 0.91 - 1 / 126], 0.5))
    reason = choose(kept, rank(kept, studies.cases(study))).reason
    assert "0.0079 ahead of alpha 2 (0.0079, 0.0079): too few repeats to tell" in reason
    kept = filled(study, ([0.9 + i / 100 for i in range(5)], 0.5), ([0.1] * 5, 0.5))
    assert "95 % interval" in (reason := choose(kept, rank(kept, studies.cases(study))).reason)
    assert reason.endswith("too few repeats to tell whether that is chance")


def test_a_clear_winner_is_called_one_and_said_to_be_picked() -> None:
    study = studies.build(ALPHAS, study={"seeds": 8})
    clear = [0.9 + i / 100 for i in range(8)]
    kept = filled(study, (clear, 0.5), ([0.5] * 8, 0.5), ([0.4] * 8, 0.5))
    reason = choose(kept, rank(kept, studies.cases(study))).reason
    assert "the best of 3 by this very figure, which flatters it" in reason
    assert "0.4350 ahead of alpha 2 (95 % interval" in reason
    assert reason.endswith("Wilcoxon p = 0.0234, corrected for 3 pairs): more than chance")
    six = filled(study, (clear[:6], 0.5), ([0.5] * 6, 0.5))
    reason = choose(six, rank(six, studies.cases(study))).reason
    assert "best of 2" in reason and reason.endswith("p = 0.0312): more than chance")
    mixed = filled(study, ([0.9, 0.4] * 4, 0.5), ([0.5, 0.7] * 4, 0.5))
    assert choose(mixed, rank(mixed, studies.cases(study))).reason.endswith("): may be chance")


def test_one_repeat_cannot_tell() -> None:
    study = studies.build(ALPHAS)
    kept = filled(study, ([0.9], 0.5), ([0.5], 0.5))
    reason = choose(kept, rank(kept, studies.cases(study))).reason
    assert "over 1 repeat," in reason and "cannot tell" in reason


def test_a_case_with_a_fit_that_went_wrong_is_last() -> None:
    study = studies.build(ALPHAS)
    kept = filled(study, ([0.99, 0.99], 0.9), ([0.5, 0.5], 0.5))
    first = studies.cases(study)[0].key
    kept.fits[first, 1] = Fit(first, 1, "diverged", "a loss or weight is not finite")
    standings = rank(kept, studies.cases(study))
    assert [s.case.title for s in standings] == ["alpha 2", "alpha 1"]
    assert standings[1].mean("validation_accuracy") == 0.99, "of the repeat that has one"
    assert standings[1].reasons == ["diverged: a loss or weight is not finite"]
    summary = summarise(kept, studies.cases(study), 0.0)
    assert (summary["fits"], summary["missing"], summary["not_ok"]) == (4, 2, 1)


def test_nothing_is_chosen_where_there_is_nothing_to_choose_by() -> None:
    study = studies.build(ALPHAS)
    with pytest.raises(InputError, match="nothing has run yet"):
        choose(Ledger(Path("somewhere"), study), [])
    kept = filled(study, ([0.1], 0.1))
    key = studies.cases(study)[0].key
    kept.fits[key, 0] = Fit(key, 0, "failed", "x")
    with pytest.raises(InputError, match="no case ran without"):
        choose(kept, rank(kept, studies.cases(study)))
    tested = studies.build(ALPHAS, data={"validation_fraction": 0.0})
    kept = filled(tested, ([0.1], 0.3), ([0.1], 0.4))
    standings = rank(kept, studies.cases(tested))
    assert [s.case.title for s in standings] == ["alpha 2", "alpha 1"]
    with pytest.raises(InputError, match="the test set must not choose"):
        choose(kept, standings)
    assert summarise(kept, studies.cases(tested), 0.0)["best"] is None


@pytest.mark.parametrize(
    ("base", "fixed", "carried"),
    [
        (SKLEARN, {"activation": "tanh"}, {"hidden_layers": [8], "activation": "tanh"}),
        (KERAS, {"batch_norm": True}, {"hidden_layers": [8], "batch_norm": True}),
        (KERAS | {"axes": {}}, {"model": "mlp-356-105-51-bn"}, {"name": "mlp-356-105-51-bn"}),
    ],
)
def test_the_winner_becomes_a_model_file(
    base: dict, fixed: dict, carried: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = studies.build(base, fixed=fixed)
    kept = filled(study, ([0.9], 0.9))
    text = to_model_file(kept, choose(kept, rank(kept, studies.cases(study))))
    assert tomllib.loads(text)["model"].items() >= carried.items()
    assert all(len(line) < 400 for line in text.splitlines())
    monkeypatch.chdir(tmp_path)
    Path("model.toml").write_text(text)
    config = build_config({"model": {"name": "model.toml"}})
    assert config.model == studies.cases(study)[0].settings.federated()


def test_a_model_file_says_what_it_does_not_carry() -> None:
    study = studies.build(SKLEARN, data={"pixels": "raw"}, study={"sampling": "with-replacement"})
    kept = filled(study, ([0.9], 0.9))
    text = to_model_file(kept, choose(kept, rank(kept, studies.cases(study))))
    assert "# Not carried: alpha = 0.0001, learning_rate_init = 0.03, max_iter = 5." in text
    assert "pixels were raw" in text and "leaks" in text


def test_a_tie_is_no_lead() -> None:
    study = studies.build(ALPHAS)
    kept = filled(study, ([0.8, 0.9], 0.5), ([0.8, 0.9], 0.5))
    reason = choose(kept, rank(kept, studies.cases(study))).reason
    assert "; level with alpha 2 in every repeat" in reason and "ahead" not in reason


def test_what_went_wrong_is_counted_by_case() -> None:
    study = studies.build(ALPHAS)
    fits = [
        Fit("a", seed, "diverged", reason=f"predicts class {n} for every image")
        for seed, n in enumerate((3, 4))
    ]
    one, two, three = studies.cases(study)
    standings = [Standing(one, tuple(fits)), Standing(two, tuple(fits[:1])), Standing(three, ())]
    assert reasons(standings) == [
        "2 of 3 cases diverged: predicts class 3 for every image, or predicts class 4 for every "
        "image"
    ]


def test_a_lead_that_common_repeats_deny_is_not_claimed() -> None:
    """The best has a mean of 0.94 over three repeats; in the one that both have it is behind."""
    study = studies.build(ALPHAS, study={"seeds": 3})
    kept = filled(study, ([0.85, 0.99, 0.99], 0.5), ([0.89], 0.5))
    choice = choose(kept, rank(kept, studies.cases(study)))
    assert choice.standing.case.title == "alpha 1"
    assert choice.told.endswith("; on the repeats that both have, alpha 2 is ahead.")
