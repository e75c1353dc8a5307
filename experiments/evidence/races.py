"""The tables of the tournament and of what it is held against."""

import csv
from collections.abc import Callable
from statistics import fmean

from ends import METRICS, RESULTS, Ends, answered, answers, ends, signed, spread, table

WIDER_RATES = ("3e-1", "1e-1", "3e-2", "1e-2", "3e-3", "1e-3", "3e-4", "1e-4")
OPTIMISERS = {"": "Adam", "-momentum": "SGD"}
"""Local optimisers of the pilot, by what its runs are called; SGD's momentum is 0.9."""
BASES = ("fedavg", "fedprox")
"""What a pilot found a rate for on all tasks of the tournament."""

RACES = {
    "contiguous": "MNIST, contiguous",
    "dirichlet": "MNIST, Dirichlet 0.1",
    "cifar-contiguous": "CIFAR-10, contiguous",
    "cifar-dirichlet": "CIFAR-10, Dirichlet 0.5",
    "natural": "Synthetic(1, 1)",
}
"""The tasks of the tournament."""


STARTS = {"grid": "two around a probe's best", "spread": "seven over the range"}
"""What entrants started from in the choice of the winner."""

WINNER = "tournament/fedprox"
"""What was chosen by validation accuracy, the mean of five tasks."""

OTHERWISE = "`{}`, the pilot's best with the other optimiser"

ASKED = (
    ("Does the winner beat FedAvg at a rate that is known beforehand?", WINNER, "fedavg"),
    ("Does it beat its base, FedProx, at such a rate?", WINNER, "fedprox"),
    ("Does it, over FedAvg, beat FedAvg at such a rate?", "tournament", "fedavg"),
    (
        "Does it beat FedAvg at the best known rate of the other optimiser?",
        WINNER,
        OTHERWISE.format("fedavg"),
    ),
    ("Does it beat Optuna's TPE at equal cost?", WINNER, "optuna-tpe"),
    ("Does it beat Optuna's ASHA at equal cost?", WINNER, "optuna-asha"),
    ("Does it beat a tuned grid at equal cost?", WINNER, "fedavg-tuned"),
    ("Does it beat the designed evolution from the same range?", WINNER, "genetic-cfl"),
    ("Does it beat Delta-SGD, which searches nothing?", WINNER, "delta-sgd"),
)
"""What is asked of fresh seeds, set down before they were played: first minus second."""


def race_pilot() -> str:
    """Say what FedAvg and FedProx came to at every rate, and print the best in bold."""
    rows = []
    for task, title in RACES.items():
        for suffix, optimiser in OPTIMISERS.items():
            found: dict[str, dict[str, float]] = {}
            for rate in WIDER_RATES:
                for run in (f"pilot-{task}{suffix}-{rate}", f"race-pilot-{task}{suffix}-{rate}"):
                    if (RESULTS / run).exists():
                        for arm in ends(run):
                            found.setdefault(arm.name, {})[rate] = arm.mean(METRICS[0])
            for name in BASES:
                values = found[name]
                best = f"{max(values.values()):.2f}"
                cells = [f"{values[rate]:.2f}" if rate in values else "" for rate in WIDER_RATES]
                marked = [f"**{cell}**" if cell == best else cell for cell in cells]
                rows.append([title, f"`{name}`, {optimiser}", *marked])
    return table(["validation accuracy, %", "", *WIDER_RATES], rows)


def race_screening() -> str:
    """Say how all arms ended on the tasks of the tournament that have been played."""
    runs = {
        task: {arm.name: arm for arm in ends(f"race-screening-{task}")}
        for task in RACES
        if (RESULTS / f"race-screening-{task}").exists()
    }
    rows = []
    for name in {name: None for arms in runs.values() for name in arms}:
        found = [arms[name].values(METRICS[0]) if name in arms else {} for arms in runs.values()]
        rows.append([f"`{name}`", *(spread([*values.values()]) for values in found)])
    return table(["validation, %", *(RACES[task] for task in runs)], rows)


def race_choice() -> str:
    """Rank what might win by validation accuracy, the mean of all tasks."""
    found: dict[str, dict[str, float]] = {}
    for start in STARTS:
        for task in RACES:
            for folder in sorted(RESULTS.glob(f"race-choice-{start}-{task}*")):
                for arm in ends(folder.name):
                    values = found.setdefault(f"`{arm.name}`, {STARTS[start]}", {})
                    values[task] = arm.mean(METRICS[0])
    rows = [
        [name, f"{fmean(values.values()):.2f}", *(f"{values[task]:.2f}" for task in RACES)]
        for name, values in sorted(found.items(), key=lambda item: -fmean(item[1].values()))
    ]
    return table(["validation, %", "mean", *RACES.values()], rows)


def raced(task: str) -> dict[str, Ends]:
    """Return how all arms of a task ended on fresh seeds, those on the other optimiser too."""
    arms = {arm.name: arm for arm in ends(f"race-{task}")}
    other = f"race-other-{task}"
    if (RESULTS / other).exists():
        arms |= {OTHERWISE.format(arm.name): arm for arm in ends(other)}
    return arms


def races() -> str:
    """Say how all arms ended on fresh seeds."""
    tasks = {task: raced(task) for task in RACES if (RESULTS / f"race-{task}").exists()}
    rows = []
    for name in {name: None for arms in tasks.values() for name in arms}:
        values = [
            [*arms[name].values(METRICS[1]).values()] if name in arms else []
            for arms in tasks.values()
        ]
        rows.append([f"`{name}`" if "," not in name else name, *map(spread, values)])
    return table(["test, %", *(RACES[task] for task in tasks)], rows)


def race_answers() -> str:
    """Answer what was asked of the tournament, task by task."""
    tasks = {task: raced(task) for task in RACES if (RESULTS / f"race-{task}").exists()}
    found = {}
    for task, arms in tasks.items():
        asked = [question for question in ASKED if question[2] in arms]
        found[RACES[task]] = dict(zip(asked, answers(asked, arms), strict=True))
    rows = [
        [question[0], *(answered(mine.get(question)) for mine in found.values())]
        for question in ASKED
    ]
    return table(["question", *found], rows)


def race_oracle() -> str:
    """Say how far winner and fixed rate are from the best rate of every round in hindsight."""
    rows = []
    for task, title in RACES.items():
        path = RESULTS / f"race-{task}" / "oracle.csv"
        if not path.exists():
            continue
        lines = csv.DictReader(path.read_text().splitlines())
        best = {int(line["seed"]): 100 * float(line["test_accuracy"]) for line in lines}
        arms = {name: raced(task)[name].values(METRICS[1]) for name in (WINNER, "fedavg")}
        apart = [signed([mine[seed] - best[seed] for seed in best]) for mine in arms.values()]
        rows.append([title, spread([*best.values()]), *apart])
    head = ("best rate of every round, test, %", f"`{WINNER}` minus that, points", "`fedavg`")
    return table(["task", *head], rows)


RACE_TABLES: dict[str, Callable[[], str]] = {
    "race-pilot": race_pilot,
    "race-screening": race_screening,
    "race-choice": race_choice,
    "races": races,
    "race-answers": race_answers,
    "race-oracle": race_oracle,
}
"""What makes each table, by its mark in the README."""
