"""Normalised averaging: clients that take more steps do not pull the model towards theirs.

Wang et al., 2020 (arXiv 2007.07481): with unequal numbers of local steps, FedAvg converges to
the optimum of another objective, in which clients weigh by their steps.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord

from strategies.core.aggregation import Arrays
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.fedavg import FedAvg
from strategies.messages.arrays import read_arrays


class FedNova(FedAvg):
    """Averaging normalised by local steps (FedNova; Wang et al., 2020, arXiv 2007.07481).

    With the step ``d_i`` of client i from the global model w, its weight ``p_i`` and its number of
    accumulated gradients ``|a_i|`` (see ``accumulated``), the new model is
    ``w + t sum_i p_i d_i / |a_i|`` with ``t = sum_i p_i |a_i|``: the same as ``FedAvg`` where all
    take equally many steps. It is worked out as the average of ``w + (t / |a_i|) d_i``, so that
    every aggregation rule applies to it.

    Exact for SGD, with or without momentum, Nesterov's as well. The paper has no normalisation for
    Adam and its kin, whose steps do not add gradients up: with them, the number of steps is used,
    and the objective need not be consistent. Moving statistics of batch normalisation are averaged
    plainly.

    Args:
        **given: What ``FedAvg`` takes; but no central privacy, as the factors of all clients
            depend on how many samples each one has, which its noise does not cover.

    Raises:
        StrategyError: If privacy is central.
    """

    several_models = True
    needs_constant_rate = True  # accumulated gradients would each count by their rate

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if self.privacy.kind == "central":
            raise StrategyError(CENTRAL)

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Scale every usable update's step, then average."""
        updates = {o.client: o.update for o in outcome.clients if o.update is not None}
        weights = dict(zip(updates, self.weights([*updates.values()]), strict=True))
        sizes = {client: self._size(client, update) for client, update in updates.items()}
        effective = sum(weights[c] * sizes[c] for c in updates) / (sum(weights.values()) or 1.0)
        start = read_arrays(self.reference)
        scaled = {c: self._scale(u, start, effective / sizes[c]) for c, u in updates.items()}
        clients = tuple(replace(o, update=scaled.get(o.client)) for o in outcome.clients)
        return super().average(server_round, replace(outcome, clients=clients))

    def _size(self, client: int, update: Update) -> float:
        # By the samples that the server knows of: a client that claims fewer of them would
        # have its step blown up.
        samples = self.peers[client].num_examples
        steps = local_steps(samples, update.applied.batch_size, update.epochs)
        own = update.applied.momentum  # where it is a gene
        momentum = self.local_momentum if own is None else own
        return accumulated(steps, momentum, self.local_nesterov)

    def _scale(self, update: Update, start: Arrays, factor: float) -> Update:
        arrays = [
            array
            if i in self.statistics or array.dtype.kind != "f"
            else before.astype(np.float64)
            + factor * (array.astype(np.float64) - before.astype(np.float64))
            for i, (array, before) in enumerate(zip(update.arrays, start, strict=True))
        ]
        return replace(update, arrays=arrays)


CENTRAL = (
    "fednova scales every update by how many samples all clients have, which the noise of "
    "privacy.kind 'central' does not cover: expected 'none' or 'local'"
)
"""Why FedNova takes no central privacy."""


def local_steps(samples: int, batch_size: int, epochs: int) -> int:
    """Return how many steps a client takes; the last batch of an epoch may be short."""
    return epochs * -(-samples // batch_size)


def accumulated(steps: int, momentum: float, nesterov: bool = False) -> float:
    """Return ``|a|_1``: how often a client's step holds each of its gradients, summed up.

    Without momentum that is the number of steps. With momentum m from a fresh velocity, the
    gradient of step k of n counts ``(1 - m^(n - k + 1)) / (1 - m)`` times (Wang et al., 2020), in
    all ``(n - m (1 - m^n) / (1 - m)) / (1 - m)``. Nesterov's steps look ahead: each gradient counts
    as one step later, ``(1 - m^(n - k + 2)) / (1 - m)`` times, in all n and m times the above.

    Args:
        steps: Number of steps n, at least 1.
        momentum: Momentum m, in [0, 1).
        nesterov: Whether it is Nesterov's.
    """
    tail = momentum * (1 - momentum**steps) / (1 - momentum)
    whole = (steps - tail) / (1 - momentum)
    return steps + momentum * whole if nesterov else whole
