"""How much is run, and what it is measured by."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from fedgen.config import budget, defaults
from fedgen.config.base import Section, as_names
from fedgen.config.metrics import KNOWN, own_name
from fedgen.config.plugins import FORM, is_own
from fedgen.errors import unknown
from strategies import REGISTRY, VARIANTS, parse
from strategies.core.settings import Count, Positive
from strategies.names import why_not, without_settings

CENTRALISED = "centralised"
"""Training on pooled data, which ``run.strategies`` takes beside the registered strategies."""


def is_pooled(name: str) -> bool:
    """Return whether a name is that of training on pooled data, whatever its settings."""
    return without_settings(name) == CENTRALISED


class Run(Section):
    """How much is run."""

    rounds: Positive = defaults.ROUNDS
    """Training rounds."""
    seed: Count = defaults.SEED
    """First seed."""
    seeds: Annotated[int, Field(ge=1, le=100_000)] = defaults.SEEDS
    """How many seeds, counted up from the first."""
    strategies: tuple[str, ...] = defaults.STRATEGIES
    """What is compared, in this order; genetic-cfl+CONTROL is genetic-cfl with that control, and
    MODULE:NAME a class of one's own."""
    evaluate_every: Positive = 1
    """Rounds from one evaluation on the server to the next; round 0 and the last one always are.
    Under a budget or with patience every round is, as which is the last one shows afterwards."""
    workers: Count = defaults.WORKERS
    """Clients trained at once; 0 for one per core, or as many lanes as suit a GPU. Does not change
    results."""
    metric: str = "auto"
    """What decides which round and which strategy is the better one: accuracy, balanced_accuracy,
    macro_f1, ...; "auto" for accuracy, micro_f1 of several labels, and r2 of quantities."""
    better: Literal["auto", "higher", "lower"] = "auto"
    """Which values of it are; "auto" for what is known of the metric, "higher" of one's own."""
    metrics: tuple[str, ...] = ()
    """Further metrics, MODULE:FUNCTION each, called with what is due and with probabilities, or
    with predicted quantities."""
    target: float = 0.0
    """Value of the metric on the test set whose cost is stated; 0 for the best that all arms
    reach."""
    patience: str = ""
    """What an arm may spend without a better validation metric before it ends, as in
    client-epochs=120; "" for no end. The model of its best round is then saved, too."""
    personalise: Literal["none", "end", "rounds"] = "none"
    """Whether clients' own models, after their local training, are measured beside the global one:
    of all clients at the end, and also of the cohort in every round."""
    budget: str = ""
    """What every arm may spend, as in client-epochs=600: it ends at its last whole round within
    that, or at the last round; "" for as much as its rounds cost."""

    @field_validator("budget", "patience", mode="before")
    @classmethod
    def _text(cls, given: object) -> object:
        if not isinstance(given, str):
            raise ValueError(f"expected UNIT=AMOUNT, as in client-epochs=600, received {given!r}")
        return given

    @field_validator("budget", "patience")
    @classmethod
    def _readable(cls, text: str) -> str:
        budget.parse(text)
        return text

    @field_validator("metrics")
    @classmethod
    def _own_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_own(name):
                raise ValueError(f"expected {FORM} of a function, received {name!r}")
        for name in map(own_name, names):
            if name in KNOWN or name.startswith("_"):
                raise ValueError(f"expected a function of a name that is free, received {name!r}")
        if len({*map(own_name, names)}) < len(names):
            raise ValueError(f"expected functions of different names, received {list(names)}")
        return names

    @field_validator("strategies", "metrics", mode="before")
    @classmethod
    def _from_text(cls, names: object) -> object:
        return as_names(names)

    @field_validator("strategies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if wrong := wrong_name(name):
                raise ValueError(wrong)
        if not names:
            raise ValueError("expected one or more different strategies, received none")
        parsed = [parse(name) for name in names]
        for place, named in enumerate(parsed):
            first = parsed.index(named)  # equal whatever the order of settings is
            if first < place:
                raise ValueError(
                    "expected one or more different strategies, received the same arm twice: "
                    f"{names[first]} and {names[place]}"
                )
        return names


def wrong_name(name: str) -> str | None:
    """Return what is wrong with the name of a strategy, a variant or a pair, if anything is."""
    known = (*REGISTRY, *VARIANTS, CENTRALISED)
    try:
        named = parse(name)
    except KeyError as error:
        return str(unknown("strategy", error.args[0], (*known, FORM)))
    except ValueError as error:
        return str(error)
    if "/" not in name:
        there = named.strategy in known or is_own(named.strategy)
        return None if there else str(unknown("strategy", named.strategy, (*known, FORM)))
    if "+" in named.strategy:
        base, _, variants = named.strategy.partition("+")
        return f"{name}: variants stand before the slash: expected {named.tuner}+{variants}/{base}"
    for half in (named.tuner, named.strategy):
        if half not in (*REGISTRY, CENTRALISED) and not (half == named.strategy and is_own(half)):
            return str(unknown("strategy", half, (*REGISTRY, FORM)))
    if named.strategy == CENTRALISED:
        return f"{named.tuner} cannot choose for {CENTRALISED}: it has no clients"
    return why_not(named)
