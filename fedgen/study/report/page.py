"""``study.html``: one self-contained page, drawn from a study's files."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from fedgen.analysis import statistics
from fedgen.errors import InputError
from fedgen.files import disk
from fedgen.report import html as page
from fedgen.report.html import Table, number
from fedgen.study.cases import Case
from fedgen.study.fits.outcome import Epoch
from fedgen.study.ledger import LEAK, STUDY, Ledger
from fedgen.study.ranking import Standing, choose, rank, ranked_by
from fedgen.study.report import panels

NAME = "study.html"


def write(ledger: Ledger, cases: Sequence[Case], leaked: float) -> Path:
    """Draw a study's page and return its path.

    Args:
        ledger: The fits; at least one.
        cases: The study's cases.
        leaked: Share of the test images that are among the training images.

    Raises:
        RunError: If the page cannot be written.
    """
    target = ledger.path / NAME
    disk.replace(target, draw(ledger, cases, leaked).encode())
    return target


def draw(ledger: Ledger, cases: Sequence[Case], leaked: float) -> str:
    """Return the page as HTML."""
    study, standings = ledger.study, rank(ledger, cases)
    where = panels.layout(study, cases)
    drawn = "".join(
        panels.panel(metric, where, standings).html(metric) for metric in study.study.metrics
    )
    best, told = _choice(ledger, standings)
    fits = [
        (case, ledger.epochs[case.key, fit.seed])
        for case in cases
        for fit in ledger.of(case)
        if ledger.epochs.get((case.key, fit.seed))
    ]
    parts = [
        ("results", "Results", _results(ledger, standings)),
        ("metrics", "Every metric", drawn),
        *([("curves", "Training curves", _curves(where, fits))] if fits else []),
        ("cost", "Cost against accuracy", panels.cost(standings, best).html("cost")),
        ("faults", "Fits that diverged, failed or did not converge", _faults(standings)),
        ("fits", "Every fit", _fits(standings).html("Every fit")),
        ("settings", "Settings and versions", _settings(ledger)),
    ]
    warning = (
        f'<p class="warning"><strong>This study {escape(LEAK)}</strong> ({100 * leaked:.1f} % of '
        "them), as rows were drawn with replacement: all scores are flattered.</p>"
        if study.leaks
        else ""
    )
    lead = f'<p class="lead">{escape(told)}</p>{warning}<p class="note">{escape(_note(ledger))}</p>'
    title = f"{study.study.name}: {len(standings)} cases of {study.study.estimator}"
    return page.document(title, lead, parts, opened=True)


def _choice(ledger: Ledger, standings: Sequence[Standing]) -> tuple[str, str]:
    """Return the hash of the best case, if one is chosen, and what is said of it."""
    try:
        choice = choose(ledger, standings)
    except InputError:
        if not ledger.study.chooses:
            return "", (
                "No case is chosen: no images are held out to choose by, and the test set must "
                "not. Cases are ranked by test accuracy, which flatters the first one."
            )
        return "", "No case is chosen: none ran without a diverged or failed fit."
    return choice.standing.case.key, f"Best: {choice.standing.case.title}. Why: {choice.reason}."


def _note(ledger: Ledger) -> str:
    data, about = ledger.study.data, ledger.study.study
    split = (
        f"{data.test_fraction:.0%} of all images test"
        if data.test_fraction
        else "the data set's own test set"
    )
    few = f"{data.train_samples:,} of the others" if data.train_samples else "the others"
    pixels = "scaled to [0, 1]" if data.pixels == "unit" else "as they are stored"
    repeats = "one repeat" if about.seeds == 1 else f"{about.seeds} repeats"
    return (
        f"{data.dataset}, {split}; of {few}, {data.validation_fraction:.0%} choose and the rest "
        f"train; pixels {pixels}; {repeats} from seed {about.seed}, which differ in initial "
        "weights and batch order, not in the images."
    )


def _results(ledger: Ledger, standings: Sequence[Standing]) -> str:
    metrics = ("accuracy", "precision", "recall", "zero_one_loss", "validation_accuracy")
    others = {"train_accuracy": ".4f", "train_seconds": ".1f", "predict_seconds": ".3f"}
    others |= {"epochs": ",.0f", "parameters": ",.0f"}
    body = [
        [
            standing.case.title,
            *(_cell(standing, name) for name in metrics),
            *(number(standing.mean(name), form) for name, form in others.items()),
            f"{sum(fit.status == 'ok' for fit in standing.fits)} of {len(standing.fits)}",
        ]
        for standing in standings
    ]
    head = ["case", *(name.replace("_", " ") for name in (*metrics, *others)), "fits ok"]
    return Table(head, body).html("Results") + (
        f'<p class="note">Best {ranked_by(ledger).replace("_", " ")} first; cases with a diverged '
        "or failed fit last. Means over repeats, with each, or 95 % intervals from five on.</p>"
    )


def _cell(standing: Standing, name: str) -> str:
    mean, values = number(standing.mean(name)), standing.values(name)
    return statistics.beside(mean, values, standing.interval(name), number)


def _curves(where: panels.Layout, fits: Sequence[tuple[Case, Sequence[Epoch]]]) -> str:
    charts = {what: panels.curves(what, where, fits) for what in ("loss", "accuracy")}
    return "".join(chart.html(f"epochs-{what}") for what, chart in charts.items())


def _faults(standings: Sequence[Standing]) -> str:
    body = [[s.case.title, reason] for s in standings for reason in s.reasons]
    if not body:
        return "<p>None.</p>"
    return Table(["case", "what happened"], body, prose=True).html("Faults")


def _fits(standings: Sequence[Standing]) -> Table:
    names = ("status", "accuracy", "validation_accuracy", "train_accuracy", "train_seconds")
    body = [
        [
            standing.case.title,
            *(str(fit.seed), fit.status, *(number(getattr(fit, name)) for name in names[1:])),
            *(str(fit.epochs or ""), "yes" if fit.converged else "no"),
        ]
        for standing in standings
        for fit in standing.fits
    ]
    head = ["case", "seed", *(name.replace("_", " ") for name in names), "epochs", "converged"]
    return Table(head, body)


def _settings(ledger: Ledger) -> str:
    text = (ledger.path / STUDY).read_text(encoding="utf-8")
    return (
        "<p>The study's <code>study.toml</code>; <code>results.csv</code> holds every fit with all "
        f"its settings.</p><pre>{escape(text)}</pre>"
    )
