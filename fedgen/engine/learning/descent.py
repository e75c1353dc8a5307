"""How weights step: optimiser, clipping and schedule; no framework is imported here."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from fedgen.config.sections import Training

Kind = Literal["adam", "sgd", "adamw", "rmsprop", "adagrad"]
"""Optimisers that clients have."""

Schedule = Literal["constant", "cosine", "step"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Keras' defaults of Adam; its epsilon is that of the others as well."""

RHO = 0.9
"""Keras' default of RMSprop."""

ACCUMULATED = 0.1
"""What Keras' Adagrad starts from. Moments hold what came to it: zeros are fresh ones of all."""

WEIGHT_DECAY = 0.004
"""Keras' default of AdamW."""

_KEEPS: dict[Kind, tuple[bool, bool]] = {
    "adam": (True, True),
    "sgd": (True, False),
    "adamw": (True, True),
    "rmsprop": (False, True),
    "adagrad": (False, True),
}


@dataclass(frozen=True)
class Descent:
    """What is made of a batch's gradients, as Keras 3 has it.

    In this order: gradients are clipped; a rule of the strategy's, if there is one, directs them;
    the optimiser steps, at the rate that the schedule leaves of the assigned one.

    Attributes:
        optimizer: Adam (Kingma and Ba, 2014, arXiv 1412.6980), SGD, AdamW (Loshchilov and Hutter,
            2017, arXiv 1711.05101), RMSprop (Hinton, 2012, lecture 6e), or Adagrad (Duchi et al.,
            2011, JMLR 12).
        momentum: Of SGD, in [0, 1).
        nesterov: Whether SGD's momentum is Nesterov's (Sutskever et al., 2013).
        weight_decay: Of AdamW: a step begins with ``w <- w - rate weight_decay w``.
        clip_norm: Longest that all gradients of a batch together may be: longer ones are scaled to
            it, as by Keras' ``global_clipnorm``; 0 for any length. Clipping comes before a rule, so
            that it bounds what the data ask for and nothing of what a rule adds: a proximal term
            still pulls and a control variate still corrects in full.
        schedule: The factor on the rate over the steps of one local training, see ``factor``.
    """

    optimizer: Kind = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = WEIGHT_DECAY
    clip_norm: float = 0.0
    schedule: Schedule = "constant"

    @property
    def keeps(self) -> tuple[bool, bool]:
        """Whether the optimiser has first moments, and second ones."""
        return _KEEPS[self.optimizer]

    @classmethod
    def of(cls, training: "Training") -> Self:
        """Return what settings ask for."""
        decay = training.weight_decay
        return cls(
            optimizer=training.optimizer,
            momentum=training.momentum,
            nesterov=training.nesterov,
            weight_decay=WEIGHT_DECAY if decay == "auto" else decay,
            clip_norm=training.clip_norm,
            schedule=training.schedule,
        )


ADAM = Descent()


def factor(schedule: Schedule, step: Any, steps: Any, ops: Any) -> Any:
    """Return what is left of the learning rate in a step; all of it in the first one.

    "cosine" is ``(1 + cos(pi s / S)) / 2`` (Loshchilov and Hutter, 2016, arXiv 1608.03983), without
    restarts; "step" is 1, 0.1 and 0.01, a third of the steps each: ``0.1^floor(3 s / S)``.

    Args:
        schedule: Which one.
        step: s, steps of this local training that were taken before; a float32 scalar.
        steps: S, steps that it has in all, likewise.
        ops: Has ``cos`` and ``where``, as NumPy has them.
    """
    if schedule == "cosine":
        return (1 + ops.cos(math.pi * step / steps)) / 2
    if schedule == "step":
        # Compared and not divided: a third is exact.
        return ops.where(3 * step >= 2 * steps, 0.01, ops.where(3 * step >= steps, 0.1, 1.0))
    return 1.0
