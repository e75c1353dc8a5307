"""The section of the model: one of the zoo by its name, or hidden layers given in place."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from fedgen.config import defaults
from fedgen.config.base import Deviations, Names, Section, Sizes
from fedgen.config.plugins import FORM, is_own
from fedgen.errors import unknown

MODELS = (
    "cnn",
    "cnn-small",
    "cnn-mnist",
    "resnet18-gn",
    "resnet-small-gn",
    "lstm",
    "lstm-small",
    "transformer",
    "logistic",
    "table",
    "mlp",
    *(
        f"mlp-{stack}{variant}"
        for stack in ("324-108", "356-105-51", "507-312-212-126-84")
        for variant in ("", "-bn", "-bn-dropout")
    ),
)
"""Names of models."""

LAYERS = "layers"
"""What ``model.name`` is for hidden layers that are given in place."""


class Layers(Section):
    """Hidden layers of an MLP: dense and activation, batch normalisation, dropout."""

    hidden_layers: Sizes = ()
    """Units of every hidden layer, from the input on."""
    activation: Literal["identity", "logistic", "tanh", "relu"] = "relu"
    """Activation of the hidden layers, in scikit-learn's words."""
    batch_norm: bool = False
    """Normalise batches after every hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the units dropped after every hidden layer."""
    initialiser: Literal["glorot-uniform", "he-normal", "normal"] = "glorot-uniform"
    """How the hidden layers' weights start; those of the output layer are Glorot uniform."""
    stddevs: Deviations = ()
    """Standard deviation of every hidden layer's weights, for "normal"."""

    @model_validator(mode="after")
    def _deviations_fit(self) -> "Layers":
        wanted = len(self.hidden_layers) if self.initialiser == "normal" else 0
        if len(self.stddevs) != wanted:
            raise ValueError(
                f"stddevs: expected {wanted} with {len(self.hidden_layers)} hidden layers and "
                f"initialiser {self.initialiser!r}, received {len(self.stddevs)}"
            )
        return self


_SIMPLE = {"logistic": Layers(), "table": Layers(hidden_layers=(64, 64))}
"""Multinomial logistic regression has no hidden layer."""


def named_layers(name: str) -> Layers | None:
    """Return the hidden layers of a model of the zoo; ``None`` for one that is no MLP.

    The stacks are those of MLP study B: He-normal weights, but for the 324-108 stack, which has
    normal ones with the study's own standard deviations.
    """
    if name in _SIMPLE:
        return _SIMPLE[name]
    first, *parts = name.split("-")
    if first != "mlp":
        return None
    if not parts:
        return Layers(hidden_layers=(128,))
    normalised = "bn" in parts
    own = parts[:2] == ["324", "108"]
    deviations = (0.039, 0.55) if normalised else (0.062, 0.125)
    return Layers(
        hidden_layers=tuple(int(part) for part in parts if part.isdigit()),
        batch_norm=normalised,
        dropout=0.5 if "dropout" in parts else 0.0,
        initialiser="normal" if own else "he-normal",
        stddevs=deviations if own else (),
    )


class Model(Layers):
    """What is trained: a model by its name, or hidden layers given in place."""

    name: str = defaults.MODEL
    """One of the models there are, "layers" for the settings above, a .toml file with both, or
    MODULE:NAME for a function of one's own."""

    weights: str = ""
    """Where initial weights are read from: FILE.keras, FILE.weights.h5, or the directory of a run
    that has one model; "" to draw them."""
    freeze: Names = ()
    """Layers whose weights stay as they are: names, or patterns of names, as "block1*"."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*MODELS, LAYERS) and not is_own(name):
            raise ValueError(str(unknown("model", name, (*MODELS, LAYERS, "FILE.toml", FORM))))
        return name

    @model_validator(mode="after")
    def _layers_only_in_place(self) -> "Model":
        given = [key for key in Layers.model_fields if getattr(self, key) != getattr(_NONE, key)]
        if self.name != LAYERS and given:
            raise ValueError(f"{given[0]}: needs name {LAYERS!r}, received name {self.name!r}")
        return self

    @model_serializer(mode="wrap")
    def _without_layers_of_the_zoo(self, full: SerializerFunctionWrapHandler) -> dict[str, Any]:
        settings: dict[str, Any] = full(self)
        unset = {key for key in ("weights", "freeze") if not getattr(self, key)}
        if self.name != LAYERS:
            unset |= {*Layers.model_fields}
        return {key: value for key, value in settings.items() if key not in unset}

    @property
    def layers(self) -> Layers | None:
        """The hidden layers, of the zoo's MLPs as well; ``None`` for a model that is no MLP."""
        return self if self.name == LAYERS else named_layers(self.name)

    @property
    def title(self) -> str:
        """What people call it."""
        if self.name != LAYERS:
            return self.name
        return f"mlp ({', '.join(map(str, self.hidden_layers))}) {self.activation}"


_NONE = Layers()
