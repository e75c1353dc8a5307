"""The tables of the evidence, in its page and two of the docs, made from experiments/results.

    python experiments/evidence/tables.py            # prints them
    python experiments/evidence/tables.py --write    # puts them between their marks there

Nothing is chosen by a test accuracy: candidates are sorted by validation accuracy. What ends and
differences are is said in ``ends.py``.
"""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ends import (
    METRICS,
    RESULTS,
    Ends,
    answers,
    ends,
    ranked,
    side_by_side,
    signed,
    spread,
    table,
    verdict,
)
from races import RACE_TABLES

from fedgen.files.csv import read_csv
from fedgen.runs.costs import spent
from fedgen.runs.rows import RoundRow

EXPERIMENTS = Path(__file__).parents[1]
DOCS = EXPERIMENTS.parent / "docs"
PAGES = (EXPERIMENTS / "README.md", DOCS / "comparing.md", DOCS / "measured.md")
MARK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

DESIGNED = "genetic-cfl"
RATES = ("1e-2", "3e-3", "1e-3", "3e-4", "1e-4")
BEST, RIVAL, PARALLEL = "genetic-cfl+higher-rates", "cyclic", "scaffold"
"""What the screening chose by validation accuracy, the mean of both partitions: extension, rival,
and the best rival whose clients train at the same time."""

QUESTIONS = (
    ("Does selection beat its placebo?", DESIGNED, f"{DESIGNED}+shuffled-fitness"),
    ("Do clusters beat one cluster?", DESIGNED, f"{DESIGNED}+one-cluster"),
    ("Does the designed strategy beat FedAvg at the published rate?", DESIGNED, "fedavg"),
    ("Does it beat a tuned fixed rate, its search counted?", DESIGNED, "fedavg-tuned"),
    ("Does the best extension beat the designed strategy?", BEST, DESIGNED),
    ("With the extension, does selection beat its placebo?", BEST, f"{BEST}, shuffled-fitness"),
    ("With the extension, do clusters beat one cluster?", BEST, f"{BEST}, one-cluster"),
    ("Does the best extension beat a tuned fixed rate?", BEST, "fedavg-tuned"),
    ("Does it beat the screening's best rival?", BEST, RIVAL),
    ("Does it beat the screening's best parallel rival?", BEST, PARALLEL),
)
"""What is asked of fresh seeds, set down before they were played: first minus second."""

TASKS = {
    "contiguous": "MNIST, contiguous",
    "dirichlet": "MNIST, Dirichlet 0.1",
    "cifar": "CIFAR-10, contiguous",
}
"""The tasks of the confirmation, and what they are called side by side."""

PUBLISHED = {
    "genetic": (65.91, 75.16, 76.35, 76.79, 76.63, 76.84, 77.03, 76.48, 76.35, 76.42),
    "FedAvg": (62.63, 74.17, 75.61, 76.09, 76.08, 76.23, 75.96, 76.22, 76.16, 75.67),
}
"""Test accuracies of the published CIFAR-10 run after rounds 1 to 10, in percent."""

PUBLISHED_MNIST = {DESIGNED: 98.06, "fedavg": 95.57}
"""Those of the published MNIST run after round 10."""


def pilot(partition: str) -> str:
    """Say what every rate came to on the pilot's seed, and print the best one in bold."""
    by_rate = {rate: ends(f"pilot-{partition}-{rate}") for rate in RATES}
    rows = []
    for number, first in enumerate(by_rate[RATES[0]]):
        values = [arms[number].mean(METRICS[0]) for arms in by_rate.values()]
        cells = [f"**{v:.2f}**" if v == max(values) else f"{v:.2f}" for v in values]
        rows.append([f"`{first.name}`", *cells])
    return table(["validation accuracy, %", *RATES], rows)


def screening(partition: str) -> str:
    """Rank all candidates by validation accuracy, each against the designed strategy."""
    arms = ends(f"screening-{partition}", "`{}`")
    designed = next(arm for arm in arms if arm.name == f"`{DESIGNED}`")
    for beside in BESIDE[partition]:
        arms += ends(f"screening-{partition}-{beside}", LABELS[beside])
    # Once more in the run with higher rates, to the same bytes.
    arms = [arm for arm in arms if arm.name != f"`{DESIGNED}`, higher rates"]
    return ranked(arms, designed)


def genes(partition: str) -> str:
    """Rank the screening of genes by validation accuracy, each against the known fixed rate."""
    arms = ends(f"genes-{partition}", "`{}`")
    fixed = next(arm for arm in arms if arm.name == "`fedavg`")
    return ranked(arms, fixed)


def confirmation(task: str) -> str:
    """Say how the finalists ended on fresh seeds."""
    arms = list(finalists(task).values())
    if task in GIVEN:
        arms += ends(f"confirmation-{task}-fixed", GIVEN[task])
    rows = []
    for arm in sorted(arms, key=lambda arm: -arm.mean(METRICS[1])):
        values = list(arm.values(METRICS[1]).values())
        cells = [spread(values), f"{arm.mean(METRICS[0]):.2f}", f"{arm.rounds:.1f}"]
        rows.append([f"`{arm.name}`", *cells, str(len(values))])
    return table(["strategy", "test, %", "validation, %", "rounds", "n"], rows)


def questions(task: str) -> str:
    """Answer what was asked before."""
    found = answers(QUESTIONS, finalists(task))
    rows = [
        [what, signed(values), f"{p:.3g}", str(len(values)), verdict(values, p)]
        for (what, *_), (values, p) in zip(QUESTIONS, found, strict=True)
    ]
    return table(["question", "test accuracy, points", "p after Holm", "n", "answer"], rows)


def worth() -> str:
    """Answer the same for all tasks, side by side."""
    return side_by_side(
        QUESTIONS, {title: answers(QUESTIONS, finalists(task)) for task, title in TASKS.items()}
    )


def course(run: str) -> str:
    """Say what every strategy had reached by the client-epochs spent, a search included."""
    arms: dict[str, list[RoundRow]] = {}
    for row in read_csv(RESULTS / run / "rounds.csv", RoundRow):
        arms.setdefault(row.strategy, []).append(row)
    reached: dict[float, dict[str, str]] = {}
    for name, played in arms.items():
        for cost, row in zip(spent(played), played, strict=True):
            if row.test_accuracy is not None:
                reached.setdefault(cost, {})[name] = f"{100 * row.test_accuracy:.2f}"
    rows = [
        [f"{cost:.0f}", *(reached[cost].get(name, "") for name in arms)] for cost in sorted(reached)
    ]
    return table(["client-epochs spent", *(f"`{name}`, test, %" for name in arms)], rows)


def finals(run: str) -> str:
    """Say how every strategy of a run with one seed ended."""
    rows = []
    for arm in ends(run):
        (last,) = arm.rows.values()
        percent = [f"{arm.mean(metric):.2f}" for metric in reversed(METRICS)]
        rows.append([f"`{arm.name}`", *percent, f"{last.test_loss:.3f}", str(last.round)])
    return table(["strategy", "test, %", "validation, %", "test loss", "rounds"], rows)


def cyclic_replay() -> str:
    """Hold the replay of the published CIFAR-10 code against both of its curves."""
    mine = [
        100 * row.test_accuracy
        for row in read_csv(RESULTS / "replay-cyclic" / "rounds.csv", RoundRow)
        if row.round
    ]
    rows = [
        [str(number), f"{ours:.2f}", *(f"{theirs:.2f} ({ours - theirs:+.2f})" for theirs in curves)]
        for number, (ours, *curves) in enumerate(zip(mine, *PUBLISHED.values(), strict=True), 1)
    ]
    return table(["round", "`cyclic`, test, %", *(f"published, {c}" for c in PUBLISHED)], rows)


def lossy_replay() -> str:
    """Hold the replay with a small CNN on the copy against that on images compressed once more."""
    once, twice = (
        {
            (row.seed, row.round): 100 * row.test_accuracy
            for row in read_csv(RESULTS / f"replay-cyclic-small{name}" / "rounds.csv", RoundRow)
        }
        for name in ("", "-recompressed")
    )
    rows = [
        [
            str(number),
            f"{once[0, number]:.2f}",
            f"{once[1, number]:.2f}",
            f"{twice[0, number]:.2f} ({twice[0, number] - once[0, number]:+.2f})",
        ]
        for seed, number in sorted(twice)
        if seed == 0 and number
    ]
    head = ["round", "the copy, seed 0, test, %", "seed 1", "compressed once more, seed 0"]
    return table(head, rows)


def mnist_replay() -> str:
    """Hold the setting of the published MNIST code against its figures."""
    rows = []
    for arm in ends("replay-mnist"):
        ours, theirs = arm.mean(METRICS[1]), PUBLISHED_MNIST[arm.name]
        rows.append([f"`{arm.name}`", f"{ours:.2f}", f"{theirs:.2f}", f"{ours - theirs:+.2f}"])
    return table(["strategy", "test, %", "published", "difference, points"], rows)


def finalists(task: str) -> dict[str, Ends]:
    """Return how the finalists ended, and the controls of the best extension, by name."""
    controls = [
        Ends(f"{BEST}, {arm.name.removeprefix(f'{DESIGNED}+')}", arm.rows)
        for arm in ends(f"confirmation-{task}-best")
    ]
    return {arm.name: arm for arm in [*ends(f"confirmation-{task}"), *controls]}


LABELS = {
    "fixed": "`{}`, rate of the pilot",
    "higher": "`{}`, higher rates",
    "sgd": "`{}`, SGD",
}
"""What strategies of the runs beside a screening are called."""

BESIDE = {"contiguous": ["fixed", "sgd"], "dirichlet": ["fixed", "higher", "sgd"]}
"""The runs beside each screening."""

GIVEN = {"cifar": "{} at 1e-3"}
"""What FedAvg is called at the rate that ``fedavg-tuned`` has to search for. Not of the ten
questions: it was added when they had been answered."""

TABLES: dict[str, Callable[[], str]] = {
    "replay-cyclic": cyclic_replay,
    "replay-lossy": lossy_replay,
    "replay-mnist": mnist_replay,
    "pilot-contiguous": partial(pilot, "contiguous"),
    "pilot-dirichlet": partial(pilot, "dirichlet"),
    "screening-contiguous": partial(screening, "contiguous"),
    "screening-dirichlet": partial(screening, "dirichlet"),
    "genes-contiguous": partial(genes, "contiguous"),
    "genes-dirichlet": partial(genes, "dirichlet"),
    **RACE_TABLES,
    "confirmation-contiguous": partial(confirmation, "contiguous"),
    "questions-contiguous": partial(questions, "contiguous"),
    "confirmation-dirichlet": partial(confirmation, "dirichlet"),
    "questions-dirichlet": partial(questions, "dirichlet"),
    "pilot-cifar": partial(pilot, "cifar"),
    "confirmation-cifar": partial(confirmation, "cifar"),
    "questions-cifar": partial(questions, "cifar"),
    "main": partial(course, "main"),
    "worth": worth,
    "main-ends": partial(finals, "main"),
}
"""What makes each table, by its mark in the pages."""


def filled(text: str) -> str:
    """Return a text with every table between its marks."""
    return MARK.sub(lambda found: found[1] + TABLES[found[2]]() + found[4], text)


def main() -> None:
    """Print the tables, or put them into the pages."""
    if sys.argv[1:] == ["--write"]:
        for page in PAGES:
            page.write_text(filled(page.read_text()))
        return
    if sys.argv[1:]:
        sys.exit(f"expected --write or nothing, received {' '.join(sys.argv[1:])}")
    for name, make in TABLES.items():
        print(f"{name}\n\n{make()}")


if __name__ == "__main__":
    main()
