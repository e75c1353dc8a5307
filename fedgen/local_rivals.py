"""Settings of the rivals that change what a client does, in sections of their names."""

from typing import Annotated, Literal

from pydantic import Field

from fedgen.sections import Count, FixedRate, Positive, Rate, Section


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
