"""``study.html``: one self-contained page, drawn from a study's files."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from fedgen.analysis import statistics
from fedgen.errors import InputError
from fedgen.files import disk
from fedgen.report import html as page
from fedgen.report.html import Table, number
from fedgen.report.podium import bar, framed, lead
from fedgen.study.cases import METRICS, Case
from fedgen.study.fits.outcome import Epoch
from fedgen.study.ledger import LEAK, STUDY, Ledger
from fedgen.study.ranking import Standing, choose, rank, ranked_by, share
from fedgen.study.report import panels

NAME = "study.html"

FIRST = 5
"""So many cases are in the first screen's table."""


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
    where, decides = panels.layout(study, cases), ranked_by(ledger)
    best, told, why = _choice(ledger, standings)
    drawn = "".join(
        (
            panels.panel(metric, where, standings)
            if where
            else panels.dots(metric, standings, best)
        ).html(metric)
        for metric in study.study.metrics
    )
    cost = panels.cost(standings, best)
    fits = [
        (case, ledger.epochs[case.key, fit.seed])
        for case in cases
        for fit in ledger.of(case)
        if ledger.epochs.get((case.key, fit.seed))
    ]
    against = f"against {where.axis.replace('_', ' ')}" if where else "case by case"
    parts = [
        ("results", "All figures, case by case", why + _results(ledger, standings)),
        ("metrics", f"Every metric, {against}", drawn),
        *([("curves", "Loss and accuracy, epoch by epoch", _curves(fits))] if fits else []),
        ("cost", "Test accuracy against seconds to train", cost.html("cost")),
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
    first = (
        f"{lead(told)}{warning}{_podium(standings, decides, best)}"
        f"{panels.dots(decides, standings, best).html('cases', first=True)}"
        f'<p class="note">{escape(_note(ledger))}</p>'
    )
    title = f"{study.study.name}: {len(standings)} cases of {study.study.estimator}"
    return page.document(title, first, parts)


def _choice(ledger: Ledger, standings: Sequence[Standing]) -> tuple[str, str, str]:
    """Return the hash of the best case, if one is chosen, what is said of it, and why it is."""
    try:
        choice = choose(ledger, standings)
    except InputError:
        if not ledger.study.chooses:
            told = (
                "No case is chosen: no images are held out to choose by, and the test set must "
                "not. Cases are ranked by test accuracy, which flatters the first one."
            )
            return "", told, ""
        return "", "No case is chosen: none ran without a diverged or failed fit.", ""
    why = f"<p>{escape(f'{choice.standing.case.title} is chosen: {choice.reason}.')}</p>"
    return choice.standing.case.key, choice.told, why


def _podium(standings: Sequence[Standing], decides: str, best: str) -> str:
    """Return the first cases ranked: what decides, the test accuracy, and what training took."""
    shares = dict.fromkeys((decides, "accuracy"))
    most = max((s.mean("train_seconds") or 0.0 for s in standings[:FIRST]), default=0.0) or 1.0
    lines = "".join(
        f'<tr class="{"best" if standing.case.key == best else ""}">'
        f'<th scope="row">{place}. {escape(standing.case.title)}</th>'
        f"{''.join(_share(standing, metric) for metric in shares)}"
        f"{bar(seconds / most, f'{seconds:,.1f}')}</tr>"
        for place, standing in enumerate(standings[:FIRST], 1)
        for seconds in [standing.mean("train_seconds") or 0.0]
    )
    more = len(standings) - FIRST
    rest = f'<p class="note">{more} more below.</p>' if more > 0 else ""
    head = ["case", *(METRICS[metric] for metric in shares), METRICS["train_seconds"]]
    return framed(head, lines, "cases") + rest


def _share(standing: Standing, metric: str) -> str:
    values = [100 * value for value in standing.values(metric)]
    bounds = standing.interval(metric)
    around = bounds and (100 * bounds[0], 100 * bounds[1])
    each = statistics.told(values, around, lambda value: f"{value:.2f}")
    seeds = f"<small>{escape(each)}</small>" if each else ""
    return f"<td>{escape(share(standing.mean(metric)))}{seeds}</td>"


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
    shares = ("accuracy", "precision", "recall", "zero_one_loss", "validation_accuracy")
    metrics = tuple(dict.fromkeys((ranked_by(ledger), *shares)))  # what decides is seen first
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


def _curves(fits: Sequence[tuple[Case, Sequence[Epoch]]]) -> str:
    charts = {what: panels.curves(what, fits) for what in ("loss", "accuracy")}
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
