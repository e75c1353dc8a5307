"""What a study shows on the terminal: progress with the time left, and tables."""

import sys
import time
from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fedgen.analysis.statistics import FEW
from fedgen.console import duration
from fedgen.study.cases import Case
from fedgen.study.fits.outcome import Fit, Outcome
from fedgen.study.ledger import LEAK, RESULTS, Ledger
from fedgen.study.ranking import Choice, Standing, ranked_by, spread
from fedgen.study.sweep import Watcher

SHOWN = 40
"""Rows of the table, and reasons under it; results.csv and study.html have all."""


class Lines(Watcher):
    """Prints a line per fit, with the time left."""

    def __init__(self) -> None:
        self._fits = self._done = 0
        self._began = time.monotonic()

    def begin(self, fits: int, there: int) -> None:
        """Print how much there is to do."""
        self._fits, self._began = fits, time.monotonic()
        print(started(fits, there), flush=True)

    def finished(self, case: Case, outcome: Outcome) -> None:
        """Print a fit's line."""
        self._done += 1
        pace = (time.monotonic() - self._began) / self._done
        left = duration(pace * (self._fits - self._done))
        width = len(str(self._fits))
        print(
            f"{self._done:>{width}}/{self._fits}  {line(case, outcome.fit)}  {left} left",
            flush=True,
        )


class Bar(Watcher):
    """A bar with the time left; fits that are not ok stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("fits"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            expand=True,
            # Fits differ, and few have ended at first: reckon with all of them.
            speed_estimate_period=24 * 3600,
        )

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, fits: int, there: int) -> None:
        """Draw the bar."""
        self._task = self._progress.add_task(started(fits, there), total=fits)

    def finished(self, case: Case, outcome: Outcome) -> None:
        """Move the bar."""
        if outcome.fit.status != "ok":
            self._progress.console.print(line(case, outcome.fit), markup=False, highlight=False)
        self._progress.update(self._task, advance=1, description=line(case, outcome.fit))


def watcher() -> Bar | Lines:
    """Return what suits stdout: a bar on a terminal, else a line per fit."""
    return Bar() if sys.stdout.isatty() else Lines()


def started(fits: int, there: int) -> str:
    """Return how much there is to do."""
    if not fits:
        return f"nothing to do: all {there} fits are there"
    return f"{fits} fits to run, {there} are there"


def line(case: Case, fit: Fit) -> str:
    """Return a fit as a line."""
    text = f"{case.title}, seed {fit.seed}: "
    if fit.accuracy is None:
        return f"{text}{fit.status} ({fit.reason})"
    note = "" if fit.status == "ok" else f" {fit.status} ({fit.reason})"
    return f"{text}accuracy {fit.accuracy:.4f}, {fit.train_seconds or 0:.1f} s{note}"


def table(ledger: Ledger, standings: Sequence[Standing]) -> Table:
    """Return the table of a study, best case first: means, and 95 % intervals, or few repeats."""
    shown = Table(
        title=f"{ledger.study.study.name}, best {ranked_by(ledger).replace('_', ' ')} first",
        caption=f"!!! {LEAK}" if ledger.study.leaks else None,
        box=SIMPLE_HEAD,
    )
    shown.add_column("case")
    several = "95 % interval" if ledger.study.study.seeds >= FEW else "every repeat"
    for heading in ("accuracy", several, "validation", "train s", "parameters", "ok"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for standing in standings[:SHOWN]:
        good = sum(fit.status == "ok" for fit in standing.fits)
        shown.add_row(
            escape(standing.case.title),
            _cell(standing.mean("accuracy"), 4),
            spread(standing, "accuracy", 3),
            _cell(standing.mean("validation_accuracy"), 4),
            _cell(standing.mean("train_seconds"), 1),
            _cell(standing.mean("parameters"), 0),
            f"{good}/{len(standing.fits)}",
        )
    return shown


def print_results(ledger: Ledger, standings: Sequence[Standing], leaked: float) -> None:
    """Print the table, and what a reader must know of it."""
    wide = None if sys.stdout.isatty() else 100
    Console(width=wide).print(table(ledger, standings))
    if len(standings) > SHOWN:
        print(f"and {len(standings) - SHOWN} more cases in {ledger.path / RESULTS}")
    for text in reasons(standings):
        print(text)
    if ledger.study.leaks:
        print(f"!!! {LEAK} ({100 * leaked:.1f} % of them), so all scores are flattered")
    if not ledger.study.chooses:
        print("ranked by test accuracy, as no images are held out: the first one's is flattered")


def reasons(standings: Sequence[Standing]) -> list[str]:
    """Say how many cases had fits that went wrong or did not converge, a line per kind."""
    kinds: dict[str, Counter[str]] = {}
    cases: Counter[str] = Counter()
    for standing in standings:
        cases.update({reason.partition(": ")[0] for reason in standing.reasons})
        for reason in standing.reasons:
            kind, _, why = reason.partition(": ")
            kinds.setdefault(kind, Counter())[why.rstrip(".")] += 1
    told = []
    for kind, number in cases.most_common():
        (why, _), *others = kinds[kind].most_common()
        more = others[0][0] if len(others) == 1 else f"{len(others)} other reasons"
        whys = f"{why}, or {more}" if others else why
        told.append(f"{number} of {len(standings)} cases {kind}: {whys}")
    return told


def print_best(choice: Choice, outcome: Outcome, leaks: bool) -> None:
    """Print the best case, why it is, and what its new fit scored and predicted."""
    fit = outcome.fit
    print(f"best: {choice.standing.case.title}")
    print(f"why: {choice.reason}")
    shown = Table(title=f"fitted again, seed {fit.seed}{', ' + LEAK if leaks else ''}")
    shown.add_column("score")
    shown.add_column("value", justify="right")
    for name in ("accuracy", "precision", "recall", "zero_one_loss", "validation_accuracy"):
        shown.add_row(name.replace("_", " "), _cell(getattr(fit, name), 4))
    for name in ("train_accuracy", "train_seconds", "predict_seconds"):
        shown.add_row(name.replace("_", " "), _cell(getattr(fit, name), 4))
    Console().print(shown)
    print("first test images, label and prediction:")
    marks = (
        f"{label} {guess}{'' if label == guess else ' wrong'}" for label, guess in outcome.first
    )
    print("; ".join(marks))


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
