"""How the strategies of a run ended, held against one another, and written as cells of a table.

Every value is that of a strategy's last round, which is the last whole one within the budget.
Differences are paired by seed; intervals and tests are those of ``fedgen.analysis.statistics``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fedgen.analysis import statistics
from fedgen.files.csv import read_csv
from fedgen.runs.rows import RoundRow

RESULTS = Path(__file__).parents[1] / "results"

METRICS = ("validation_accuracy", "test_accuracy")

Question = tuple[str, str, str]
"""What is asked, and which strategy is held against which: first minus second."""

Answer = tuple[list[float], float]
"""The paired differences in points, and p corrected over all questions."""

PERCENT, POINTS_APART = (0.0, 100.0), (-100.0, 100.0)
"""Where accuracies and their differences lie."""


@dataclass(frozen=True)
class Ends:
    """How the runs of one strategy ended, by seed.

    Attributes:
        name: What the strategy is called in a table.
        rows: Its last round of every seed.
    """

    name: str
    rows: dict[int, RoundRow]

    def values(self, metric: str) -> dict[int, float]:
        """Return one figure of every seed, in percent."""
        return {seed: 100 * getattr(row, metric) for seed, row in sorted(self.rows.items())}

    def mean(self, metric: str) -> float:
        """Return the mean over seeds, in percent."""
        values = self.values(metric)
        return fmean(values.values())

    @property
    def rounds(self) -> float:
        """How many rounds were played within the budget, on average."""
        return fmean(row.round for row in self.rows.values())


def ends(run: str, label: str = "{}") -> list[Ends]:
    """Read how every strategy of a run ended, in the order of its rows."""
    found: dict[str, dict[int, RoundRow]] = {}
    for row in read_csv(RESULTS / run / "rounds.csv", RoundRow):
        found.setdefault(row.strategy, {})[row.seed] = row  # rounds are in order
    return [Ends(label.format(name), rows) for name, rows in found.items()]


def differences(one: Ends, other: Ends, metric: str) -> list[float]:
    """Return one minus the other, seed by seed, in points."""
    mine, theirs = one.values(metric), other.values(metric)
    return [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]


def signed(values: Sequence[float]) -> str:
    """Write a mean difference and its 95 % interval, or what few seeds gave."""
    return _told(values, POINTS_APART, "+.2f")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def ranked(arms: Sequence[Ends], against: Ends) -> str:
    """Rank strategies by validation accuracy, each held against one of them, seed by seed."""
    rows = [
        [
            *(arm.name, f"{arm.mean(METRICS[0]):.2f}"),
            signed(differences(arm, against, METRICS[0])) if arm is not against else "",
            *(f"{arm.mean(METRICS[1]):.2f}", f"{arm.rounds:.1f}", str(len(arm.rows))),
        ]
        for arm in sorted(arms, key=lambda arm: -arm.mean(METRICS[0]))
    ]
    head = ["strategy", "validation, %", f"minus {against.name}, points", "test, %", "rounds", "n"]
    return table(head, rows)


def spread(values: Sequence[float]) -> str:
    """Write the mean of percentages and its 95 % interval, or what few seeds gave."""
    return _told(values, PERCENT, ".2f")


def _told(values: Sequence[float], within: tuple[float, float], form: str) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):{form}}"
    bounds = statistics.interval(values, within)
    if bounds is None:
        return mean
    if len(values) < statistics.FEW:
        return f"{mean} ({', '.join(f'{value:{form}}' for value in values)})"
    return f"{mean} ({bounds[0]:{form}} to {bounds[1]:{form}})"


def answers(questions: Sequence[Question], arms: Mapping[str, Ends]) -> list[Answer]:
    """Return every question's paired differences of test accuracy, and p corrected over all."""
    asked = [differences(arms[one], arms[other], METRICS[1]) for _, one, other in questions]
    corrected = statistics.holm([statistics.signed_rank(values) for values in asked])
    return list(zip(asked, corrected, strict=True))


def answered(answer: Answer | None) -> str:
    """Write an answer; nothing, where the question was not asked."""
    if answer is None:
        return ""
    values, p = answer
    return f"{signed(values)}, p = {p:.2g}: {verdict(values, p)}"


def side_by_side(questions: Sequence[Question], found: Mapping[str, Sequence[Answer]]) -> str:
    """Write the answers of several tasks, by their titles, beside one another."""
    rows = [
        [what, *map(answered, cells)]
        for (what, *_), cells in zip(questions, zip(*found.values(), strict=True), strict=True)
    ]
    return table(["question", *found], rows)


def verdict(values: Sequence[float], p: float) -> str:
    """Say what a paired difference says."""
    return "cannot be told" if p >= 0.05 else "yes" if fmean(values) > 0 else "no, the opposite"
