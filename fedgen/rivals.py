"""Sections of the config for the strategies that genetic-cfl is compared with."""

from typing import Annotated, Literal

from pydantic import Field

from fedgen.sections import Deviations as Rates
from fedgen.sections import FixedRate, Positive, Rate, Section, Share, Sizes

Decay = Annotated[float, Field(ge=0, lt=1)]


class FedAvgTuned(Section):
    """Settings of FedAvg whose rate and batch size are chosen first, by successive halving."""

    learning_rates: Annotated[Rates, Field(min_length=1)] = (1e-2, 1e-3, 1e-4, 1e-5)
    """Learning rates of the grid."""
    batch_sizes: Annotated[Sizes, Field(min_length=1)] = (16, 64)
    """Batch sizes of the grid."""
    search_rounds: Positive = 1
    """Rounds of every pair in the first rung; each rung after it doubles them."""
    search_epochs: Positive = 1
    """Local epochs of a round of the search."""


class FedAvgDecay(FixedRate):
    """Settings of FedAvg with a cosine schedule; learning_rate is that of round 1."""

    horizon: Positive = 10
    """Rounds until the rate is at its floor, whatever run.rounds is: rounds can be added."""
    floor: Share = 0.01
    """Share of learning_rate that is left then."""


class FedAvgM(FixedRate):
    """Settings of FedAvg with momentum on the server."""

    server_rate: Rate = 1.0
    """Learning rate of the server."""
    momentum: Decay = 0.9
    """Momentum of the server."""


class AdaptiveServer(FixedRate):
    """Settings of FedAvg with Adam or Yogi on the server."""

    server_rate: Rate = 0.01
    """Learning rate of the server."""
    beta_1: Decay = 0.9
    """Decay of the first moments."""
    beta_2: Decay = 0.99
    """Decay of the second moments."""
    tau: Rate = 1e-3
    """Degree of adaptivity: what a step is at least divided by."""


class PBT(Section):
    """Settings of population-based tuning."""

    fitness: Literal["validation", "improvement"] = "validation"
    """What clients minimise."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the cohort that copies from as large a share of the best."""
    redraw: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a hyperparameter is drawn anew instead of copied and perturbed."""
    every: Positive = 1
    """Rounds between two selections."""


class FedEx(Section):
    """Settings of the exponentiated gradient over configurations."""

    configurations: Annotated[int, Field(ge=1, le=10_000)] = 16
    """How many configurations are drawn at the start."""
    schedule: Literal["aggressive", "adaptive", "constant"] = "aggressive"
    """Step size, over sqrt(2 log k): by the round's gradient, by all so far, or alone."""
    baseline: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Discount of the baseline: 0 for the latest round's mean loss, 1 for that of all."""
