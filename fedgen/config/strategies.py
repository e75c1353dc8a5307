"""The sections of the strategies: what each takes, with its paper's defaults where they fit."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from fedgen.config.base import Count, Deviations, Positive, Rate, Section, Share, Sizes, as_tuple
from strategies.evolution.start import RATES

Decay = Annotated[float, Field(ge=0, lt=1)]


class FixedRate(Section):
    """Settings of a strategy in which everybody trains alike."""

    learning_rate: Rate = 1e-4
    """Learning rate of everybody."""
    batch_size: Positive = 32
    """Batch size of everybody."""


class RandomRates(Section):
    """Settings of a strategy whose clients' rates are drawn."""

    rates: Annotated[tuple[Rate, Rate], BeforeValidator(as_tuple)] = RATES
    """Lowest and highest learning rate that is drawn, log-uniformly."""

    @field_validator("rates")
    @classmethod
    def _lowest_first(cls, rates: tuple[float, float]) -> tuple[float, float]:
        if rates[0] > rates[1]:
            raise ValueError(f"expected the lower rate first, received {list(rates)}")
        return rates


class GeneticCFL(RandomRates):
    """Settings of the evolution."""

    init: Literal["random", "probe", "reference"] = "random"
    """How genes start: drawn, probed on a small grid, or as in the published code."""
    fitness: Literal["validation", "improvement", "test"] = "validation"
    """What clients minimise; "test" leaks the test set and only replays the reference."""
    eps: Rate = 0.15
    """Radius of DBSCAN."""
    min_samples: Positive = 2
    """Neighbourhood that makes a core point of DBSCAN."""
    elites: Count = 2
    """Members of a cluster that keep their genes."""
    mutation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Step of the learning rate's mutation: times 1 - m, 1 or 1 + m."""
    recluster_every: Count = 0
    """Cluster again every so many rounds; 0 for once, after the start."""
    deal: Literal["owner", "index"] = "owner"
    """Elites keep genes on their own client, or genes are dealt in index order."""
    weighting: Literal["samples", "uniform", "fitness"] = "samples"
    """Weights of the average; "fitness" multiplies samples with the rank of the fitness."""
    mutation_scale: Literal["step", "log"] = "step"
    """Steps of the setting above, or steps of any size on the log scale, whose width adapts."""
    log_width: Annotated[float, Field(ge=0.01, le=1)] = 0.1
    """Width of "log" to start from: a standard deviation, in decades."""
    crossover: Literal["none", "average"] = "none"
    """Children take genes from one parent each, or the mean of two parents (the MNIST code)."""
    migrate_every: Count = 0
    """The best genes move to the next cluster every so many rounds; 0 for never."""
    fitness_window: Positive = 1
    """Rank by the mean of so many of a genome's latest rounds, each relative to its median."""
    evolve_epochs: bool = False
    """Let local epochs be a gene, from 1 to twice training.local_epochs."""
    evolve_momentum: bool = False
    """Let momentum be a gene, from 0 to 0.99; needs training.optimizer "sgd"."""
    models: Literal["global", "per-cluster"] = "global"
    """Everybody trains from one model, or every cluster from its own; their mean is evaluated."""
    control: Literal[
        "none", "shuffled-fitness", "one-cluster", "no-mutation", "no-selection", "elites-only"
    ] = "none"
    """What is taken out of the evolution, to see whether it matters."""

    @property
    def has_further_genes(self) -> bool:
        """Whether clients have more genes than a learning rate and a batch size."""
        return self.evolve_epochs or self.evolve_momentum


class FedAvgTuned(Section):
    """Settings of FedAvg whose rate and batch size are chosen first, by successive halving."""

    learning_rates: Annotated[Deviations, Field(min_length=1)] = (1e-2, 1e-3, 1e-4, 1e-5)
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


class PBT(RandomRates):
    """Settings of population-based tuning."""

    fitness: Literal["validation", "improvement"] = "validation"
    """What clients minimise."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the cohort that copies from as large a share of the best."""
    redraw: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a hyperparameter is drawn anew instead of copied and perturbed."""
    every: Positive = 1
    """Rounds between two selections."""


class FedEx(RandomRates):
    """Settings of the exponentiated gradient over configurations."""

    configurations: Annotated[int, Field(ge=1, le=10_000)] = 16
    """How many configurations are drawn at the start."""
    schedule: Literal["aggressive", "adaptive", "constant"] = "aggressive"
    """Step size, over sqrt(2 log k): by the round's gradient, by all so far, or alone."""
    baseline: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Discount of the baseline: 0 for the latest round's mean loss, 1 for that of all."""


class FedProx(FixedRate):
    """Settings of fedprox (Li et al., 2020)."""

    mu: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    """Weight of the proximal term mu / 2 ||w - w_global||^2; the paper tries 0.001 to 1."""


class Cyclic(Section):
    """Settings of cyclic."""

    learning_rate: Rate = 1e-3
    """Learning rate of everybody."""
    batch_size: Count = 0
    """Batch size of everybody; 0 to draw one per client from 16 to 128, as genes are."""
    average: Literal["snapshots", "last"] = "snapshots"
    """A round ends at the mean of the models that clients received, or at the last one's."""


class Scaffold(Section):
    """Settings of scaffold (Karimireddy et al., 2020), whose clients take plain SGD steps."""

    learning_rate: Rate = 0.1
    """Local step size; the paper tunes it."""
    batch_size: Positive = 32
    """Batch size of everybody."""
    global_rate: Rate = 1.0
    """Step size of the server."""


class DeltaSGD(Section):
    """Settings of delta-sgd (Kim et al., 2023); the defaults are the paper's."""

    initial_rate: Rate = 0.2
    """eta_0: size of a client's first step in every round."""
    gamma: Rate = 2.0
    """Factor on the inverse of the local smoothness."""
    delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """How fast step sizes may grow."""
    theta: Rate = 1.0
    """theta_0."""
    batch_size: Positive = 32
    """Batch size of everybody."""


class IFCA(FixedRate):
    """Settings of ifca (Ghosh et al., 2020)."""

    models: Annotated[int, Field(ge=1, le=100)] = 2
    """How many models there are; each client trains the one that fits it best."""
