"""The tables of the tournament and of what it is held against."""

from collections.abc import Callable

from ends import METRICS, RESULTS, ends, spread, table

WIDER_RATES = ("1e-1", "3e-2", "1e-2", "3e-3", "1e-3", "3e-4", "1e-4")
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


def race_pilot() -> str:
    """Say what FedAvg and FedProx came to at every rate, and print the best in bold."""
    rows = []
    for task, title in RACES.items():
        found: dict[str, dict[str, float]] = {}
        for rate in WIDER_RATES:
            for run in (f"pilot-{task}-{rate}", f"race-pilot-{task}-{rate}"):
                if (RESULTS / run).exists():
                    for arm in ends(run):
                        found.setdefault(arm.name, {})[rate] = arm.mean(METRICS[0])
        for name in BASES:
            values = found[name]
            best = max(values.values())
            cells = [f"{values[rate]:.2f}" if rate in values else "" for rate in WIDER_RATES]
            marked = [f"**{cell}**" if cell == f"{best:.2f}" else cell for cell in cells]
            rows.append([title, f"`{name}`", *marked])
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


RACE_TABLES: dict[str, Callable[[], str]] = {
    "race-pilot": race_pilot,
    "race-screening": race_screening,
}
"""What makes each table, by its mark in the README."""
