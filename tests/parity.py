"""Local trainings that every engine comes to the same in, but for the rounding of floats.

``PYTHONPATH=tests python -m parity FILE`` trains them on TensorFlow and writes what they came to;
dropout is not among them, as its masks are drawn by each back end's own generator.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fedgen  # noqa: F401
from fedgen import runtime

if __name__ == "__main__":
    runtime.import_tensorflow()

import keras
import numpy as np
import own_models
from keras import layers
from targets import OUTPUTS, dataset_of
from trainings import engine_of

from fedgen.config.sections import Data
from fedgen.config.sections.model import Model
from fedgen.data import datasets
from fedgen.data.dataset import Dataset
from fedgen.engine import models
from fedgen.engine.learning.objective import TARGETS, Targets
from fedgen.engine.plan import Plan, Trained
from fedgen.engine.rules import AutoTuned, Corrected, Proximal
from fedgen.engine.rules.rule import Rule


@dataclass(frozen=True)
class Case:
    model: Any
    optimizer: str = "adam"
    momentum: float = 0.0
    batch: int = 32
    rate: float = 1e-3
    rule: type[Rule] | None = None
    tokens: bool = False
    kind: Targets = "classes"
    settings: Mapping[str, Any] = field(default_factory=dict)


def residual(shape: Any, classes: int) -> keras.Model:
    """A graph with a skip, a layer used twice, and a model inside, normalised."""
    start = keras.Input(shape)
    conv = layers.Conv2D(4, 3, padding="same", activation="relu")
    normal = layers.BatchNormalization()(conv(layers.Conv2D(4, 3, padding="same")(start)))
    inside = keras.Sequential([layers.Flatten(), layers.Dense(16, activation="relu")])
    joined = layers.Concatenate()([inside(layers.Add()([start, conv(normal)])), inside(normal)])
    return keras.Model(start, layers.Dense(classes)(joined))


def looked_up(shape: Any, classes: int) -> keras.Model:
    start = keras.Input(shape, dtype="int32")
    found = layers.Embedding(17, 3)(layers.Flatten()(start))
    return keras.Model(start, layers.Dense(classes)(layers.Flatten()(found)))


def spectral(shape: Any, classes: int) -> list[Any]:
    return [
        layers.Flatten(),
        layers.SpectralNormalization(layers.Dense(16)),
        layers.Dense(classes),
    ]


NORMALISED = Model(name="layers", hidden_layers=(24, 12), batch_norm=True)
HE = Model(name="layers", hidden_layers=(24,), initialiser="he-normal", activation="tanh")

CASES: dict[str, Case] = {
    **{f"cnn, batch {size}": Case("cnn", batch=size) for size in (1, 7, 32, 75, 200)},
    "cnn-small": Case("cnn-small", batch=16),
    "cnn-mnist": Case("cnn-mnist", "sgd", 0.9, rate=0.01),
    "mlp, sgd": Case("mlp", "sgd", rate=0.05),
    "mlp, momentum": Case("mlp", "sgd", 0.9, rate=0.05),
    "tanh, he-normal": Case(HE),
    **{f"normalised, {kind}": Case(NORMALISED, kind, 0.5) for kind in ("adam", "sgd")},
    "normalised, batch 1": Case(NORMALISED, "sgd", batch=1),
    **{
        f"{rule.__name__}, {kind}": Case("mlp", kind, rate=0.01, rule=rule)
        for rule in (Proximal, Corrected, AutoTuned)
        for kind in ("adam", "sgd")
    },
    "resnet-small-gn": Case("resnet-small-gn", "sgd", rate=0.02),
    "logistic": Case("logistic", "sgd", rate=0.05),
    "table": Case("table"),
    "a graph, adam": Case(residual),
    "a graph, sgd": Case(residual, "sgd", rate=0.05),
    "integers": Case(looked_up, "sgd", rate=0.05, tokens=True),
    "lstm-small": Case("lstm-small", "sgd", rate=0.5, tokens=True),
    "transformer": Case("transformer", "sgd", rate=0.05, tokens=True),
    **{kind: Case("mlp", kind, rate=0.01) for kind in ("adamw", "rmsprop", "adagrad")},
    "nesterov": Case("mlp", "sgd", 0.9, rate=0.02, settings={"nesterov": True}),
    "clipped": Case("mlp", "sgd", rate=0.5, settings={"clip_norm": 0.1}),
    **{
        f"clipped, {rule.__name__}": Case(
            "mlp", "sgd", rate=0.05, rule=rule, settings={"clip_norm": 0.1}
        )
        for rule in (Corrected, AutoTuned)
    },
    **{
        f"{schedule}, {kind}": Case("mlp", kind, 0.5, rate=0.01, settings={"schedule": schedule})
        for schedule in ("cosine", "step")
        for kind in ("sgd", "adamw")
    },
    "cosine, Proximal": Case("mlp", "sgd", rule=Proximal, settings={"schedule": "cosine"}),
    "smoothed": Case("mlp", settings={"label_smoothing": 0.2}),
    "balanced": Case("mlp", settings={"class_weights": "balanced"}),
    **{
        loss: Case("mlp", "sgd", rate=0.02, kind=TARGETS[loss], settings={"loss": loss})
        for loss in TARGETS
    },
    "labels, normalised": Case(NORMALISED, "sgd", rate=0.02, kind="labels"),
    "quantities, normalised": Case(NORMALISED, "sgd", rate=0.02, kind="quantities"),
    "spectral normalisation": Case(spectral, "sgd", rate=0.05),
    **{
        name: Case(make, "sgd", rate=0.05)
        for name, make in own_models.FUNCTIONS.items()
        if name not in ("from TensorFlow", "spectral normalisation")
    },
}


def rule_of(kind: type[Rule] | None, weights: list[np.ndarray]) -> Rule | None:
    draw = np.random.default_rng(3)
    if kind is Corrected:
        return Corrected([draw.normal(0, 0.01, w.shape).astype(np.float32) for w in weights])
    return {Proximal: Proximal(0.5), AutoTuned: AutoTuned(2.0, 0.1, 1.0), None: None}[kind]


def data_of(case: Case) -> Dataset:
    if not case.tokens:
        return dataset_of(case.kind)
    found = datasets.load(Data(dataset="digits", scale=1))
    return replace(found, x_train=rows(found.x_train), x_test=rows(found.x_test))


def rows(images: Any) -> np.ndarray:
    """The middle rows of every image, one after another: ids of 17 tokens."""
    return images[:, 2:6].reshape(len(images), -1)


def built(case: Case) -> keras.Model:
    shape = data_of(case).x_train.shape[1:]
    if callable(case.model):
        return own_models.build(case.model, shape)
    vocabulary = 17 if case.tokens else 0
    return models.build(case.model, shape, OUTPUTS[case.kind], 5, vocabulary=vocabulary)


def train(case: Case, **engine: Any) -> Trained:
    digits = data_of(case)
    model = built(case)
    weights = models.get_weights(model)
    momentum = case.momentum if case.optimizer == "sgd" else 0.0
    own = {"optimizer": case.optimizer, "momentum": momentum, **case.settings}
    made = engine_of(model, digits, **own, **engine)
    order = [np.random.default_rng(epoch).permutation(1437)[:75] for epoch in range(2)]
    rule = rule_of(case.rule, weights)
    return made.train(weights, Plan(case.rate, case.batch, np.array(order, np.int32), rule=rule))


def figures(trained: Trained) -> dict[str, Any]:
    """What a training comes to, by name."""
    return {
        **{f"weight {place}": weight for place, weight in enumerate(trained.weights)},
        "losses": trained.losses,
        **({} if trained.accuracies is None else {"accuracies": trained.accuracies}),
        "rates": [trained.learning_rate, trained.initial_rate],
        "steps": trained.steps,
    }


def _all() -> Iterator[tuple[str, Any]]:
    for name, case in CASES.items():
        for key, value in figures(train(case)).items():
            yield f"{name}/{key}", value


if __name__ == "__main__":
    np.savez(Path(sys.argv[1]), **dict(_all()))
