"""What every section of settings is, kinds of values in it, and what is said of wrong ones."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from fedgen.errors import unknown
from strategies.core.settings import Rate


def as_tuple(value: object) -> object:
    """Return a list, as TOML has it, as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _as_sizes(value: object) -> object:
    sizes = value if isinstance(value, list | tuple) else [value]
    if sizes is not value or not all(type(size) is int and 1 <= size < 2**31 for size in sizes):
        raise ValueError(f"expected a list of positive integers, received {value!r}")
    return tuple(sizes)


Sizes = Annotated[
    tuple[int, ...],
    BeforeValidator(_as_sizes, json_schema_input_type=list[Annotated[int, Field(ge=1, lt=2**31)]]),
]
Deviations = Annotated[tuple[Rate, ...], BeforeValidator(as_tuple)]

_COMMA = re.compile(r",(?![^\[\]]*\])")


def as_names(value: object) -> object:
    """Return text with commas as its parts: what a list looks like on a command line.

    Commas within brackets belong to a part, as in ``tournament@rates=[1e-3,1]``.
    """
    if isinstance(value, str):
        return tuple(name.strip() for name in _COMMA.split(value) if name.strip())
    return as_tuple(value)


_Name = Annotated[str, Field(min_length=1)]
Names = Annotated[
    tuple[_Name, ...], BeforeValidator(as_names, json_schema_input_type=list[_Name] | str)
]


def _as_scale(value: object) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int | float) and type(value) is not bool and 1e-30 <= value <= 1e30:
        return float(value)
    raise ValueError(f"expected 'auto' or a number from 1e-30 to 1e30, received {value!r}")


Scale = Annotated[
    float | Literal["auto"],
    PlainValidator(
        _as_scale,
        json_schema_input_type=Literal["auto"] | Annotated[float, Field(ge=1e-30, le=1e30)],
    ),
]


def _as_decay(value: object) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int | float) and type(value) is not bool and 0 <= value < math.inf:
        return float(value)
    raise ValueError(f"expected 'auto' or a number of at least 0, received {value!r}")


Decay = Annotated[
    float | Literal["auto"],
    PlainValidator(
        _as_decay, json_schema_input_type=Literal["auto"] | Annotated[float, Field(ge=0)]
    ),
]


class Section(BaseModel):
    """A section of the config: frozen, strict, no unknown keys, no number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def explain(problem: Any, known: Iterable[str], top: str = "section") -> str:
    """Return what is wrong with a setting, by pydantic's description of it.

    Args:
        problem: One of ``ValidationError.errors()``.
        known: Names that may stand where it stands.
        top: What a name without a section is called.
    """
    path = [str(part) for part in problem["loc"]]
    received = problem["input"]
    if problem["type"] == "extra_forbidden":
        what = "setting" if len(path) > 1 else top
        prefix = f"{'.'.join(path[:-1])}: " if len(path) > 1 else ""
        return prefix + str(unknown(what, path[-1], known))
    if problem["type"] == "missing":
        return f"{'.'.join(path)}: expected a value, there is none"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{'.'.join(path)}: {message}" if path else message
    return f"{'.'.join(path)}: {message}, received {received!r}"
