"""FedProx: federated averaging whose clients are held near the global model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from strategies.core.genes import OF_CLIENTS
from strategies.core.outcomes import Update
from strategies.core.settings import FixedRate, NotNegative
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.replies import check_reported


class FedProx(FedAvg):
    """Federated averaging with a proximal term in every client's loss (Li et al., 2020).

    A client minimises its loss plus ``mu / 2 ||w - w_global||^2`` (arXiv 1812.06127), with
    the run's optimiser, as the paper leaves the local solver open. Everybody does all of
    its epochs: the paper's partial work of stragglers is not modelled. With mu = 0 it is
    FedAvg.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of fedprox."""

        mu: NotNegative = 0.01
        """Weight of the proximal term; the paper tries 0.001, 0.01, 0.1 and 1."""

    settings: Settings
    several_models = True
    applies: ClassVar[frozenset[str]] = frozenset(OF_CLIENTS)
    reports = (protocol.PROXIMAL_MU,)

    def instructions(self, client: int) -> Mapping[str, Any]:
        """Tell the client mu."""
        return {protocol.PROXIMAL_MU: self._mu(client)}

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse, with ``ReplyError``, an update that is not of what was asked for."""
        super().check_reply(client, update)
        check_reported(update, protocol.PROXIMAL_MU, self._mu(client))

    def _mu(self, client: int) -> float:
        """Return a client's own weight, where it is a gene, or everybody's."""
        assigned = self.assigned.get(client)  # nothing yet in a probe
        own = assigned.genome.mu if assigned is not None else None
        return self.settings.mu if own is None else own
