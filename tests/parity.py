"""Local trainings that every engine comes to the same in, but for the rounding of floats.

``python -m parity FILE`` trains them on TensorFlow and writes what they came to; dropout is not
among them, as its masks are drawn by each back end's own generator.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
from trainings import engine_of

from fedgen.config.model import Model
from fedgen.config.sections import Data
from fedgen.data import datasets
from fedgen.engine import models
from fedgen.engine.plan import Plan, Trained
from fedgen.engine.rules import AutoTuned, Corrected, Proximal
from fedgen.engine.rules.rule import Rule

SHAPE, CLASSES = (8, 8, 1), 10


@dataclass(frozen=True)
class Case:
    model: Any
    optimizer: str = "adam"
    momentum: float = 0.0
    batch: int = 32
    rate: float = 1e-3
    rule: type[Rule] | None = None


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


def built(case: Case) -> keras.Sequential:
    if callable(case.model):
        return own_models.build(case.model)
    return models.build(case.model, SHAPE, CLASSES, 5)


def train(case: Case, **engine: Any) -> Trained:
    digits = datasets.load(Data(dataset="digits"))
    model = built(case)
    weights = models.get_weights(model)
    made = engine_of(model, digits, optimizer=case.optimizer, momentum=case.momentum, **engine)
    order = [np.random.default_rng(epoch).permutation(1437)[:75] for epoch in range(2)]
    rule = rule_of(case.rule, weights)
    return made.train(weights, Plan(case.rate, case.batch, np.array(order, np.int32), rule=rule))


def figures(trained: Trained) -> dict[str, Any]:
    """What a training comes to, by name."""
    return {
        **{f"weight {place}": weight for place, weight in enumerate(trained.weights)},
        "losses": trained.losses,
        "accuracies": trained.accuracies,
        "rates": [trained.learning_rate, trained.initial_rate],
        "steps": trained.steps,
    }


def _all() -> Iterator[tuple[str, Any]]:
    for name, case in CASES.items():
        for key, value in figures(train(case)).items():
            yield f"{name}/{key}", value


if __name__ == "__main__":
    np.savez(Path(sys.argv[1]), **dict(_all()))
