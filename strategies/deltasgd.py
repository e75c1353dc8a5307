"""Delta-SGD: federated averaging whose clients tune their own step sizes."""

from collections.abc import Mapping
from typing import Any

from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import Update
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.replies import ReplyError, check_applied, check_work


class DeltaSGD(FedAvg):
    """Federated averaging with auto-tuned SGD on every client (Kim et al., 2023).

    Every client follows its own local smoothness from step to step (arXiv 2306.11201; the
    rule is in ``fedgen.engine.rules.AutoTuned``), anew each round, whatever the run's optimiser.
    A step takes two gradients of its batch, so an epoch costs nearly twice the time of plain SGD.
    What a client reports as the learning rate that it applied is the mean of its step sizes.

    Args:
        initial_rate: eta_0, size of every client's first step, greater than 0.
        gamma: Factor on the inverse of the estimated smoothness, greater than 0.
        delta: How fast step sizes may grow, at least 0.
        theta: theta_0, greater than 0.
        batch_size: Batch size of every client.
        **common: What ``FedAvg`` takes.
    """

    reports = (protocol.INITIAL_RATE,)

    def __init__(
        self,
        *,
        initial_rate: float = 0.2,
        gamma: float = 2.0,
        delta: float = 0.1,
        theta: float = 1.0,
        batch_size: int = 32,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate=initial_rate, batch_size=batch_size, **common)
        self.rule = [gamma, delta, theta]

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Tell the client gamma, delta and theta_0."""
        return {protocol.AUTO_TUNE: self.rule}

    def check_reply(self, client: int, update: Update) -> None:
        """Check what the client began with: what its rate became is its own doing."""
        began = Genome(update.reported[protocol.INITIAL_RATE], update.applied.batch_size)
        check_applied(self.assigned[client].genome, began)
        check_work(update, self.local_epochs)
        mean = update.applied.learning_rate
        if mean <= 0:
            raise ReplyError(f"mean step size: expected a number over 0, received {mean:g}")
