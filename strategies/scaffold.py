"""SCAFFOLD: federated averaging whose clients correct their drift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flwr.app import ArrayRecord

from strategies.core.aggregation import Arrays
from strategies.core.genes import PLAIN_STEPS
from strategies.core.outcomes import RoundOutcome, StrategyError, Update
from strategies.core.settings import FixedRate, Rate
from strategies.fedavg import FedAvg
from strategies.messages import protocol
from strategies.messages.arrays import like, read_arrays
from strategies.messages.replies import ReplyError


class Scaffold(FedAvg):
    """Federated averaging with control variates against client drift (Karimireddy et al., 2020).

    Algorithm 1 of arXiv 1910.06378: client i steps with ``y <- y - rate (g + c - c_i)``, plain
    SGD whatever the run's optimiser; after its K steps from x its variate becomes, by option
    II, ``c_i - c + (x - y) / (K rate)``; then ``c <- c + sum(changes of c_i) / clients`` and
    ``x <- x + global_rate mean(y - x)``, every client weighing the same. Of the clients, those
    count that may ever train: all of them, or the cohort where one is kept for the whole run.

    By option II a variate follows from what the server knows, so the server works it out
    from the checked reply and keeps it: nothing but weights comes up, nothing is lost with a
    client, and a client whose reply was not used keeps the variate that it had. What goes
    down beside the weights is ``c - c_i``. (In the paper, clients keep c_i: c goes down, and
    the change of c_i up.) Robust aggregation is of the weights alone.

    Args:
        **given: What ``FedAvg`` takes, where ``weighting`` has no effect, and ``Settings``.

    Raises:
        StrategyError: If privacy is central: variates would carry updates without noise.
    """

    @dataclass(frozen=True)
    class Settings(FixedRate):
        """Settings of scaffold, whose clients take plain SGD steps."""

        learning_rate: Rate = 0.1
        """Local step size; the paper tunes it."""
        global_rate: Rate = 1.0
        """Step size of the server; moving statistics are averaged."""

    settings: Settings
    applies: ClassVar[frozenset[str]] = PLAIN_STEPS | {"global_rate"}
    needs_constant_rate = True  # option II divides by K times one rate
    reports = (protocol.LOCAL_STEPS,)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"weighting": "uniform"})
        if self.privacy.kind == "central":
            raise StrategyError(
                "scaffold: expected privacy.kind none or local, received central: its variates "
                "would tell clients of each other's updates without noise"
            )
        self.global_rate = self.settings.global_rate
        self.variate: Arrays = []
        self.variates: dict[int, Arrays] = {}

    def take_up(self, settings: Mapping[str, float]) -> None:
        """Take another step size of the server."""
        self.global_rate = settings.get("global_rate", self.global_rate)

    def enclosed(self, client: int) -> Mapping[str, ArrayRecord]:
        """Send what a client adds to its gradients: c - c_i."""
        zeros = [np.zeros(a.shape, a.dtype) for a in self.reference.values()]
        ours = self.variate or zeros
        theirs = self.variates.get(client, zeros)
        offset = [c - c_i for c, c_i in zip(ours, theirs, strict=True)]
        return {protocol.GRADIENT_OFFSET: like(offset, self.reference)}

    def learn(self, outcome: RoundOutcome) -> None:
        """Bring the variates up to date with every reply that is used."""
        start = read_arrays(self.reference)
        zeros = [np.zeros_like(array) for array in start]
        ours = self.variate or zeros
        population = self.clients if self.resample else len(outcome.clients)
        total = [np.zeros(array.shape, np.float64) for array in start]
        for result in outcome.clients:
            if result.update is None or result.assignment is None:
                continue
            rate = result.assignment.genome.learning_rate
            length = result.update.reported[protocol.LOCAL_STEPS] * rate
            old = self.variates.get(result.client, zeros)
            layers = zip(old, ours, start, result.update.arrays, strict=True)
            new = [_option_2(c_i, c, x, y, length) for c_i, c, x, y in layers]
            for i in self.statistics:  # averages of activations: no step led to them
                new[i] = zeros[i]
            if not all(np.isfinite(array).all() for array in new):
                continue  # of absurd weights: it would spoil every client's next step
            self.variates[result.client] = new
            for sum_, after, before in zip(total, new, old, strict=True):
                sum_ += after.astype(np.float64) - before
        self.variate = [
            (c + change / population).astype(c.dtype) for c, change in zip(ours, total, strict=True)
        ]

    def average(self, server_round: int, outcome: RoundOutcome) -> ArrayRecord:
        """Step from the global model by ``global_rate`` towards the clients' mean."""
        mean = super().average(server_round, outcome)
        if self.global_rate == 1:
            return mean
        pairs = zip(read_arrays(self.reference), read_arrays(mean), strict=True)
        moved = [
            y if i in self.statistics else _beyond(x, y, self.global_rate)
            for i, (x, y) in enumerate(pairs)
        ]
        return like(moved, mean)

    def state(self) -> dict[str, Any]:
        """Return whose variates ``state_arrays`` holds."""
        return {**super().state(), "variates": sorted(self.variates)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up whose variates there are."""
        super().restore(state)
        self.variates = {int(client): [] for client in state["variates"]}

    def state_arrays(self) -> Arrays:
        """Return c and every c_i, stacked: an array per array of the model."""
        rows = [self.variate, *(self.variates[client] for client in sorted(self.variates))]
        return [np.stack(layer) for layer in zip(*rows, strict=True)]

    def restore_arrays(self, arrays: Arrays) -> None:
        """Take up the variates."""
        self.variate = [np.asarray(layer[0]) for layer in arrays]
        for row, client in enumerate(sorted(self.variates), 1):
            self.variates[client] = [np.asarray(layer[row]) for layer in arrays]

    def check_reply(self, client: int, update: Update) -> None:
        """Refuse, with ``ReplyError``, an update that is not of what was asked for."""
        super().check_reply(client, update)
        per_epoch = -(-update.num_examples // update.applied.batch_size)
        steps = update.reported[protocol.LOCAL_STEPS]
        expected = update.epochs * per_epoch
        if steps != expected:
            raise ReplyError(f"metric local-steps: expected {expected}, received {steps:g}")


def _option_2(c_i: Any, c: Any, x: Any, y: Any, length: float) -> Any:
    """Return a client's new variate; ``length`` is its steps times their size."""
    exact = c_i.astype(np.float64) - c + (x.astype(np.float64) - y) / length
    with np.errstate(over="ignore"):  # the caller looks
        return exact.astype(x.dtype)


def _beyond(x: Any, y: Any, rate: float) -> Any:
    start = x.astype(np.float64)
    return (start + rate * (y - start)).astype(x.dtype)
