"""Genes of the server, of which the whole population has one value at a time.

They cannot be compared within a round. So a (1+1) evolution strategy runs over rounds (Rechenberg,
1973): the incumbent's round and a trial's alternate, and a trial takes over when the mean
validation loss fell further after its round than after the incumbent's right before. Clients
report the loss before the server's step of their round, so the next round tells what came of it.
Falls get shorter as training goes on, so a trial has to be better by that much: this errs on the
incumbent's side.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from strategies.evolution.moves.cube import Place, reflect

SIGMAS = (0.01, 0.5)
"""Between which the width of steps stays, as a share of the genes' ranges."""

LOST = -2.0
"""Progress of a round whose loss is not finite, which no other falls short of."""


@dataclass(frozen=True)
class State:
    """Where the server's genes are.

    Attributes:
        incumbent: The best place so far, of d numbers in [0, 1].
        sigma: Width of steps.
        trial: Place that the next round tries; ``None`` where the incumbent has its turn.
        progress: The incumbent's latest; ``None`` until its turn is over.
        loss: Latest finite mean loss; ``None`` before the first.
    """

    incumbent: tuple[float, ...]
    sigma: float = 0.1
    trial: tuple[float, ...] | None = None
    progress: float | None = None
    loss: float | None = None

    @property
    def place(self) -> Place:
        """What the next round uses."""
        return np.array(self.incumbent if self.trial is None else self.trial)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "State":
        """Take up what ``as_json`` returned."""
        trial = None if values["trial"] is None else tuple(values["trial"])
        return cls(**{**values, "incumbent": tuple(values["incumbent"]), "trial": trial})


def progress(before: float, after: float) -> float:
    """Return by how much of the larger one the mean loss fell.

    ``(before - after) / max(|before|, |after|)``: like a logarithm's difference the same in size
    either way, and defined for losses of 0 and less, too.

    Args:
        before: A finite mean loss.
        after: That of the round.

    Returns:
        A number in [-2, 2], negative where the loss rose; ``LOST`` if ``after`` is not finite.
    """
    if not math.isfinite(after):
        return LOST
    larger = max(abs(before), abs(after))
    return before / larger - after / larger if larger else 0.0


def propose(state: State, draw: np.random.Generator) -> State:
    """Return the state for a round, whose ``place`` is to be used.

    A trial is ``incumbent + sigma N(0, I)``, reflected into the cube. The incumbent has its turn
    until its progress is known; a trial whose round was not learnt from has its turn again.
    """
    if state.trial is not None or state.progress is None:
        return state
    step = state.sigma * draw.standard_normal(len(state.incumbent))
    return replace(state, trial=tuple(reflect(np.array(state.incumbent) + step).tolist()))


def learn(state: State, loss: float) -> State:
    """Return the state once it is known what the latest place has led to.

    Trials adapt the width by the 1/5 success rule, ``sigma exp((success - 1/5) / sqrt(d + 1))``
    (Rechenberg, 1973; in this form Hansen, Arnold and Auger, 2015, "Evolution strategies",
    Springer Handbook of Computational Intelligence). After one the incumbent, old or new, has its
    turn, so that the next is held against the round right before it, too.

    Args:
        state: As ``propose`` returned it for the round before.
        loss: Mean validation loss of the population that trained from what that round ended at.
            One that is not finite makes its place lose, and the next is held against the latest
            that was.
    """
    seen = replace(state, loss=loss if math.isfinite(loss) else state.loss)
    if state.loss is None:
        return seen  # nothing to hold it against
    made = progress(state.loss, loss)
    if state.trial is None or state.progress is None:
        return replace(seen, progress=made)
    better = made > state.progress
    sigma = state.sigma * math.exp((better - 0.2) / math.sqrt(len(state.incumbent) + 1))
    return replace(
        seen,
        incumbent=state.trial if better else state.incumbent,
        sigma=min(max(sigma, SIGMAS[0]), SIGMAS[1]),
        trial=None,
        progress=None,
    )
