"""What a message may ask of local training beside the optimiser's own step, rule by rule.

A new rule is a class in ``fedgen.engine.rules``, its steps in every engine, its names in
``strategies.messages.protocol``, and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from flwr.app import ConfigRecord

from fedgen.engine.plan import Trained
from fedgen.engine.rules import AutoTuned, Corrected, Proximal, Rule
from strategies.core.aggregation import Arrays
from strategies.messages import protocol

Records = Mapping[str, Arrays]
"""The arrays of a message, by the names of their records."""


@dataclass(frozen=True)
class Asked:
    """How a rule is asked for, and what the reply says of it.

    Attributes:
        name: What is in the message where it is asked for: a key of its config, or a record.
        read: Makes the rule of the message's config and records.
        acknowledge: Returns, as metrics, what was made of it.
    """

    name: str
    read: Callable[[ConfigRecord, Records], Rule]
    acknowledge: Callable[[Rule, Trained], dict[str, float]]


RULES = (
    Asked(
        protocol.PROXIMAL_MU,
        lambda config, _: Proximal(cast(float, config[protocol.PROXIMAL_MU])),
        lambda rule, _: {protocol.PROXIMAL_MU: float(rule.numbers[0])},
    ),
    Asked(
        protocol.AUTO_TUNE,
        lambda config, _: AutoTuned(*cast(list[float], config[protocol.AUTO_TUNE])),
        lambda _, trained: {protocol.INITIAL_RATE: trained.initial_rate},
    ),
    Asked(
        protocol.GRADIENT_OFFSET,
        lambda _, records: Corrected(list(records[protocol.GRADIENT_OFFSET])),
        lambda _, trained: {protocol.LOCAL_STEPS: trained.steps},
    ),
)


def asked(config: ConfigRecord, records: Records) -> Asked | None:
    """Return which rule a message asks for, if any."""
    return next((rule for rule in RULES if rule.name in config or rule.name in records), None)
