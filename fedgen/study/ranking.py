"""Which case is best, why, and what may be said of the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedgen.analysis import statistics
from fedgen.analysis.ranking import LEVEL
from fedgen.analysis.statistics import Interval
from fedgen.errors import InputError
from fedgen.study.cases import METRICS, Case
from fedgen.study.fits.outcome import Fit
from fedgen.study.ledger import LEAK, Ledger

MEASURED = (*METRICS, "epochs", "parameters")

CHOOSES = "validation_accuracy"
"""What the best case is chosen by."""


@dataclass(frozen=True)
class Standing:
    """A case and its fits.

    Attributes:
        case: The case.
        fits: Those that are there, by seed.
    """

    case: Case
    fits: tuple[Fit, ...]

    def values(self, metric: str) -> list[float]:
        """Return a metric's values over the repeats that have one."""
        values = (getattr(fit, metric) for fit in self.fits)
        return [float(value) for value in values if value is not None]

    def mean(self, metric: str) -> float | None:
        """Return a metric's mean over the repeats that have one."""
        values = self.values(metric)
        return math.fsum(values) / len(values) if values else None

    def interval(self, metric: str) -> Interval | None:
        """Return the 95 % interval of that mean."""
        return statistics.interval(self.values(metric), statistics.bounds_of(metric))

    @property
    def sound(self) -> bool:
        """Whether it has fits, and all went well."""
        return bool(self.fits) and all(fit.status == "ok" for fit in self.fits)

    @property
    def reasons(self) -> list[str]:
        """What kept fits from being ok or from converging, a line each, without repetition."""
        words = {"ok": "not converged"}
        lines = (f"{words.get(f.status, f.status)}: {f.reason}" for f in self.fits if f.reason)
        return list(dict.fromkeys(lines))


@dataclass(frozen=True)
class Choice:
    """The best case.

    Attributes:
        standing: The case.
        told: A sentence that says it is the best, by how much, and how sure that is.
        reason: Why it is chosen, in full.
    """

    standing: Standing
    told: str
    reason: str


def rank(ledger: Ledger, cases: Sequence[Case]) -> list[Standing]:
    """Return the cases that have fits, best first; of equals, the one with fewer parameters.

    Those with a fit that went wrong come last.
    """
    standings = [Standing(case, tuple(ledger.of(case))) for case in cases]
    metric = ranked_by(ledger)

    def place(standing: Standing) -> tuple[bool, float, float]:
        mean = standing.mean(metric)
        return (
            not standing.sound,
            math.inf if mean is None else -mean,
            standing.mean("parameters") or 0.0,
        )

    return sorted((standing for standing in standings if standing.fits), key=place)


def ranked_by(ledger: Ledger) -> str:
    """Return the metric that ranks: the test set does only where no other images are held out."""
    return CHOOSES if ledger.study.chooses else "accuracy"


def choose(ledger: Ledger, standings: Sequence[Standing]) -> Choice:
    """Choose the best of ranked cases; the test set has no say in it.

    Raises:
        InputError: If nothing has run, nothing ran well, or no share is held out to choose by.
    """
    if not standings:
        raise InputError(f"{ledger.path}: nothing has run yet; run the study without --best first")
    if not ledger.study.chooses:
        raise InputError(
            f"{ledger.path}: expected images to choose by, received data.validation_fraction = 0: "
            "the test set must not choose. Run the study with --set data.validation_fraction=0.1 "
            "and another --out first"
        )
    if not standings[0].sound:
        raise InputError(f"{ledger.path}: no case ran without a diverged or failed fit")
    sound = [standing for standing in standings if standing.sound]
    lead = _lead(sound) if len(sound) > 1 else None
    return Choice(sound[0], _told(sound[0], lead), _reason(sound, lead))


def _lead(sound: Sequence[Standing]) -> statistics.Comparison:
    """Return how far the best is ahead of the next one, seed by seed.

    The pair was picked among all pairs by what it scored, so its p counts as one of so many.
    """
    best, second, *_ = sound
    (lead,) = statistics.compare(
        [(standing.case.title, _by_seed(standing)) for standing in (second, best)],
        statistics.SHARES_APART,
        math.comb(len(sound), 2),
    )
    return lead


def _told(best: Standing, lead: statistics.Comparison | None) -> str:
    text = f"{best.case.title} is best: a validation accuracy of {share(best.mean(CHOOSES))}"
    if lead is None:
        return f"{text}; there is no other sound case."
    if not lead.differences:
        return f"{text}; {lead.baseline} has no repeat in common with it."
    if abs(lead.mean) < LEVEL:
        return f"{text}, level with {lead.baseline}."
    if lead.mean < 0:  # of a study that is not finished
        return f"{text}; on the repeats that both have, {lead.baseline} is ahead."
    return f"{text}, {100 * lead.mean:.2f} points ahead of {lead.baseline}; {_chance(lead)}."


def _chance(lead: statistics.Comparison) -> str:
    if len(lead.differences) == 1:
        return "one repeat cannot tell whether that is chance"
    if lead.p is None:
        return "too few repeats to tell whether that is chance"
    return "more than chance" if lead.significant and lead.mean > 0 else "may be chance"


def _reason(sound: Sequence[Standing], lead: statistics.Comparison | None) -> str:
    best = sound[0]
    repeats, each = len(best.fits), spread(best, CHOOSES)
    text = (
        f"highest mean validation accuracy, {best.mean(CHOOSES):.4f}{f' ({each})' if each else ''} "
        f"over {repeats} {'repeat' if repeats == 1 else 'repeats'}"
    )
    if lead is None:
        return f"{text}; there is no other sound case"
    text += f", the best of {len(sound)} by this very figure, which flatters it"
    if not lead.differences:
        return f"{text}; {lead.baseline} has no repeat in common with it"
    if not lead.counted:
        return (
            f"{text}; level with {lead.baseline} in every repeat: of equals, the one with fewer "
            "parameters is chosen, then the first in the study"
        )
    text += f"; {lead.mean:.4f} ahead of {lead.baseline}"
    told = statistics.told(lead.differences, lead.interval, lambda value: f"{value:.4f}")
    if not told:
        return f"{text}; {_chance(lead)}"
    text += f" ({told if len(lead.differences) < statistics.FEW else f'95 % interval {told}'}"
    if lead.p is None:
        return f"{text}): {_chance(lead)}"
    picked = math.comb(len(sound), 2)
    pairs = f", corrected for {picked} pairs" if picked > 1 else ""
    return f"{text}, Wilcoxon p = {lead.p:.3g}{pairs}): {_chance(lead)}"


def share(value: float | None) -> str:
    """Return a share in percent."""
    return "none" if value is None else f"{100 * value:.2f} %"


def _by_seed(standing: Standing) -> dict[int, float]:
    return {fit.seed: fit.validation_accuracy or 0.0 for fit in standing.fits}


def spread(standing: Standing, metric: str, digits: int = 4) -> str:
    """Return a mean's interval as text, the values where they are few, or nothing."""
    return statistics.told(
        standing.values(metric), standing.interval(metric), lambda value: f"{value:.{digits}f}"
    )


def summarise(ledger: Ledger, cases: Sequence[Case], leaked: float) -> dict[str, Any]:
    """Return what a study comes to, as ``--json`` prints it.

    Args:
        ledger: The fits.
        cases: The study's cases.
        leaked: Share of the test images that are among the training images.
    """
    standings = rank(ledger, cases)
    about = ledger.study.study
    best = choose(ledger, standings) if _choosable(ledger, standings) else None
    fits = [fit for standing in standings for fit in standing.fits]
    return {
        "study": about.name,
        "estimator": about.estimator,
        "directory": str(ledger.path),
        "sampling": about.sampling,
        "leaks": LEAK if ledger.study.leaks else None,
        "leaked_share": leaked,
        "fits": len(fits),
        "missing": len(ledger.missing(cases)),
        "not_ok": sum(fit.status != "ok" for fit in fits),
        "ranked_by": ranked_by(ledger),
        "cases": [_described(standing) for standing in standings],
        "best": best and {"case": best.standing.case.key, "reason": best.reason},
    }


def _choosable(ledger: Ledger, standings: Sequence[Standing]) -> bool:
    return ledger.study.chooses and bool(standings) and standings[0].sound


def _described(standing: Standing) -> dict[str, Any]:
    return {
        "case": standing.case.key,
        "title": standing.case.title,
        "settings": dict(standing.case.varied),
        "seeds": [fit.seed for fit in standing.fits],
        "statuses": [fit.status for fit in standing.fits],
        "converged": [fit.converged for fit in standing.fits],
        "reasons": standing.reasons,
        **{
            metric: {
                "mean": standing.mean(metric),
                "interval": standing.interval(metric),
                "values": standing.values(metric),
            }
            for metric in MEASURED
        },
    }
