"""Cyclic training: one model that is passed from client to client."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from strategies.core.aggregation import Arrays, weighted_mean
from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.core.settings import Count, FixedRate, Rate
from strategies.evolution.start import random_genome
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays
from strategies.messages.peers import Peer
from strategies.messages.replies import ReplyError
from strategies.streams import rng

MOMENTS = (protocol.FIRST_MOMENTS, protocol.SECOND_MOMENTS)
"""Records of the optimiser's state, each like the model."""


class Cyclic(FedAvg):
    """One model passed from client to client, its optimiser with it: no federated averaging.

    With ``average = "snapshots"`` this is what the published CIFAR-10 code of Genetic CFL
    (Agrawal et al., 2021, arXiv 2107.07233) does under that name: every client of the cohort
    trains the one model in turn, with Adam at its default rate, whose moments live on across
    clients and rounds; the round ends at the plain mean of the models as each client received
    them. With ``"last"`` it ends at the model of the last client: cyclic weight transfer
    (Chang et al., 2018, JAMIA 25(8)), with the moments travelling, too.

    A round's messages go one after another. A client that fails, is rejected or is not online is
    skipped: the next one gets what it got. Under Flower's own ``start`` it works as well, as
    all turns but the last are played while the round is configured.

    Args:
        **given: What ``FedAvg`` takes, where ``weighting`` has no effect, and ``Settings``.

    Attributes:
        moments: The optimiser's first and second moments, each like the model.
        steps: Steps that the optimiser has taken.

    Raises:
        StrategyError: If privacy or another aggregation than the mean is asked for: the
            models that clients hand on would have neither.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of cyclic."""

        learning_rate: Rate = 1e-3
        """Learning rate of everybody."""
        batch_size: Count = 0
        """Batch size of everybody; 0 to draw one per client from 16 to 128, as genes are."""
        average: Literal["snapshots", "last"] = "snapshots"
        """A round ends at the mean of the models that clients received, or at the last one's."""

    settings: Settings
    trains_apart = False
    returns = MOMENTS

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, kind, only in (
            ("privacy.kind", self.privacy.kind, "none"),
            ("aggregation.kind", self.aggregation.kind, "mean"),
        ):
            if kind != only:
                raise StrategyError(
                    f"cyclic: expected {name} {only}, received {kind}: each client gets the "
                    "model of the one before as it is"
                )
        self.moments: tuple[Arrays, Arrays] | None = None
        self.steps = 0
        self._model = ArrayRecord()
        self._snapshots: list[Arrays] = []
        self._turns: list[RoundOutcome] = []

    def usual(self, client: int) -> Genome:
        """Return the one rate, and the one batch size or a drawn one that is kept."""
        return Genome(self.genome.learning_rate, self.genome.batch_size or self._batch(client))

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Tell the client how far the optimiser is, and whose turn of how many it is."""
        turns = list(self.assigned)
        return {
            protocol.OPTIMIZER_STEPS: self.steps,
            "turn": turns.index(client),
            "turns": len(turns),
        }

    def enclosed(self, client: int) -> Mapping[str, ArrayRecord]:
        """Send the optimiser's moments along."""
        zeros = [np.zeros(array.shape, array.dtype) for array in self._model.values()]
        moments = self.moments or (zeros, zeros)
        return {
            name: like(arrays, self._model) for name, arrays in zip(MOMENTS, moments, strict=True)
        }

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Play all turns but the last, in the cohort's order, and return the last one's message."""
        self._model = self.initialise(grid, arrays)
        self._snapshots, self._turns = [], []
        cohort = self.cohort(server_round)
        self.allot(server_round, cohort)
        online = self.peers.connect(grid, set(cohort))
        for client in cohort[:-1]:
            messages = self._turn(grid, server_round, client, config, online)
            self._take(client, grid.send_and_receive(messages, timeout=self.reply_timeout))
        return self._turn(grid, server_round, cohort[-1], config, online)

    def judge_round(self, replies: Iterable[Message]) -> RoundOutcome:
        """Take the last turn's reply, and return what became of all turns."""
        self._take(list(self.assigned)[-1], replies)
        return RoundOutcome(
            tuple(outcome for turn in self._turns for outcome in turn.clients),
            sum(turn.bytes_down for turn in self._turns),
            sum(turn.bytes_up for turn in self._turns),
            in_turn=True,
        )

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Return the mean of the snapshots, or the last client's model.

        Raises:
            Unusable: If fewer than half of the cohort sent a usable reply.
        """
        outcome.require(server_round)
        if self.settings.average == "last":
            return self._model
        mean = weighted_mean(self._snapshots, [1.0] * len(self._snapshots))
        return like(mean, self._model)

    def state(self) -> dict[str, Any]:
        """Return how many steps the optimiser has taken."""
        return {**super().state(), "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the optimiser's steps."""
        super().restore(state)
        self.steps = int(state["steps"])

    def state_arrays(self) -> Arrays:
        """Return the optimiser's moments, first ones first."""
        return [array for moments in self.moments or () for array in moments]

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the optimiser's moments."""
        half = len(arrays) // 2
        self.moments = (arrays[:half], arrays[half:]) if arrays else None

    def _batch(self, client: int) -> int:
        return random_genome(rng(self.seed, "genome", 0, client)).batch_size

    def _turn(
        self,
        grid: Grid,
        server_round: int,
        client: int,
        config: ConfigRecord,
        online: Mapping[int, Peer],
    ) -> list[Message]:
        settings = {client: {**config, **self.told(client)}}
        return self.messages(grid, server_round, self._model, settings, online=online)

    def _take(self, client: int, replies: Iterable[Message]) -> None:
        """Go on with a client's model and moments, if its reply can be used."""
        assigned = {client: self.assigned[client]}
        judged = self.judge(replies, assigned, self.check_reply)
        self._turns.append(judged)
        for update in judged.updates:
            self._snapshots.append(read_arrays(self._model))
            self._model = like(update.arrays, self._model)
            first, second = (update.returned[name] for name in MOMENTS)
            self.moments = first, second
            per_epoch = -(-update.num_examples // update.applied.batch_size)
            self.steps += update.epochs * per_epoch

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse, with ``ReplyError``, an update that is not of what was asked for."""
        super().check_reply(client, update)
        if any((array.astype(np.float64) < 0).any() for array in update.returned[MOMENTS[1]]):
            raise ReplyError("record second-moments: one is negative, expected squares")
