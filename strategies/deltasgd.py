"""Delta-SGD: federated averaging whose clients tune their own step sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from strategies.core.genes import PLAIN_STEPS
from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import Update
from strategies.core.settings import NotNegative, Positive, Rate
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.replies import ReplyError


class DeltaSGD(FedAvg):
    """Federated averaging with auto-tuned SGD on every client (Kim et al., 2023).

    Every client follows its own local smoothness from step to step (arXiv 2306.11201; the
    rule is in ``fedgen.engine.rules.autotuned``), anew each round, whatever the run's optimiser.
    A step takes two gradients of its batch, so an epoch costs nearly twice the time of plain SGD.
    What a client reports as the learning rate that it applied is the mean of its step sizes.
    """

    @dataclass(frozen=True)
    class Settings:
        """Settings of delta-sgd; the defaults are the paper's."""

        initial_rate: Rate = 0.2
        """eta_0: size of a client's first step in every round."""
        gamma: Rate = 2.0
        """Factor on the inverse of the local smoothness."""
        delta: NotNegative = 0.1
        """How fast step sizes may grow."""
        theta: Rate = 1.0
        """theta_0."""
        batch_size: Positive = 32
        """Batch size of everybody."""

        @property
        def genome(self) -> Genome:
            """What everybody begins a round with."""
            return Genome(self.initial_rate, self.batch_size)

    settings: Settings
    several_models = True
    applies: ClassVar[frozenset[str]] = PLAIN_STEPS
    needs_constant_rate = True  # every step has a size of its own
    reports = (protocol.INITIAL_RATE,)

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Tell the client gamma, delta and theta_0."""
        own = self.settings
        return {protocol.AUTO_TUNE: [own.gamma, own.delta, own.theta]}

    def applied(self, update: Update) -> Genome:
        """Return what the client began with, its first step's size as the rate."""
        return replace(update.applied, learning_rate=update.reported[protocol.INITIAL_RATE])

    def check_reply(self, client: int, update: Update) -> None:
        """Check what the client began with: what its rate became is its own doing."""
        super().check_reply(client, update)
        mean = update.applied.learning_rate
        if mean <= 0:
            raise ReplyError(f"mean step size: expected a number over 0, received {mean:g}")
