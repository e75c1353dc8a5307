"""How clients train, and on what devices."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fedgen.config.base import Decay, Names, Section
from fedgen.config.plugins import FORM, is_own
from fedgen.errors import unknown
from strategies.core.settings import BelowOne, NotNegative, Positive, Rate

AUGMENTATIONS = ("flip", "crop", "rotate", "contrast")
"""Names that ``training.augmentation`` takes, beside functions of one's own."""


class Training(Section):
    """How a client trains."""

    local_epochs: Positive = 2
    """Epochs that a client trains per round."""
    optimizer: Literal["adam", "sgd", "adamw", "rmsprop", "adagrad"] = "adam"
    """What steps, with fresh moments each round, as Keras has it by default."""
    momentum: BelowOne = 0.0
    """Momentum of SGD; the others have none."""
    nesterov: bool = False
    """Let SGD's momentum be Nesterov's."""
    weight_decay: Decay = "auto"
    """Weight decay of "adamw"; "auto" for its 0.004. The others have none."""
    clip_norm: NotNegative = 0.0
    """Norm that the gradients of a batch, all together, are cut to; 0 for any."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """The learning rate over a client's steps in a round, anew each round: as assigned; down to 0
    along a cosine; or a tenth of it in the second third, and a hundredth in the last."""
    loss: Literal[
        "auto",
        "cross-entropy",
        "binary-cross-entropy",
        "mean-squared-error",
        "mean-absolute-error",
        "huber",
    ] = "auto"
    """What is minimised; "auto" for what goes with the targets: cross-entropy of classes, binary
    cross-entropy of labels, mean squared error of quantities."""
    label_smoothing: BelowOne = 0.0
    """Share of the targets that a cross-entropy of either kind spreads evenly."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weigh classes in training by how rare they are in the training set without what it holds out,
    a statistic that only a server has; or not at all."""
    deadline: NotNegative = 0.0
    """Seconds that a client may take for a round or a probe; 0 for as long as it needs."""
    engine: Literal["auto", "tensorflow", "jax"] = "auto"
    """What trains: TensorFlow, or JAX, which trains many clients as one program; "auto" for JAX
    where it is installed and sees a GPU."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What products are computed in, sums and weights being float32: "tf32" needs a GPU, "bfloat16"
    the engine "jax"."""
    augmentation: Names = ()
    """How images are changed while a client trains, in this order: flip, crop, rotate, contrast, or
    MODULE:NAME for a function of one's own that returns Keras layers."""

    @model_validator(mode="after")
    def _of_the_optimizer(self) -> "Training":
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum: expected 0 without optimizer 'sgd', received {self.momentum:g} with "
                f"{self.optimizer!r}"
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                "nesterov: expected false without optimizer 'sgd' and a momentum over 0, received "
                f"true with {self.optimizer!r} and {self.momentum:g}"
            )
        if self.weight_decay != "auto" and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay: expected 'auto' without optimizer 'adamw', received "
                f"{self.weight_decay:g} with {self.optimizer!r}"
            )
        return self

    @field_validator("augmentation")
    @classmethod
    def _augmentation_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in AUGMENTATIONS and not is_own(name):
                raise ValueError(str(unknown("augmentation", name, (*AUGMENTATIONS, FORM))))
        return names


class Devices(Section):
    """How fast clients' devices are, in simulated seconds."""

    speed: Literal["none", "uniform", "lognormal"] = "none"
    """How the clients' speeds are distributed; "none" simulates no devices."""
    samples_per_second: Rate = 100.0
    """Samples that a device trains in a second: the mean (uniform) or median (lognormal)."""
    spread: BelowOne = 0.5
    """Uniform speeds lie between 1 - spread and 1 + spread times that."""
    sigma: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Standard deviation of the logarithm of lognormal speeds."""
    deadline: NotNegative = 0.0
    """Simulated seconds until a round, or a probe, goes on without who is not done; 0 for none."""

    @model_validator(mode="after")
    def _deadline_of_devices(self) -> "Devices":
        if self.deadline and self.speed == "none":
            raise ValueError(
                "deadline: expected 0 without simulated devices (speed 'none'), received "
                f"{self.deadline:g}; set speed to 'uniform' or 'lognormal'"
            )
        return self
