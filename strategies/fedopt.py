"""Server optimisers: the round's mean is a gradient's stand-in, not yet the new model.

The steps are those of Flower's own classes, in float64, from the mean of checked replies
(or whatever aggregation is set) that ``FedAvg`` of this package works out in partition order.
Moving statistics of batch normalisation are no steps: they, and integers, are averaged plainly.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp import strategy as flower

from strategies.core.aggregation import Arrays
from strategies.core.outcomes import RoundOutcome
from strategies.core.settings import BelowOne, FixedRate, Rate
from strategies.fedavg import FedAvg
from strategies.messages.arrays import like, read_arrays


class _Given(flower.FedAvg):
    """Stands where Flower's classes look for the average of replies, and hands on a given one."""

    mean = ArrayRecord()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        return self.mean, None


# The base next to Flower's own is what `super().aggregate_train` finds in them.
class _Momentum(flower.FedAvgM, _Given):
    pass


class _Adam(flower.FedAdam, _Given):
    pass


class _Yogi(flower.FedYogi, _Given):
    pass


class ServerOptimiser(FedAvg):
    """Federated averaging with an optimiser on the server (base of three strategies).

    Every client trains at ``learning_rate`` and ``batch_size``, as in ``FedAvg``.
    """

    _server: Any

    server_genes: ClassVar[Mapping[str, str]]
    """Attributes of Flower's optimiser, by the names of the genes that they can be."""

    def take_up(self, settings: Mapping[str, float]) -> None:
        """Let Flower's optimiser work with other settings."""
        for name, value in settings.items():
            setattr(self._server, self.server_genes[name], value)

    @abstractmethod
    def step(self, server_round: int, start: ArrayRecord, mean: ArrayRecord) -> ArrayRecord:
        """Return the new weights.

        Args:
            server_round: Number of the round, from 1.
            start: Weights that the clients started from, float64.
            mean: What became of their replies, float64.
        """

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Average the usable updates, and take the optimiser's step there."""
        mean = super().average(server_round, outcome)
        start, reached = read_arrays(self.reference), read_arrays(mean)
        moved = {
            str(i): (before, after)
            for i, (before, after) in enumerate(zip(start, reached, strict=True))
            if i not in self.statistics and before.dtype.kind == "f"
        }
        stepped = self.step(
            server_round,
            ArrayRecord({key: _wide(before) for key, (before, _) in moved.items()}),
            ArrayRecord({key: _wide(after) for key, (_, after) in moved.items()}),
        )
        for key, array in zip(stepped, read_arrays(stepped), strict=True):
            reached[int(key)] = array
        return like(reached, mean)


class FedAvgM(ServerOptimiser):
    """Federated averaging with momentum on the server (Hsu et al., 2019, arXiv 1909.06335).

    ``v <- momentum * v + (w - mean)`` and ``w <- w - server_rate * v``, from ``v = 0``, by
    Flower's ``FedAvgM``. With rate 1 and momentum 0 it is ``FedAvg``.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of FedAvg with momentum on the server."""

        server_rate: Rate = 1.0
        """Learning rate of the server."""
        momentum: BelowOne = 0.9
        """Momentum of the server."""

    settings: Settings
    server_genes = {"server_rate": "server_learning_rate", "server_momentum": "server_momentum"}
    applies: ClassVar[frozenset[str]] = FedAvg.applies | {*server_genes}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.settings
        self._server = _Momentum(server_learning_rate=own.server_rate, server_momentum=own.momentum)

    def take_up(self, settings: Mapping[str, float]) -> None:
        """Let Flower's optimiser work with other settings."""
        super().take_up(settings)
        if settings:  # at rate 1 and momentum 0 it was made to do nothing
            self._server.server_opt = True

    def step(self, server_round: int, start: ArrayRecord, mean: ArrayRecord) -> ArrayRecord:
        """Return the new weights."""
        self._server.current_arrays, self._server.mean = start, mean
        stepped, _ = self._server.aggregate_train(server_round, [])
        return stepped or mean

    def state_arrays(self) -> Arrays:
        """Return the velocity; nothing before round 1."""
        return list(self._server.momentum_vector or [])

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the velocity."""
        self._server.momentum_vector = list(arrays) or None


class _Adaptive(ServerOptimiser):
    """What FedAdam and FedYogi share: two moments, a step that is divided by their root."""

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of FedAvg with Adam or Yogi on the server."""

        server_rate: Rate = 0.01
        """Learning rate of the server."""
        beta_1: BelowOne = 0.9
        """Decay of the first moments."""
        beta_2: BelowOne = 0.99
        """Decay of the second moments."""
        tau: Rate = 1e-3
        """Degree of adaptivity: what a step is at least divided by."""

    settings: Settings
    server_genes = {"server_rate": "eta", "beta_1": "beta_1", "beta_2": "beta_2"}
    applies: ClassVar[frozenset[str]] = FedAvg.applies | {*server_genes}
    kind: ClassVar[type[_Adam] | type[_Yogi]]

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.settings
        self._server = self.kind(
            eta=own.server_rate, beta_1=own.beta_1, beta_2=own.beta_2, tau=own.tau
        )

    def step(self, server_round: int, start: ArrayRecord, mean: ArrayRecord) -> ArrayRecord:
        """Return the new weights."""
        self._server.mean = mean
        self._server.current_arrays = {key: array.numpy() for key, array in start.items()}
        stepped, _ = self._server.aggregate_train(server_round, [])
        return stepped or mean

    def state(self) -> dict[str, Any]:
        """Return, beside the rest, which arrays the moments are of."""
        return {**super().state(), "moments": list(self._server.m_t or {})}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up which arrays the moments are of."""
        super().restore(state)
        self._moved = [str(key) for key in state["moments"]]

    def state_arrays(self) -> Arrays:
        """Return the first moments, then the second ones; nothing before round 1."""
        return [*(self._server.m_t or {}).values(), *(self._server.v_t or {}).values()]

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the moments."""
        half = len(self._moved)
        first = dict(zip(self._moved, arrays[:half], strict=True))
        second = dict(zip(self._moved, arrays[half:], strict=True))
        self._server.m_t, self._server.v_t = first or None, second or None


class FedAdam(_Adaptive):
    """Federated averaging with Adam on the server (Reddi et al., 2021, arXiv 2003.00295).

    With ``d = mean - w``: ``m <- beta_1 m + (1 - beta_1) d``, ``v <- beta_2 v + (1 - beta_2) d^2``
    and ``w <- w + rate_t m / (sqrt(v) + tau)``, by Flower's ``FedAdam``. It differs from the
    paper's algorithm 2 in two points: v starts at 0 (the paper's at tau^2 or more), and the rate of
    round t is ``rate_t = server_rate sqrt(1 - beta_2^(t+1)) / (1 - beta_1^(t+1))``.
    """

    kind = _Adam


class FedYogi(_Adaptive):
    """Federated averaging with Yogi on the server (Reddi et al., 2021, arXiv 2003.00295).

    As ``FedAdam``, but ``v <- v - (1 - beta_2) d^2 sign(v - d^2)``, from v = 0, and without a
    correction of the rate, by Flower's ``FedYogi``.
    """

    kind = _Yogi


def _wide(array: Any) -> Array:
    return Array(np.asarray(array, np.float64))
