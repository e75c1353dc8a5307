"""What every section of settings is, and the kinds of values in them."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

Positive = Annotated[int, Field(ge=1, lt=2**31)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


def as_tuple(value: object) -> object:
    """Return a list, as TOML has it, as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _as_sizes(value: object) -> object:
    sizes = value if isinstance(value, list | tuple) else [value]
    if sizes is not value or not all(type(size) is int and 1 <= size < 2**31 for size in sizes):
        raise ValueError(f"expected a list of positive integers, received {value!r}")
    return tuple(sizes)


Sizes = Annotated[tuple[int, ...], BeforeValidator(_as_sizes)]
Deviations = Annotated[tuple[Rate, ...], BeforeValidator(as_tuple)]


def _as_scale(value: object) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int | float) and type(value) is not bool and 1e-30 <= value <= 1e30:
        return float(value)
    raise ValueError(f"expected 'auto' or a number from 1e-30 to 1e30, received {value!r}")


Scale = Annotated[float | Literal["auto"], PlainValidator(_as_scale)]


class Section(BaseModel):
    """A section of the config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)
