"""What a message may ask of local training beside the optimiser's own step, a rule a file.

A new rule is a file here and an entry in ``RULES``; the names that it has in messages are in
``strategies.messages.protocol``. Every engine follows it.
"""

from collections.abc import Mapping
from typing import Any

from fedgen.engine.rules.autotuned import AutoTuned
from fedgen.engine.rules.corrected import Corrected
from fedgen.engine.rules.proximal import Proximal
from fedgen.engine.rules.rule import Records, Rule

RULES: tuple[type[Rule], ...] = (Proximal, AutoTuned, Corrected)


def asked(config: Mapping[str, Any], records: Records) -> Rule | None:
    """Return the rule that a message asks for, if it asks for one."""
    kinds = (kind for kind in RULES if kind.name in config or kind.name in records)
    return next((kind.read(config, records) for kind in kinds), None)
