"""Defaults of the settings that are flags as well: ``--help`` shows them, the config has them.

They stand here as the config's own modules take longer to import than help may take.
"""

ROUNDS = 10
STRATEGIES = ("genetic-cfl", "fedavg")
DATASET = "cifar10"
MODEL = "cnn"
CLIENTS = 100
FRACTION = 0.3
SEEDS = 1
SEED = 0
WORKERS = 0
