"""Who takes part, how their weights become one model, and who misbehaves."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from fedgen.config import defaults
from fedgen.config.base import Section
from strategies.core.aggregation import Aggregation
from strategies.core.privacy import Privacy
from strategies.core.settings import Count, NotNegative, Positive, Rate, Share
from strategies.messages.compression import Compression


class Cohort(Section):
    """Who takes part."""

    fraction: Share = defaults.FRACTION
    """Share of the clients in a cohort."""
    resample: bool = False
    """Draw a new cohort each round, instead of one for the whole run."""
    deadline: Rate = 60.0
    """Seconds to wait for the next of the cohort's nodes to come online and answer."""
    min_available: Count = 0
    """Clients of a cohort that must be online once the run has begun; 0 for half of them."""


class AggregationSettings(Section):
    """How the clients' weights become one model, whatever the strategy."""

    kind: Literal["mean", "median", "trimmed-mean", "krum", "clipped-mean"] = "mean"
    """By weight, or one of those that bear malicious clients."""
    f: Positive = 1
    """Malicious clients that Krum reckons with; it needs 2 f + 3 clients."""
    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.2
    """Share of the clients that the trimmed mean cuts off at each end."""
    clip_norm: NotNegative = 0.0
    """Norm that the clipped mean cuts updates to; 0 for the median of a round's norms."""

    def rule(self) -> Aggregation:
        """Return what a strategy takes."""
        return Aggregation(**self.model_dump())


class PrivacySettings(Section):
    """Differential privacy of the clients."""

    kind: Literal["none", "central", "local"] = "none"
    """Noise on the mean, or by every client on its own update; weights are then uniform."""
    clip_norm: Rate = 1.0
    """L2 norm that updates are cut to."""
    noise_multiplier: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Noise, in units of clip_norm: 0, or at least 0.001."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """For which delta the report states epsilon."""

    def rule(self) -> Privacy:
        """Return what strategies and clients take."""
        return Privacy(**self.model_dump(exclude={"delta"}))

    @field_validator("noise_multiplier")
    @classmethod
    def _not_tiny(cls, noise: float) -> float:
        if 0 < noise < 1e-3:
            raise ValueError(f"expected 0, or 0.001 to 1e6, received {noise!r}")
        return noise


class Messages(Section):
    """How messages travel."""

    compression: Compression = "none"
    """How clients send arrays: "zstd" loses nothing, "float16" and "int8" round their updates."""


class Faults(Section):
    """How many clients of every round misbehave, by what they do."""

    crash: Count = 0
    """Raise an error."""
    hang: Count = 0
    """Never answer; needs training.deadline."""
    nan: Count = 0
    """Send NaN weights."""
    inf: Count = 0
    """Send infinite weights."""
    wrong_shape: Count = 0
    """Send an array of another shape."""
    wrong_dtype: Count = 0
    """Send an array of another type."""
    missing_key: Count = 0
    """Leave an array out."""
    extra_key: Count = 0
    """Send one array too many."""
    negative_examples: Count = 0
    """Claim -1 training samples."""
    nan_examples: Count = 0
    """Claim NaN training samples."""
    zero_examples: Count = 0
    """Claim no training samples."""
    absurd_examples: Count = 0
    """Claim 10^18 training samples."""
    wrong_rate: Count = 0
    """Report another learning rate than the assigned one."""
    wrong_batch: Count = 0
    """Report another batch size than the assigned one."""
    sign_flip: Count = 0
    """Send the step in the opposite direction: well formed, but malicious."""
    scale: Count = 0
    """Send `factor` times the step: well formed, but malicious."""
    duplicate: Count = 0
    """Have the reply delivered twice."""
    late: Count = 0
    """Have the reply delivered with the next round's."""
    factor: Rate = 10.0
    """How much `scale` exaggerates."""

    def counts(self) -> dict[str, int]:
        """Return how many clients do what, kinds that nobody does left out."""
        counted: dict[str, int] = self.model_dump(exclude={"factor"})
        return {kind: number for kind, number in counted.items() if number}
