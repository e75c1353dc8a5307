"""IFCA: several models, of which every client trains the one that fits it best."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from strategies.core.aggregation import Arrays
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.core.settings import FixedRate
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays
from strategies.messages.replies import ReplyError
from strategies.streams import rng


class IFCA(FedAvg):
    """Several models, each client training the one with the lowest loss (Ghosh et al., 2020).

    The iterative federated clustering algorithm with model averaging (arXiv 2006.04088): all
    models go to every client of the cohort; it picks the one with the lowest loss on its own
    training samples, before training, and trains that; each model becomes the average of the
    clients that picked it, and one that nobody picked stays as it is. It clusters models where
    Genetic CFL clusters hyperparameters.

    The first model starts as every other strategy's does; the entries of its kernels, in an
    order drawn anew for each, make the others: draws from the same initialiser, where that
    draws entries independently.

    A round has one accuracy, but this strategy several models. What it returns, and what is
    evaluated, is the model that stands for most training samples of the round's usable
    clients (the lower number on a tie); the others are not evaluated.

    Attributes:
        models: The models.

    Raises:
        StrategyError: If privacy is central: its noise is reckoned for one mean, not several.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of ifca."""

        models: Annotated[int, Ge(1), Le(100)] = 2
        """How many models there are; each client trains the one that fits it best."""

    settings: Settings
    selects_on_losses = True
    reports = (protocol.MODEL,)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if self.privacy.kind == "central":
            raise StrategyError(
                "ifca: expected privacy.kind none or local, received central: its noise is "
                "reckoned for one mean of the cohort, not for one per model"
            )
        self.count = self.settings.models
        self.models: list[Arrays] = []
        self._form = ArrayRecord()

    def prepare(self, grid: Grid, arrays: ArrayRecord) -> ArrayRecord:
        """Make the models."""
        first = read_arrays(arrays)
        draws = [rng(self.seed, "ifca-models", 0, number) for number in range(self.count)]
        self.models = [first, *([_shuffled(a, draw) for a in first] for draw in draws[1:])]
        return arrays

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Tell the client how many models came; in a probe there is one yet."""
        return {protocol.MODELS: len(self.models) or 1}

    def enclosed(self, client: int) -> Mapping[str, ArrayRecord]:
        """Send all models but the first, which stands for the weights."""
        return {protocol.model(j): self._record(j) for j in range(1, len(self.models))}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Build a message per client of the cohort, all models in each."""
        self._form = self.initialise(grid, arrays)
        return super().configure_train(server_round, self._record(0), config, grid)

    def judge_round(self, replies: Iterable[Message]) -> RoundOutcome:
        """Sort out the replies; the model that a client picked is its cluster, if no tuner's."""
        judged = super().judge_round(replies)
        if self.tuner is not None:
            return judged
        rows = [
            replace(o, assignment=replace(o.assignment, cluster=_picked(o.update)))
            if o.update is not None and o.assignment is not None
            else o
            for o in judged.clients
        ]
        return replace(judged, clients=tuple(rows))

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average every model over the clients that picked it, and return the widest used.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        outcome.require(server_round)
        samples = [0] * self.count
        for number in range(self.count):
            group = RoundOutcome(
                tuple(o for o in outcome.clients if o.update and _picked(o.update) == number)
            )
            if group.clients:
                self.reference = self._record(number)
                self.models[number] = read_arrays(super().average(server_round, group))
                samples[number] = sum(update.num_examples for update in group.updates)
        return self._record(samples.index(max(samples)))

    def state_arrays(self) -> Arrays:
        """Return all models, one after another."""
        return [array for model in self.models for array in model]

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the models."""
        size = len(arrays) // self.count
        self.models = [arrays[i : i + size] for i in range(0, size * self.count, size or 1)]

    def _record(self, number: int) -> ArrayRecord:
        return like(self.models[number], self._form)

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse, with ``ReplyError``, an update that is not of what was asked for."""
        super().check_reply(client, update)
        if update.reported[protocol.MODEL] not in range(self.count):
            raise ReplyError(
                f"metric model: expected 0 to {self.count - 1}, "
                f"received {update.reported['model']:g}"
            )


def _picked(update: Update) -> int:
    return int(update.reported[protocol.MODEL])


def _shuffled(array: Any, draw: np.random.Generator) -> Any:
    """Return a kernel's entries in another order; biases and the like are left as they are."""
    if array.ndim < 2:
        return array
    return draw.permutation(array.reshape(-1)).reshape(array.shape)
