"""Strategies' own sections: each is read into the ``Settings`` that its strategy owns.

To look at them is to import the strategy, and Flower with it. That is done for what is asked for,
not for a run that was made: nothing of it is needed to report one.
"""

import warnings
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from inspect import signature
from typing import Any, get_type_hints

from pydantic import ValidationError, create_model

import strategies
from fedgen.config import plugins
from fedgen.config.base import Section, as_tuple, explain
from fedgen.config.sections import CENTRALISED, Training
from fedgen.errors import Inconsistent, InputError
from strategies.core.settings import FixedRate


def load(name: str) -> type[Any]:
    """Return the class of what trains under a name: fedgen's, a variant's or a user's own.

    Raises:
        InputError: If it is a user's own and cannot be had.
    """
    trained = strategies.parse(name).strategy
    return plugins.strategy(trained) if plugins.is_own(trained) else strategies.load(trained)


def settings_class(name: str) -> Any:
    """Return the class of the settings of a strategy, or of pooled training.

    Raises:
        InputError: If the strategy is a user's own and cannot be had.
    """
    return FixedRate if name == CENTRALISED else load(name).Settings


def check_schedule(name: str, training: Training) -> None:
    """Check that a strategy goes with the schedule of the local learning rate.

    Raises:
        Inconsistent: If it reckons with one rate for all steps, and the schedule changes it.
    """
    if training.schedule != "constant" and load(name).needs_constant_rate:
        raise Inconsistent(
            f"training.schedule = {training.schedule!r} does not go with run.strategies = "
            f"{name!r}, which reckons with one learning rate for all steps of a client: expected "
            "'constant'"
        )


def keys(name: str) -> list[str]:
    """Return what a strategy's section may hold."""
    return [field.name for field in fields(settings_class(name)) if field.init]


def read(name: str, given: Mapping[str, Any]) -> Any:
    """Return a strategy's settings, an instance of its ``Settings``.

    Args:
        name: The strategy.
        given: Its section; the defaults of what is not there are the strategy's.

    Raises:
        InputError: One line that names the first wrong setting.
    """
    kind = settings_class(name)
    try:
        checked = section(kind)(**{key: as_tuple(value) for key, value in given.items()})
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(
            explain({**problem, "loc": (name, *problem["loc"])}, keys(name))
        ) from error
    try:
        return kind(**dict(checked))
    except ValueError as error:
        raise InputError(f"{name}.{error}") from error


@lru_cache(maxsize=64)
def section(kind: Any) -> type[Section]:
    """Return the section that a strategy's settings are read by, with the same fields.

    Args:
        kind: The class of the settings.

    Raises:
        InputError: If that is no dataclass with defaults, or has a field that is fedgen's.
    """
    try:
        defaults = kind()
        values = {f.name: getattr(defaults, f.name) for f in fields(defaults) if f.init}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{kind.__module__}.{kind.__qualname__}: expected a dataclass whose fields all have "
            f"defaults ({error})"
        ) from error
    if taken_already := {*values} & _common():
        raise InputError(
            f"{kind.__module__}.{kind.__qualname__}: {', '.join(sorted(taken_already))}: is a "
            "setting of every strategy, expected other names"
        )
    hints = get_type_hints(kind, include_extras=True)
    taken: dict[str, Any] = {key: (hints[key], value) for key, value in values.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that pydantic's models have, as copy or json
        made: type[Section] = create_model(kind.__qualname__, __base__=Section, **taken)
    return made


def _common() -> set[str]:
    """Return what every strategy is told by fedgen, and no section may say otherwise."""
    from strategies.fedavg import FedAvg

    return {*signature(FedAvg.__init__).parameters} - {"weighting", "fitness"}
