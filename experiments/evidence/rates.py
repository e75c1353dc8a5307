"""Sum up which learning rates clients had, as a run's clients.csv is too large to keep.

    python experiments/evidence/rates.py RUN > rates.csv

A row per strategy and round, over all clients and seeds: lowest, median and highest learning rate.
"""

import csv
import statistics
import sys
from pathlib import Path

from fedgen.errors import InputError
from fedgen.report.results import load

COLUMNS = ("strategy", "round", "lowest", "median", "highest")


def main() -> None:
    """Print the rows of one run directory."""
    if len(sys.argv) != 2:
        sys.exit(f"expected one run directory, received {len(sys.argv) - 1} arguments")
    try:
        run = load(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(str(error))
    rates: dict[tuple[str, int], list[float]] = {}
    for row in run.clients:
        if row.round and row.applied_learning_rate is not None:
            rates.setdefault((row.strategy, row.round), []).append(row.applied_learning_rate)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (strategy, number), found in rates.items():
        figures = (min(found), statistics.median(found), max(found))
        writer.writerow([strategy, number, *(f"{figure:.3g}" for figure in figures)])


if __name__ == "__main__":
    main()
