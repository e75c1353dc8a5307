"""Settings of local training that a plan may have values of its own for; no framework is here."""

import math
from collections.abc import Mapping

import numpy as np

from fedgen.config.sections import tuning
from fedgen.engine.learning.descent import Descent
from fedgen.engine.learning.objective import Objective
from fedgen.engine.rules.rule import Rule
from fedgen.errors import RunError
from strategies.core.genes import OF_CLIENTS

OF_THE_OPTIMIZER = ("momentum", "weight_decay")
"""What nothing is done with where a rule steps without the optimiser; it clips all the same."""


def why_not(
    name: str, descent: Descent, objective: Objective, of_the_model: str | None
) -> str | None:
    """Say why a value of a plan's own could not be applied; ``None`` if it could.

    Args:
        name: Which one.
        descent: How weights step.
        objective: What is minimised.
        of_the_model: Why the rate of the model's dropout could not.
    """
    if name not in tuning.GENES:
        return f"expected one of {', '.join(tuning.GENES)}"
    if name == "dropout":
        return of_the_model
    return tuning.why_not(name, descent.optimizer, objective.loss)


def check(name: str, value: float, reason: str | None, rule: Rule | None) -> None:
    """Refuse a value that could not be applied.

    Args:
        name: Of which it is.
        value: The value.
        reason: What ``why_not`` says.
        rule: What is done with the gradients.

    Raises:
        RunError: In one line.
    """
    if reason is None and rule and rule.descends and name in OF_THE_OPTIMIZER:
        reason = f"needs steps of the optimiser, the rule {rule.name!r} takes its own"
    if reason is None and not _is_in_range(name, np.float32(value)):
        kind = OF_CLIENTS[name]
        low, high = "(" if kind.open_low else "[", ")" if kind.open_high else "]"
        reason = f"expected a float32 in {low}{kind.low:g}, {kind.high:g}{high}"
    if reason is not None:
        raise RunError(f"{name} = {value:g}: {reason}")


def _is_in_range(name: str, value: np.float32) -> bool:
    kind = OF_CLIENTS[name]
    above = value > kind.low if kind.open_low else value >= kind.low
    below = value < kind.high if kind.open_high else value <= kind.high
    return bool(above and below and math.isfinite(value))


def values(further: Mapping[str, float], descent: Descent) -> dict[str, np.float32]:
    """Return what a compiled loop is given: a plan's own values, and a momentum in any case."""
    given = {"momentum": descent.momentum, **further}
    return {name: np.float32(given[name]) for name in sorted(given)}
