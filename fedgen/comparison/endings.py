"""What an arm's latest model is worth to every client, and class by class."""

import math
from collections.abc import Sequence
from dataclasses import fields
from statistics import median, median_low
from typing import Any

import numpy as np

from fedgen.analysis import metrics
from fedgen.config.sections.tuning import GENES
from fedgen.config.tree import Arm
from fedgen.engine.plan import Plan, batch_order
from fedgen.federation.resources import Resources
from fedgen.runs.rows import ClassRow, EvaluationRow
from fedgen.runs.shard import Shard
from strategies.core.aggregation import Arrays
from strategies.core.genes import DECLARED_ONLY
from strategies.core.hyperparameters import Genome
from strategies.streams import rng

_OWN_COLUMNS = ("accuracy", "loss")

TYPICAL = -1
"""Stands for the clients that no round has asked."""


def evaluate(held: Resources, arm: Arm, shard: Shard) -> list[EvaluationRow]:
    """Measure an arm's latest model on every client's own samples, and the clients' own models.

    A client's own model goes on from the latest one by the local training of one more round, with
    what the client was last assigned, or the cohort's medians where it never was. It costs the
    federation nothing: nobody is sent anything.
    """
    assert shard.latest is not None
    weights, number, name = shard.latest.weights, shard.latest.round, held.config.metric.name
    assigned = _last_assigned(shard) if held.config.run.personalise != "none" else {}
    rows = []
    for client in range(held.config.partition.clients):
        samples, found, value = held.individual(weights, arm.seed, client)
        measured = {} if name in _OWN_COLUMNS else {name: value}
        if assigned:
            genome = assigned.get(client, assigned[TYPICAL])
            own = _trained_on(held, arm, client, weights, genome, number + 1)
            _, theirs, value = held.individual(own, arm.seed, client)
            measured |= {f"own_{name}": value, "own_loss": theirs.loss}
        known = {key: value for key, value in measured.items() if math.isfinite(value)}
        figures = (samples, found.accuracy, found.loss, known)
        rows.append(EvaluationRow(arm.strategy, arm.seed, number, client, *figures))
    return rows


def by_class(held: Resources, arm: Arm, shard: Shard) -> list[ClassRow]:
    """Measure an arm's latest model on the test set, class by class or label by label.

    Nothing of quantities, nor of a model whose scores are not finite.
    """
    assert shard.latest is not None
    data, number = held.dataset, shard.latest.round
    everything = np.arange(len(data.y_test), dtype=np.int32)
    scores = held.engine(arm.seed).evaluate_all(shard.latest.weights, everything, "test").scores
    if data.kind == "quantities" or scores is None or not np.isfinite(scores).all():
        return []
    if data.kind == "classes":
        table = metrics.confusion(data.y_test.astype(np.intp), scores.argmax(axis=1), data.outputs)
        found = metrics.per_class(table)
        taken = [" ".join(map(str, row)) for row in table.tolist()]
    else:
        found = metrics.per_label(data.y_test.astype(bool), scores > 0)
        taken = [""] * data.outputs
    return [
        ClassRow(arm.strategy, arm.seed, number, name, *figures, counts)
        for name, figures, counts in zip(data.class_names, found, taken, strict=True)
    ]


def _last_assigned(shard: Shard) -> dict[int, Genome]:
    """Return the latest hyperparameters of every client that was used, and those of ``TYPICAL``."""
    used: dict[int, Genome] = {}
    for row in shard.rows("clients.csv"):
        if row.applied_learning_rate is not None and row.applied_batch_size is not None:
            further: dict[str, Any] = {gene: row.measured.get(gene) for gene in DECLARED_ONLY}
            genes = (row.applied_learning_rate, row.applied_batch_size)
            used[row.client] = Genome(*genes, row.local_epochs, row.momentum, **further)
    if used:
        used[TYPICAL] = _typical([*used.values()])
    return used


def _typical(genomes: Sequence[Genome]) -> Genome:
    """Return the medians, gene by gene; one that not everybody has is none."""
    middle: dict[str, Any] = {}
    for name in (field.name for field in fields(Genome)):
        values = [getattr(genome, name) for genome in genomes]
        if None not in values:
            whole = isinstance(values[0], int)
            middle[name] = median_low(values) if whole else median(values)
    return Genome(**middle)


def _trained_on(
    held: Resources, arm: Arm, client: int, weights: Arrays, genome: Genome, number: int
) -> Arrays:
    """Train a model on one client's samples as in a round, by the optimiser's own steps."""
    epochs = genome.local_epochs or held.config.training.local_epochs
    order = rng(arm.seed, "batch-order", number, client)
    dropout = rng(arm.seed, "dropout", number, client)
    samples = held.partition(arm.seed).clients[client].train
    plan = Plan(
        genome.learning_rate,
        genome.batch_size,
        batch_order(samples, order, epochs),
        int(dropout.integers(2**31)),
        further=genome.having(GENES),
    )
    return held.engine(arm.seed).train(weights, plan).weights
