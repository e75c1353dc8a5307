"""The client protocol: names of the records in messages, and of what is in them.

A training message holds ``ARRAYS`` (the weights) and ``CONFIG``; its reply ``ARRAYS`` and
``METRICS``. A query holds ``CONFIG`` with the seed; its answer ``METRICS`` and ``DATA``.
"""

ARRAYS, CONFIG, METRICS, DATA = "arrays", "config", "metrics", "data"

# Records beside the weights.
GRADIENT_OFFSET = "gradient-offset"
"""To the client: what is added to every gradient (SCAFFOLD's ``c - c_i``)."""
FIRST_MOMENTS, SECOND_MOMENTS = "first-moments", "second-moments"
"""Both ways: the state of an optimiser that lives on from client to client."""

# Config of every training message.
SEED, SERVER_ROUND = "seed", "server-round"
FITNESS = "fitness"
"""What the client is to report as fitness, as settings name it; then its value."""
NOISE = "noise"
"""Whose noise the update gets, where privacy is local."""
COMPRESSION, EXACT = "compression", "exact"
"""How the arrays of the reply are coded; positions of those that no code may change."""
COMMON = "common-share"
"""Which samples of the server's the fitness is measured on: number of the share, and its size."""
LEARNING_RATE, BATCH_SIZE, LOCAL_EPOCHS = "learning-rate", "batch-size", "local-epochs"
MOMENTUM, WEIGHT_DECAY, CLIP_NORM = "momentum", "weight-decay", "clip-norm"
LABEL_SMOOTHING, DROPOUT = "label-smoothing", "dropout"
FURTHER = {
    MOMENTUM: "momentum",
    WEIGHT_DECAY: "weight_decay",
    CLIP_NORM: "clip_norm",
    LABEL_SMOOTHING: "label_smoothing",
    DROPOUT: "dropout",
}
"""Genes that the config may hold, and the reply then too, with their names in a genome; the run's
own settings without them."""

# Config that asks for more.
LEARNING_RATES, BATCH_SIZES = "learning-rates", "batch-sizes"
"""The grid that a probe tries."""
PROXIMAL_MU = "proximal-mu"
"""Weight of FedProx's term; the reply says what was applied."""
AUTO_TUNE = "auto-tune"
"""gamma, delta and theta_0 of Delta-SGD."""
MODELS = "models"
"""How many models came, to start from the one with the lowest loss: ``ARRAYS`` and ``model``."""
OPTIMIZER_STEPS = "optimizer-steps"
"""Steps that the optimiser of the moments has taken."""

# Metrics of every reply.
NUM_EXAMPLES, SAMPLES, EPOCHS, SECONDS = "num-examples", "samples", "epochs", "seconds"
TRAIN_LOSS = "train-loss"

# Metrics that a strategy asks for.
INITIAL_RATE = "initial-rate"
"""Step size that auto-tuning began with."""
LOCAL_STEPS = "local-steps"
"""Steps taken on corrected gradients."""
MODEL = "model"
"""Number of the model that was picked."""

# Metrics that the run asks for.
MEASURED = ("global", "own")
"""What the model that was sent, and the client's own after training, are worth on its samples."""

# The answer to a query.
PARTITION_ID = "partition-id"
FINGERPRINT = "fingerprint"
"""Of the data, and of the code of a model of the user's own."""


def model(number: int) -> str:
    """Return the name of the record with a model beside ``ARRAYS``, counted from 1."""
    return f"model-{number}"
