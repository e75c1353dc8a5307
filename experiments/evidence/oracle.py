"""The oracle: in every round, of some fixed rates the one after which the average is best.

    python experiments/evidence/oracle.py CONFIG.toml SEEDS DATA_DIR > oracle.csv

Every round is played once at each of ``COUNT`` rates, by FedAvg, from the same weights; those that
are best on the server's validation share go on. Nobody can do that for the price of a round: it
says what a perfect choice, of a rate for all and one round ahead, would be worth.
"""

import csv
import sys
from pathlib import Path

import fedgen  # noqa: F401 - settings that must stand before TensorFlow is imported
from fedgen.comparison.trainers import Federated
from fedgen.config.toml import merge, read_toml
from fedgen.config.tree import build
from fedgen.engine import models
from fedgen.federation import client_app
from fedgen.federation.grid import InProcessGrid
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import to_run_config
from strategies.fedavg import FedAvg

COUNT = 7
"""Rates that are tried in every round: evenly over the range of ``genes.learning_rate``."""


def main() -> None:
    """Print a row per seed and round."""
    if len(sys.argv) != 4:
        sys.exit(f"expected CONFIG.toml SEEDS DATA_DIR, received {len(sys.argv) - 1} arguments")
    seeds, folder = int(sys.argv[2]), sys.argv[3]
    config = build(merge(read_toml(Path(sys.argv[1])), [("data", "data_dir", folder)]))
    held = Resources(config, slots=1)
    clients, cohort = len(held.partition(config.run.seed).clients), config.cohort.fraction
    gene = config.genes.declared["learning_rate"]
    rates = [gene.at(number / (COUNT - 1)) for number in range(COUNT)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["seed", "round", "rate", "validation_accuracy", "test_accuracy"])
    grid = InProcessGrid(
        client_app.made(lambda _: held), to_run_config(config), clients=clients, workers=1
    )
    for seed in range(config.run.seed, config.run.seed + seeds):
        weights = models.get_weights(held.model(seed))
        for number in range(1, 21):
            tried = []
            for rate in rates:
                strategy = FedAvg(
                    seed=seed,
                    clients=clients,
                    fraction=cohort,
                    local_epochs=config.training.local_epochs,
                    learning_rate=rate,
                    local_momentum=config.training.momentum,
                )
                reached, _ = Federated(strategy, grid).step(number, weights)
                validation, test = (part.evaluation for part in held.evaluate(reached, seed))
                tried.append((validation.accuracy or 0.0, rate, test.accuracy, reached))
            accuracy, rate, test_accuracy, weights = max(tried, key=lambda one: one[0])
            writer.writerow([seed, number, f"{rate:.4g}", accuracy, test_accuracy])
            sys.stdout.flush()
    grid.close()


if __name__ == "__main__":
    main()
