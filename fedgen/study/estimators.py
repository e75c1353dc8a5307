"""The settings of what a study fits: scikit-learn's MLP, and Keras models in fedgen's engine."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fedgen.config.base import Deviations, Section, Sizes
from fedgen.config.sections.model import LAYERS, Layers, Model
from strategies.core.settings import BelowOne, Count, NotNegative, Positive, Rate

Activation = Literal["identity", "logistic", "tanh", "relu"]


def _batch(value: object) -> object:
    if value != "auto" and (type(value) is not int or not 1 <= value < 2**31):
        raise ValueError(f'expected a positive integer or "auto", received {value!r}')
    return value


class Mlp(Section):
    """Hidden layers, as a list of sizes or as a number of equal ones."""

    hidden_layers: Sizes = (100,)
    """Units of every hidden layer, from the input on."""
    depth: Count | None = None
    """Instead of hidden_layers: how many there are, of `width` units each."""
    width: Positive = 50
    """Units of every hidden layer that `depth` counts."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.depth is not None and "hidden_layers" in self.model_fields_set:
            raise ValueError("expected hidden_layers or depth, received both")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every hidden layer."""
        return self.hidden_layers if self.depth is None else (self.width,) * self.depth


class SklearnMlp(Mlp):
    """Settings of scikit-learn's ``MLPClassifier``, by its own names and with its defaults."""

    solver: Literal["lbfgs", "sgd", "adam"] = "adam"
    alpha: NotNegative = 1e-4
    batch_size: Annotated[int | Literal["auto"], BeforeValidator(_batch)] = "auto"
    learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant"
    learning_rate_init: Rate = 1e-3
    power_t: NotNegative = 0.5
    max_iter: Positive = 200
    shuffle: bool = True
    tol: NotNegative = 1e-4
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    beta_1: BelowOne = 0.9
    beta_2: BelowOne = 0.999
    epsilon: Rate = 1e-8
    n_iter_no_change: Positive = 10
    max_fun: Positive = 15000

    def arguments(self) -> dict[str, Any]:
        """Return what ``MLPClassifier`` takes."""
        own = self.model_dump(exclude={"hidden_layers", "depth", "width"})
        return own | {"hidden_layer_sizes": self.sizes}

    def federated(self) -> Model:
        """Return the architecture, for `fedgen compare`."""
        return Model(name=LAYERS, hidden_layers=self.sizes, activation=self.activation)


class KerasModel(Mlp):
    """A model of the zoo, or layers given in place, and how they are trained."""

    model: str = LAYERS
    """A model of the zoo instead of the layers below."""
    batch_norm: bool = False
    """Normalise batches after every hidden layer."""
    dropout: BelowOne = 0.0
    """Share of the units dropped after every hidden layer."""
    initialiser: Literal["glorot-uniform", "he-normal", "normal"] = "glorot-uniform"
    """How the hidden layers' weights start."""
    stddevs: Deviations = ()
    """Standard deviation of every hidden layer's weights, for "normal"."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with Keras' moments, or SGD."""
    momentum: BelowOne = 0.0
    """Momentum of SGD; Adam has none."""
    learning_rate: Rate = 1e-3
    """Learning rate."""
    batch_size: Positive = 128
    """Batch size; the last batch of an epoch may be short."""
    epochs: Positive = 20
    """Epochs; nothing stops a fit earlier but a loss that is not finite."""

    @model_validator(mode="after")
    def _is_a_model(self) -> Self:
        in_place = {*Layers.model_fields, "depth", "width"}
        given = sorted(in_place & self.model_fields_set)
        if self.model != LAYERS and given:
            raise ValueError(f"expected model or layers in place, received both: {given[0]}")
        self.federated()
        return self

    def federated(self) -> Model:
        """Return the model, for the engine and for `fedgen compare`."""
        if self.model != LAYERS:
            return Model(name=self.model)
        own = self.model_dump(include=set(Layers.model_fields) - {"hidden_layers"})
        return Model(name=LAYERS, hidden_layers=self.sizes, **own)


Settings = SklearnMlp | KerasModel

ESTIMATORS: dict[str, type[SklearnMlp] | type[KerasModel]] = {
    "sklearn-mlp": SklearnMlp,
    "keras": KerasModel,
}
"""The estimators and their settings."""
